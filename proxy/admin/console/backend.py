"""The console's backend in a process: the layer's status, and the stages and moves of the cutover service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from proxy.cutover.model import HistoryEntry, MoveRefused
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.process_status import ProcessStatus
from proxy.cutover.service import CutoverService, PreparedMove
from proxy.cutover.snapshot import StagesSnapshot
from proxy.problems import Problem
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)


class ProcessBackend:
    """The `ConsoleBackend` of a process. `close` aborts moves under way."""

    def __init__(self, process: ProcessStatus, cutover: CutoverService) -> None:
        self._process = process
        self._cutover = cutover
        self._moves: set[asyncio.Task[None]] = set()

    async def status(self) -> Mapping[str, Any]:
        return await self._process.status()

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return self._process.mismatches(limit)

    def problems(self) -> Sequence[str]:
        return self._process.problems()

    async def snapshot(self) -> StagesSnapshot:
        return await self._cutover.snapshot()

    async def history(self, limit: int) -> Sequence[HistoryEntry]:
        return [history_entry(each) for each in await self._cutover.history(limit)]

    async def move(self, request: MoveRequest) -> None:
        """Begin a move. Raises MoveRefused for one that may not be made, StoreError if the stage table is
        unreachable."""
        try:
            prepared = await self._cutover.prepare(request)
        except Problem as problem:
            raise MoveRefused(problem.detail) from problem
        if prepared.unchanged:
            raise MoveRefused(f"{request.scope} is there already")
        task = asyncio.create_task(self._carry_out(prepared))
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    async def close(self) -> None:
        for task in self._moves:
            task.cancel()
        if self._moves:
            await asyncio.wait(self._moves)

    async def _carry_out(self, prepared: PreparedMove) -> None:
        scope = str(prepared.request.scope)
        try:
            async for _ in self._cutover.carry_out(prepared):
                pass
        except StoreError as error:
            log.error("stage_move_unknown", scope=scope, why=str(error), remedy="check the stages")
        except Exception:
            log.exception("move_fault", scope=scope)


_NO_MOVES: Final = ("adopted", "era ended", "forgotten")
"""The outcomes in the history that are no moves."""


def history_entry(kept: Mapping[str, Any]) -> HistoryEntry:
    """An entry of the stage table's history as the console shows it."""
    outcome = kept.get("outcome")
    forgotten = outcome == "forgotten"
    before = kept.get("from") or ""
    after = str(outcome) if outcome in _NO_MOVES else kept.get("to") or ""
    ramp_set = before == after == "shadow"
    return HistoryEntry(
        at=float(kept.get("at") or 0.0),
        scope=str(kept.get("process") if forgotten else kept.get("scope") or ", ".join(kept.get("scopes") or ())),
        before=_with_ramp(before, kept.get("ramp_before"), always=ramp_set and kept.get("ramp_before") is not None),
        after=_with_ramp(after, kept.get("ramp"), always=ramp_set),
        by=kept.get("by") or "",
        committed=outcome in ("moved", *_NO_MOVES),
        reason=kept.get("reason") or "",
        because=kept.get("because") or "",
        held_ms=kept.get("held_ms"),
        epoch=kept.get("epoch") or 0,
        forced=bool(kept.get("forced")),
    )


def _with_ramp(stage: str, ramp: float | None, *, always: bool) -> str:
    return f"{stage}, {ramp or 0:g} % of reads from DSQL" if stage == "shadow" and (ramp or always) else stage
