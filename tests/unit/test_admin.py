"""The admin port: each page as an operator's tools read it, and who is kept out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from proxy.admin.server import AdminServer
from proxy.metrics import Metrics
from proxy.settings import Address
from proxy.stores.credentials import Credentials
from proxy.stores.sigv4 import Credential
from proxy.stores.upstream import Upstream
from tests.unit.peer import OK, always, peer
from tests.unit.plain_layer import PlainLayer


class Admin:
    """A running admin port, and a client for it."""

    def __init__(self, server: AdminServer, layer: PlainLayer, at: Address, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.layer = layer
        self.at = at
        self.session = session

    async def get(self, path: str, host: str | None = None) -> tuple[int, Any]:
        headers = {} if host is None else {"Host": host}
        async with self.session.get(f"http://{self.at}{path}", headers=headers) as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def admin(*, guarded: bool = True) -> AsyncIterator[Admin]:
    async with peer(always(OK)) as other:
        upstream = Upstream(other.url, region="us-east-1", credentials=Credentials(Credential("A", "B")))
        layer = PlainLayer(upstream)
        server = AdminServer(layer, upstream, Metrics(), version="1.2.3", guarded=guarded, most=10)
        at = await server.start(Address("127.0.0.1", 0))
        async with aiohttp.ClientSession() as session:
            try:
                yield Admin(server, layer, at, session)
            finally:
                await server.stop()
                await upstream.close()


async def test_alive_and_ready() -> None:
    async with admin() as here:
        assert await here.get("/livez") == (200, {"live": True})
        assert await here.get("/readyz") == (200, {"ready": True, "reasons": []})


async def test_not_ready_says_why() -> None:
    async with admin() as here:
        here.layer.reasons = ["the journal is not open"]
        here.server.stopping()
        await here.layer.upstream.close()
        status, said = await here.get("/readyz")
        assert (status, said["ready"]) == (503, False)
        assert said["reasons"][:2] == ["the journal is not open", "the proxy is stopping"]
        assert said["reasons"][2].startswith("DynamoDB cannot be reached")
        assert (await here.get("/livez"))[0] == 200


async def test_metrics_are_prometheus_s_text() -> None:
    async with admin() as here, here.session.get(f"http://{here.at}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "# TYPE crossfade_journal_keys gauge" in await answer.text()


async def test_status_is_the_layer_s_with_version_and_uptime() -> None:
    async with admin() as here:
        await asyncio.sleep(0.01)
        status, said = await here.get("/v1/status")
        assert status == 200
        assert said["version"] == "1.2.3"
        assert said["uptime_seconds"] > 0
        assert said["stages"] == {"items": {"stage": "off"}}


@pytest.mark.parametrize(("query", "count"), [("", 5), ("?limit=2", 2), ("?limit=10", 5)])
async def test_mismatches_are_the_layer_s(query: str, count: int) -> None:
    async with admin() as here:
        status, said = await here.get(f"/v1/mismatches{query}")
        assert (status, [each["number"] for each in said["mismatches"]]) == (200, list(range(count)))


@pytest.mark.parametrize("limit", ["0", "11", "-1", "x", "1e3", ""])
async def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    async with admin() as here:
        status, said = await here.get(f"/v1/mismatches?limit={limit}")
        assert (status, said) == (400, {"error": "limit must be a number from 1 to 10"})


async def test_what_is_not_there_is_json_too() -> None:
    async with admin() as here:
        assert await here.get("/v2") == (404, {"error": "Not Found"})
        async with here.session.post(f"http://{here.at}/v1/status") as answer:
            assert answer.status == 405


@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:8001", "192.168.0.7:8001", ""])
async def test_a_name_that_is_not_this_machine_s_is_refused(host: str) -> None:
    async with admin() as here:
        status, said = await here.get("/v1/mismatches", host)
        assert status == 403
        assert "loopback" in said["error"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8001", "127.0.0.1", "[::1]:8001", "[::1]"])
async def test_this_machine_s_names_are_taken(host: str) -> None:
    async with admin() as here:
        assert (await here.get("/livez", host))[0] == 200


async def test_an_open_port_takes_any_name() -> None:
    async with admin(guarded=False) as here:
        assert (await here.get("/livez", "crossfade.internal:8001"))[0] == 200
