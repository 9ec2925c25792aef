"""The same work on many things, so many at once: the first error ends all of it, and is raised as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def run_concurrently(things: Iterable[T], work: Callable[[T], Awaitable[None]], most: int) -> None:
    """Do the work on each thing, in order, by `most` workers. Not a task group: its errors come in groups, which those
    who sort errors by their kind would each have to take apart."""
    waiting = list(things)[::-1]

    async def some() -> None:
        while waiting:
            await work(waiting.pop())

    tasks = [asyncio.create_task(some()) for _ in range(min(most, len(waiting)))]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
