"""The coordinator of a move: announces it, waits for votes, commits or aborts, and reports the progress. It uses the
stage table alone, so it runs in the command line as well as in a proxy.

Writes never stay held: the coordinator aborts at its limits, on Ctrl-C and on any error; if it is killed, the processes
end its move themselves (`proxy.cutover.flip.participant`). `proxy.cutover.flip.protocol` decides what is written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from proxy.cutover.clock_skew import clock_skew_margin
from proxy.cutover.eras import ended_by_move
from proxy.cutover.flip import protocol as flips
from proxy.cutover.flip.active_move import (
    ActiveMove,
    MoveAborted,
    MoveCommitted,
    MoveProgress,
    progress_of_processes,
    read_state,
)
from proxy.cutover.flip.clocks import SYSTEM_CLOCKS, Clocks
from proxy.cutover.flip.participant import FLIP_POLL_SECONDS
from proxy.cutover.flip.protocol import Flip, Phase, StageTableState
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import StageRow, StageTable
from proxy.cutover.stages import StageMap, Stages
from proxy.stores.attempts import Backoff, retry
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable

T = TypeVar("T")

_HEARTBEAT_SECONDS: Final = 0.3
_SILENCE_SECONDS: Final = 10.0
_ATTEMPTS: Final = 5
_BACKOFF: Final = Backoff(0.1, 0.1, min_share=1.0)
_PROGRESS_SECONDS: Final = 0.25
_CONFLICT: Final = "another change of the stages came first: check the stages and try again"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What the gate decided about a move: the sentences that object to it, and the whole gate for the history.
    `stage_map` holds the stages that it was decided on; with others the decision is void, whatever force is used."""

    objections: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    stage_map: StageMap | None = None


GateCheck = Callable[[MoveRequest], Awaitable[GateDecision]]


async def _open_gate(_: MoveRequest) -> GateDecision:
    return GateDecision()


