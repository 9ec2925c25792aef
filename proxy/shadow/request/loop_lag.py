"""The lag of the event loop: whether comparisons take CPU time that clients' requests need.

No client waits for a comparison, but comparisons run on the loop that answers clients. If they need more than the CPU
can do, answers queue behind them, so no comparison is begun while the loop lags. Knows no clients and no stores; costs
one callback in each turn of the loop, and no timer.

A turn of the loop runs everything that is ready. DynamoDB answers within some milliseconds, and by default a turn may
take about as long.
"""

from __future__ import annotations

import asyncio
from typing import Final

_WEIGHT: Final = 0.2


class LoopLag:
    """The moving average of how long a turn of the loop takes. Ask `is_lagging` before work that can be shed."""

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self.seconds = 0.0
        """How many seconds a turn of the loop takes, as a moving average."""
        self._measuring = False

    def is_lagging(self) -> bool:
        """Return whether turns take longer than allowed, and measure the next turn."""
        if not self._measuring:
            self._measuring = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._end_turn, loop, loop.time())
        return self.seconds > self._most_seconds

    def _end_turn(self, loop: asyncio.AbstractEventLoop, began: float) -> None:
        self._measuring = False
        self.seconds += _WEIGHT * (loop.time() - began - self.seconds)
