"""A token bucket: so many items, or read capacity units, a second. Bursts of one second; knows nothing of who asks."""

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
    """So many of a unit a second."""

    per_second: float
    unit: Literal["items", "rcu"]

    @property
    def page_items(self) -> int:
        """How many items to read at a time, so that a page is not many seconds' worth."""
        return max(10, min(1000, round(self.per_second)))

    @classmethod
    def parse(cls, text: str) -> Rate:
        """From `500`, `500items` or `200rcu`. Raises ValueError."""
        match = _RATE.fullmatch(text.strip().lower())
        if match is None or float(match[1]) <= 0:
            raise ValueError(f"{text!r} is no rate: write 500 for items a second, 200rcu for read capacity units")
        return cls(float(match[1]), "rcu" if match[2] == "rcu" else "items")


class RateLimiter:
    """`await pace.wait()` before a read, `pace.spent(…)` after it, when it is known what it cost.

    What a read costs is not known before, so it is paid afterwards: the bucket may go below nothing, and whoever comes
    next waits until it has been filled again. Over any longer time the rate is kept.
    """

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._balance = rate.per_second if rate is not None else 0.0
        self._filled_at = time.monotonic()

    async def wait(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Until it may be read, or until it is to stop."""
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
        if self._rate is not None:
            self._balance -= rcu if self._rate.unit == "rcu" else items
