"""Removes from the stage table a process that is gone and whose journal is lost, so that it blocks no more moves.

It may have owed keys that nobody else knows. If its lease says so, the same write records that in the stages, and no
authority moves before the table has been swept (`proxy.cutover.gate.forgotten_writes`). That it is gone for good is the
operator's statement; the history keeps it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from proxy.cutover.clock_skew import clock_skew_margin
from proxy.cutover.flip.active_move import MoveAborted, MoveCommitted, MoveProgress, progress_of_processes, read_state
from proxy.cutover.flip.clocks import SYSTEM_CLOCKS, Clocks
from proxy.cutover.flip.protocol import LeaseObserver
from proxy.cutover.gate.forgotten_writes import settled_at
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import ALL_TABLES, ForgottenProcesses

_POLL_SECONDS: Final = 0.25


async def forget(
    table: StageTable,
    process: str,
    *,
    by: str,
    because: str,
    settle_seconds: float = 0.0,
    clocks: Clocks = SYSTEM_CLOCKS,
) -> AsyncIterator[MoveProgress | MoveCommitted | MoveAborted]:
    """Wait until the process's lease has expired, then remove it. The last item is MoveCommitted (the epoch does not
    change) or MoveAborted. `settle_seconds` is for how long a call to either store may take effect after it was sent.
    Raises StoreError."""
    began, observer = clocks.elapsed(), LeaseObserver()
    while True:
        asked = clocks.elapsed()
        found = [
            each
            for each in observer.observe(await table.leases(), asked, clocks.elapsed())
            if each.lease.process == process
        ]
        known = await read_state(table)
        if not found:
            yield MoveAborted(known.map.epoch, f"there is no process {process} in the stage table")
            return
        if known.flip is not None:
            yield MoveAborted(known.map.epoch, "a stage is being moved: try again when that move has ended")
            return
        (seen,) = found
        if seen.expired:
            break
        if clocks.elapsed() - began > 2 * (seen.lease.seconds + clock_skew_margin(seen.lease.seconds)):
            yield MoveAborted(known.map.epoch, f"{process} is alive: it renews its lease; stop it instead")
            return
        yield MoveProgress(
            "watching",
            clocks.elapsed() - began,
            progress_of_processes(None, found),
            "watching whether it renews its lease",
        )
        await asyncio.sleep(_POLL_SECONDS)
    lease = seen.lease
    entry = {
        "id": uuid.uuid4().hex[:12],
        "at": clocks.wall(),
        "epoch": known.map.epoch,
        "outcome": "forgotten",
        "process": process,
        "host": lease.host,
        "owed": lease.owes,
        "by": by,
        "because": because,
    }
    after = known.map
    if lease.owes:
        # It sent nothing after its lease expired. An older release did not record when it renewed it.
        sent_last = (lease.renewed or clocks.wall()) + lease.seconds
        lost = after.forgotten
        lost = ForgottenProcesses(lost.count + 1, process, max(lost.settled_at, settled_at(sent_last, settle_seconds)))
        after = replace(after, forgotten=lost).with_new_eras(
            (ALL_TABLES,), clocks.wall(), f"process {process} was forgotten"
        )
    if not await table.forget(lease, known.next_row(None, after), entry):
        yield MoveAborted(
            known.map.epoch,
            f"{process} has come back, or a stage has just been moved: check the stages and try again",
        )
        return
    yield MoveCommitted(known.map.epoch, 0)


def follow_up(process: str, *, owed: bool) -> str:
    """What has to be done after a process was forgotten, as a sentence."""
    if not owed:
        return f"{process} owed nothing: nothing has to follow"
    return (
        f"what {process} owed may be missing, so no table can flip, forced or not, before it has been swept: "
        "run, for each table, crossfade verify --table TABLE --repair"
    )
