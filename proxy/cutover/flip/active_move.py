"""A move under way as its driver sees it: the state it last wrote or read, who has answered, and how it ended.

Reads and writes the stage table for the driver; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.cutover.flip import protocol as flips
from proxy.cutover.flip.protocol import Flip, LeaseObserver, ObservedLease, Phase, StageTableState, VoteStatus
from proxy.cutover.stage_table import StageRow, StageTable
from proxy.cutover.stages import StageMap
from proxy.stores.errors import Refused, StoreError, Unreachable

_HISTORY_SEARCHED = 20


@dataclass(frozen=True, slots=True)
class ProcessProgress:
    """How far one process is: its answer (`announced`: none yet), and what it said of its writes and keys."""

    process: str
    host: str
    phase: str
    note: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """Where a move is. `seconds` are since it began; `text` is a sentence for people."""

    phase: str
    seconds: float
    processes: tuple[ProcessProgress, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class MoveCommitted:
    """It is done: every proxy is in the new stage, and writes were held for so long (0: none were)."""

    epoch: int
    held_ms: int


@dataclass(frozen=True, slots=True)
class MoveAborted:
    """All is as it was, and why."""

    epoch: int
    reason: str


async def read_state(table: StageTable) -> StageTableState:
    """The state, understood. Raises StoreError."""
    try:
        return StageTableState.from_row(await table.state())
    except (KeyError, TypeError, ValueError) as error:
        entry = f"the stage table {table.name} holds what this version cannot read ({error!r}): run one version"
        raise Refused("version", entry) from error


class ActiveMove:
    """From its announcement, which was written as `version`, to its end. `clock` gives elapsed seconds."""

    def __init__(
        self,
        table: StageTable,
        clock: Callable[[], float],
        before: StageMap,
        flip: Flip,
        version: int,
    ) -> None:
        self._table = table
        self._clock = clock
        self._lease_observer = LeaseObserver()
        self._id = flip.id
        self._before = before.epoch
        self._state_uncertain = False
        self._answered_at = clock()
        self.state = StageTableState(version, before, flip)
        self.flip: Flip | None = flip
        self.leases: Sequence[ObservedLease] = ()
        # Whether `seen` was read after the phase began: what decides on the next one has to be.
        self.leases_of_phase = False
        self.started_at = self.written_at = clock()
        self.held_at = 0.0
        self.outcome: MoveCommitted | MoveAborted = MoveAborted(before.epoch, "it has not ended")

    async def refresh(self) -> None:
        """Read who has answered; and first the state, where it is not known for sure. Raises StoreError."""
        if self._state_uncertain:
            found = await read_state(self._table)
            if found.flip is None or found.flip.id != self._id:
                self.outcome = await self._find_outcome(found)
                self._adopt(StageTableState(found.version, found.map, None))
            else:
                self._adopt(found)
            self._state_uncertain = False
        if self.flip is not None:
            asked = self._clock()
            leases = await self._table.leases()
            self.leases = self._lease_observer.observe(leases, asked, self._clock())
            self.leases_of_phase = True
        self._answered_at = self._clock()

    async def write(
        self, state: StageRow, entry: Mapping[str, Any] | None = None, *, reason: str | None = None
    ) -> None:
        """Write the state that follows (`entry`: it is the end, for this reason). Where it was not taken, or nobody can
        tell, the state is read before anything else is done. Raises StoreError."""
        self._state_uncertain = True
        sent = self._clock()
        if not await self._table.write_state(state, entry=entry):
            return
        self._state_uncertain = False
        self.written_at = self._clock()
        follows = StageTableState.from_row(state)
        if follows.flip is not None and follows.flip.phase is Phase.HOLDING and not self.held_at:
            self.held_at = sent
        if follows.flip is None:
            self.outcome = (
                MoveAborted(state.epoch, reason) if reason is not None else MoveCommitted(state.epoch, self._held_ms())
            )
        self._adopt(follows)

    def check_silence(self, error: StoreError, limit: float) -> None:
        """Something could not be asked. Raises the error when that has gone on for `limit` seconds."""
        if self._clock() - self._answered_at < limit:
            return
        entry = f"the stage table {self._table.name} does not answer ({error}): the proxies end this move by themselves"
        raise Unreachable(error.reason, entry) from error

    async def delete_expired_leases(self) -> None:
        """Take out of the table who is gone and owes nothing, or every later move would wait for its lease too."""
        for each in self.leases:
            if each.expired and not each.lease.owes:
                try:
                    await self._table.delete_lease(each.lease)
                except StoreError:
                    return

    def waiting_text(self) -> str:
        """A sentence for people, or none."""
        flip = self.flip
        if flip is None:
            return ""
        waiting = [each.lease for each in self.leases if flips.vote_status(flip, each) is VoteStatus.AWAITED]
        names = ", ".join(_waiting_process(flip, lease.process, lease.note) for lease in waiting)
        return f"waiting for {names}" if names else ""

    async def _find_outcome(self, found: StageTableState) -> MoveCommitted | MoveAborted:
        """The end of a move is written together with its entry in the history, so that is where to look."""
        for entry in await self._table.history(_HISTORY_SEARCHED):
            if entry.get("id") == self._id:
                if entry["outcome"] == "moved":
                    return MoveCommitted(int(entry["epoch"]), int(entry["held_ms"]))
                return MoveAborted(int(entry["epoch"]), str(entry["reason"]))
        return MoveAborted(found.map.epoch, "nobody knows how it ended: look at the stages")

    def _held_ms(self) -> int:
        return round((self._clock() - self.held_at) * 1000) if self.held_at else 0

    def _adopt(self, known: StageTableState) -> None:
        if (known.flip and known.flip.phase) != (self.flip and self.flip.phase):
            self.leases_of_phase = False
        self.state, self.flip = known, known.flip


def progress_of_processes(flip: Flip | None, seen: Sequence[ObservedLease]) -> tuple[ProcessProgress, ...]:
    """Each process and its answer (without a move: whether it is alive), by name."""
    found = []
    for each in seen:
        lease = each.lease
        if flip is None:
            phase = "run out" if each.expired else "alive"
        elif flips.vote_status(flip, each) is VoteStatus.PASSED_OVER:
            phase = str(VoteStatus.PASSED_OVER)
        else:
            phase = lease.phase if lease.flip == flip.id else str(Phase.ANNOUNCED)
        found.append(ProcessProgress(lease.process, lease.host, phase, lease.note))
    return tuple(sorted(found, key=lambda each: each.process))


def _waiting_process(flip: Flip, process: str, note: Mapping[str, Any]) -> str:
    if flip.phase is not Phase.HOLDING or not note:
        return process
    return f"{process} ({note.get('writers', 0)} writes under way, {note.get('keys', 0)} keys to converge)"
