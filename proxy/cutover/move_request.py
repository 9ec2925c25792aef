"""The request to move a scope to another stage: one record from the command line, the admin port or the console to the
flip.

A plain value. Whether the move is possible is decided by the gate and by `proxy.cutover.flip.protocol`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from proxy.cutover.stages import Scope, Stage


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """A move that somebody asks for."""

    scope: Scope
    to: Stage
    by: str = ""
    """Who asks, for the history."""
    _: KW_ONLY
    ramp: float | None = None
    """The share of reads that DSQL serves, in percent; for `shadow` only. None keeps the ramp of a scope that is in
    `shadow` already, and is 0 otherwise."""
    because: str = ""
    """The reason, for the history. Required with `force`."""
    force: bool = False
    """Whether to move although the gate is shut."""
    epoch: int | None = None
    """The epoch that the requester saw; at any other epoch the move is refused. None accepts every epoch."""
    dry_run: bool = False
    """Whether to report what the move would do, and do nothing."""
