"""Moves a stage: announces, waits, commits or gives up, and says how it goes. Talks to the stage table only, so it runs
in the command line as well as in a proxy.

Whatever becomes of it, nothing stays held: it gives up at its limits, at Ctrl-C and at any error; where it is killed,
the proxies end its move themselves (`proxy.cutover.flip.participant`). What is written is decided in
`proxy.cutover.flip.protocol`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from proxy.cutover.clock_skew import clock_skew_margin
from proxy.cutover.eras import broken_by_move
from proxy.cutover.flip import protocol as flips
from proxy.cutover.flip.active_move import ActiveMove, MoveAborted, MoveCommitted, MoveProgress, proxies_of, read
from proxy.cutover.flip.lease import boottime
from proxy.cutover.flip.participant import FLIP_POLL_SECONDS
from proxy.cutover.flip.protocol import Flip, Phase, StageTableState
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import StageRow, StageTable
from proxy.cutover.stages import StageMap, Stages
from proxy.stores.attempts import Backoff, retry
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable

T = TypeVar("T")

_BEAT_SECONDS: Final = 0.3
_SILENCE_SECONDS: Final = 10.0
_ATTEMPTS: Final = 5
_BACKOFF: Final = Backoff(0.1, 0.1, min_share=1.0)
_SAY_SECONDS: Final = 0.25
_CROWDED: Final = "another change of the stages came first: look at the stages, and try again"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What the gate says of a move: the sentences that stand against it, and all of it for the history. `of` are the
    stages that it was given for: on others it says nothing, not even of what no force can do."""

    against: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    of: StageMap | None = None


GateCheck = Callable[[MoveRequest], Awaitable[GateDecision]]


async def _no_judge(_: MoveRequest) -> GateDecision:
    return GateDecision()


