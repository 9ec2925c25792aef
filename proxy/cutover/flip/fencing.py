"""The seam between a flip and a process's writes: what a flip needs of the write fence, and the fence of the lease.

Protocols and records only; the fence itself is in `proxy.shadow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from proxy.cutover.stages import Scope, Stage, StageMap


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """What must still drain before a scope can flip: writes in flight; keys in the journal that have not converged, not
    counting parked ones; and for how many seconds a write with an unknown outcome may still land on the next
    authority."""

    writers: int
    keys: int
    lingering_seconds: float
    parked: int

    @property
    def done(self) -> bool:
        return not (self.writers or self.keys or self.lingering_seconds)


class ServingLease(Protocol):
    """The lease without which this process may not serve, because its stages may be out of date."""

    @property
    def valid(self) -> bool: ...

    @property
    def term(self) -> int:
        """The number of the lease: it grows each time a lease is lost."""

    def holds(self, term: int) -> bool:
        """Whether the lease is valid, and has been since the term was read."""

    @property
    def owing(self) -> bool:
        """Whether the lease in the stage table says that this process may owe keys."""

    async def owe(self) -> None:
        """Publish in the lease that this process may owe keys; required before a write enters the journal. Raises
        Unreachable."""


class NoLease:
    """The lease of a process whose stages are fixed by the settings: they cannot be out of date, and it is always
    valid."""

    valid = True
    owing = True
    term = 0

    def holds(self, term: int) -> bool:  # noqa: ARG002
        return True

    async def owe(self) -> None:
        return None


class FenceControl(Protocol):
    """What a move needs of this process's write fence (`proxy.shadow.write_fence.WriteFence`)."""

    def hold(self, scope: Scope) -> None: ...

    def drain(self, scope: Scope, authority: str | None = None) -> DrainStatus: ...

    def adopt(self, new: StageMap) -> None: ...

    def release(self) -> None: ...

    def began_before(self, scope: Scope) -> int: ...

    def problem(self, scope: Scope, to: Stage) -> str | None: ...

    @property
    def clean(self) -> bool: ...
