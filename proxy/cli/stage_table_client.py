"""The stage client on the stage table itself: no proxy needs to run, and the gate uses the evidence that they
published."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from proxy.cli.stage_client import ReportProgress
from proxy.cutover import documents
from proxy.cutover.authority.adopt import Adoption, adopt
from proxy.cutover.compose import compose_cutover, types_of
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.service import CutoverService
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import DSQL, Scope, Stage, Stages
from proxy.mapping.digest import mapping_digest
from proxy.mapping.load import load_mappings
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.system_tables.authority_record import AuthorityTable
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.store import DynamoDBStore

_NO_TABLE: Final = (
    "no stage table is set: set table in [stages], as for the proxies, or ask a proxy: --admin http://HOST:PORT"
)


class StageTableClient:
    """A `StageClient` on the stage table."""

    def __init__(self, cutover: CutoverService) -> None:
        self._cutover = cutover

    async def stages(self) -> Mapping[str, Any]:
        snapshot = await self._cutover.snapshot()
        return documents.stages(
            snapshot.overview, {at: snapshot.gate_to_next_stage(at) for at in snapshot.overview.scopes}
        )

    async def gate(self, scope: Scope, to: Stage | None) -> Mapping[str, Any]:
        snapshot = await self._cutover.snapshot(scope)
        return documents.gate(snapshot.gate(scope, to or snapshot.next_stage_of(scope)), snapshot.find(scope).stage)

    async def preview(self, request: MoveRequest) -> Mapping[str, Any]:
        return await self._cutover.preview(request)

    async def move(self, request: MoveRequest) -> AsyncIterator[Mapping[str, Any]]:
        prepared = await self._cutover.prepare(request)
        async for step in self._cutover.carry_out(prepared):
            yield {"end": step.document} if step.is_last else step.document

    async def history(self, limit: int) -> list[Mapping[str, Any]]:
        return [documents.history_entry(each) for each in await self._cutover.history(limit)]

    async def forget(self, process: str, by: str, because: str, report: ReportProgress) -> str:
        return await self._cutover.forget(
            process, by, because, lambda progress: report(documents.move_progress(progress))
        )


@asynccontextmanager
async def open_stage_table(settings: Settings) -> AsyncIterator[StageTableClient]:
    """Open the client. Raises CredentialsError, and SettingsError if no stage table is set."""
    if settings.stages.table is None:
        raise SettingsError([_NO_TABLE])
    async with open_upstream(settings, os.environ) as upstream:
        dynamodb = DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)
        yield StageTableClient(compose_cutover(settings, dynamodb, load_mappings(settings)))


async def adopt_database(settings: Settings, by: str, because: str) -> Adoption:
    """Pair what the settings name. Raises SettingsError, CredentialsError, StoreError."""
    if not settings.dsql.given:
        raise SettingsError(["this needs DSQL: set endpoint or dsn in [dsql]"])
    mappings = load_mappings(settings)
    async with AsyncExitStack() as stack:
        pool = open_pool(settings.dsql)
        stack.push_async_callback(pool.close_or_terminate)
        table = None
        if settings.stages.table is not None:
            upstream = await stack.enter_async_context(open_upstream(settings, os.environ))
            table = StageTable(DynamoDBStore(upstream, settings.dynamodb.timeout_seconds), settings.stages.table)
        return await adopt(
            AuthorityTable(pool, settings.dsql.schema, seconds=settings.dsql.timeout_seconds),
            table,
            Stages(settings, types_of(mappings)),
            {name: mapping_digest(each.mapping) for name, each in mappings.items()},
            by=by,
            because=because,
        )


def adoption_document(done: Adoption) -> dict[str, Any]:
    """Return what was done, ready for JSON."""
    after = done.after
    return {
        "adopted": True,
        "installation": after.installation or None,
        "database": after.database,
        "stage_table": after.stage_table or None,
        "installation_before": done.before.installation or None,
        "database_before": done.before.database or None,
        "stage_table_before": done.before.stage_table or None,
        "authorities": {name: each.authority for name, each in sorted(after.scopes.items())},
    }


def adoption_text(done: Adoption) -> str:
    """Return what was done, and what has to follow, for people."""
    after, before = done.after, done.before
    where = f"the stage table {after.stage_table!r}" if after.stage_table else "the stages in these settings"
    lines = [f"{where} and the DSQL database {after.database} belong together from now on"]
    if before.installation is not None:
        held = f"the stage table {before.stage_table!r}" if before.stage_table else "pinned stages"
        lines.append(f"  before: {held}, database {before.database}: its processes are refused from now on")
    for name, each in sorted(after.scopes.items()):
        lines.append(f"  {name}: {'DSQL' if each.authority == DSQL else 'DynamoDB'} is the authority")
    lines.append("Every era has ended: sweep each table before a flip (crossfade verify --table TABLE --repair)")
    return "\n".join(lines)
