"""Work behind the answer: bounded, owned, and never the client's trouble."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.background_tasks import BackgroundTasks


@pytest.fixture
async def behind() -> AsyncIterator[BackgroundTasks]:
    opened = BackgroundTasks(2)
    yield opened
    await opened.close()


async def test_it_has_room_for_so_many(behind: BackgroundTasks) -> None:
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    room = [behind.has_capacity]
    for _ in range(2):
        behind.start(work())
        room.append(behind.has_capacity)
    assert room == [True, True, False]
    assert not await behind.finish(0.02)
    gate.set()
    assert await behind.finish(60)
    assert behind.running == 0


async def test_a_fault_in_one_leaves_the_others_alone(behind: BackgroundTasks) -> None:
    done = asyncio.Event()

    async def fails() -> None:
        raise ValueError("a fault")

    async def works() -> None:
        await asyncio.sleep(0.01)
        done.set()

    behind.start(fails())
    behind.start(works())
    assert await behind.finish(60)
    assert done.is_set()


async def test_closing_cancels_and_waits() -> None:
    behind = BackgroundTasks(2)
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("work")

    async def forever() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("loop")

    behind.start(work())
    behind.loop(forever)
    await asyncio.sleep(0)
    await behind.close()
    assert sorted(ended) == ["loop", "work"]


async def test_a_loop_outlives_its_faults(behind: BackgroundTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    enough = asyncio.Event()

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise ValueError("a fault")
        enough.set()
        await asyncio.sleep(30)

    behind.loop(turn)
    async with asyncio.timeout(60):
        await enough.wait()
    assert turns == 2
