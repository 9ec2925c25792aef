"""The two clocks of a flip: one that leases and limits are measured by, and one for timestamps that people read.

Nothing is decided by comparing the wall clocks of two machines; see `proxy.cutover.clock_skew`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds since the machine started, including those for which it was suspended: a lease must have expired when
    the machine wakes up, and CLOCK_MONOTONIC does not advance while it sleeps (clock_gettime(2))."""
    return time.clock_gettime(_CLOCK)


def steady_wall_clock(
    wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = boottime
) -> Callable[[], float]:
    """Return a clock that shows the wall clock's time of now, and from then on only counts elapsed seconds: nobody who
    sets the wall clock makes it step."""
    offset = wall() - elapsed()
    return lambda: offset + elapsed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The clocks of one process; a simulation passes its own."""

    elapsed: Callable[[], float] = boottime
    """Seconds since an arbitrary moment, never set back."""
    wall: Callable[[], float] = time.time
    """Unix seconds."""


SYSTEM_CLOCKS: Final = Clocks()
