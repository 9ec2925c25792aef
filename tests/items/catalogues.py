"""A catalogue over a layer of one process, in any stage, with both stores behind it: as the items port has it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from proxy.app.service import Service, open_service
from proxy.dynamodb.outcome import Outcome
from proxy.items.catalogue import Catalogue, Executes
from proxy.items.cursors import Cursors
from proxy.items.item_validation import shown_item
from proxy.items.queries import ItemQuery
from proxy.metrics.registry import Metrics
from proxy.settings import DSQL, DynamoDB, JournalSettings, Mirror, Settings, Stage, TableSettings, TypeSettings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.web.request_ids import request_ids
from tests.items.stores import CONFIG
from tests.standins.billio import TABLE
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class RunningLayer:
    """The layer of a running process, and the process's status."""

    service: Service

    async def execute(self, action: str, body: bytes, request_id: str) -> Outcome:
        return await self.service.layer.execute(action, body, request_id)

    async def status(self) -> Mapping[str, Any]:
        return await self.service.status.status()


@asynccontextmanager
async def layer_at(
    stage: Stage, endpoint: str, dsn: str, folder: Path, types: dict[str, Stage] | None = None
) -> AsyncIterator[RunningLayer]:
    settings = Settings(
        stage=stage,
        mappings=(CONFIG / "billio.toml",),
        dynamodb=DynamoDB(endpoint_url=endpoint, region=REGION, settle_seconds=0.1),
        dsql=DSQL(dsn=dsn, settle_seconds=0.1, timeout_seconds=_PATIENCE_SECONDS),
        # On a busy machine the layer would rightly give up what is compared here.
        mirror=Mirror(rehearse_timeout_seconds=_PATIENCE_SECONDS, max_turn_seconds=_PATIENCE_SECONDS),
        journal=JournalSettings(folder / "journal.sqlite"),
        tables={TABLE: TableSettings(types={name: TypeSettings(each) for name, each in (types or {}).items()})},
    )
    await _forget_authority(dsn)
    upstream = DynamoDBClient(endpoint, region=REGION, credentials=Credentials(Credential(ACCESS_KEY, SECRET_KEY)))
    try:
        async with open_service(settings, Metrics(), upstream) as service:
            await service.process.open()
            try:
                yield RunningLayer(service)
            finally:
                await service.process.close()
    finally:
        await upstream.close()


async def _forget_authority(dsn: str) -> None:
    """Clear DSQL's record of who is the truth: here each layer is another installation, in a stage of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        if await connection.fetchval("SELECT to_regclass('crossfade_authority')") is not None:
            await connection.execute("DELETE FROM crossfade_authority")
    finally:
        await connection.close()


def catalogue_of(layer: Executes, table: str = TABLE, secret: bytes = b"0123456789abcdef") -> Catalogue:
    return Catalogue(layer, table, Cursors(secret), request_ids())


async def verdicts(layer: RunningLayer) -> dict[tuple[str, str], int]:
    """(operation, verdict) → how many."""
    counts: dict[tuple[str, str], int] = {}
    status = await layer.status()
    for each in status["comparisons"]:
        at = (each["operation"], each["verdict"])
        counts[at] = counts.get(at, 0) + each["count"]
    return counts


async def settled(layer: RunningLayer) -> dict[tuple[str, str], int]:
    """The verdicts, once nothing is left to be done behind the answers."""
    async with asyncio.timeout(4 * _PATIENCE_SECONDS):
        while (status := await layer.status())["behind"] or status["journal"]["keys"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return await verdicts(layer)


async def all_pages(catalogue: Catalogue, question: ItemQuery, first: int) -> list[dict[str, Any]]:
    """The items of all pages together, as they are shown; a page that is not the last is full."""
    shown: list[dict[str, Any]] = []
    after: str | None = None
    for _ in range(200):
        page = await catalogue.page(question, first, after)
        shown += [shown_item(item) for item in page.items]
        after = page.cursor
        if after is None:
            return shown
        assert len(page.items) == first
    raise AssertionError("the pages do not end")
