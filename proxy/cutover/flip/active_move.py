"""A move under way as its coordinator sees it: the state that it last wrote or read, the leases, and the outcome.

Reads and writes the stage table for the coordinator; decides nothing.
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
    """How far one process is: its vote (`announced`: none yet), and its account of its writes and keys."""

    process: str
    host: str
    phase: str
    note: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """How far a move is. `seconds` is the time since it began; `text` is a sentence for people."""

    phase: str
    seconds: float
    processes: tuple[ProcessProgress, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class MoveCommitted:
    """The move is done: every process is in the new stage. `held_ms` is how long writes were held, 0 if none were."""

    epoch: int
    held_ms: int


@dataclass(frozen=True, slots=True)
class MoveAborted:
    """The move was not made, and why; everything is as it was."""

    epoch: int
    reason: str


async def read_state(table: StageTable) -> StageTableState:
    """Read and decode the state. Raises StoreError."""
    try:
        return StageTableState.from_row(await table.state())
    except (KeyError, TypeError, ValueError) as error:
        entry = f"the stage table {table.name} holds what this version cannot read ({error!r}): run one version"
        raise Refused("version", entry) from error


class ActiveMove:
    """A move from its announcement, which was written as `version`, to its outcome. `clock` gives elapsed seconds."""

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
        # Whether `leases` were read after the phase began, as the decision on the next phase requires.
        self.leases_of_phase = False
        self.started_at = self.written_at = clock()
        self.held_at = 0.0
        self.outcome: MoveCommitted | MoveAborted = MoveAborted(before.epoch, "it has not ended")

    async def refresh(self) -> None:
        """Read the leases, and before them the state where the last write's outcome is unknown. Raises StoreError."""
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
        """Write the next state; with an `entry` it is the last one of the move, aborted if there is a `reason`. If the
        write is refused or its outcome unknown, the state is read before anything else is done. Raises StoreError."""
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
        """Called when the stage table cannot be reached. Raises Unreachable once that has lasted for `limit`
        seconds."""
        if self._clock() - self._answered_at < limit:
            return
        entry = f"the stage table {self._table.name} does not answer ({error}): the proxies end this move by themselves"
        raise Unreachable(error.reason, entry) from error

    async def delete_expired_leases(self) -> None:
        """Delete the leases of processes that are gone and owe nothing, or every later move would wait for them too."""
        for each in self.leases:
            if each.expired and not each.lease.owes:
                try:
                    await self._table.delete_lease(each.lease)
                except StoreError:
                    return

    def waiting_text(self) -> str:
        """Which processes the move waits for, as text; "" for none."""
        flip = self.flip
        if flip is None:
            return ""
        waiting = [each.lease for each in self.leases if flips.vote_status(flip, each) is VoteStatus.AWAITED]
        names = ", ".join(_waiting_process(flip, lease.process, lease.note) for lease in waiting)
        return f"waiting for {names}" if names else ""

    async def _find_outcome(self, found: StageTableState) -> MoveCommitted | MoveAborted:
        """The outcome of a move is written together with its entry in the history, so it is looked up there."""
        for entry in await self._table.history(_HISTORY_SEARCHED):
            if entry.get("id") == self._id:
                if entry["outcome"] == "moved":
                    return MoveCommitted(int(entry["epoch"]), int(entry["held_ms"]))
                return MoveAborted(int(entry["epoch"]), str(entry["reason"]))
        return MoveAborted(found.map.epoch, "the outcome is unknown: check the stages")

    def _held_ms(self) -> int:
        return round((self._clock() - self.held_at) * 1000) if self.held_at else 0

    def _adopt(self, known: StageTableState) -> None:
        if (known.flip and known.flip.phase) != (self.flip and self.flip.phase):
            self.leases_of_phase = False
        self.state, self.flip = known, known.flip


def progress_of_processes(flip: Flip | None, seen: Sequence[ObservedLease]) -> tuple[ProcessProgress, ...]:
    """Each process and its vote (without a move: whether it is alive), by name."""
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
    return f"{process} ({note.get('writers', 0)} writes in flight, {note.get('keys', 0)} keys to converge)"
