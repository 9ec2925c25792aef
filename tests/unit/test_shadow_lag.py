"""The loop's lag: seen while the loop is kept busy, and gone when it is not."""

import asyncio
import time

from proxy.shadow.lag import MOST_SECONDS, Lag


async def _turns(lag: Lag, number: int, busy_seconds: float) -> bool:
    """Whether the loop was said to be behind after so many turns of so much work each."""
    behind = False
    for _ in range(number):
        asyncio.get_running_loop().call_soon(time.sleep, busy_seconds)
        behind = lag.behind()
        await asyncio.sleep(0)
    return behind


async def test_a_loop_with_little_to_do_is_not_behind() -> None:
    assert not await _turns(Lag(), 50, 0)


async def test_a_loop_kept_busy_is_behind_until_it_no_longer_is() -> None:
    lag = Lag()
    assert await _turns(lag, 10, 3 * MOST_SECONDS)
    assert not await _turns(lag, 50, 0)


async def test_one_long_turn_alone_is_no_lag() -> None:
    lag = Lag()
    await _turns(lag, 20, 0)
    assert not await _turns(lag, 2, 3 * MOST_SECONDS)
