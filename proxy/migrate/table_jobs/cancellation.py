"""A long command is asked to stop: what it has begun it ends, and what it has done it keeps.

The first SIGINT or SIGTERM asks, a second one ends the process there and then.
"""

from __future__ import annotations

import asyncio


class StopRequestedError(Exception):
    """It was asked to, before its work was done."""


class StopRequest:
    """`event` is set by whoever asks."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def __call__(self) -> bool:
        return self.event.is_set()

    async def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is asked; gives whether it was."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except TimeoutError:
            return False
        return True
