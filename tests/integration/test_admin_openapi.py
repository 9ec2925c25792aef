"""The admin port against its own OpenAPI, by schemathesis: what is promised is so, no fault of ours, no open door.

The port stands over a real stage table, so that moves are moves; there is no proxy behind it, so that they end at once.
"""

import asyncio
import contextlib
import copy
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.openapi import document
from proxy.admin.server import AdminOptions, AdminServer
from proxy.admin.stages_api import StagesApi
from proxy.cutover.compose import types_of
from proxy.cutover.gate.evidence import Evidence
from proxy.cutover.service import CutoverService
from proxy.cutover.stage_table import StageTable
from proxy.mapping.load import load
from proxy.metrics.registry import Metrics
from proxy.settings import DSQL, Address, Settings, StagesSettings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.web.access_control import Access
from proxy.web.bearer_tokens import BearerTokens, Role
from proxy.web.http_connection import ConnectionOptions
from proxy.web.http_site import HTTPSite
from tests.standins.billio import TABLE, billio_table
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY
from tests.unit.plain_layer import PlainProcess

ROOT = Path(__file__).parents[2]
READ, OPERATE = "read-0123456789abcdef", "operate-0123456789abcdef"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,ignored_auth"
)


class Told(PlainProcess):
    """A process in `shadow` that has found a mismatch."""

    async def status(self) -> dict[str, Any]:
        return {
            "epoch": 0,
            "journal": {"keys": 0, "oldest_seconds": 0.0, "parked": 0},
            "shed": {"queue": 3},
            "breaker": {"dsql": "closed"},
            "stage": "shadow",
        }

    def mismatches(self, limit: int) -> list[dict[str, Any]]:
        found = {"at": 1e9, "table": TABLE, "type": "Book", "operation": "GetItem", "request_id": "R"}
        return [{**found, "path": "title", "kind": "value"}][:limit]


class Port:
    def __init__(self, url: str, table: StageTable) -> None:
        self.url = url
        self.table = table


@contextlib.asynccontextmanager
async def port(endpoint: str) -> AsyncIterator[Port]:
    """The admin port of a table in `shadow`, with tokens."""
    upstream = DynamoDBClient(endpoint, region=REGION, credentials=Credentials(Credential(ACCESS_KEY, SECRET_KEY)))
    dynamodb = DynamoDBStore(upstream, 60.0)
    stages = StageTable(dynamodb, "crossfade_stages")
    await stages.ensure()
    settings = Settings(
        stage="shadow",
        dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/nothing"),
        stages=StagesSettings(table="crossfade_stages"),
    )

    async def exists(table: str) -> bool:
        return await dynamodb.describe(table) is not None

    async def own() -> Evidence:
        return Evidence()

    mapped = {TABLE: load(ROOT / "config" / "billio.toml")}
    cutover = CutoverService(settings, stages, types=types_of(mapped), exists=exists, own_evidence=own, process="here")
    access = Access(BearerTokens([(Role.READER, READ), (Role.OPERATOR, OPERATE)]), strangers=False)
    server = AdminServer(
        Told(),
        upstream,
        Metrics(),
        access,
        AdminOptions(
            version="1.2.3",
            max_mismatches=100,
            site=HTTPSite(ConnectionOptions(port="admin"), Metrics().connections),
        ),
        stages=StagesApi(cutover, access),
    )
    try:
        at = await server.start(Address("127.0.0.1", 0))
        yield Port(f"http://{at}", stages)
    finally:
        await server.stop()
        await upstream.close()


def described(folder: Path) -> Path:
    """The description, with a table and types that are there, so that half of what is asked finds something."""
    whole = copy.deepcopy(document("1.2.3"))
    for path in whole["paths"].values():
        for operation in path.values():
            for each in operation.get("parameters", ()):
                if each["in"] == "path" and each["name"] in ("table", "type"):
                    known = [TABLE] if each["name"] == "table" else ["Book", "TvSeason"]
                    each["schema"] = {"anyOf": [{"enum": known}, {"type": "string", "minLength": 1}]}
    file = folder / "openapi.json"
    file.write_text(json.dumps(whole))
    return file


async def run(url: str, folder: Path, *options: str) -> str:
    """Run schemathesis; gives what it printed, and fails with it."""
    file = await asyncio.to_thread(described, folder)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(file),
        f"--url={url}",
        "--no-color",
        "--warnings=off",
        "--generation-database=none",
        "--max-examples=4",
        "--no-shrink",
        "--seed=4",
        "--request-timeout=120",
        "--suppress-health-check=too_slow",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    async with asyncio.timeout(400):
        out, _ = await process.communicate()
    text = out.decode()
    assert process.returncode == 0, text
    return text


def test_the_description_is_openapi() -> None:
    import schemathesis  # half a second, and every worker imports every file of tests

    whole: Any = document("1.2.3")
    schemathesis.openapi.from_dict(whole).validate()
    assert set(re.findall(r"/v1/[a-z.]+", " ".join(whole["paths"]))) == {
        "/v1/gate",
        "/v1/history",
        "/v1/mismatches",
        "/v1/parked",
        "/v1/openapi.json",
        "/v1/processes",
        "/v1/stages",
        "/v1/status",
    }


@pytest.fixture
def endpoint(dynamodb: str) -> str:
    billio_table(dynamodb)
    return dynamodb


async def test_what_the_description_promises_is_so(endpoint: str, tmp_path: Path) -> None:
    async with port(endpoint) as here:
        options = (f"--header=Authorization:Bearer {OPERATE}", f"--checks={CHECKS}", "--phases=coverage,fuzzing")
        text = await run(here.url, tmp_path, *options)
        assert "passed" in text, text
        # It was no game: some of it moved stages.
        assert (await here.table.state()).epoch > 0


@pytest.mark.parametrize("token", [None, READ])
async def test_without_the_operator_s_token_nothing_changes(token: str | None, endpoint: str, tmp_path: Path) -> None:
    async with port(endpoint) as here:
        header = [f"--header=Authorization:Bearer {token}"] if token is not None else []
        only = ["--include-method=PUT", "--include-method=DELETE", "--checks=not_a_server_error", "--phases=fuzzing"]
        await run(here.url, tmp_path, *header, *only)
        state = await here.table.state()
        assert (state.epoch, state.map, state.flip) == (0, None, None)
        assert await here.table.history(10) == []
