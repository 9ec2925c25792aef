"""The records of the cutover that people look at, and `ConsoleBackend`, the seam between the console and the rest of
the proxy.

Plain records and protocols, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Era, Scope, Stage, StagePlacement

if TYPE_CHECKING:  # the command line shows what a proxy answers, and evaluates no criterion itself
    from proxy.cutover.gate.criteria import Criterion


class MoveRefused(Exception):
    """A move that was not begun. The message says why, as a sentence for whoever asked."""


@dataclass(frozen=True, slots=True)
class StagedScope:
    """A table or item type and its stage: the ramp in percent, since when (Unix seconds, 0: not known) and by whom.
    `has_own_stage` is False for a type that follows its table."""

    scope: Scope
    stage: Stage
    ramp: float = 0.0
    since: float = 0.0
    by: str = ""
    has_own_stage: bool = True
    era: Era = field(default_factory=Era)
    """The unbroken time in which every acknowledged write reached both stores."""
    recorded_authority: str = ""
    """The authority by DSQL's own record; "" where no process has reported it."""
    mapping: str = ""
    """The digest of the mapping in force, by DSQL's record; "" where it is not known."""

    @property
    def placement(self) -> StagePlacement:
        return StagePlacement(self.stage, self.ramp, self.since, self.by)


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One proxy as the stage table knows it. `vote` is its vote in the move under way, `note` its explanation.

    `listen` is the address on which it serves clients. `renewed` is when it last renewed its lease (Unix seconds, 0:
    not known); `lease_expired` says that it is overdue by the wall clocks. Both are for people: nothing is decided by
    them.
    """

    name: str
    host: str = ""
    epoch: int = 0
    vote: str = ""
    note: str = ""
    owes: bool = False
    is_this_process: bool = False
    pid: int = 0
    listen: str = ""
    renewed: float = 0.0
    lease_expired: bool = False
    database: str = ""
    """The id of its DSQL database."""
    mappings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The digest of its mapping of each table that has a mapping file."""
    problem: str = ""
    """What sets it apart from the others, or contradicts it, by DSQL's record."""


@dataclass(frozen=True, slots=True)
class FlipView:
    """A move under way; its phase is `announced`, `holding` or `switched`."""

    scope: Scope
    from_stage: Stage
    to: Stage
    phase: str
    by: str = ""
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class StagesView:
    """All stages, and the processes that serve them. `pinned` says why stages cannot be moved; "" if they can.

    `hold_seconds` is how long a flip may hold writes at most.
    """

    epoch: int
    scopes: Sequence[StagedScope]
    processes: Sequence[ProcessView] = ()
    flip: FlipView | None = None
    pinned: str = ""
    hold_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class GateView:
    """The gate of one move: the criteria that must hold, and in `forbidden` why the move cannot be made at all, even
    with force; "" if it can."""

    scope: Scope
    to: Stage
    criteria: Sequence[Criterion]
    forbidden: str = ""

    @property
    def unmet(self) -> Sequence[Criterion]:
        return [each for each in self.criteria if each.stops]

    @property
    def is_open(self) -> bool:
        return not self.forbidden and not self.unmet


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry of the history: a move that was `committed`, or aborted for a `reason`. An entry without `before` is
    not a move: a process was forgotten, or an era ended."""

    at: float
    scope: str
    before: str
    after: str
    by: str
    committed: bool
    reason: str = ""
    because: str = ""
    held_ms: float | None = None
    epoch: int = 0
    forced: bool = False


class StagesSource(Protocol):
    """All stages at one moment, and their gates."""

    @property
    def overview(self) -> StagesView:
        """The stages and processes."""

    def gate(self, scope: Scope, to: Stage, ramp: float = 0.0) -> GateView:
        """The gate of a move of one of the scopes of `overview`."""


class ConsoleBackend(Protocol):
    """What the console's pages read, and the one thing that they change: the stage of a scope."""

    async def status(self) -> Mapping[str, Any]:
        """`/v1/status`, without the version."""

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest disagreements, redacted as the settings say."""

    def problems(self) -> Sequence[str]:
        """Why this process should get no traffic."""

    async def snapshot(self) -> StagesSource:
        """The stages and gates of now. Raises StoreError."""

    async def history(self, limit: int) -> Sequence[HistoryEntry]:
        """The last moves, newest first."""

    async def move(self, request: MoveRequest) -> None:
        """Begin a move and return: `overview` shows its progress, `history` its outcome. Raises MoveRefused."""
