"""What the console needs of the rest of the proxy, and in what form it gets it.

`Desk` is the seam: the admin port's API sits behind it, the page before it. Plain records, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Scope, Stage, StagePlacement

if TYPE_CHECKING:  # the command line shows what a proxy answers, and evaluates no criterion itself
    from proxy.cutover.gate.criteria import Criterion


class MoveRefused(Exception):
    """A move that was not begun, and why: a sentence for the one who asked."""


@dataclass(frozen=True, slots=True)
class StagedScope:
    """Where a scope stands: its stage, the ramp in percent, since when (Unix seconds, 0: not known) and by whom.
    `own` is False for a type that stands where its table stands."""

    scope: Scope
    stage: Stage
    ramp: float = 0.0
    since: float = 0.0
    by: str = ""
    has_own_stage: bool = True

    @property
    def placement(self) -> StagePlacement:
        return StagePlacement(self.stage, self.ramp, self.since, self.by)


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One proxy as the stage table knows it. `answer` is its phase in the flip under way, `note` its own words.

    `listen` is where it serves clients, `seen` when it last renewed its lease (Unix seconds, 0: not known), `gone` that
    it should have done so since, by the clocks: for people, and nothing is decided by it.
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


@dataclass(frozen=True, slots=True)
class FlipView:
    """A move under way: announced, holding or switched."""

    scope: Scope
    from_stage: Stage
    to: Stage
    phase: str
    by: str = ""
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class StagesView:
    """All stages, and who serves them. `pinned` says why stages cannot be moved; "" if they can.

    `hold_seconds` is how long a flip may hold writes.
    """

    epoch: int
    scopes: Sequence[StagedScope]
    processes: Sequence[ProcessView] = ()
    flip: FlipView | None = None
    pinned: str = ""
    hold_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class GateView:
    """What must hold before a move, and `impossible`: why it cannot be made at all, forced or not; "" if it can."""

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
    """One move in the history, `committed` or given up for a `reason`. Without `before` it is no move: a process was
    forgotten."""

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
    """How everything stood at one moment."""

    @property
    def overview(self) -> StagesView:
        """Where everything stood."""

    def gate(self, scope: Scope, to: Stage, ramp: float = 0.0) -> GateView:
        """What the gate said to a move of one of `standing`'s places."""


class ConsoleBackend(Protocol):
    """What the page shows beside this process's own numbers, and the one thing that it does."""

    async def status(self) -> Mapping[str, Any]:
        """`/v1/status`, without the version."""

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest disagreements, redacted as the settings say."""

    def problems(self) -> Sequence[str]:
        """Why this process should get no traffic."""

    async def snapshot(self) -> StagesSource:
        """How everything stands now. Raises StoreError."""

    async def history(self, limit: int) -> Sequence[HistoryEntry]:
        """The last moves, newest first."""

    async def move(self, request: MoveRequest) -> None:
        """Begin a move and return: its progress is seen in `standing`, its end in `history`. Raises Refusal."""
