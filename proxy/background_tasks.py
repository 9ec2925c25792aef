"""Work behind the client's answer: bounded, owned, and never able to fail the client.

Every task is in one set until it ends, and `close` ends them all. A TaskGroup does the same at twice the cost, and each
comparison is a task. At the limit, new work is refused rather than queued; this is how comparisons are shed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """The owner of tasks: at most `limit` pieces of work at once, and loops, which do not count."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        # In the order of their start, so that a simulation ends them in the same order each time.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def has_capacity(self) -> bool:
        """Whether one more piece of work may be started."""
        return self.running < self._limit

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a piece of work. Ask `has_capacity` first."""
        self.running += 1
        self._idle.clear()
        self._own(self._run(work))

    def loop(self, once: Callable[[], Awaitable[None]]) -> None:
        """Call something again and again until `close`. A fault in it is logged, and the loop goes on."""
        self._own(self._repeat(once))

    async def finish(self, seconds: float) -> bool:
        """Wait for the work under way, not for loops. Returns whether all of it has ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Cancel all work and all loops, and wait for their end."""
        while self._tasks:  # a task that is ending may have started another
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

    async def _repeat(self, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await once()
            except Exception:
                log.exception("fault_in_a_loop")
                await asyncio.sleep(1)
