"""The protocol of a move: its phases, its votes, and what may follow what. Pure: no I/O.

announced   every process polls often, and votes ready holding     (only where the authority changes) new writes wait;
each process votes drained once its own have converged switched    the new map, in the same conditional write: this is
the commit; reads go to the new authority (no move)   all have voted switched, or can serve no more: writes go on

THE RULE: where the authority changes, a process that has not drained is passed over only if its lease has expired and
it does not owe. An acknowledged write that has not converged is in its journal and nowhere else; if the authority
moved, its key would converge the other way, and the write would be lost
(docs/decisions/001-an-expired-lease-is-not-enough.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Self

from proxy.cutover.clock_skew import clock_skew_margin
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import LeaseItem, StageRow
from proxy.cutover.stages import Scope, Stage, StageMap, StagePlacement, Stages

# How long a coordinator may be silent before the processes end its move.
HEARTBEAT_SECONDS: Final = 1.0


# A process converges some thousand keys a second: with a larger backlog than this, its writes are not held yet.
MAX_BACKLOG_KEYS: Final = 500


RECORDED: Final = "recorded"
"""The member of a lease's note that has the id of the flip that the process has seen recorded in DSQL."""


# The members of a flip that the history does not keep.
_NOT_IN_HISTORY: Final = frozenset({"beat", "phase", "held_since", "broken", "paired"})


class Phase(StrEnum):
    ANNOUNCED = "announced"
    HOLDING = "holding"
    SWITCHED = "switched"


class Vote(StrEnum):
    """The vote of a process on a move, in its lease item."""

    READY = "ready"
    DRAINED = "drained"
    SWITCHED = "switched"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Flip:
    """A move under way, as the state holds it. `heartbeat` grows for as long as its coordinator lives; `held_since` and
    `started` (Unix seconds) and `ramp_before` (None: an older coordinator did not record it) are for people; `gate` is
    the gate's document; `ended_eras` are the scopes whose era the move ends; `paired`
    says that DSQL keeps a record of the authority, which has to be written before the commit."""

    id: str
    scope: Scope
    from_stage: Stage
    to: Stage
    ramp: float
    by: str
    because: str | None
    forced: bool
    moves_authority: bool
    phase: Phase
    coordinator: str
    started: float
    held_since: float = 0.0
    heartbeat: int = 0
    gate: Mapping[str, Any] = field(default_factory=dict)
    ramp_before: float | None = None
    ended_eras: tuple[Scope, ...] = ()
    paired: bool = False

    @property
    def recorded(self) -> bool:
        """Whether it has to be recorded in DSQL before its commit."""
        return self.moves_authority and self.paired

    @property
    def holds_writes(self) -> bool:
        """Whether writes in its scope must wait."""
        return self.moves_authority and self.phase is not Phase.ANNOUNCED

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "scope": str(self.scope),
            "from": str(self.from_stage),
            "to": str(self.to),
            "ramp": self.ramp,
            "by": self.by,
            "because": self.because,
            "forced": self.forced,
            "moves": self.moves_authority,
            "phase": str(self.phase),
            "driver": self.coordinator,
            "started": self.started,
            "held_since": self.held_since,
            "beat": self.heartbeat,
            "gate": dict(self.gate),
            "ramp_before": self.ramp_before,
            "broken": [str(scope) for scope in self.ended_eras],
            "paired": self.paired,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is not such a document."""
        return cls(
            id=str(document["id"]),
            scope=Scope.parse(document["scope"]),
            from_stage=Stage(document["from"]),
            to=Stage(document["to"]),
            ramp=float(document["ramp"]),
            by=str(document["by"]),
            because=document["because"],
            forced=bool(document["forced"]),
            moves_authority=bool(document["moves"]),
            phase=Phase(document["phase"]),
            coordinator=str(document["driver"]),
            started=float(document["started"]),
            held_since=float(document["held_since"]),
            heartbeat=int(document["beat"]),
            gate=document["gate"],
            ramp_before=float(before) if (before := document.get("ramp_before")) is not None else None,
            ended_eras=tuple(map(Scope.parse, document.get("broken", ()))),
            paired=bool(document.get("paired", False)),
        )


@dataclass(frozen=True, slots=True)
class StageTableState:
    """The decoded state: the version that the next write must follow, the map, and the move under way."""

    version: int
    map: StageMap
    flip: Flip | None

    @classmethod
    def from_row(cls, state: StageRow) -> Self:
        """Raises KeyError, TypeError or ValueError for a state that another version of Crossfade has written."""
        stages = StageMap.from_document(state.map) if state.map is not None else StageMap(state.epoch)
        return cls(state.version, stages, Flip.from_document(state.flip) if state.flip is not None else None)

    def next_row(self, flip: Flip | None, stages: StageMap | None = None) -> StageRow:
        """The next state."""
        stages = stages or self.map
        document = flip.document() if flip is not None else None
        return StageRow(self.version + 1, stages.epoch, stages.document(), document)

    # -- what may follow ----------------------------------------------------------------------------------------------

    def announce(self, flip: Flip) -> StageRow:
        return self.next_row(flip)

    def send_heartbeat(self, flip: Flip) -> StageRow:
        return self.next_row(replace(flip, heartbeat=flip.heartbeat + 1))

    def hold_writes(self, flip: Flip, now: float) -> StageRow:
        return self.next_row(replace(flip, phase=Phase.HOLDING, heartbeat=flip.heartbeat + 1, held_since=now))

    def commit(self, flip: Flip, now: float, seen: Sequence[ObservedLease] = ()) -> StageRow:
        """The commit. It says whether any process of those seen has recorded the move in DSQL."""
        placed = StagePlacement(flip.to, flip.ramp, now, flip.by)
        after = replace(flip, phase=Phase.SWITCHED, heartbeat=flip.heartbeat + 1)
        moved = self.map.with_move(flip.scope, placed, flip.ended_eras)
        return self.next_row(
            after, moved.with_flip(recorded=is_recorded(flip, seen)) if flip.moves_authority else moved
        )

    def end(self) -> StageRow:
        """The state without a move: after `switched` it is committed, before that it is aborted."""
        return self.next_row(None)


# -- votes -------------------------------------------------------------------------------------------------


class VoteStatus(StrEnum):
    """What a process's lease and vote mean for the present phase of a move."""

    VOTED = "done"  # it has voted
    PASSED_OVER = "passed over"  # it cannot serve, and owes nothing
    AWAITED = "awaited"
    BLOCKS = "blocks"  # it is gone and owes, or it has refused


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """A lease item, and whether the lease has expired as far as the observer can tell."""

    lease: LeaseItem
    expired: bool


