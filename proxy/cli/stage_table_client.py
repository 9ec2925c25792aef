"""The stage client on the stage table itself: no proxy needs to run, and the gate uses the evidence that they
published."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from proxy.cli.stage_client import ReportProgress
from proxy.cutover import documents
from proxy.cutover.compose import compose_cutover
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.service import CutoverService
from proxy.cutover.stages import Scope, Stage
from proxy.mapping.load import load_mappings
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
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
