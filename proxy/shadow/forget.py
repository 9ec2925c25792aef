"""Takes a process that is gone, and whose journal is lost, out of the stage table, so that it blocks no more moves.

It may have owed keys that nobody knows any more. So its host must have been gone for longer than the stores settle, and
a full sweep must have been made since: that is for the operator to see to, and is what the history keeps.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Final

from proxy.shadow.flip import Watch, margin
from proxy.shadow.lease import machine_time
from proxy.shadow.under_way import Kept, Moved, Progress, proxies_of, read
from proxy.stores.stage_table import StageTable

_LOOK_SECONDS: Final = 0.25


async def forget(
    table: StageTable,
    process: str,
    *,
    by: str,
    because: str,
    clock: Callable[[], float] = machine_time,
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[Progress | Moved | Kept]:
    """See first, for as long as its lease lasts, that it is gone. Ends with Moved (the epoch is the same) or Kept.
    Raises StoreError."""
    began, watch = clock(), Watch()
    while True:
        asked = clock()
        found = [each for each in watch.see(await table.leases(), asked, clock()) if each.lease.process == process]
        known = await read(table)
        if not found:
            yield Kept(known.map.epoch, f"there is no process {process} in the stage table")
            return
        if known.flip is not None:
            yield Kept(known.map.epoch, "a stage is being moved: try again when that is over")
            return
        (seen,) = found
        if seen.run_out:
            break
        if clock() - began > 2 * (seen.lease.seconds + margin(seen.lease.seconds)):
            yield Kept(known.map.epoch, f"{process} is alive, it renews its lease: stop it instead")
            return
        yield Progress("watching", clock() - began, proxies_of(None, found), "looking whether it renews its lease")
        await asyncio.sleep(_LOOK_SECONDS)
    if not await table.delete_lease(seen.lease):
        yield Kept(known.map.epoch, f"{process} has come back")
        return
    entry = {
        "id": uuid.uuid4().hex[:12],
        "at": wall(),
        "epoch": known.map.epoch,
        "outcome": "forgotten",
        "process": process,
        "host": seen.lease.host,
        "owed": seen.lease.owes,
        "by": by,
        "because": because,
    }
    await table.add_history(known.map.epoch, entry)
    yield Moved(known.map.epoch, 0)
