"""Cooperative cancellation of a long command: it finishes the step under way and keeps what it has done.

The first SIGINT or SIGTERM requests the stop; the second ends the process at once.
"""

from __future__ import annotations

import asyncio


class StopRequestedError(Exception):
    """The command was asked to stop before its work was done."""


class StopRequest:
    """A request to stop. Setting `event` makes the request; calling the object says whether it was made."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def __call__(self) -> bool:
        return self.event.is_set()

    async def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the request. Return whether it was made."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except TimeoutError:
            return False
        return True
