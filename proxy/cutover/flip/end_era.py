"""Ends an era without a move: what has followed the writes to a table has missed some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from proxy.cutover.eras import history_entry
from proxy.cutover.flip.active_move import read
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import Scope
from proxy.stores.errors import Unreachable

_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.25


async def end_era(table: StageTable, scopes: Iterable[Scope], because: str, by: str) -> None:
    """Begin a new era for the scopes; the history says why. Raises StoreError, Unreachable where others are faster."""
    scopes = tuple(scopes)
    for _ in range(_TRIES):
        known = await read(table)
        if known.flip is None:
            now = time.time()
            ended = known.map.broken(scopes, now, because)
            if await table.write_state(known.written(None, ended), entry=history_entry(known.map, scopes, because, by)):
                return
        await asyncio.sleep(_PAUSE_SECONDS)
    raise Unreachable("crowded", f"the stage table {table.name} was changed by others all the while")
