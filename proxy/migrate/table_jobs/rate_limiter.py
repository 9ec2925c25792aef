"""A token bucket that limits items, or read capacity units, per second, with bursts of one second."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(rcu|items)?")


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate: a number of items, or of read capacity units, per second."""

    per_second: float
    unit: Literal["items", "rcu"]

    @property
    def page_items(self) -> int:
        """How many items to read at a time, so that one page does not use up many seconds of the rate."""
        return max(10, min(1000, round(self.per_second)))

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Parse `500`, `500items` or `200rcu`. Raises ValueError."""
        match = _RATE.fullmatch(text.strip().lower())
        if match is None or float(match[1]) <= 0:
            raise ValueError(f"{text!r} is not a rate: write 500 for items a second, 200rcu for read capacity units")
        return cls(float(match[1]), "rcu" if match[2] == "rcu" else "items")


class RateLimiter:
    """A rate limiter whose cost is charged afterwards: `await limiter.wait()`, read, then `limiter.charge(…)`.

    The cost of a read is known only after the read. So the balance may become negative, and the next caller waits until
    it is positive again; the rate holds over any longer time. `rate` None means no limit.
    """

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._balance = rate.per_second if rate is not None else 0.0
        self._filled_at = time.monotonic()

    async def wait(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Wait until a read is allowed, or until `stop` says so."""
        if self._rate is None:
            return
        while not stop():
            now = time.monotonic()
            self._balance = min(self._rate.per_second, self._balance + (now - self._filled_at) * self._rate.per_second)
            self._filled_at = now
            if self._balance > 0:
                return
            await asyncio.sleep(min(1.0, -self._balance / self._rate.per_second + 0.001))

    def charge(self, *, items: int = 0, rcu: float = 0.0) -> None:
        """Take the cost of a read from the balance: its items, or its read capacity units, whichever is limited."""
        if self._rate is not None:
            self._balance -= rcu if self._rate.unit == "rcu" else items
