"""What the journal hands out: a write's entry, and a key that is claimed for convergence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from proxy.dynamodb.schema import Key


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One operation's entry: its keys, the generation they got, which of them were in already, and when (clock)."""

    keys: tuple[Key, ...]
    generation: int
    overlapped: frozenset[Key]
    entered: float


@dataclass(frozen=True, slots=True)
class ClaimedKey:
    """A key to converge, and the generation that a success may clear (0: none may)."""

    key: Key
    generation: int


@dataclass(slots=True)
class ActiveKey:
    """The state of a key that is being written or converged, or is queued for it. Times are by the journal's clock."""

    generation: int
    tried: float
    """When its convergence was last begun, or it entered."""
    entered: float
    writers: int = 0
    """How many authority writes are in flight."""
    converging: bool = False
    queued: bool = False
    left: asyncio.Event | None = None
    """Set when the key leaves memory, if anybody waits for that."""
