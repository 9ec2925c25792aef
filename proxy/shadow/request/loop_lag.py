"""How far the event loop is behind: what tells that comparisons take the CPU that clients' requests want.

A comparison is never waited for, but it runs on the loop that answers clients. Where all of them together are more than
the CPU does, answers would stand in line behind comparisons: so none is begun while the loop is behind. Knows no
clients and no stores; costs one callback a turn of the loop, and no timer.

A turn is the work of everything that was ready at once. DynamoDB answers in some milliseconds: a turn may take as much
again, if nothing else is set.
"""

from __future__ import annotations

import asyncio
from typing import Final

_WEIGHT: Final = 0.2


class LoopLag:
    """Ask `behind` before each piece of work that can be left out."""

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self.seconds = 0.0
        """How long a turn of the loop takes, lately."""
        self._measuring = False

    def is_lagging(self) -> bool:
        """Whether the loop is behind; also measures its next turn."""
        if not self._measuring:
            self._measuring = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._turned, loop, loop.time())
        return self.seconds > self._most_seconds

    def _turned(self, loop: asyncio.AbstractEventLoop, began: float) -> None:
        self._measuring = False
        self.seconds += _WEIGHT * (loop.time() - began - self.seconds)
