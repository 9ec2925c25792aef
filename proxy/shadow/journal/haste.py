"""The tables whose keys clients wait for: writes to them are held until every key has converged."""

from __future__ import annotations

import asyncio
from typing import Final

# How long a key that could not converge rests before it is tried again, while clients wait for it.
RETRY_SECONDS: Final = 0.05


class Haste:
    """Use it from one event loop."""

    def __init__(self) -> None:
        self._tables: set[str] = set()
        self._changed = asyncio.Event()

    def begin(self, table: str) -> None:
        """Clients wait for the table's keys from now on."""
        self._tables.add(table)
        self._changed.set()

    def end(self, table: str) -> None:
        """Clients wait for them no more."""
        self._tables.discard(table)

    def covers(self, table: str) -> bool:
        """Return whether clients wait for the table's keys."""
        return table in self._tables

    async def pause(self, table: str, seconds: float) -> bool:
        """Sleep, but no longer than until clients wait for the table's keys. Return whether they do."""
        try:
            async with asyncio.timeout(seconds):
                while table not in self._tables:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return table in self._tables