class Coordinator:
    """One for each move, or one after another. `stages` are of its own: those that the settings begin with, and the
    types that the mappings declare."""

    def __init__(
        self,
        table: StageTable,
        stages: Stages,
        *,
        lease_seconds: float = 10.0,
        hold_seconds: float = 2.0,
        judge: GateCheck = _no_judge,
        name: str | None = None,
        clock: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
    ) -> None:
        self._table = table
        self._stages = stages
        self._announce_limit = 2 * (lease_seconds + clock_skew_margin(lease_seconds))
        self._hold_limit = hold_seconds
        self._judge = judge
        self._name = name or f"{socket.gethostname()}, process {os.getpid()}"
        self._clock = clock
        self._wall = wall
        self._new_id = new_id

    async def move(self, move: MoveRequest) -> AsyncIterator[MoveProgress | MoveCommitted | MoveAborted]:
        """Make a move, and say how it goes; the last word is Moved or Kept. Raises StoreError only where it cannot be
        told how it ended."""
        began = self._clock()
        known = await _retry(lambda: read(self._table))
        start = await self._begin(known, move)
        if isinstance(start, MoveAborted):
            yield start
            return
        if move.dry_run:
            yield MoveProgress("dry run", self._clock() - began, text=self._would(start))
            yield MoveAborted(known.map.epoch, "this was a dry run")
            return
        if not await self._announce(known.announced(start)):
            yield MoveAborted(known.map.epoch, _CROWDED)
            return
        run = ActiveMove(self._table, self._clock, self._wall, known.map, start, known.version + 1)
        try:
            async for each in self._drive(run):
                yield each
        except BaseException:
            # Ctrl-C, or a consumer that has gone: nothing may stay held because of that.
            with contextlib.suppress(StoreError):
                await self._give_up(run, "it was interrupted")
            raise

    # -- before -------------------------------------------------------------------------------------------------------

    async def _begin(self, known: StageTableState, move: MoveRequest) -> Flip | MoveAborted:
        """The move as it will be announced, or why it will not be."""
        epoch = known.map.epoch
        self._stages.adopt(known.map)
        placed = self._stages.placed(move.scope.table, move.scope.item_type)
        if known.flip is not None:
            on = known.flip
            return MoveAborted(epoch, f"{on.scope} is being moved to {on.to} by {on.by}: try again when that is over")
        refused = flips.refusal(move)
        if refused is not None:
            return MoveAborted(epoch, refused)
        if not flips.moved_types(self._stages, move):
            return MoveAborted(epoch, f"{move.scope} is in {move.to} already")
        judgement = await self._judge(move)
        if judgement.of is not None and judgement.of != known.map:
            return MoveAborted(epoch, _CROWDED)
        if judgement.against and not move.force:
            return MoveAborted(epoch, "; ".join(judgement.against))
        return Flip(
            id=self._new_id(),
            scope=move.scope,
            start=placed.stage,
            to=move.to,
            ramp=move.ramp or 0.0,
            by=move.by,
            because=move.because or None,
            forced=move.force,
            moves=flips.moves_authority(self._stages, move),
            phase=Phase.ANNOUNCED,
            driver=self._name,
            started=self._wall(),
            gate=judgement.document,
            ramp_before=placed.ramp,
            broken=broken_by_move(self._stages, move.scope, move.to),
            paired=known.map.pairing is not None,
        )

    def _would(self, flip: Flip) -> str:
        what = f"{flip.scope} would go from {flip.start} to {flip.to}"
        ramp = f" with {flip.ramp:g} % of reads from DSQL" if flip.ramp else ""
        if not flip.moves:
            return f"{what}{ramp}; no write would be held"
        held = f"new writes to it would be held until every proxy has drained, for {self._hold_limit:g} s at most"
        return f"{what}{ramp}; {held}"

    # -- under way ----------------------------------------------------------------------------------------------------

    async def _drive(self, run: ActiveMove) -> AsyncIterator[MoveProgress | MoveCommitted | MoveAborted]:
        said: tuple[Any, ...] = ()
        said_at = float("-inf")
        while True:
            try:
                await run.look()
                if run.flip is not None and self._hopeless(run) is None:
                    await self._next(run)
            except StoreError as error:
                run.failed(error, _SILENCE_SECONDS)
            if run.flip is None:
                await run.sweep()
                yield run.end
                return
            reason = self._hopeless(run)
            if reason is not None:
                yield await self._give_up(run, reason)
                return
            proxies = proxies_of(run.flip, run.seen)
            saying = (run.flip.phase, tuple((each.process, each.phase) for each in proxies))
            if saying != said or self._clock() - said_at >= _SAY_SECONDS:
                said, said_at = saying, self._clock()
                yield MoveProgress(str(run.flip.phase), said_at - run.began, proxies, run.waits_for())
            await asyncio.sleep(FLIP_POLL_SECONDS)

    async def _next(self, run: ActiveMove) -> None:
        """Into the next phase if that may be, else one more beat when it is time."""
        flip, known, now = run.flip, run.known, self._wall()
        assert flip is not None
        past = run.fresh and flips.all_voted(flip, run.seen)
        if past and flip.phase is Phase.SWITCHED:
            await run.write(known.ended(), flips.entry(flip, known.map.epoch, now, reason=None, seen=run.seen))
        elif past and (flip.phase is Phase.HOLDING or not flip.moves):
            await run.write(known.switched(flip, now))
        elif past and flips.not_ready_reason(flip, run.seen) is None:
            await run.write(known.holding(flip, now))
        elif self._clock() - run.written_at >= _BEAT_SECONDS:
            await run.write(known.beaten(flip))

    def _hopeless(self, run: ActiveMove) -> str | None:
        """Why to give up, if it is time to."""
        flip = run.flip
        if flip is None or flip.phase is Phase.SWITCHED:
            return None
        against = flips.blocked_reason(flip, run.seen)
        if against is not None:
            return against
        if flip.phase is Phase.HOLDING and self._clock() - run.held_at >= self._hold_limit:
            return (
                f"writes were held for {self._hold_limit:g} s, {run.waits_for() or 'and the stage table is too slow'}"
            )
        if flip.phase is not Phase.ANNOUNCED:
            return None
        against = flips.not_ready_reason(flip, run.seen) if run.fresh and flips.all_voted(flip, run.seen) else None
        if self._clock() - run.began >= self._announce_limit:
            return against or run.waits_for() or "the stage table is too slow"
        return against if flips.lingering(run.seen) > self._announce_limit or flips.parked(run.seen) else None

    async def _give_up(self, run: ActiveMove, reason: str) -> MoveCommitted | MoveAborted:
        """End it: with all as it was or, after the commit, with all as it is now; never half way. Raises StoreError
        where the stage table does not answer: the proxies end it then."""
        while run.flip is not None:
            try:
                await run.look()
                flip = run.flip
                if flip is not None and flip.phase is Phase.SWITCHED:
                    await self._next(run)
                elif flip is not None:
                    epoch = run.known.map.epoch
                    told = flips.entry(flip, epoch, self._wall(), reason=reason, seen=run.seen)
                    await run.write(run.known.ended(), told, reason=reason)
            except StoreError as error:
                run.failed(error, _SILENCE_SECONDS)
            if run.flip is not None:
                await asyncio.sleep(FLIP_POLL_SECONDS)
        return run.end

    async def _announce(self, state: StageRow) -> bool:
        """The first write of a move; whether it was taken, even where its answer was lost."""
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
    """A few attempts, because a command that fails at the first lost packet is tiresome. Raises StoreError."""
    return await retry(call, _BACKOFF, attempts=_ATTEMPTS, retryable=(Unreachable, UnknownOutcome))
