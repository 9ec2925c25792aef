"""How often, and after what pause, work that lost to another writer is done again. One way for all who need it.

DSQL decides conflicts at COMMIT, without waiting ("Concurrency control in Aurora DSQL", user guide): whoever loses gets
SQLSTATE 40001 and does the whole again, with what it then reads. The pauses have full jitter ("Exponential Backoff And
Jitter", AWS Architecture Blog), attempts are limited, and each that is made again is counted. Nothing here knows what
is attempted; only conflicts may be tried again so, never an unknown outcome.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final, Self

CONFLICT_REASON: Final = "occ"
ATTEMPTS: Final = 10
_FIRST_SECONDS: Final = 0.005
_LONGEST_SECONDS: Final = 0.5


def longest_pause(attempt: int) -> float:
    """The most seconds to pause before attempt `attempt` (0 is the first, which waits for nothing)."""
    return min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempt - 1, 30)) if attempt else 0.0


class Attempts:
    """`async for attempt in Attempts(6, counted): …` gives 0, 1, … with a pause before each but the first, and ends.

    Leave the loop by `return` or `break` when the work is done; what follows the loop is for work that never got
    through. `again` is told the reason, `occ`, before each attempt but the first. (Not an async generator: one that is
    left in the middle costs the loop a task to end it.)
    """

    __slots__ = ("_again", "_most", "_next")

    def __init__(self, most: int = ATTEMPTS, again: Callable[[str], None] = lambda _: None) -> None:
        self._most = most
        self._again = again
        self._next = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        attempt = self._next
        if attempt >= self._most:
            raise StopAsyncIteration
        self._next = attempt + 1
        if attempt:
            self._again(CONFLICT_REASON)
            await asyncio.sleep(random.uniform(0.0, longest_pause(attempt)))  # noqa: S311
        return attempt
