"""The admin port: each page as an operator's tools read it, who is kept out, and what an error looks like."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.admin.server import AdminOptions, AdminServer
from proxy.cli.admin_client import open_admin_api
from proxy.metrics.registry import Metrics
from proxy.problems import Problem
from proxy.settings import Address, Admin
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.web.access_control import Access
from proxy.web.bearer_tokens import BearerTokens, Role
from proxy.web.http_connection import ConnectionOptions
from proxy.web.http_site import HTTPSite
from proxy.web.tls import Certificate
from tests.certificates import Authority
from tests.unit.peer import OK, always, peer
from tests.unit.plain_layer import PlainProcess

READ, OPERATE = "read-0123456789abcdef", "operate-0123456789abcdef"
TOKENS = BearerTokens([(Role.READER, READ), (Role.OPERATOR, OPERATE)])


class Port:
    """A running admin port, and a client for it."""

    def __init__(
        self,
        server: AdminServer,
        process: PlainProcess,
        upstream: DynamoDBClient,
        at: Address,
        session: aiohttp.ClientSession,
    ) -> None:
        self.server = server
        self.process = process
        self.upstream = upstream
        self.at = at
        self.session = session

    async def get(self, path: str, host: str | None = None, **headers: str) -> tuple[int, Any]:
        status, document, _ = await self.ask("GET", path, ({} if host is None else {"Host": host}) | headers)
        return status, document

    async def ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, Any, Mapping[str, str]]:
        async with self.session.request(method, f"http://{self.at}{path}", headers=headers) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers


@contextlib.asynccontextmanager
async def admin(
    tokens: BearerTokens | None = None,
    *,
    strangers: bool = False,
    metrics_need_token: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Port]:
    access = Access(tokens, strangers=strangers)

    async def change(request: web.Request) -> web.StreamResponse:
        return web.json_response({"by": access.operator(request).name})

    async def fault(_: web.Request) -> web.StreamResponse:
        raise ZeroDivisionError("a secret in a fault")

    def pages(app: web.Application) -> None:
        app.router.add_put("/v1/change", change)
        app.router.add_get("/v1/fault", fault)

    async with peer(always(OK)) as other:
        upstream = DynamoDBClient(other.url, region="us-east-1", credentials=Credentials(Credential("A", "B")))
        process = PlainProcess()
        metrics = Metrics()
        site = HTTPSite(ConnectionOptions(port="admin"), metrics.connections, tls=tls)
        options = AdminOptions(version="1.2.3", max_mismatches=10, site=site, metrics_need_token=metrics_need_token)
        server = AdminServer(process, upstream, metrics, access, options, add_pages=pages)
        at = await server.start(Address("127.0.0.1", 0))
        async with aiohttp.ClientSession() as session:
            try:
                yield Port(server, process, upstream, at, session)
            finally:
                await server.stop()
                await upstream.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_alive_and_ready() -> None:
    async with admin() as here:
        assert await here.get("/livez") == (200, {"live": True})
        assert await here.get("/readyz") == (200, {"ready": True, "reasons": []})


async def test_not_ready_says_why() -> None:
    async with admin() as here:
        here.process.reasons = ["the journal is not open"]
        await here.server.stopping()
        await here.upstream.close()
        status, said = await here.get("/readyz")
        assert (status, said["ready"]) == (503, False)
        assert said["reasons"][:2] == ["the journal is not open", "the proxy is stopping"]
        assert said["reasons"][2].startswith("DynamoDB cannot be reached")
        assert (await here.get("/livez"))[0] == 200


async def test_metrics_are_prometheus_s_text() -> None:
    async with admin() as here, here.session.get(f"http://{here.at}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "# TYPE crossfade_journal_keys gauge" in await answer.text()


async def test_status_is_the_process_s_with_version_and_uptime() -> None:
    async with admin() as here:
        await asyncio.sleep(0.01)
        status, said = await here.get("/v1/status")
        assert status == 200
        assert said["version"] == "1.2.3"
        assert said["uptime_seconds"] > 0
        assert said["stages"] == {"items": {"stage": "off"}}


@pytest.mark.parametrize(("query", "count"), [("", 5), ("?limit=2", 2), ("?limit=10", 5)])
async def test_mismatches_are_the_process_s_with_their_times_as_people_write_them(query: str, count: int) -> None:
    async with admin() as here:
        status, said = await here.get(f"/v1/mismatches{query}")
        assert (status, [each["number"] for each in said["mismatches"]]) == (200, list(range(count)))
        assert {each["at"] for each in said["mismatches"]} == {"2001-09-09T01:46:40.500Z"}


@pytest.mark.parametrize("limit", ["0", "11", "-1", "x", "1e3", "", "٣", "9" * 5000])
async def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    async with admin() as here:
        status, said, headers = await here.ask("GET", f"/v1/mismatches?limit={limit}", {})
        assert status == 400
        assert headers["Content-Type"] == "application/problem+json"
        assert said == {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "limit must be a number from 1 to 10",
        }


@pytest.mark.parametrize("query", ["limt=1", "limit=1&limit=2", "a"])
async def test_a_parameter_that_is_not_known_is_refused(query: str) -> None:
    async with admin() as here:
        assert (await here.get(f"/v1/mismatches?{query}"))[0] == 400
        assert (await here.get(f"/v1/status?{query}"))[0] == 400


async def test_what_is_not_there_is_a_problem_too() -> None:
    async with admin() as here:
        status, said, headers = await here.ask("GET", "/v2", {})
        assert (status, said["detail"]) == (404, "GET /v2: Not Found")
        assert headers["Content-Type"] == "application/problem+json"
        status, _, headers = await here.ask("POST", "/v1/status", {})
        assert (status, headers["Allow"]) == (405, "GET,HEAD")


async def test_a_fault_of_ours_is_a_problem_that_tells_nothing() -> None:
    async with admin() as here:
        status, said = await here.get("/v1/fault")
        assert (status, said["title"]) == (500, "Internal Server Error")
        assert "secret" not in str(said)


# -- without tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:8001", "192.168.0.7:8001", ""])
@pytest.mark.parametrize("path", ["/livez", "/v1/mismatches", "/"])
async def test_a_name_that_is_not_this_machine_s_is_refused(host: str, path: str) -> None:
    async with admin() as here:
        status, said = await here.get(path, host)
        assert status == 403
        assert "loopback" in said["detail"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8001", "127.0.0.1", "[::1]:8001", "[::1]", "LOCALHOST"])
async def test_who_calls_from_here_by_this_machine_s_name_operates(host: str) -> None:
    async with admin() as here:
        assert (await here.get("/livez", host))[0] == 200
        assert (await here.ask("PUT", "/v1/change", {"Host": host}))[:2] == (200, {"by": "loopback"})


async def test_a_page_of_this_very_port_may_read_and_not_operate() -> None:
    """Whatever it is: without a token nobody has shown that a person is behind it."""
    async with admin() as here:
        own = {"Origin": f"http://{here.at}", "Sec-Fetch-Site": "same-origin"}
        assert (await here.ask("GET", "/v1/status", own))[0] == 200
        status, said, _ = await here.ask("PUT", "/v1/change", own)
        assert status == 403
        assert "needs an operator" in said["detail"]


async def test_where_strangers_may_come_they_read_and_do_not_operate() -> None:
    async with admin(strangers=True) as here:
        assert (await here.get("/v1/status", "crossfade.internal:8001"))[0] == 200
        assert (await here.ask("PUT", "/v1/change", {"Host": "crossfade.internal:8001"}))[0] == 403


# -- other web pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [None, TOKENS])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_what_another_web_page_sends_is_refused_even_with_a_token(
    tokens: BearerTokens | None, headers: dict[str, str]
) -> None:
    async with admin(tokens) as here:
        for method, path in (("GET", "/v1/status"), ("PUT", "/v1/change")):
            status, said, _ = await here.ask(method, path, headers | bearer(OPERATE))
            assert status == 403
            assert "another web page" in said["detail"]


# -- with tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/status", "/v1/mismatches", "/v1/openapi.json"])
async def test_everything_but_health_wants_a_token(path: str) -> None:
    async with admin(TOKENS) as here:
        status, _, headers = await here.ask("GET", path, {})
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="crossfade"')
        for token in (READ, OPERATE):
            assert (await here.ask("GET", path, bearer(token)))[0] == 200
        for open_ in ("/livez", "/readyz"):
            assert (await here.get(open_))[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {READ}x",
        f"Bearer {READ[:-1]}",
        "Bearer ",
        "Bearer",
        f"Basic {READ}",
        READ,
        f"Bearer {READ} {READ}",
        "Bearer \u00e9\u00e9\u00e9\u00e9",
    ],
)
async def test_a_token_that_is_not_known_is_refused(authorization: str) -> None:
    async with admin(TOKENS) as here:
        status, said, _ = await here.ask("GET", "/v1/status", {"Authorization": authorization})
        assert status == 401
        assert READ not in str(said)


async def test_only_the_operator_s_token_changes_anything() -> None:
    async with admin(TOKENS) as here:
        assert (await here.ask("PUT", "/v1/change", bearer(OPERATE)))[:2] == (200, {"by": "operator"})
        status, _, headers = await here.ask("PUT", "/v1/change", bearer(READ))
        assert status == 403
        assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]
        assert (await here.ask("PUT", "/v1/change", {}))[0] == 401
        # A loopback caller is nobody special where tokens are set, and any name will do for the port.
        assert (await here.ask("PUT", "/v1/change", {"Host": "crossfade.internal"} | bearer(OPERATE)))[0] == 200


async def test_metrics_are_open_unless_told_otherwise() -> None:
    async with admin(TOKENS) as here, here.session.get(f"http://{here.at}/metrics") as answer:
        assert answer.status == 200
    async with admin(TOKENS, metrics_need_token=True) as here:
        assert (await here.ask("GET", "/metrics", {}))[0] == 401
        async with here.session.get(f"http://{here.at}/metrics", headers=bearer(READ)) as answer:
            assert answer.status == 200


async def test_over_tls_the_command_believes_only_the_authority_that_it_is_told_of(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.issue(cert, key)
    async with admin(TOKENS, tls=Certificate(cert, key, "admin.").context) as here:
        url = f"https://{here.at}"
        async with open_admin_api(url, OPERATE, authority.file) as over:
            with pytest.raises(Problem, match="GET /v1/stages: Not Found"):  # this port has none
                await over.stages()
        async with open_admin_api(url, OPERATE, None) as over:
            with pytest.raises(Problem, match="certificate"):
                await over.stages()


async def test_a_token_is_never_logged(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    wrong = "wrong-0123456789abcdef"
    async with admin(TOKENS) as here:
        for token in (wrong, READ, OPERATE):
            await here.ask("PUT", "/v1/change", bearer(token))
            await here.ask("GET", "/v1/fault", bearer(token))
    said = "".join(capsys.readouterr()) + caplog.text
    assert "admin_refused" in said
    assert not any(token in said for token in (wrong, READ, OPERATE))


def test_tokens_from_files(tmp_path: Path) -> None:
    (tmp_path / "read").write_text(f"{READ}\n")
    (tmp_path / "operate").write_text(OPERATE)
    tokens = BearerTokens.of(Admin(read_token_file=tmp_path / "read", operator_token_file=tmp_path / "operate"))
    assert tokens is not None
    assert tokens.role_of(READ) == ("reader", "reader")
    assert tokens.role_of(OPERATE) == ("operator", "operator")
    assert tokens.role_of("") is None
    assert BearerTokens.of(Admin()) is None


@pytest.mark.parametrize("content", ["", "short", "two lines of a file\nand 16 characters", None, READ])
def test_a_file_that_holds_no_token_is_a_fault_that_does_not_repeat_it(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError) as caught:
        BearerTokens.of(Admin(operator_token_file=file, read_token=READ))
    (problem,) = caught.value.problems
    assert problem.startswith("admin")
    assert not content or content not in problem
