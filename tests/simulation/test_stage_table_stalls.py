"""A stage table that stalls: for how long a process may serve all the same, and what its first write waits for."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.cutover.flip.clocks import Clocks
from proxy.cutover.flip.fencing import DrainStatus
from proxy.cutover.flip.participant import Participant, ProcessIdentity
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import Scope, Stage, StageMap
from proxy.dynamodb.outcome import Outcome
from proxy.settings import StagesSettings
from proxy.stores.errors import UnknownOutcome
from tests.simulation.loop import Loop
from tests.simulation.stage_memory import NAME, StageMemory

DEFAULTS = StagesSettings()
CALL_SECONDS = DEFAULTS.lease_seconds / 5
STALL_SECONDS = 10.0


class IdleFence:
    """`FenceControl` of a process without writes."""

    clean = True

    def hold(self, scope: Scope) -> None: ...

    def release(self) -> None: ...

    def drain(self, scope: Scope, authority: str | None = None) -> DrainStatus:
        return DrainStatus(0, 0, 0.0, 0)

    def adopt(self, new: StageMap) -> None: ...

    def began_before(self, scope: Scope) -> int:
        return 0

    def problem(self, scope: Scope, to: Stage) -> str | None:
        return None


class StallingTable:
    """The stage table's DynamoDB, which gives no answer before `until`: calls wait for it, or are `lost`."""

    def __init__(self, memory: StageMemory, loop: Loop, *, lost: bool) -> None:
        self._there = memory.by(None)
        self._loop = loop
        self._lost = lost
        self.until = 0.0

    async def call(self, action: str, body: bytes) -> Outcome:
        stalled = self.until - self._loop.time()
        if stalled > 0 and (self._lost or stalled > CALL_SECONDS):
            await asyncio.sleep(CALL_SECONDS)
            raise UnknownOutcome("timeout")
        await asyncio.sleep(max(0.0, stalled))
        return await self._there.call(action, body)


def run(loop: Loop, story: Coroutine[Any, Any, None]) -> None:
    loop.run(story)
    assert not loop.faults


def participant(loop: Loop, table: StallingTable) -> Participant:
    return Participant(
        StageTable(table, NAME),
        IdleFence(),
        ProcessIdentity(name="one"),
        lease_seconds=DEFAULTS.lease_seconds,
        poll_seconds=DEFAULTS.poll_seconds,
        clocks=Clocks(elapsed=loop.time, wall=loop.time),
    )


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("begins", [0.1 * n for n in range(0, 60, 7)])
def test_a_stall_of_ten_seconds_costs_no_lease(lost: bool, begins: float) -> None:
    """At whatever time between two renewals it begins, and whether its calls are late or lost."""
    loop = Loop(1)
    table = StallingTable(StageMemory(loop.time), loop, lost=lost)
    here = participant(loop, table)

    async def story() -> None:
        await here.join()
        running = asyncio.create_task(here.run())
        await asyncio.sleep(DEFAULTS.lease_seconds)
        term = here.lease.term
        await asyncio.sleep(begins)
        table.until = loop.time() + STALL_SECONDS
        for _ in range(int(2 * DEFAULTS.lease_seconds / 0.1)):
            await asyncio.sleep(0.1)
            assert here.lease.holds(term), f"{loop.time() - table.until:.1f} s after the end of the stall"
        running.cancel()
        await asyncio.wait([running])

    run(loop, story())


@pytest.mark.parametrize("lost", [False, True])
def test_the_first_write_waits_for_a_stall_and_is_not_refused(lost: bool) -> None:
    loop = Loop(1)
    table = StallingTable(StageMemory(loop.time), loop, lost=lost)
    here = participant(loop, table)

    async def story() -> None:
        await here.join()
        running = asyncio.create_task(here.run())
        await asyncio.sleep(DEFAULTS.lease_seconds)
        table.until = loop.time() + STALL_SECONDS
        await here.lease.owe()
        assert here.lease.owing
        running.cancel()
        await asyncio.wait([running])

    run(loop, story())
