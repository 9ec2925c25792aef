"""An event loop with a clock of its own, where a seed decides which ready callback runs next.

Nothing here waits: when no callback is ready, the clock jumps to the next timer. There are no threads (what asks for
one runs on the loop, at a moment that the seed chooses) and no sockets. A program under it is a function of the seed.

A callback belongs to whoever's context made it (`OWNER`). What belongs to an owner that is dead never runs again: this
is `kill -9`, where no `finally` is reached. What belongs to one that sleeps runs when it wakes up: `kill -STOP`.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol, TypeVar, cast

T = TypeVar("T")

_MOST_STEPS: Final = 400_000


class Owner(Protocol):
    """Whose callbacks these are."""

    @property
    def alive(self) -> bool: ...

    @property
    def asleep_until(self) -> float:
        """The loop's time at which it wakes up, if that is still to come."""


OWNER: ContextVar[Owner | None] = ContextVar("OWNER", default=None)


class Stuck(Exception):
    """Nothing is ready, no timer is set, and the main task has not ended; or it goes on for ever."""


class Loop:
    """As much of an event loop as coroutines ask for.

    `idle` is called before each jump of the clock: the moment to look whether all is well.
    """

    def __init__(self, seed: int, idle: Callable[[], None] = lambda: None) -> None:
        self._loop = cast("asyncio.AbstractEventLoop", self)
        self._random = random.Random(seed)
        self._idle = idle
        self._now = 0.0
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._count = 0
        self.steps = 0
        self.faults: list[str] = []
        # All there ever were: a task that will never run again must not be collected, which would run its `finally`.
        self.tasks: list[asyncio.Task[Any]] = []

    # -- what asyncio asks of a loop -----------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._loop, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self._loop, context)
        self._count += 1
        heapq.heappush(self._timers, (max(when, self._now), self._count, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._loop)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self._loop, name=name, context=context)
        self.tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  # carried to whoever waits, as an executor does
                future.set_exception(error)

        self.call_soon(run)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked by TimerHandle.cancel; a cancelled timer is passed over when its time comes."""

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main` ends. Raises Stuck, or what `main` raises."""
        events._set_running_loop(self._loop)
        # An asynchronous generator that nobody will ask again is left alone, as everything is that was killed.
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=lambda _: None)
        try:
            task: asyncio.Task[T] = self.create_task(main, name="main")
            while not task.done():
                if not self._ready:
                    self._jump()
                else:
                    self._step()
            return task.result()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(None)

    def bury(self) -> None:
        """Forget tasks that will never end, without a word and without running them."""
        for task in self.tasks:
            if task.done():
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            try:
                coroutine.close()
            except (RuntimeError, ValueError):
                continue
        self._ready.clear()
        self._timers.clear()

    def _step(self) -> None:
        ready = self._ready
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise Stuck(f"{_MOST_STEPS} steps are not enough; waiting: {self._waiting()}")
        chosen = int(self._random.random() * len(ready))
        handle = ready[chosen]
        ready[chosen] = ready[-1]
        ready.pop()
        if handle._cancelled:
            return
        owner = handle._context.get(OWNER)  # type: ignore[attr-defined]
        if owner is None or (owner.alive and owner.asleep_until <= self._now):
            handle._run()
        elif owner.alive:
            self._count += 1
            heapq.heappush(self._timers, (owner.asleep_until, self._count, handle))

    def _jump(self) -> None:
        self._idle()
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if self._ready:
            return
        if not timers:
            raise Stuck(f"nothing will ever happen; waiting: {self._waiting()}")
        self._now = timers[0][0]
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])

    def _waiting(self) -> str:
        """The tasks that have not ended, each with the place where it waits."""
        places = []
        for task in self.tasks:
            if task.done():
                continue
            frames = task.get_stack(limit=1)
            where = f"{frames[0].f_code.co_qualname}:{frames[0].f_lineno}" if frames else "?"
            places.append(f"{task.get_name()} at {where}")
        return "; ".join(sorted(places))
