"""Work that loses is done again: so often, after such pauses, and counted."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from proxy.dynamodb.schema import Key
from proxy.stores.attempts import ATTEMPTS, CONFLICT_BACKOFF, Attempts, Backoff, retry
from proxy.stores.dsql.conflicts import is_conflict, retry_conflicts
from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.statement_runner import StatementRunner
from proxy.stores.errors import Refused, UnknownOutcome, Unreachable


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is slept, instead of sleeping."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


async def test_attempts_end_and_each_repeated_one_is_counted(pauses: list[float]) -> None:
    again: list[str] = []
    made = [attempt async for attempt in Attempts(4, again.append)]
    assert made == [0, 1, 2, 3]
    assert again == ["occ"] * 3
    assert len(pauses) == 3


async def test_work_that_is_done_is_not_done_again(pauses: list[float]) -> None:
    again: list[str] = []
    async for _ in Attempts(4, again.append):
        break
    assert (again, pauses) == ([], [])


async def test_a_pause_is_anything_up_to_twice_the_one_before_and_never_long(pauses: list[float]) -> None:
    for _ in range(200):
        async for _ in Attempts():
            pass
    by_attempt = list(zip(*[iter(pauses)] * (ATTEMPTS - 1), strict=True))
    longest = [max(each) for each in zip(*by_attempt, strict=True)]
    shortest = [min(each) for each in zip(*by_attempt, strict=True)]
    for n, (high, low) in enumerate(zip(longest, shortest, strict=True), 1):
        bound = CONFLICT_BACKOFF.max_pause(n)
        # Full jitter: of 200 the greatest is near the bound, and the least near nothing (each fails once in 10^14).
        assert 0.85 * bound < high <= bound
        assert low < 0.15 * bound
    bounds = [CONFLICT_BACKOFF.max_pause(n) for n in range(1, 40)]
    assert all(after in (before * 2, 0.5) for before, after in pairwise(bounds))
    assert CONFLICT_BACKOFF.max_pause(10**6) == 0.5


async def test_leaving_the_loop_in_the_middle_leaves_no_task_behind() -> None:
    async def once() -> int:
        async for attempt in Attempts():
            return attempt
        return -1

    before = asyncio.all_tasks()
    for _ in range(10):
        assert await once() == 0
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_what_is_insisted_on_is_asked_again_after_conflicts_only(pauses: list[float]) -> None:
    conflicts = [asyncpg.SerializationError(text) for text in ("(OC000)", "(OC001)")]
    answers: list[Exception | str] = [*conflicts, "yes"]
    again: list[str] = []

    async def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await retry_conflicts(ask, on_retry=again.append) == "yes"
    assert again == ["occ", "occ"]
    answers.append(asyncpg.UniqueViolationError("taken"))
    with pytest.raises(asyncpg.UniqueViolationError):
        await retry_conflicts(ask, on_retry=again.append)
    assert len(again) == 2


_OC000 = "change conflicts with another transaction (OC000)"
_OC001 = "schema has been updated by another transaction (OC001)"


class _OneConnection:
    """A pool of one connection that is never used."""

    async def acquire(self) -> Any:
        return None

    def release(self, _: Any) -> None:
        pass


_POOL: Any = _OneConnection()
_RUNNER = StatementRunner(_POOL, on_retry=lambda _: None, acquire_seconds=None)
_KEY = Key("t", '{"pk":{"S":"a"}}')


@pytest.mark.parametrize(
    "repeated",
    [
        lambda ask: retry_conflicts(lambda: ask(None)),
        lambda ask: run_with_retry(_POOL, ask),
        _RUNNER.read,
        lambda ask: _RUNNER.write(ask, _KEY),
    ],
    ids=["retry_conflicts", "run_with_retry", "read", "write"],
)
@pytest.mark.parametrize(("message", "paused"), [(_OC001, 0), (_OC000, 4)], ids=["OC001", "OC000"])
async def test_a_session_that_has_learnt_the_catalog_asks_again_at_once(
    repeated: Any, message: str, paused: int, pauses: list[float]
) -> None:
    """While others make one table after another, whoever pauses has missed the next change again."""
    answers: list[Exception | str] = [*[asyncpg.SerializationError(message)] * 4, "yes"]

    async def ask(_: Any) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await repeated(ask) == "yes"
    assert len(pauses) == paused


async def test_conflicts_that_never_end_are_given_up_with_the_last(pauses: list[float]) -> None:
    asked: list[int] = []

    async def ask() -> None:
        asked.append(1)
        raise asyncpg.SerializationError(f"number {len(asked)}")

    with pytest.raises(asyncpg.SerializationError, match="number 3"):
        await retry_conflicts(ask, 3)
    assert len(asked) == 3


def test_only_conflicts_are_conflicts() -> None:
    assert is_conflict(asyncpg.SerializationError("(OC000)"))
    assert is_conflict(asyncpg.DeadlockDetectedError("deadlock"))
    others = (
        asyncpg.UniqueViolationError("23505"),
        asyncpg.InternalServerError("server unavailable"),  # XX000: nobody knows what happened
        OSError(104, "Connection reset by peer"),
        TimeoutError(),
    )
    assert not any(is_conflict(error) for error in others)


_SLOW = Backoff(0.1, 0.4, min_share=0.5)


async def test_a_call_is_repeated_after_retryable_errors_only(pauses: list[float]) -> None:
    results: list[Exception | str] = [Unreachable("busy"), Unreachable("connect"), "done"]
    reasons: list[str] = []

    async def call() -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    assert await retry(call, _SLOW, attempts=5, on_retry=reasons.append) == "done"
    assert reasons == ["busy", "connect"]
    assert [low <= pause <= 2 * low for low, pause in zip((0.05, 0.1), pauses, strict=True)] == [True, True]
    for error in (Refused("42P01"), UnknownOutcome("timeout")):
        results[:] = [error, "done"]
        with pytest.raises(type(error)):
            await retry(call, _SLOW, attempts=5, on_retry=reasons.append)
    assert await retry(call, _SLOW, attempts=5) == "done"
    results[:] = [UnknownOutcome("timeout"), "done"]
    assert await retry(call, _SLOW, attempts=2, retryable=(Unreachable, UnknownOutcome)) == "done"


async def test_a_call_is_given_up_at_either_limit(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    async def call() -> None:
        calls.append(1)
        raise Unreachable(f"number {len(calls)}")

    with pytest.raises(Unreachable, match="number 3"):
        await retry(call, _SLOW, attempts=3)
    assert max(pauses) <= 0.2
    now = iter(range(100))
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: float(next(now)))
    with pytest.raises(Unreachable, match="number 7"):
        await retry(call, _SLOW, seconds=3.0)
    with pytest.raises(ValueError, match="limit"):
        await retry(call, _SLOW)


async def test_a_pause_without_jitter_is_always_the_longest(pauses: list[float]) -> None:
    for number in (1, 2, 3, 4):
        await Backoff(0.1, 0.4, min_share=1.0).pause(number)
    assert pauses == [0.1, 0.2, 0.4, 0.4]
