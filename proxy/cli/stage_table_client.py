"""The way straight to the stage table: no proxy needs to run, and the gate knows what they told it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from proxy.cli.stage_client import Say
from proxy.cutover import documents
from proxy.cutover.compose import cutover_of
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.service import CutoverService
from proxy.cutover.stages import Scope, Stage
from proxy.mapping.load import load_mappings
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.store import DynamoDBStore

_NO_TABLE: Final = (
    "no stage table is set: set table in [stages], as the proxies have it, or ask a proxy: --admin http://HOST:PORT"
)


class StageTableClient:
    """`Way`, at the stage table itself."""

    def __init__(self, cutover: CutoverService) -> None:
        self._cutover = cutover

    async def standing(self) -> Mapping[str, Any]:
        look = await self._cutover.look()
        return documents.standing(look.standing, {at: look.gate_before(at) for at in look.standing.places})

    async def gate(self, scope: Scope, to: Stage | None) -> Mapping[str, Any]:
        look = await self._cutover.look(scope)
        return documents.gate(look.gate(scope, to or look.next(scope)), look.place(scope).stage)

    async def preview(self, request: MoveRequest) -> Mapping[str, Any]:
        return await self._cutover.preview(request)

    async def moving(self, request: MoveRequest) -> AsyncIterator[Mapping[str, Any]]:
        prepared = await self._cutover.prepare(request)
        async for step in self._cutover.carry_out(prepared):
            yield {"end": step.document} if step.end else step.document

    async def history(self, limit: int) -> list[Mapping[str, Any]]:
        return [documents.entry(each) for each in await self._cutover.history(limit)]

    async def forget(self, process: str, by: str, because: str, say: Say) -> str:
        return await self._cutover.forget(process, by, because, lambda progress: say(documents.progress(progress)))


@asynccontextmanager
async def straight(settings: Settings) -> AsyncIterator[StageTableClient]:
    """Raises SettingsError where no stage table is set, CredentialsError."""
    if settings.stages.table is None:
        raise SettingsError([_NO_TABLE])
    async with open_upstream(settings, os.environ) as upstream:
        dynamodb = DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)
        yield StageTableClient(cutover_of(settings, dynamodb, load_mappings(settings)))
