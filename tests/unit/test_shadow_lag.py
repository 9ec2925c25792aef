"""The loop's lag: seen while the loop is kept busy, and gone when it is not. On a clock of its own, which the machine
cannot make go on."""

import asyncio

import pytest

from proxy.shadow.request.loop_lag import LoopLag

MOST_SECONDS = 0.01


class Clock:
    """What the loop takes for the time; work takes as much of it as it says."""

    def __init__(self) -> None:
        self.now = 100.0

    def work(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now)
    return clock


async def _turns(clock: Clock, lag: LoopLag, number: int, busy_seconds: float) -> bool:
    """Whether the loop was said to be behind after so many turns of so much work each."""
    behind = False
    for _ in range(number):
        asyncio.get_running_loop().call_soon(clock.work, busy_seconds)
        behind = lag.is_lagging()
        await asyncio.sleep(0)
    return behind


async def test_a_loop_with_little_to_do_is_not_behind(clock: Clock) -> None:
    assert not await _turns(clock, LoopLag(MOST_SECONDS), 50, 0.9 * MOST_SECONDS)


async def test_a_loop_kept_busy_is_behind_until_it_no_longer_is(clock: Clock) -> None:
    lag = LoopLag(MOST_SECONDS)
    assert await _turns(clock, lag, 10, 3 * MOST_SECONDS)
    assert not await _turns(clock, lag, 50, 0)


async def test_one_long_turn_alone_is_no_lag(clock: Clock) -> None:
    lag = LoopLag(MOST_SECONDS)
    await _turns(clock, lag, 20, 0)
    assert not await _turns(clock, lag, 2, 3 * MOST_SECONDS)


async def test_how_long_a_turn_may_take_is_the_operators(clock: Clock) -> None:
    assert not await _turns(clock, LoopLag(1.0), 10, 30 * MOST_SECONDS)