class Coordinator:
    """Carries out one move at a time. `stages` must be its own, built from the settings and the mappings' types."""

    def __init__(
        self,
        table: StageTable,
        stages: Stages,
        *,
        lease_seconds: float = 10.0,
        hold_seconds: float = 2.0,
        gate_check: GateCheck = _open_gate,
        name: str | None = None,
        clocks: Clocks = SYSTEM_CLOCKS,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
    ) -> None:
        self._table = table
        self._stages = stages
        self._announce_limit = 2 * (lease_seconds + clock_skew_margin(lease_seconds))
        self._hold_limit = hold_seconds
        self._gate_check = gate_check
        self._name = name or f"{socket.gethostname()}, process {os.getpid()}"
        self._clocks = clocks
        self._new_id = new_id

    async def move(self, move: MoveRequest) -> AsyncIterator[MoveProgress | MoveCommitted | MoveAborted]:
        """Make a move and report its progress; the last item is MoveCommitted or MoveAborted. Raises StoreError only
        where the outcome is unknown."""
        began = self._clocks.elapsed()
        known = await _retry(lambda: read_state(self._table))
        start = await self._begin(known, move)
        if isinstance(start, MoveAborted):
            yield start
            return
        if move.dry_run:
            yield MoveProgress("dry run", self._clocks.elapsed() - began, text=self._preview(start))
            yield MoveAborted(known.map.epoch, "this was a dry run")
            return
        if not await self._announce(known.announce(start)):
            yield MoveAborted(known.map.epoch, _CONFLICT)
            return
        active = ActiveMove(self._table, self._clocks.elapsed, known.map, start, known.version + 1)
        try:
            async for each in self._run(active):
                yield each
        except BaseException:
            # Ctrl-C, or a consumer that went away: writes must not stay held.
            with contextlib.suppress(StoreError):
                await self._abort(active, "it was interrupted")
            raise

    # -- before -------------------------------------------------------------------------------------------------------

    async def _begin(self, known: StageTableState, move: MoveRequest) -> Flip | MoveAborted:
        """The move as it will be announced, or the reason against it."""
        epoch = known.map.epoch
        self._stages.adopt(known.map)
        placed = self._stages.placement(move.scope.table, move.scope.item_type)
        if known.flip is not None:
            on = known.flip
            return MoveAborted(
                epoch, f"{on.scope} is being moved to {on.to} by {on.by}: try again when that move has ended"
            )
        refused = flips.refusal_reason(move)
        if refused is not None:
            return MoveAborted(epoch, refused)
        if not flips.moved_types(self._stages, move):
            return MoveAborted(epoch, f"{move.scope} is in {move.to} already")
        decision = await self._gate_check(move)
        if decision.stage_map is not None and decision.stage_map != known.map:
            return MoveAborted(epoch, _CONFLICT)
        if decision.objections and not move.force:
            return MoveAborted(epoch, "; ".join(decision.objections))
        return Flip(
            id=self._new_id(),
            scope=move.scope,
            from_stage=placed.stage,
            to=move.to,
            ramp=move.ramp or 0.0,
            by=move.by,
            because=move.because or None,
            forced=move.force,
            moves_authority=flips.moves_authority(self._stages, move),
            phase=Phase.ANNOUNCED,
            coordinator=self._name,
            started=self._clocks.wall(),
            gate=decision.document,
            ramp_before=placed.ramp,
            ended_eras=ended_by_move(self._stages, move.scope, move.to),
            paired=known.map.pairing is not None,
        )

    def _preview(self, flip: Flip) -> str:
        what = f"{flip.scope} would go from {flip.from_stage} to {flip.to}"
        ramp = f" with {flip.ramp:g} % of reads from DSQL" if flip.ramp else ""
        if not flip.moves_authority:
            return f"{what}{ramp}; no write would be held"
        held = f"new writes to it would be held until every proxy has drained, for at most {self._hold_limit:g} s"
        return f"{what}{ramp}; {held}"

    # -- under way ----------------------------------------------------------------------------------------------------

    async def _run(self, active: ActiveMove) -> AsyncIterator[MoveProgress | MoveCommitted | MoveAborted]:
        last_reported: tuple[Any, ...] = ()
        reported_at = float("-inf")
        while True:
            try:
                await active.refresh()
                if active.flip is not None and self._abort_reason(active) is None:
                    await self._advance(active)
            except StoreError as error:
                active.check_silence(error, _SILENCE_SECONDS)
            if active.flip is None:
                await active.delete_expired_leases()
                yield active.outcome
                return
            reason = self._abort_reason(active)
            if reason is not None:
                yield await self._abort(active, reason)
                return
            proxies = progress_of_processes(active.flip, active.leases)
            report = (active.flip.phase, tuple((each.process, each.phase) for each in proxies))
            if report != last_reported or self._clocks.elapsed() - reported_at >= _PROGRESS_SECONDS:
                last_reported, reported_at = report, self._clocks.elapsed()
                yield MoveProgress(
                    str(active.flip.phase), reported_at - active.started_at, proxies, active.waiting_text()
                )
            await asyncio.sleep(FLIP_POLL_SECONDS)

    async def _advance(self, active: ActiveMove) -> None:
        """Write the next phase if the votes allow it, else a heartbeat when one is due."""
        flip, known, now = active.flip, active.state, self._clocks.wall()
        assert flip is not None
        may_advance = active.leases_of_phase and flips.all_voted(flip, active.leases)
        if may_advance and flip.phase is Phase.SWITCHED:
            await active.write(
                known.end(), flips.move_entry(flip, known.map.epoch, now, reason=None, seen=active.leases)
            )
        elif may_advance and (flip.phase is Phase.HOLDING or not flip.moves_authority):
            await active.write(known.commit(flip, now, active.leases))
        elif may_advance and flips.not_ready_reason(flip, active.leases) is None:
            await active.write(known.hold_writes(flip, now))
        elif self._clocks.elapsed() - active.written_at >= _HEARTBEAT_SECONDS:
            await active.write(known.send_heartbeat(flip))

    def _abort_reason(self, active: ActiveMove) -> str | None:
        """Why the move must be aborted now; None if it may go on."""
        flip = active.flip
        if flip is None or flip.phase is Phase.SWITCHED:
            return None
        reason = flips.blocked_reason(flip, active.leases)
        if reason is not None:
            return reason
        waiting = active.waiting_text()
        if flip.phase is Phase.HOLDING and self._clocks.elapsed() - active.held_at >= self._hold_limit:
            return f"writes were held for {self._hold_limit:g} s, {waiting or 'and the stage table is too slow'}"
        if flip.phase is not Phase.ANNOUNCED:
            return None
        reason = (
            flips.not_ready_reason(flip, active.leases)
            if active.leases_of_phase and flips.all_voted(flip, active.leases)
            else None
        )
        if self._clocks.elapsed() - active.started_at >= self._announce_limit:
            return reason or waiting or "the stage table is too slow"
        return (
            reason
            if flips.max_lingering_seconds(active.leases) > self._announce_limit or flips.parked_keys(active.leases)
            else None
        )

    async def _abort(self, active: ActiveMove, reason: str) -> MoveCommitted | MoveAborted:
        """Abort the move or, after the commit, complete it; it never ends half way. Raises StoreError where the stage
        table does not answer: the processes end the move then."""
        while active.flip is not None:
            try:
                await active.refresh()
                flip = active.flip
                if flip is not None and flip.phase is Phase.SWITCHED:
                    await self._advance(active)
                elif flip is not None:
                    epoch = active.state.map.epoch
                    entry = flips.move_entry(flip, epoch, self._clocks.wall(), reason=reason, seen=active.leases)
                    await active.write(active.state.end(), entry, reason=reason)
            except StoreError as error:
                active.check_silence(error, _SILENCE_SECONDS)
            if active.flip is not None:
                await asyncio.sleep(FLIP_POLL_SECONDS)
        return active.outcome

    async def _announce(self, state: StageRow) -> bool:
        """Write the announcement, and report whether it was stored, even if the response was lost."""
        sent = False

        async def attempt() -> bool:
            nonlocal sent
            if sent:
                found = await self._table.state()
                if found.version >= state.version:
                    return found == state
            sent = True
            return await self._table.write_state(state)

        return await _retry(attempt)


async def _retry(call: Callable[[], Awaitable[T]]) -> T:
    """Try a few times, so that one lost packet does not fail a command. Raises StoreError."""
    return await retry(call, _BACKOFF, attempts=_ATTEMPTS, retryable=(Unreachable, UnknownOutcome))
