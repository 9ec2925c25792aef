"""The breaker, and the limit before it: when a mirror is left alone, and who may look whether it is back.

Time passes when a test says so: how long the machine takes from one line to the next is no matter.
"""

import asyncio
from dataclasses import dataclass

import pytest

from proxy.dynamodb.schema import Key
from proxy.stores.circuit_breaker import BreakerState, CircuitBreaker
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable
from proxy.stores.guarded_store import GuardedStore
from proxy.stores.interface import StoredItem
from tests.unit.shadow_stores import MemoryStore

KEY = Key("t", '{"id":{"S":"a"}}')
RESET = 60.0


@pytest.fixture
def seen() -> list[BreakerState]:
    return []


@pytest.fixture
def breaker(seen: list[BreakerState]) -> CircuitBreaker:
    return CircuitBreaker(3, RESET, seen.append)


@dataclass
class Clock:
    """What the loop takes for the time."""

    now: float = 1000.0


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now)
    return clock


async def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    for _ in range(3):
        assert breaker.try_acquire()
        breaker.failed()
    assert breaker.state is BreakerState.OPEN
    return breaker


async def test_it_opens_after_failures_in_a_row_only(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.closed
    await opened(breaker)
    assert not breaker.try_acquire()


async def test_one_call_tries_and_the_others_wait_for_what_comes_of_it(breaker: CircuitBreaker, clock: Clock) -> None:
    await opened(breaker)
    assert breaker.seconds_until_retry == RESET
    clock.now += RESET * 1.2
    assert breaker.try_acquire()
    assert not breaker.try_acquire()
    # Whoever asks how long to wait is not told to come again at once.
    assert breaker.seconds_until_retry == RESET


@pytest.mark.parametrize("end", ["succeeded", "failed", "abandoned"])
async def test_what_comes_of_the_trial(
    breaker: CircuitBreaker, clock: Clock, seen: list[BreakerState], end: str
) -> None:
    await opened(breaker)
    clock.now += RESET * 1.2
    assert breaker.try_acquire()
    getattr(breaker, end)()
    if end == "succeeded":
        assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]
        assert breaker.try_acquire()
    else:
        assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.OPEN]
        # A trial that told nothing is made again at once; one that failed, after a while.
        assert breaker.try_acquire() is (end == "abandoned")


class Failing(MemoryStore):
    """A store whose reads and writes end as told."""

    def __init__(self, end: StoreError | float) -> None:
        super().__init__("dsql")

        async def before(_: str) -> None:
            if isinstance(end, StoreError):
                raise end
            await asyncio.sleep(end)

        self.before = before


async def put(store: GuardedStore) -> None:
    await store.put(KEY, {"id": {"S": "a"}}, StoredItem(None))


async def test_a_call_that_takes_too_long_is_cut(breaker: CircuitBreaker) -> None:
    store = GuardedStore(Failing(30.0), 0.02, breaker)
    with pytest.raises(Unreachable, match=r"no answer from dsql within 0\.02 s"):
        await store.get(KEY)
    with pytest.raises(UnknownOutcome):  # a write may have been done all the same
        await put(store)
    with pytest.raises(UnknownOutcome):
        await put(store)
    with pytest.raises(Unreachable) as caught:
        await store.get(KEY)
    assert caught.value.reason == "breaker"


@pytest.mark.parametrize(
    ("end", "opens"),
    [
        (Unreachable("connect"), True),
        (UnknownOutcome("connection"), True),
        (Unreachable("occ"), False),
        (Unreachable("table"), False),
        (Refused("42P01"), False),
    ],
)
async def test_only_a_mirror_that_is_not_there_is_left_alone(
    breaker: CircuitBreaker, end: StoreError, opens: bool
) -> None:
    store = GuardedStore(Failing(end), 1, breaker)
    for _ in range(5):
        with pytest.raises(StoreError):
            await put(store)
    assert breaker.closed is not opens


async def test_a_caller_that_gives_up_says_nothing_of_the_mirror(breaker: CircuitBreaker) -> None:
    store = GuardedStore(Failing(30.0), 30, breaker)
    for _ in range(5):
        call = asyncio.create_task(put(store))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert breaker.closed
