"""Runs one coroutine function over many things with bounded concurrency; the first error cancels the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def run_concurrently(things: Iterable[T], work: Callable[[T], Awaitable[None]], limit: int) -> None:
    """Start `work` on each thing, in order, at most `limit` at a time. Raise the first error as it is.

    This is not a task group because a task group raises an ExceptionGroup, which every caller that tells kinds of
    errors apart would have to unpack.
    """
    waiting = list(things)[::-1]

    async def worker() -> None:
        while waiting:
            await work(waiting.pop())

    tasks = [asyncio.create_task(worker()) for _ in range(min(limit, len(waiting)))]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
