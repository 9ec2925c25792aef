"""A move from stage to stage: what it is, how far it has come, and what may follow. Pure: it asks nobody.

    announced   every process looks often, and says that it is ready
    holding     (only where the authority changes) new writes wait; each says when all of its own have converged
    switched    the new map, in the same conditional write: this is the commit; reads go to the new authority
    (gone)      all have switched, or can serve no more: writes go on

THE RULE: where the authority changes, a process that has not drained is passed over only if its lease has run out and
it does not owe. An acknowledged write that has not converged stands in its journal alone; were the authority moved, its
key would converge the other way, and the write would be lost (docs/decisions/001-an-expired-lease-is-not-enough.md).
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

# How long a driver may be silent before others end its move.
BEAT_SECONDS: Final = 1.0


# A process converges some thousand keys a second: with more than these before it, its writes are not held yet.
MANY_KEYS: Final = 500


RECORDED: Final = "recorded"
"""The member of a lease's note that has the id of the flip that the process has seen recorded in DSQL."""


# What the history need not keep of a move.
_UNTOLD: Final = frozenset({"beat", "phase", "held_since", "broken", "paired"})


class Phase(StrEnum):
    ANNOUNCED = "announced"
    HOLDING = "holding"
    SWITCHED = "switched"


class Vote(StrEnum):
    """What a process says to a move, in its lease item."""

    READY = "ready"
    DRAINED = "drained"
    SWITCHED = "switched"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Flip:
    """A move under way, as it stands in the state. `moves` says that the authority changes; `beat` grows as long as
    its driver lives; `held_since` and `started` are Unix seconds, for people, and so is `ramp_before` (None: a driver
    of an older version did not say); `gate` is what the gate said; `broken` are the scopes whose era ends with it;
    `paired` says that DSQL keeps a record of the authority, which has to be written before the commit."""

    id: str
    scope: Scope
    start: Stage
    to: Stage
    ramp: float
    by: str
    because: str | None
    forced: bool
    moves: bool
    phase: Phase
    driver: str
    started: float
    held_since: float = 0.0
    beat: int = 0
    gate: Mapping[str, Any] = field(default_factory=dict)
    ramp_before: float | None = None
    broken: tuple[Scope, ...] = ()
    paired: bool = False

    @property
    def recorded(self) -> bool:
        """Whether it has to be recorded in DSQL before its commit."""
        return self.moves and self.paired

    @property
    def holds(self) -> bool:
        """Whether writes in its scope have to wait."""
        return self.moves and self.phase is not Phase.ANNOUNCED

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "scope": str(self.scope),
            "from": str(self.start),
            "to": str(self.to),
            "ramp": self.ramp,
            "by": self.by,
            "because": self.because,
            "forced": self.forced,
            "moves": self.moves,
            "phase": str(self.phase),
            "driver": self.driver,
            "started": self.started,
            "held_since": self.held_since,
            "beat": self.beat,
            "gate": dict(self.gate),
            "ramp_before": self.ramp_before,
            "broken": [str(scope) for scope in self.broken],
            "paired": self.paired,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is not such a document."""
        return cls(
            id=str(document["id"]),
            scope=Scope.parse(document["scope"]),
            start=Stage(document["from"]),
            to=Stage(document["to"]),
            ramp=float(document["ramp"]),
            by=str(document["by"]),
            because=document["because"],
            forced=bool(document["forced"]),
            moves=bool(document["moves"]),
            phase=Phase(document["phase"]),
            driver=str(document["driver"]),
            started=float(document["started"]),
            held_since=float(document["held_since"]),
            beat=int(document["beat"]),
            gate=document["gate"],
            ramp_before=float(before) if (before := document.get("ramp_before")) is not None else None,
            broken=tuple(map(Scope.parse, document.get("broken", ()))),
            paired=bool(document.get("paired", False)),
        )


@dataclass(frozen=True, slots=True)
class StageTableState:
    """The state, understood: the version that a next write of it must follow, the map, and the move under way."""

    version: int
    map: StageMap
    flip: Flip | None

    @classmethod
    def of(cls, state: StageRow) -> Self:
        """Raises KeyError, TypeError or ValueError for a state that another version of Crossfade has written."""
        stages = StageMap.from_document(state.map) if state.map is not None else StageMap(state.epoch)
        return cls(state.version, stages, Flip.from_document(state.flip) if state.flip is not None else None)

    def written(self, flip: Flip | None, stages: StageMap | None = None) -> StageRow:
        """The state that follows."""
        stages = stages or self.map
        document = flip.document() if flip is not None else None
        return StageRow(self.version + 1, stages.epoch, stages.document(), document)

    # -- what may follow ----------------------------------------------------------------------------------------------

    def announced(self, flip: Flip) -> StageRow:
        return self.written(flip)

    def beaten(self, flip: Flip) -> StageRow:
        return self.written(replace(flip, beat=flip.beat + 1))

    def holding(self, flip: Flip, now: float) -> StageRow:
        return self.written(replace(flip, phase=Phase.HOLDING, beat=flip.beat + 1, held_since=now))

    def switched(self, flip: Flip, now: float) -> StageRow:
        """The commit."""
        placed = StagePlacement(flip.to, flip.ramp, now, flip.by)
        after = replace(flip, phase=Phase.SWITCHED, beat=flip.beat + 1)
        moved = self.map.moved(flip.scope, placed, flip.broken)
        return self.written(after, moved.flipped() if flip.moves else moved)

    def ended(self) -> StageRow:
        """No move is under way: after `switched` it is done, before it all is as it was."""
        return self.written(None)


# -- who has answered -------------------------------------------------------------------------------------------------


class VoteStatus(StrEnum):
    """How a process stands to a move's phase."""

    DONE = "done"  # it has answered
    PASSED = "passed over"  # it cannot serve, and owes nothing
    AWAITED = "awaited"
    BLOCKS = "blocks"  # it is gone and owes, or it has refused


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """A lease item, and whether its lease has run out as far as the one who looked can tell."""

    lease: LeaseItem
    run_out: bool


