"""A circuit breaker: after failures in a row, leave the mirror alone for a while, then try it with one call.

Michael Nygard's pattern (Release It!): closed, open, half-open. It counts and waits; it makes no calls itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Final

# The shortest wait told: a caller that sleeps until the retry must not spin while the clock stands on it.
_SOON_SECONDS: Final = 0.01


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """`failures` in a row open it; after `reset_seconds` one call may try (`enter`), and its outcome decides."""

    def __init__(
        self, failures: int, reset_seconds: float, changed: Callable[[BreakerState], None] = lambda _: None
    ) -> None:
        self._limit = failures
        self._reset = reset_seconds
        self._changed = changed
        self._failures = 0
        self._retry_at = 0.0
        self.state = BreakerState.CLOSED

    def try_acquire(self) -> bool:
        """Whether a call may be made now. A call that may must end in `succeeded`, `failed` or `abandoned`."""
        if self.state is BreakerState.CLOSED:
            return True
        now = asyncio.get_running_loop().time()
        if self.state is BreakerState.OPEN and now >= self._retry_at:
            # The others wait for what comes of this one, and do not look in every few milliseconds.
            self._retry_at = now + self._reset
            self._become(BreakerState.HALF_OPEN)
            return True
        return False

    @property
    def closed(self) -> bool:
        return self.state is BreakerState.CLOSED

    @property
    def seconds_until_retry(self) -> float:
        """How long until `enter` can say yes; 0 if it may now."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        return max(_SOON_SECONDS, self._retry_at - asyncio.get_running_loop().time())

    @property
    def is_open(self) -> bool:
        """Whether the mirror is to be left alone for a while yet: `enter` would say no."""
        return self.seconds_until_retry > _SOON_SECONDS

    def succeeded(self) -> None:
        self._failures = 0
        if self.state is not BreakerState.CLOSED:
            self._become(BreakerState.CLOSED)

    def failed(self) -> None:
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or self._failures >= self._limit:
            self._retry_at = asyncio.get_running_loop().time() + self._reset
            if self.state is not BreakerState.OPEN:
                self._become(BreakerState.OPEN)

    def abandoned(self) -> None:
        """The call ended without telling anything about the mirror (its caller was cancelled)."""
        if self.state is BreakerState.HALF_OPEN:
            self._retry_at = asyncio.get_running_loop().time()
            self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        self.state = state
        self._changed(state)
