"""Calls for single keys that are made for groups of keys: who shares a call, and who gets which answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from proxy.stores.coalescer import Batching, Coalescer
from proxy.stores.errors import Refused, StoreError, TooMuchContention, UnknownOutcome, Unreachable

# Nobody waits for so long: a second group begins only when it is full.
FOR_EVER = 3600.0


class Store:
    """Answers a key with itself, and notes each group that it was asked for. `fails` says what a group raises."""

    def __init__(self, fails: Callable[[Sequence[str]], StoreError | None] = lambda _: None) -> None:
        self.groups: list[tuple[str, ...]] = []
        self.silent = asyncio.Event()
        self.silent.set()
        self._fails = fails

    async def many(self, keys: Sequence[str]) -> list[str | StoreError]:
        self.groups.append(tuple(keys))
        await self.silent.wait()
        if (error := self._fails(keys)) is not None:
            raise error
        return [key.upper() for key in keys]

    async def single(self, key: str) -> str:
        [answer] = await self.many([key])
        assert isinstance(answer, str)
        return answer


@asynccontextmanager
async def coalescing(
    store: Store, *, max_keys: int = 10, wait: float = 0.0, seconds: float = FOR_EVER, writes: bool = False
) -> AsyncIterator[Coalescer[str, str]]:
    batching = Batching(max_keys=max_keys, wait_seconds=wait, timeout_seconds=seconds)
    calls = Coalescer[str, str](batching, many=store.many, single=store.single, key=lambda key: key[0], writes=writes)

    async def work() -> None:
        while True:
            await calls.work()

    tasks = [asyncio.create_task(work()) for _ in range(2)]
    await asyncio.sleep(0)
    try:
        yield calls
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(calls: Coalescer[str, str], keys: str) -> list[str | BaseException]:
    return await asyncio.gather(*map(calls.call, keys), return_exceptions=True)


async def test_what_is_called_together_is_one_call_and_each_gets_its_answer() -> None:
    store = Store()
    async with coalescing(store) as calls:
        assert await ask(calls, "abcd") == ["A", "B", "C", "D"]
    assert store.groups == [("a", "b", "c", "d")]


async def test_a_group_has_at_most_so_many_keys() -> None:
    store = Store()
    async with coalescing(store, max_keys=3) as calls:
        assert await ask(calls, "abcdefgh") == list("ABCDEFGH")
    assert sorted(map(len, store.groups)) == [2, 3, 3]


async def test_the_first_goes_at_once_and_the_next_wait_for_each_other() -> None:
    store = Store()
    async with coalescing(store, wait=FOR_EVER, max_keys=2) as calls:
        assert await calls.call("a") == "A"
        waiting = asyncio.create_task(calls.call("b"))
        await asyncio.sleep(0.01)
        assert store.groups == [("a",)]
        waiting.cancel()
    assert len(store.groups) == 1


async def test_reads_of_one_key_share_one_question() -> None:
    store = Store()
    async with coalescing(store, max_keys=2) as calls:
        assert await ask(calls, "aabab") == ["A", "A", "B", "A", "B"]
    assert store.groups == [("a", "b")]


async def test_an_error_of_a_shared_question_is_raised_apart() -> None:
    store = Store(lambda keys: Refused("23514") if "a" in keys else None)
    async with coalescing(store) as calls:
        first, second, other = await ask(calls, "aab")
    assert isinstance(first, Refused)
    assert isinstance(second, Refused)
    assert first is not second
    assert other == "B"


async def test_a_read_that_comes_after_the_question_was_sent_asks_again() -> None:
    store = Store()
    store.silent.clear()
    async with coalescing(store) as calls:
        first = asyncio.create_task(calls.call("a"))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(calls.call("a"))
        await asyncio.sleep(0.01)
        store.silent.set()
        assert list(await asyncio.gather(first, second)) == ["A", "A"]
    assert store.groups == [("a",), ("a",)]


async def test_writes_of_one_key_are_in_different_groups() -> None:
    store = Store()
    async with coalescing(store, writes=True) as calls:
        first, second, other = await asyncio.gather(calls.call("a1"), calls.call("a2"), calls.call("b1"))
    assert [first, second, other] == ["A1", "A2", "B1"]
    assert not any("a1" in group and "a2" in group for group in store.groups)


@pytest.mark.parametrize("error", [Refused("23514"), TooMuchContention("others were faster")])
async def test_a_group_falls_apart_until_only_the_guilty_key_fails(error: StoreError) -> None:
    store = Store(lambda keys: error if "e" in keys else None)
    async with coalescing(store) as calls:
        answers = await ask(calls, "abcdefgh")
    assert [each for each in answers if each != "E"] == [*"ABCD", error, *"FGH"]
    assert len(store.groups) == 7  # eight keys, then halves of 4, 2 and 1


@pytest.mark.parametrize("error", [Unreachable("connect"), UnknownOutcome("connection")])
async def test_a_store_that_is_away_is_asked_once_and_everyone_is_told_apart(error: StoreError) -> None:
    store = Store(lambda _: error)
    async with coalescing(store, writes=True) as calls:
        answers = await ask(calls, "abcd")
    assert store.groups == [("a", "b", "c", "d")]
    assert all(type(each) is type(error) and each.reason == error.reason for each in answers)
    assert len(set(map(id, answers))) == 4


@pytest.mark.parametrize(("writes", "error"), [(True, UnknownOutcome), (False, Unreachable)])
async def test_no_answer_in_time_is_unknown_for_writes_alone(writes: bool, error: type[StoreError]) -> None:
    store = Store()
    store.silent.clear()
    async with coalescing(store, seconds=0.01, writes=writes) as calls:
        answers = await ask(calls, "ab")
    assert [type(each) for each in answers] == [error, error]


async def test_who_has_given_up_is_not_asked_for() -> None:
    store = Store()
    store.silent.clear()
    async with coalescing(store, max_keys=1) as calls:
        under_way = [asyncio.create_task(calls.call(key)) for key in "ab"]  # both loops are busy
        await asyncio.sleep(0.01)
        late = asyncio.create_task(calls.call("c"))
        await asyncio.sleep(0)
        late.cancel()
        store.silent.set()
        assert await asyncio.gather(*under_way) == ["A", "B"]
        assert await calls.call("d") == "D"
    assert ("c",) not in store.groups


async def test_without_anybody_at_work_a_call_is_made_by_itself() -> None:
    store = Store()
    async with coalescing(store) as calls:
        pass
    assert await calls.call("a") == "A"


@pytest.mark.parametrize(("writes", "error"), [(True, UnknownOutcome), (False, Unreachable)])
async def test_the_end_of_the_process_leaves_nobody_waiting(writes: bool, error: type[StoreError]) -> None:
    store = Store()
    store.silent.clear()
    async with coalescing(store, max_keys=1, writes=writes) as calls:
        waiting = [asyncio.create_task(calls.call(key)) for key in "abc"]
        await asyncio.sleep(0.01)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    # Two were under way, and may have had their effect; the third was never sent.
    assert [type(each) for each in answers] == [error, error, Unreachable]
