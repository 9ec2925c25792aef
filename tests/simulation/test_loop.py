"""The loop that simulations run on: its clock, its order, its endings."""

import asyncio
import contextvars

import pytest

from tests.simulation.loop import OWNER, Loop, Stuck


def order(seed: int) -> list[int]:
    """The order in which five tasks that are ready at once run."""
    ran: list[int] = []

    async def one(number: int) -> None:
        ran.append(number)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(one(number))

    Loop(seed).run(main())
    return ran


def test_time_is_virtual() -> None:
    loop = Loop(0)

    async def main() -> float:
        await asyncio.sleep(86_400)
        async with asyncio.timeout(3600):
            await asyncio.to_thread(lambda: None)
        return loop.time()

    assert loop.run(main()) == 86_400


def test_a_seed_chooses_the_order() -> None:
    assert len({tuple(order(seed)) for seed in range(200)}) > 50
    assert all(order(seed) == order(seed) for seed in range(20))


def test_who_waits_for_ever_is_named() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await asyncio.create_task(forever(), name="the one that waits")

    with pytest.raises(Stuck, match=r"the one that waits at .*forever"):
        Loop(0).run(main())


def test_the_dead_do_nothing_not_even_clean_up() -> None:
    class Owner:
        alive = True
        asleep_until = 0.0

    loop, owner, heard = Loop(0), Owner(), []
    context = contextvars.copy_context()
    context.run(OWNER.set, owner)

    async def live() -> None:
        try:
            await asyncio.sleep(1)
            heard.append("alive")
            await asyncio.sleep(1)
        finally:
            heard.append("cleaned up")

    async def main() -> None:
        loop.create_task(live(), context=context)
        await asyncio.sleep(1.5)
        owner.alive = False
        await asyncio.sleep(10)

    loop.run(main())
    assert heard == ["alive"]


def test_what_belongs_to_a_sleeper_runs_when_it_wakes_up() -> None:
    loop, heard = Loop(1), []

    class Sleeper:
        alive = True
        asleep_until = 5.0

    async def speak() -> None:
        heard.append(loop.time())
        await asyncio.sleep(1.0)
        heard.append(loop.time())

    async def main() -> None:
        context = contextvars.copy_context()
        context.run(OWNER.set, Sleeper())
        loop.create_task(speak(), context=context)
        await asyncio.sleep(20.0)

    loop.run(main())
    assert heard == [5.0, 6.0]
