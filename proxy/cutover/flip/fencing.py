"""The seam between a flip and its process: what a flip needs of the write fence and of DSQL's record of the authority,
and the fence of the lease.

Protocols and records only; the fence itself is in `proxy.shadow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.cutover.flip.protocol import Flip
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


class FlipRecorder(Protocol):
    """Records a move of the authority in DSQL before its commit (`proxy.cutover.authority.watch`)."""

    def notice(self, flip: Flip | None) -> None:
        """Take note of the move that is under way. Returns at once."""

    def has_recorded(self, flip: Flip) -> bool:
        """Return whether this process has seen the move on record."""

    def may_vote(self, flip: Flip) -> bool:
        """Return whether the move may go on, as far as this process's record is concerned."""

    def report(self) -> Mapping[str, Any]:
        """Return what this process knows of the record, and its mappings, for its lease item."""

    def problem(self, flip: Flip) -> str | None:
        """Return why this process cannot record the move; None if it can."""