class LeaseObserver:
    """Tells which leases have run out, by one's own clock: those that nobody has renewed for as long as they are good
    for and a margin. `clock` gives seconds from any beginning."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, int, float]] = {}

    def see(self, leases: Iterable[LeaseItem], asked: float, answered: float) -> list[ObservedLease]:
        """What was read, with when it was asked for and when it came: in between it may have been looked up."""
        seen, since = [], {}
        for lease in leases:
            life, renewals, first = self._since.get(lease.process, ("", 0, answered))
            if (life, renewals) != (lease.life, lease.renewals):
                first = answered
            since[lease.process] = (lease.life, lease.renewals, first)
            seen.append(ObservedLease(lease, asked - first >= lease.seconds + clock_skew_margin(lease.seconds)))
        self._since = since
        return seen


def standing(flip: Flip, seen: ObservedLease) -> VoteStatus:
    """See THE RULE, above."""
    lease = seen.lease
    answer = lease.phase if lease.flip == flip.id else ""
    if flip.phase is Phase.SWITCHED:
        done = answer == Vote.SWITCHED
        return VoteStatus.DONE if done else VoteStatus.PASSED if seen.run_out else VoteStatus.AWAITED
    if answer == Vote.REFUSED and not seen.run_out:
        return VoteStatus.BLOCKS
    wanted = (Vote.READY, Vote.DRAINED) if flip.phase is Phase.ANNOUNCED else (Vote.DRAINED,)
    if answer in wanted and not (flip.phase is Phase.ANNOUNCED and seen.run_out):
        return VoteStatus.DONE
    if not seen.run_out:
        return VoteStatus.AWAITED
    return VoteStatus.BLOCKS if flip.moves and lease.owes else VoteStatus.PASSED


def all_voted(flip: Flip, seen: Sequence[ObservedLease]) -> bool:
    """Whether the next phase may begin."""
    return all(standing(flip, each) in (VoteStatus.DONE, VoteStatus.PASSED) for each in seen)


def blocked_reason(flip: Flip, seen: Sequence[ObservedLease]) -> str | None:
    """Why the move cannot be made, whatever one waits for; None if it can."""
    for each in seen:
        if standing(flip, each) is not VoteStatus.BLOCKS:
            continue
        lease = each.lease
        who = f"{lease.process} ({lease.host}, process {lease.pid})"
        if not each.run_out:
            return f"{who} cannot take part: {lease.note.get('problem', 'it does not say why')}"
        return (
            f"{who} is gone and its journal may hold keys that have not converged: start it again with its journal; if "
            f"that is lost: crossfade stage forget {lease.process}, and then a full sweep: crossfade verify --repair"
        )
    beginnings = {each.lease.begins for each in seen if not each.run_out}
    if flip.moves and len(beginnings) > 1:
        return "the proxies' settings begin with different stages: give all of them the same, and start them again"
    return None


def lingering(seen: Sequence[ObservedLease]) -> float:
    """For how many seconds some write of an unknown outcome may yet take effect, as the processes say."""
    return max((float(each.lease.note.get("lingering", 0.0)) for each in seen if not each.run_out), default=0.0)


def most_keys(seen: Sequence[ObservedLease]) -> int:
    """How many keys the process that is furthest behind has to converge, as the processes say."""
    return max((int(each.lease.note.get("keys", 0)) for each in seen if not each.run_out), default=0)


def parked(seen: Sequence[ObservedLease]) -> int:
    """How many keys are parked, as the processes say."""
    return sum(int(each.lease.note.get("parked", 0)) for each in seen if not each.run_out)


def not_ready_reason(flip: Flip, seen: Sequence[ObservedLease]) -> str | None:
    """Why nothing should be held yet, because it could not be drained; None if it could."""
    if not flip.moves:
        return None
    if flip.recorded and not any(each.lease.note.get(RECORDED) == flip.id for each in seen):
        return "no process has recorded it in DSQL: start a proxy that serves the table"
    seconds, keys = lingering(seen), parked(seen)
    if seconds > 0:
        return f"writes whose outcome is unknown may still take effect: try again in {seconds:.0f} s"
    if keys and not flip.forced:
        return f"{keys} keys are parked, whose items the mirror cannot hold: they would be lost"
    behind = most_keys(seen)
    if behind > MANY_KEYS:
        return f"{behind} keys of one process have still to converge: writes would be held too long"
    return None


# -- what a move means ------------------------------------------------------------------------------------------------


def refusal(move: MoveRequest) -> str | None:
    """Why a move makes no sense, whatever the stages are; None if it does."""
    if move.force and not move.because.strip():
        return "force needs a reason: say because of what"
    if move.ramp is not None and move.to is not Stage.SHADOW:
        return f"a ramp belongs to shadow: in {move.to} every read is served by {move.to.authority}"
    if move.ramp is not None and not 0 <= move.ramp <= 100:
        return f"a ramp of {move.ramp:g} is out of range: use 0 to 100"
    return None


def moved_types(stages: Stages, move: MoveRequest) -> tuple[str, ...]:
    """The item types, "" among them, that would stand elsewhere after the move; with none, there is nothing to do."""
    wanted = (move.to, move.ramp or 0.0)
    table = move.scope.table
    return tuple(
        each
        for each in stages.types(table)
        if stages.covers(move.scope, table, each)
        and (stages.placed(table, each).stage, stages.placed(table, each).ramp) != wanted
    )


def moves_authority(stages: Stages, move: MoveRequest) -> bool:
    table = move.scope.table
    types = {*stages.types(table), move.scope.item_type}
    return any(
        stages.stage_of(table, each).authority != move.to.authority
        for each in types
        if stages.covers(move.scope, table, each)
    )


def entry(
    flip: Flip, epoch: int, now: float, *, reason: str | None, seen: Sequence[ObservedLease] = ()
) -> dict[str, Any]:
    """What the history keeps of a move that has ended: done, or (with a reason) not."""
    held = max(0.0, now - flip.held_since) if flip.held_since else 0.0
    return {
        **{name: value for name, value in flip.document().items() if name not in _UNTOLD},
        "at": now,
        "epoch": epoch,
        "outcome": "kept" if reason is not None else "moved",
        "reason": reason,
        "held_ms": round(held * 1000),
        "passed_over": [each.lease.process for each in seen if standing(flip, each) is VoteStatus.PASSED],
    }


class HeartbeatTimeout:
    """Tells when a driver has stopped: its beat has not changed for a while, by one's own clock."""

    def __init__(self) -> None:
        self._at: tuple[str, int, float] = ("", 0, 0.0)

    def see(self, flip: Flip, asked: float, answered: float) -> bool:
        """Whether it is time to end its move."""
        name, beat, first = self._at
        if (name, beat) != (flip.id, flip.beat):
            first = answered
        self._at = (flip.id, flip.beat, first)
        return asked - first >= BEAT_SECONDS + clock_skew_margin(BEAT_SECONDS)
