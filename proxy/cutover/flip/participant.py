"""This process among the others: it renews its lease, reads the stages, and does its part when they are moved.

One loop writes the lease item, so that its writes have an order. Each round renews, then reads the state and follows
it; nothing is renewed again before the state was read, so that one who can write and not read does not look alive.
Decides no move; but one whose driver has gone silent is ended by whoever sees it first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from proxy.cutover.eras import broken_by_settings, history_entry
from proxy.cutover.flip.active_move import read
from proxy.cutover.flip.fencing import DrainStatus, FenceControl
from proxy.cutover.flip.lease import Lease, boottime
from proxy.cutover.flip.protocol import (
    Flip,
    HeartbeatTimeout,
    LeaseObserver,
    ObservedLease,
    Phase,
    StageTableState,
    Vote,
    all_voted,
    entry,
)
from proxy.cutover.stage_table import LeaseItem, StageTable
from proxy.logs import LogThrottle
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable

log = structlog.get_logger(__name__)

# How often a process looks while stages are moved, and how long its lease is once writes are held.
FLIP_POLL_SECONDS: Final = 0.02
SHORT_SECONDS: Final = 0.5
# A process that has been clean for so many leases no longer owes; a shorter time would cost a write more often.
_CLEAN_LEASES: Final = 3
_ROUNDS_A_LEASE: Final = 4
_ARRIVALS: Final = 5
_AGAIN_SECONDS: Final = 0.1
_NOTE_SECONDS: Final = 0.25


class Participant:
    """`process` is its identity, which it keeps as long as it keeps its journal. `begins` are the stages that its
    settings begin with, as text. `arrive` before the first operation, `run` in a task, `leave` after the last."""

    def __init__(
        self,
        table: StageTable,
        floor: FenceControl,
        *,
        process: str,
        begins: str = "",
        listen: str = "",
        lease_seconds: float = 10.0,
        poll_seconds: float = 1.0,
        clock: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
        life: str | None = None,
    ) -> None:
        self.lease = Lease(clock)
        self.problem: str | None = "the stages have not been read yet"
        # Whether another process has taken over its name.
        self.replaced = False
        self._table = table
        self._floor = floor
        self._process = process
        self._begins = begins
        self._listen = listen
        self._seconds = lease_seconds
        self._poll = poll_seconds
        self._clock = clock
        self._wall = wall
        self._life = life or uuid.uuid4().hex
        self._host = socket.gethostname()
        self._started = wall()
        self._listed = False
        self._recorded = False
        self._over: str | None = None
        self._renewals = 0
        self._sent = float("-inf")
        self._granted = 0.0
        self._until = float("-inf")
        self._answer: tuple[str, str] = ("", "")
        self._next: tuple[str, str] = ("", "")
        self._note: dict[str, Any] = {}
        self._said: Mapping[str, Any] = {}
        self._renewed = False  # and the state has not been read since
        self._epoch = -1
        self._flip: Flip | None = None
        self._held: str | None = None
        self._clean_since: float | None = None
        self._silence = HeartbeatTimeout()
        self._watch = LeaseObserver()
        self._throttle = LogThrottle(clock=clock)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def arrive(self) -> None:
        """Take a lease, and follow the stages as they are. Nothing may be served or converged before.

        Raises Unreachable (`run` goes on trying), or Refused, which says what an operator has to mend.
        """
        why = "it is too slow"
        for _ in range(_ARRIVALS):
            try:
                await self._round()
            except (Unreachable, UnknownOutcome) as error:
                why = str(error)
                await asyncio.sleep(_AGAIN_SECONDS)
            if self.lease.valid:
                return
            self._sent = float("-inf")
        raise Unreachable("lease", f"no lease could be taken in the stage table {self._table.name}: {why}")

    async def run(self) -> None:
        """One round after another, for ever."""
        while True:
            try:
                async with asyncio.timeout(self._pause()):
                    await self.lease.wake.wait()
            except TimeoutError:
                pass
            self.lease.wake.clear()
            try:
                await self._round()
            except StoreError as error:
                self._tell(error)
                # Where nothing can be asked, asking at once again and again helps nobody.
                await asyncio.sleep(self._poll if isinstance(error, Refused) else min(self._poll, _AGAIN_SECONDS))

    async def leave(self) -> None:
        """Serve no more. With nothing left in the journal the process is gone for good; else it is known to owe."""
        owes = not self._floor.clean
        self.lease.end()
        try:
            self._renewals += 1
            item = self._item(owes=owes, seconds=0.0)
            if await self._table.put_lease(item, self._over) and not owes:
                await self._table.delete_lease(item)
        except StoreError as error:
            log.warning("lease_left_behind", process=self._process, reason=error.reason)

    def listens(self, at: str) -> None:
        """Where it serves clients, if that is not what the settings say: with port 0 the system chose one."""
        if at != self._listen:
            self._listen = at
            self._sent = float("-inf")  # the next round tells

    @property
    def flip(self) -> Flip | None:
        """The move that this process is taking part in."""
        return self._flip

    # -- a round ------------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        if not self._listed:
            await self._table.ensure()
            await self._enlist()
            self._listed = True
        self._look()
        if self._due() and not self._renewed:
            await self._renew()
        asked = self._clock()
        known = await read(self._table)
        if not self._recorded:
            known = await self._record_beginnings(known)
        self._follow(known)
        if self._renewed:
            self._renewed = False
            self.lease.extend(self._until)
        if self.lease.valid:
            self.problem = None
        self._look()
        if self._flip is not None and self._silence.see(self._flip, asked, self._clock()):
            with contextlib.suppress(Unreachable, UnknownOutcome):  # others are at it too; the next round tells
                await self._take_over(known, self._flip)

    async def _record_beginnings(self, known: StageTableState) -> StageTableState:
        """Once in this life: the stages that its settings begin with. Where they began elsewhere before, what was
        shown then is not shown any more."""
        if known.flip is not None:
            return known  # when the move is over
        broken = broken_by_settings(known.map, self._begins)
        if known.map.begins != self._begins:
            after = replace(known.map, begins=self._begins)
            because = "the settings begin with other stages"
            entry = history_entry(known.map, broken, because, self._process) if broken else None
            after = after.broken(broken, self._wall(), because) if broken else after
            row = known.written(None, after)
            if not await self._table.write_state(row, entry=entry):
                return known  # somebody else was faster: the next round sees what they wrote
            known = StageTableState.of(row)
        self._recorded = True
        return known

    def _due(self) -> bool:
        if self.lease.wanted or self._answer != self._next:
            return True
        rested = self._clock() - self._sent
        if self._note != self._said and rested >= _NOTE_SECONDS:
            return True  # whoever moves stages waits for what it says, and people watch it
        return rested >= self._granted / _ROUNDS_A_LEASE

    def _pause(self) -> float:
        if self._answer != self._next and not self._renewed:
            return 0.0  # what has just come true is said at once
        if self._flip is not None or self.lease.wanted:
            return FLIP_POLL_SECONDS
        if not self.lease.valid:
            return min(self._poll, _AGAIN_SECONDS)
        return min(self._poll, self._granted / _ROUNDS_A_LEASE)

    def _lasts(self) -> float:
        """For how long a renewal is good. Short when the map may change without another word of this process."""
        short = self._epoch < 0 or (self._flip is not None and self._flip.holds)
        return min(SHORT_SECONDS, self._seconds) if short else self._seconds

    async def _enlist(self) -> None:
        """Find what is in the table under this process's name, to write over it."""
        before = await self._table.lease(self._process)
        if before is not None and before.life != self._life and self._over == self._life:
            # It was this life's, and is another's: they would answer for each other.
            self.replaced = True
            raise Refused("identity", f"another process answers as {self._process}: give each a journal of its own")
        self._over = before.life if before is not None else None
        self._renewals = max(self._renewals, before.renewals if before is not None else 0)
        self.lease.taken(owes=before is not None and before.owes)

    async def _renew(self) -> None:
        seconds, answer, now = self._lasts(), self._next, self._clock()
        owes = self._owes(now)
        self._renewals += 1
        self._sent, self._granted = now, seconds
        self.lease.sends(now + seconds, owes=owes)
        item = self._item(owes=owes, seconds=seconds, answer=answer)
        if not await self._table.put_lease(item, self._over):
            self.lease.end()
            self._sent = float("-inf")  # the next round takes another
            await self._enlist()
            log.warning("lease_lost", process=self._process, remedy="none, if it was forgotten by an operator")
            return
        self._over = self._life
        self._answer, self._said = answer, item.note
        self._until = now + seconds
        self._renewed = True
        self.lease.taken(owes=owes)

    def _owes(self, now: float) -> bool:
        """Whether the next renewal says that this process owes."""
        clean = self._floor.clean
        if not clean:
            self._clean_since = None
        elif self._clean_since is None:
            self._clean_since = now
        if self.lease.wanted or not clean:
            return True
        rested = self._clean_since is not None and now - self._clean_since >= _CLEAN_LEASES * self._seconds
        return self.lease.owing and not rested

    def _item(self, *, owes: bool, seconds: float, answer: tuple[str, str] = ("", "")) -> LeaseItem:
        return LeaseItem(
            process=self._process,
            life=self._life,
            renewals=self._renewals,
            seconds=seconds,
            epoch=max(0, self._epoch),
            flip=answer[0],
            phase=answer[1],
            owes=owes,
            begins=self._begins,
            note=self._note,
            host=self._host,
            pid=os.getpid(),
            started=self._started,
            renewed=self._wall(),
            listen=self._listen,
        )

    # -- its part in a move -------------------------------------------------------------------------------------------

    def _follow(self, known: StageTableState) -> None:
        """The stages as they are now, and the move under way. Nothing awaits in here: for all others it is one step."""
        if known.map.epoch < self._epoch:
            raise Refused(
                "epoch",
                f"the stage table {self._table.name} is at epoch {known.map.epoch}, and this process has seen "
                f"{self._epoch}: the table was replaced; put its items back, or start every proxy again",
            )
        flip = known.flip
        if self._held is not None and (flip is None or flip.id != self._held or not flip.holds):
            self._held = None
            self._floor.adopt(known.map)
            self._floor.release()
        if flip is not None and flip.holds and self._held is None:
            self._floor.hold(flip.scope)
            self._held = flip.id
        self._floor.adopt(known.map)
        self._epoch = known.map.epoch
        self._flip = flip

    def _look(self) -> None:
        """What there is to answer to the move as things stand in this process."""
        flip = self._flip
        if flip is None:
            self._next, self._note = ("", ""), {}
            return
        drain = self._floor.drain(flip.scope, flip.to.authority if flip.moves else None)
        problem = self._floor.problem(flip.scope, flip.to)
        self._next = (flip.id, str(self._answer_to(flip, drain, problem)))
        self._note = {
            "writers": drain.writers,
            "keys": drain.keys,
            "parked": drain.parked,
            "lingering": round(drain.lingering_seconds, 3),
            **({"problem": problem} if problem else {}),
        }

    def _answer_to(self, flip: Flip, drain: DrainStatus, problem: str | None) -> Vote:
        if flip.phase is Phase.SWITCHED:
            # Where the authority moved, nothing had been under way; and what began elsewhere must not keep others.
            waits = not flip.moves and self._floor.began_before(flip.scope)
            return Vote.READY if waits else Vote.SWITCHED
        if problem is not None:
            return Vote.REFUSED
        if flip.phase is Phase.HOLDING and drain.done and (flip.forced or not drain.parked):
            return Vote.DRAINED
        return Vote.READY

    async def _take_over(self, known: StageTableState, flip: Flip) -> None:
        """Its driver is gone: before the commit all stays as it was, after it the move is brought to its end."""
        seen: list[ObservedLease] = []
        reason: str | None = f"its driver ({flip.driver}) was gone"
        if flip.phase is Phase.SWITCHED:
            asked = self._clock()
            seen = self._watch.see(await self._table.leases(), asked, self._clock())
            if not all_voted(flip, seen):
                return
            reason = None
        told = entry(flip, known.map.epoch, self._wall(), reason=reason, seen=seen)
        if await self._table.write_state(known.ended(), entry=told):
            log.warning("flip_ended_for_its_driver", flip=flip.id, phase=str(flip.phase), driver=flip.driver)

    def _tell(self, error: StoreError) -> None:
        """Once a minute: while it lasts, every round fails alike."""
        self.problem = f"the stages cannot be read: {error}"
        if self._throttle.allows():
            log.error("stage_table_out_of_reach", reason=error.reason, detail=str(error))
