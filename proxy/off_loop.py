"""Runs in a thread what takes long to compute, so that the event loop has its turns: Python gives way every 5 ms.

One at a time: several threads would take the loop's turns from it. What C code computes in one call holds the
interpreter all the same (`proxy.dynamodb.large_json`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from proxy.dynamodb.large_json import SMALL

P = ParamSpec("P")
T = TypeVar("T")

_TURN_SECONDS: Final = 0.005

_thread: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="off-loop")


class LoopTurn:
    """A long computation's turn of the event loop, which it gives back every 5 ms."""

    def __init__(self) -> None:
        self._until = time.monotonic() + _TURN_SECONDS

    async def give_way(self) -> None:
        """Let others have their turns, if this one has been long. Call it between the steps of the computation."""
        if time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + _TURN_SECONDS


async def off_loop(size: int, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `compute` returns: at once, or from a thread if it works on more than `SMALL` bytes."""
    if size <= SMALL:
        return compute(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_thread, partial(compute, *args, **kwargs))
