"""The latest sweep of each table, read every five seconds from the records of `crossfade verify`.

`criteria` and `forgotten_writes` decide what a sweep proves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.evidence import LastSweep
from proxy.stores.dsql.system_tables.sweep_records import SweepRecord
from proxy.stores.errors import StoreError

LOOK_SECONDS: Final = 5.0


class SweepHistory(Protocol):
    """`proxy.stores.dsql.system_tables.sweep_records.SweepRecords`."""

    def newest(self, table: str) -> Awaitable[SweepRecord | None]: ...


class LatestSweeps:
    """The latest sweep of each table that this process knows. `tables` gives the tables that stages, settings, mappings
    or clients have named, `remembered` those that were met before the start; other processes read the sweeps of the
    tables that they meet. Run `watch` in a loop."""

    def __init__(
        self,
        sweeps: SweepHistory,
        tables: Callable[[], Iterable[str]],
        remembered: Callable[[], Awaitable[Iterable[str]]],
        every: float = LOOK_SECONDS,
    ) -> None:
        self._sweeps = sweeps
        self._tables = tables
        self._remembered = remembered
        self._every = every
        self._before: frozenset[str] | None = None
        self._last: dict[str, LastSweep] = {}

    def by_table(self) -> Mapping[str, LastSweep]:
        """By table."""
        return self._last

    async def watch(self) -> None:
        """Read once, and wait until the next read is due. While DSQL cannot be read, the last result stays."""
        try:
            if self._before is None:
                self._before = frozenset(await self._remembered())
            for table in self._before.union(self._tables()):
                sweep = await self._sweeps.newest(table)
                if sweep is not None:
                    self._last[table] = _last_sweep(sweep)
                else:
                    self._last.pop(table, None)
        except StoreError:
            pass
        await asyncio.sleep(self._every)


def _last_sweep(sweep: SweepRecord) -> LastSweep:
    """The part of a record that the gate needs. A record of another version has no known basis."""
    try:
        basis = Basis.from_document(sweep.report["basis"])
    except (KeyError, TypeError, ValueError):
        basis = None
    return LastSweep(sweep.ended, sweep.result, sweep.authority, basis, sweep.mended, sweep.began)