class LeaseObserver:
    """Finds expired leases by the observer's own clock: those that were not renewed for their duration and a margin."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, int, float]] = {}

    def observe(self, leases: Iterable[LeaseItem], asked: float, answered: float) -> list[ObservedLease]:
        """The leases as read between `asked` and `answered` (elapsed seconds)."""
        seen, since = [], {}
        for lease in leases:
            life, renewals, first = self._since.get(lease.process, ("", 0, answered))
            if (life, renewals) != (lease.incarnation, lease.renewals):
                first = answered
            since[lease.process] = (lease.incarnation, lease.renewals, first)
            seen.append(ObservedLease(lease, asked - first >= lease.seconds + clock_skew_margin(lease.seconds)))
        self._since = since
        return seen


def vote_status(flip: Flip, seen: ObservedLease) -> VoteStatus:
    """Apply THE RULE, above."""
    lease = seen.lease
    answer = lease.phase if lease.flip == flip.id else ""
    if flip.phase is Phase.SWITCHED:
        done = answer == Vote.SWITCHED
        return VoteStatus.VOTED if done else VoteStatus.PASSED_OVER if seen.expired else VoteStatus.AWAITED
    if answer == Vote.REFUSED and not seen.expired:
        return VoteStatus.BLOCKS
    wanted = (Vote.READY, Vote.DRAINED) if flip.phase is Phase.ANNOUNCED else (Vote.DRAINED,)
    if answer in wanted and not (flip.phase is Phase.ANNOUNCED and seen.expired):
        return VoteStatus.VOTED
    if not seen.expired:
        return VoteStatus.AWAITED
    return VoteStatus.BLOCKS if flip.moves_authority and lease.owes else VoteStatus.PASSED_OVER


def all_voted(flip: Flip, seen: Sequence[ObservedLease]) -> bool:
    """Whether the next phase may begin."""
    return all(vote_status(flip, each) in (VoteStatus.VOTED, VoteStatus.PASSED_OVER) for each in seen)


def blocked_reason(flip: Flip, seen: Sequence[ObservedLease]) -> str | None:
    """Why the move cannot be made, however long one waits; None if it can."""
    for each in seen:
        if vote_status(flip, each) is not VoteStatus.BLOCKS:
            continue
        lease = each.lease
        who = f"{lease.process} ({lease.host}, process {lease.pid})"
        if not each.expired:
            return f"{who} cannot take part: {lease.note.get('problem', 'it gives no reason')}"
        return (
            f"{who} is gone and its journal may hold keys that have not converged: restart it with its journal; if "
            f"that is lost: crossfade stage forget {lease.process}, and then a full sweep: crossfade verify --repair"
        )
    beginnings = {each.lease.initial_stages for each in seen if not each.expired}
    if flip.moves_authority and len(beginnings) > 1:
        return "the proxies' settings begin with different stages: give all of them the same settings and restart them"
    return None


def max_lingering_seconds(seen: Sequence[ObservedLease]) -> float:
    """For how many seconds a write with an unknown outcome may still take effect, as the processes report."""
    return max((float(each.lease.note.get("lingering", 0.0)) for each in seen if not each.expired), default=0.0)


def max_backlog(seen: Sequence[ObservedLease]) -> int:
    """The largest number of keys that one process has yet to converge, as the processes report."""
    return max((int(each.lease.note.get("keys", 0)) for each in seen if not each.expired), default=0)


def parked_keys(seen: Sequence[ObservedLease]) -> int:
    """How many keys are parked, as the processes report."""
    return sum(int(each.lease.note.get("parked", 0)) for each in seen if not each.expired)


def is_recorded(flip: Flip, seen: Sequence[ObservedLease]) -> bool:
    """Whether a process has seen the move on record in DSQL."""
    return any(each.lease.note.get(RECORDED) == flip.id for each in seen)


def not_ready_reason(flip: Flip, seen: Sequence[ObservedLease]) -> str | None:
    """Why writes must not be held yet: they could not drain in time. None if they could."""
    if not flip.moves_authority:
        return None
    if flip.recorded and not is_recorded(flip, seen) and not all(each.expired for each in seen):
        return "no process has recorded it in DSQL: start a proxy that serves the table"
    seconds, keys = max_lingering_seconds(seen), parked_keys(seen)
    if seconds > 0:
        return f"writes whose outcome is unknown may still take effect: try again in {seconds:.0f} s"
    if keys and not flip.forced:
        return f"{keys} keys are parked, whose items the mirror cannot hold: they would be lost"
    behind = max_backlog(seen)
    if behind > MAX_BACKLOG_KEYS:
        return f"{behind} keys of one process have still to converge: writes would be held for too long"
    return None


# -- what a move means ------------------------------------------------------------------------------------------------


def refusal_reason(move: MoveRequest) -> str | None:
    """Why a request makes no sense, whatever the stages are; None if it does."""
    if move.force and not move.because.strip():
        return "force needs a reason: say because of what"
    if move.ramp is not None and move.to is not Stage.SHADOW:
        return f"a ramp belongs to shadow: in {move.to} every read is served by {move.to.authority}"
    if move.ramp is not None and not 0 <= move.ramp <= 100:
        return f"a ramp of {move.ramp:g} is out of range: use 0 to 100"
    return None


def moved_types(stages: Stages, move: MoveRequest) -> tuple[str, ...]:
    """The item types, "" among them, whose stage or ramp the move changes; with none, there is nothing to do."""
    wanted = (move.to, move.ramp or 0.0)
    table = move.scope.table
    return tuple(
        each
        for each in stages.types(table)
        if stages.covers(move.scope, table, each)
        and (stages.placement(table, each).stage, stages.placement(table, each).ramp) != wanted
    )


def moves_authority(stages: Stages, move: MoveRequest) -> bool:
    table = move.scope.table
    types = {*stages.types(table), move.scope.item_type}
    return any(
        stages.stage_of(table, each).authority != move.to.authority
        for each in types
        if stages.covers(move.scope, table, each)
    )


def move_entry(
    flip: Flip, epoch: int, now: float, *, reason: str | None, seen: Sequence[ObservedLease] = ()
) -> dict[str, Any]:
    """The history's entry of a move that was committed or, with a reason, aborted."""
    held = max(0.0, now - flip.held_since) if flip.held_since else 0.0
    return {
        **{name: value for name, value in flip.document().items() if name not in _NOT_IN_HISTORY},
        "at": now,
        "epoch": epoch,
        "outcome": "kept" if reason is not None else "moved",
        "reason": reason,
        "held_ms": round(held * 1000),
        "passed_over": [each.lease.process for each in seen if vote_status(flip, each) is VoteStatus.PASSED_OVER],
    }


class HeartbeatTimeout:
    """Notices that a coordinator has stopped: its heartbeat has not changed for a while, by the observer's own
    clock."""

    def __init__(self) -> None:
        self._at: tuple[str, int, float] = ("", 0, 0.0)

    def expired(self, flip: Flip, asked: float, answered: float) -> bool:
        """Whether the processes must end the move."""
        name, beat, first = self._at
        if (name, beat) != (flip.id, flip.heartbeat):
            first = answered
        self._at = (flip.id, flip.heartbeat, first)
        return asked - first >= HEARTBEAT_SECONDS + clock_skew_margin(HEARTBEAT_SECONDS)
