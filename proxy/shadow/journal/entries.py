"""What the journal hands out: a write's entry, and a key claimed for convergence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from proxy.dynamodb.schema import Key


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One write in the journal, from before the authority is called until `Journal.release` or
    `Journal.withdraw`."""

    keys: tuple[Key, ...]
    """The keys that the write touches, each once."""
    generation: int
    """The generation that the keys got by this entry."""
    overlapped: frozenset[Key]
    """Those of the keys that were in the journal already."""
    entered: float
    """When they entered, in seconds by the journal's clock."""


@dataclass(frozen=True, slots=True)
class ClaimedKey:
    """A key that its holder alone converges, until it calls `mark_converged`, `retry_later` or `park`."""

    key: Key
    generation: int
    """The generation that a success may clear; 0 where it may clear none."""


@dataclass(slots=True)
class ActiveKey:
    """The state of a key that is being written or converged, or is queued for it. Times are by the journal's clock."""

    generation: int
    """The generation of its latest entry."""
    tried: float
    """When its last convergence began; when it entered, if there was none."""
    entered: float
    """When it entered."""
    writers: int = 0
    """How many authority writes to it are in flight."""
    owes: bool = True
    """Whether the stores may differ at the key: something beside the writes in flight asks for a convergence."""
    converging: bool = False
    """Whether somebody has claimed it."""
    queued: bool = False
    """Whether it is in the queue of keys to converge."""
    departed: asyncio.Event | None = None
    """Set when the key leaves memory, if anybody waits for that."""
