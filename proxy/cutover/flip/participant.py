"""The participant: this process's part in moves. It renews the lease, reads the stages, and votes.

One loop writes the lease item, so that its writes are ordered. Each round renews the lease, then reads the state and
applies it. The lease is not renewed again before the state was read: a process that can write but not read must not
look alive. The participant starts no move, but ends one whose coordinator has gone silent; the first process to notice
does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from proxy.cutover.eras import ended_by_settings, era_entry
from proxy.cutover.flip.active_move import read_state
from proxy.cutover.flip.clocks import SYSTEM_CLOCKS, Clocks
from proxy.cutover.flip.fencing import DrainStatus, FenceControl, FlipRecorder
from proxy.cutover.flip.lease import Lease
from proxy.cutover.flip.protocol import (
    RECORDED,
    Flip,
    HeartbeatTimeout,
    LeaseObserver,
    ObservedLease,
    Phase,
    StageTableState,
    Vote,
    all_voted,
    move_entry,
)
from proxy.cutover.stage_table import LeaseItem, StageTable
from proxy.logs import LogThrottle
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable

log = structlog.get_logger(__name__)

# How often a process polls during a move, and how long its lease is while writes are held.
FLIP_POLL_SECONDS: Final = 0.02
SHORT_LEASE_SECONDS: Final = 0.5
# A process that has owed nothing for this many leases no longer says that it owes; less would cost a write more often.
_CLEAN_LEASES: Final = 3
_ROUNDS_PER_LEASE: Final = 4
_JOIN_ATTEMPTS: Final = 5
_RETRY_SECONDS: Final = 0.1
_NOTE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """What a process writes about itself into its lease item."""

    name: str
    """Unique among the processes; it stays the same for as long as the journal does."""
    initial_stages: str = ""
    """The stages that the settings begin with, as text."""
    listen: str = ""
    """The address on which it serves clients."""
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)
    """A new one at each start."""


class Participant:
    """This process's part in moves. Call `join` before the first operation, run `run` in a task, and call `leave` after
    the last operation."""

    def __init__(
        self,
        table: StageTable,
        fence: FenceControl,
        identity: ProcessIdentity,
        *,
        lease_seconds: float = 10.0,
        poll_seconds: float = 1.0,
        clocks: Clocks = SYSTEM_CLOCKS,
        recorder: FlipRecorder | None = None,
    ) -> None:
        """`recorder` is None for a process that has no DSQL."""
        self.lease = Lease(clocks.elapsed)
        self.problem: str | None = "the stages have not been read yet"
        # Whether another process has taken this one's name.
        self.replaced = False
        self._table = table
        self._fence = fence
        self._identity = identity
        self._process = identity.name
        self._listen = identity.listen
        self._seconds = lease_seconds
        self._poll = poll_seconds
        self._clock = clocks.elapsed
        self._wall = clocks.wall
        self._recorder = recorder
        self._host = socket.gethostname()
        self._started = clocks.wall()
        self._listed = False
        self._recorded = False
        self._replaces: str | None = None
        self._renewals = 0
        self._sent_at = float("-inf")
        self._granted_seconds = 0.0
        self._valid_until = float("-inf")
        self._sent_vote: tuple[str, str] = ("", "")
        self._next_vote: tuple[str, str] = ("", "")
        self._note: dict[str, Any] = {}
        self._sent_note: Mapping[str, Any] = {}
        self._state_unread = False  # and the state has not been read since
        self._epoch = -1
        self._flip: Flip | None = None
        self._held_flip: str | None = None
        self._clean_since: float | None = None
        self._heartbeat_timeout = HeartbeatTimeout()
        self._lease_observer = LeaseObserver()
        self._throttle = LogThrottle(clock=clocks.elapsed)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Take a lease and apply the stages. Nothing may be served or converged before.

        Raises Unreachable (`run` goes on trying), or Refused, which says what an operator has to do.
        """
        why = "it is too slow"
        for _ in range(_JOIN_ATTEMPTS):
            try:
                await self._round()
            except (Unreachable, UnknownOutcome) as error:
                why = str(error)
                await asyncio.sleep(_RETRY_SECONDS)
            if self.lease.valid:
                return
            self._sent_at = float("-inf")
        raise Unreachable("lease", f"no lease could be taken in the stage table {self._table.name}: {why}")

    async def run(self) -> None:
        """Run rounds for ever."""
        while True:
            try:
                async with asyncio.timeout(self._wait_seconds()):
                    await self.lease.wake.wait()
            except TimeoutError:
                pass
            self.lease.wake.clear()
            try:
                await self._round()
            except StoreError as error:
                self._complain(error)
                # Retrying at once would only add load.
                await asyncio.sleep(self._poll if isinstance(error, Refused) else min(self._poll, _RETRY_SECONDS))

    async def leave(self) -> None:
        """End the lease after the last operation. With an empty journal the lease item is deleted; otherwise it stays
        and says that the process owes."""
        owes = not self._fence.clean
        self.lease.lose()
        try:
            self._renewals += 1
            item = self._item(owes=owes, seconds=0.0)
            if await self._table.put_lease(item, self._replaces) and not owes:
                await self._table.delete_lease(item)
        except StoreError as error:
            log.warning("lease_left_behind", process=self._process, reason=error.reason)

    def set_listen_address(self, at: str) -> None:
        """Publish the address on which it serves clients, which differs from the settings' where they say port 0."""
        if at != self._listen:
            self._listen = at
            self._sent_at = float("-inf")  # published in the next round

    @property
    def flip(self) -> Flip | None:
        """The move that this process is taking part in."""
        return self._flip

    # -- a round ------------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        if not self._listed:
            await self._table.ensure()
            await self._find_own_lease()
            self._listed = True
        self._evaluate()
        if self._due() and not self._state_unread:
            await self._renew()
        asked = self._clock()
        known = await read_state(self._table)
        if not self._recorded:
            known = await self._record_beginnings(known)
        self._apply(known)
        if self._state_unread:
            self._state_unread = False
            self.lease.extend(self._valid_until)
        if self.lease.valid:
            self.problem = None
        self._evaluate()
        if self._flip is not None and self._heartbeat_timeout.expired(self._flip, asked, self._clock()):
            with contextlib.suppress(
                Unreachable, UnknownOutcome
            ):  # other processes try too; the next round shows the result
                await self._take_over(known, self._flip)

    async def _record_beginnings(self, known: StageTableState) -> StageTableState:
        """Record the settings' initial stages, once after the start. Where they differ from before, the eras concerned
        end."""
        if known.flip is not None:
            return known  # after the move
        broken = ended_by_settings(known.map, self._identity.initial_stages)
        if known.map.initial_stages != self._identity.initial_stages:
            after = replace(known.map, initial_stages=self._identity.initial_stages)
            because = "the settings begin with other stages"
            entry = era_entry(known.map, broken, because, self._process) if broken else None
            after = after.with_new_eras(broken, self._wall(), because) if broken else after
            row = known.next_row(None, after)
            if not await self._table.write_state(row, entry=entry):
                return known  # another process was faster: the next round reads what it wrote
            known = StageTableState.from_row(row)
        self._recorded = True
        return known

    def _due(self) -> bool:
        if self.lease.owe_requested or self._sent_vote != self._next_vote:
            return True
        since_sent = self._clock() - self._sent_at
        if self._note != self._sent_note and since_sent >= _NOTE_SECONDS:
            return True  # the coordinator waits for the note, and people watch it
        return since_sent >= self._granted_seconds / _ROUNDS_PER_LEASE

    def _wait_seconds(self) -> float:
        if self._sent_vote != self._next_vote and not self._state_unread:
            return 0.0  # a new vote is sent at once
        if self._flip is not None or self.lease.owe_requested:
            return FLIP_POLL_SECONDS
        if not self.lease.valid:
            return min(self._poll, _RETRY_SECONDS)
        return min(self._poll, self._granted_seconds / _ROUNDS_PER_LEASE)

    def _lease_duration(self) -> float:
        """The duration of the next renewal: short while the map may change without a further vote of this process."""
        short = self._epoch < 0 or (self._flip is not None and self._flip.holds_writes)
        return min(SHORT_LEASE_SECONDS, self._seconds) if short else self._seconds

    async def _find_own_lease(self) -> None:
        """Read the lease item that has this process's name, which the next renewal replaces."""
        before = await self._table.lease(self._process)
        if (
            before is not None
            and before.incarnation != self._identity.incarnation
            and self._replaces == self._identity.incarnation
        ):
            # This incarnation wrote it, and another has replaced it: they would vote for each other.
            self.replaced = True
            raise Refused(
                "identity", f"another process uses the name {self._process}: give each process a journal of its own"
            )
        self._replaces = before.incarnation if before is not None else None
        self._renewals = max(self._renewals, before.renewals if before is not None else 0)
        self.lease.renewal_stored(owes=before is not None and before.owes)

    async def _renew(self) -> None:
        seconds, answer, now = self._lease_duration(), self._next_vote, self._clock()
        owes = self._owes(now)
        self._renewals += 1
        self._sent_at, self._granted_seconds = now, seconds
        self.lease.renewal_sent(now + seconds, owes=owes)
        item = self._item(owes=owes, seconds=seconds, answer=answer)
        if not await self._table.put_lease(item, self._replaces):
            self.lease.lose()
            self._sent_at = float("-inf")  # the next round takes another
            await self._find_own_lease()
            log.warning("lease_lost", process=self._process, remedy="none, if it was forgotten by an operator")
            return
        self._replaces = self._identity.incarnation
        self._sent_vote, self._sent_note = answer, item.note
        self._valid_until = now + seconds
        self._state_unread = True
        self.lease.renewal_stored(owes=owes)

    def _owes(self, now: float) -> bool:
        """Whether the next renewal says that this process may owe keys."""
        clean = self._fence.clean
        if not clean:
            self._clean_since = None
        elif self._clean_since is None:
            self._clean_since = now
        if self.lease.owe_requested or not clean:
            return True
        since_sent = self._clean_since is not None and now - self._clean_since >= _CLEAN_LEASES * self._seconds
        return self.lease.owing and not since_sent

    def _item(self, *, owes: bool, seconds: float, answer: tuple[str, str] = ("", "")) -> LeaseItem:
        return LeaseItem(
            process=self._process,
            incarnation=self._identity.incarnation,
            renewals=self._renewals,
            seconds=seconds,
            epoch=max(0, self._epoch),
            flip=answer[0],
            phase=answer[1],
            owes=owes,
            initial_stages=self._identity.initial_stages,
            note=self._note,
            host=self._host,
            pid=os.getpid(),
            started=self._started,
            renewed=self._wall(),
            listen=self._listen,
            record=self._recorder.report() if self._recorder is not None else {},
        )

    # -- its part in a move -------------------------------------------------------------------------------------------

    def _apply(self, known: StageTableState) -> None:
        """Apply the stages and the move under way. Nothing is awaited here: to every other task it is one step."""
        if known.map.epoch < self._epoch:
            raise Refused(
                "epoch",
                f"the stage table {self._table.name} is at epoch {known.map.epoch}, and this process has seen "
                f"{self._epoch}: the table was replaced; put its items back, or start every proxy again",
            )
        flip = known.flip
        if self._held_flip is not None and (flip is None or flip.id != self._held_flip or not flip.holds_writes):
            self._held_flip = None
            self._fence.adopt(known.map)
            self._fence.release()
        if flip is not None and flip.holds_writes and self._held_flip is None:
            self._fence.hold(flip.scope)
            self._held_flip = flip.id
        self._fence.adopt(known.map)
        self._epoch = known.map.epoch
        self._flip = flip

    def _evaluate(self) -> None:
        """Work out this process's vote and note for the move under way."""
        flip, recorder = self._flip, self._recorder
        if recorder is not None:
            recorder.notice(flip)
        if flip is None:
            self._next_vote, self._note = ("", ""), {}
            return
        drain = self._fence.drain(flip.scope, flip.to.authority if flip.moves_authority else None)
        problem = self._fence.problem(flip.scope, flip.to)
        recorded = {}
        if recorder is not None and flip.recorded:
            problem = problem or recorder.problem(flip)
            recorded = {RECORDED: flip.id} if recorder.has_recorded(flip) else {}
        vote = self._vote(flip, drain, problem)
        self._next_vote = (flip.id, str(vote)) if vote is not None else ("", "")
        self._note = {
            "writers": drain.writers,
            "keys": drain.keys,
            "parked": drain.parked,
            "lingering": round(drain.lingering_seconds, 3),
            **({"problem": problem} if problem else {}),
            **recorded,
        }

    def _vote(self, flip: Flip, drain: DrainStatus, problem: str | None) -> Vote | None:
        """Return the vote of this process; None where it cannot vote yet."""
        if flip.phase is Phase.SWITCHED:
            # Where the authority moved, no write was in flight. Otherwise writes that began before must end first.
            waits = not flip.moves_authority and self._fence.began_before(flip.scope)
            return Vote.READY if waits else Vote.SWITCHED
        if problem is not None:
            return Vote.REFUSED
        if self._recorder is not None and not self._recorder.may_vote(flip):
            return None
        if flip.phase is Phase.HOLDING and drain.done and (flip.forced or not drain.parked):
            return Vote.DRAINED
        return Vote.READY

    async def _take_over(self, known: StageTableState, flip: Flip) -> None:
        """End a move whose coordinator is gone: before the commit it is aborted, after the commit it is completed."""
        seen: list[ObservedLease] = []
        reason: str | None = f"its coordinator ({flip.coordinator}) was gone"
        if flip.phase is Phase.SWITCHED:
            asked = self._clock()
            seen = self._lease_observer.observe(await self._table.leases(), asked, self._clock())
            if not all_voted(flip, seen):
                return
            reason = None
        entry = move_entry(flip, known.map.epoch, self._wall(), reason=reason, seen=seen)
        if await self._table.write_state(known.end(), entry=entry):
            log.warning("flip_ended_for_its_driver", flip=flip.id, phase=str(flip.phase), driver=flip.coordinator)

    def _complain(self, error: StoreError) -> None:
        """Log at most once a minute: while the table is unreachable, every round fails alike."""
        self.problem = f"the stages cannot be read: {error}"
        if self._throttle.allows():
            log.error("stage_table_out_of_reach", reason=error.reason, detail=str(error))
