"""Work behind the client's answer: bounded, owned, and never able to fail the client.

Every task stands in one set until it ends, and `close` ends them all: a TaskGroup does the same at twice the price, and
each comparison is a task. Starting is refused, not queued, when there are too many: that is what sheds comparisons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """At most `limit` pieces of work at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # In their order, so that what happens at the end is the same each time.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def has_capacity(self) -> bool:
        return self.running < self._limit

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a piece of work. Ask `has_room` first."""
        self.running += 1
        self._idle.clear()
        self._own(self._run(work))

    def loop(self, forever: Callable[[], Awaitable[None]]) -> None:
        """Run something until `close`; a fault in it is told and it goes on."""
        self._own(self._repeat(forever))

    async def finish(self, seconds: float) -> bool:
        """Wait for the work under way. Gives whether all of it has ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        while self._tasks:  # one that is ending may have started another
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(list(self._tasks))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("fault_behind_the_answer")
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()

    async def _repeat(self, forever: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await forever()
            except Exception:
                log.exception("fault_in_a_loop")
                await asyncio.sleep(1)
