"""The seam between a flip and a process's writes: what a flip asks of the write fence, and what the fence asks of the
lease. Protocols and records only; the fence itself is in `proxy.shadow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from proxy.cutover.stages import Scope, Stage, StageMap


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """What is still to drain before a scope can flip: writes in flight; keys in the journal that have not converged
    (parked ones apart); and for how many seconds a write of an unknown outcome may yet land on the coming authority."""

    writers: int
    keys: int
    lingering_seconds: float
    parked: int

    @property
    def done(self) -> bool:
        return not (self.writers or self.keys or self.lingering_seconds)


class ServingLease(Protocol):
    """Whether this process may serve at all: what it knows of the stages may be out of date."""

    @property
    def valid(self) -> bool: ...

    @property
    def term(self) -> int:
        """Which lease this is: another number after one was lost."""

    def holds(self, term: int) -> bool:
        """Whether it is valid, and has been ever since the term was read."""

    @property
    def owing(self) -> bool:
        """Whether it is known to the others that this process may owe keys."""

    async def owe(self) -> None:
        """Before a write that will stand in the journal: it is known to the others that this process may owe keys.
        Raises Unreachable."""


class NoLease:
    """Stages that nobody can move: there is nothing to be out of date, and nobody to tell."""

    valid = True
    owing = True
    term = 0

    def holds(self, term: int) -> bool:  # noqa: ARG002
        return True

    async def owe(self) -> None:
        return None


class FenceControl(Protocol):
    """What a move asks of this process's write fence (`proxy.shadow.write_fence.WriteFence`)."""

    def hold(self, scope: Scope) -> None: ...

    def drain(self, scope: Scope, authority: str | None = None) -> DrainStatus: ...

    def adopt(self, new: StageMap) -> None: ...

    def release(self) -> None: ...

    def began_before(self, scope: Scope) -> int: ...

    def problem(self, scope: Scope, to: Stage) -> str | None: ...

    @property
    def clean(self) -> bool: ...
