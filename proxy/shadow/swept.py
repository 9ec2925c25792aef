"""When each table was last swept whole and found equal: read now and then from the record of `crossfade verify`.

A sweep that found something, mended or not, says nothing for the gate: only the next one can find both stores equal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

from proxy.migrate.sweeps import EQUAL, Sweep
from proxy.stores.failures import StoreError

LOOK_SECONDS: Final = 5.0


class Recorded(Protocol):
    """`proxy.migrate.sweeps.Sweeps`."""

    def newest(self, table: str) -> Awaitable[Sweep | None]: ...


class LastSwept:
    """`tables` gives the tables to look for. `watch` is its loop."""

    def __init__(self, sweeps: Recorded, tables: Callable[[], Iterable[str]], every: float = LOOK_SECONDS) -> None:
        self._sweeps = sweeps
        self._tables = tables
        self._every = every
        self._ended: dict[str, float] = {}

    def ended(self) -> Mapping[str, float]:
        """Table → when, in Unix seconds."""
        return self._ended

    async def watch(self) -> None:
        """Look once, and wait until it is time again. Where DSQL cannot be asked, what is known stays."""
        try:
            for table in tuple(self._tables()):
                sweep = await self._sweeps.newest(table)
                if sweep is not None and sweep.result == EQUAL:
                    self._ended[table] = sweep.ended
                else:
                    self._ended.pop(table, None)
        except StoreError:
            pass
        await asyncio.sleep(self._every)
