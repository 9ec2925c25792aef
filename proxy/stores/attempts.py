"""Repeated attempts, with growing, jittered pauses between them: one way for all who repeat a call.

DSQL detects conflicts at COMMIT, without waiting ("Concurrency control in Aurora DSQL", user guide): the loser gets
SQLSTATE 40001 and repeats the whole piece of work with what it then reads. DynamoDB asks clients to back off when it
throttles ("Error handling with DynamoDB", developer guide). Pauses are jittered so that those who lost together do not
meet again ("Exponential Backoff And Jitter", AWS Architecture Blog). Every sequence of attempts ends, and every retry
is reported. Nothing here knows what is attempted; an unknown outcome may be retried only by callers who can tell that
repeating does no harm.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self, TypeVar

from proxy.stores.errors import StoreError, Unreachable

T = TypeVar("T")

CONFLICT_REASON: Final = "occ"
ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pauses between attempts: each may be up to twice as long as the one before."""

    first_seconds: float
    """The longest that the first pause may be."""
    max_seconds: float
    """The longest that any pause may be."""
    min_share: float = 0.0
    """The shortest pause, as a share of the longest: 0.0 is full jitter, 1.0 none."""

    def max_pause(self, retry: int) -> float:
        """The longest pause, in seconds, before retry number `retry` (1 is the first)."""
        return min(self.max_seconds, self.first_seconds * 2.0 ** min(retry - 1, 30))

    async def pause(self, retry: int) -> None:
        """Sleep before retry number `retry`."""
        longest = self.max_pause(retry)
        await asyncio.sleep(random.uniform(longest * self.min_share, longest))  # noqa: S311


CONFLICT_BACKOFF: Final = Backoff(0.005, 0.5)
"""For conflicts between transactions, which last for milliseconds."""


class Attempts:
    """`async for attempt in Attempts(6, on_retry): …` yields 0, 1, …, with a pause before each but the first, and ends.

    Leave the loop by `return` or `break` when the work is done; what follows the loop is for work that never succeeded.
    After `skip_pause()` the next attempt follows without one.
    `on_retry` is called with the reason, `occ`, before each retry. (This is not an async generator: one that is left in
    the middle costs the loop a task to close it.)
    """

    __slots__ = ("_limit", "_next", "_on_retry", "_pauses")

    def __init__(self, limit: int = ATTEMPTS, on_retry: Callable[[str], None] = lambda _: None) -> None:
        self._limit = limit
        self._on_retry = on_retry
        self._next = 0
        self._pauses = True

    def skip_pause(self) -> None:
        """Let the next attempt follow at once: what made the last one fail is over."""
        self._pauses = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        attempt = self._next
        if attempt >= self._limit:
            raise StopAsyncIteration
        self._next = attempt + 1
        if attempt:
            self._on_retry(CONFLICT_REASON)
            if self._pauses:
                await CONFLICT_BACKOFF.pause(attempt)
            self._pauses = True
        return attempt


async def retry(
    call: Callable[[], Awaitable[T]],
    backoff: Backoff,
    *,
    attempts: int | None = None,
    seconds: float | None = None,
    on_retry: Callable[[str], None] = lambda _: None,
    retryable: type[StoreError] | tuple[type[StoreError], ...] = Unreachable,
) -> T:
    """Return the result of `call`, repeated while it raises a `retryable` error.

    At most `attempts` calls are made, and none begins more than `seconds` after the first; at least one limit must be
    given. `on_retry` is called with the error's reason before each retry. Raises the last error, and any other at once.
    """
    if attempts is None and seconds is None:
        raise ValueError("retries need a limit: give attempts or seconds")
    clock = asyncio.get_running_loop().time
    deadline = None if seconds is None else clock() + seconds
    made = 0
    while True:
        try:
            return await call()
        except retryable as error:
            made += 1
            if made == attempts or (deadline is not None and clock() > deadline):
                raise
            on_retry(error.reason)
            await backoff.pause(made)
