"""Coalesces calls for single keys that come close together into one call for many keys.

Work behind the answer asks the stores about one key at a time, and nobody waits for it: a group of keys costs one
request to DynamoDB, or one transaction on DSQL, where each key cost one. Every caller still gets the answer for its own
key, and its own error. A group that is refused or meets conflicts falls apart into halves, down to single calls, so
that one bad key harms no other. Knows neither stores nor what is asked.

    1. `call` queues a key and waits for its answer.
    2. `work` takes the keys that are queued: at once if the last group is long enough ago, otherwise `wait_seconds`
       after it began.
    3. It makes one call for them, and gives each waiting caller its answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from proxy.stores.errors import Refused, StoreError, TooMuchContention, UnknownOutcome, Unreachable
from proxy.stores.interface import Unrepresentable

Q = TypeVar("Q")
A = TypeVar("A")

GROUPS_IN_FLIGHT: Final = 4
"""How many `work` loops a coalescer should have: as many groups are under way at once."""
_STOPPED: Final = "the call was ended with its process"
# What one key of a group may have caused alone.
_DIVISIBLE: Final = (Refused, Unrepresentable, TooMuchContention)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How calls for single keys become calls for groups of keys."""

    max_keys: int
    """The most keys of a group."""
    wait_seconds: float
    """The least time between the beginnings of two groups, and so the longest that a key waits for others."""
    timeout_seconds: float
    """How long one group may take."""


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Q, A]):
    """A question of a group, and those who wait for its answer."""

    question: Q
    answers: list[asyncio.Future[A]]


class Coalescer(Generic[Q, A]):
    """Makes calls for groups of keys. Run `work` in `GROUPS_IN_FLIGHT` loops, for as long as `call` is used."""

    def __init__(
        self,
        batching: Batching,
        *,
        many: Callable[[Sequence[Q]], Awaitable[Sequence[A | StoreError]]],
        single: Callable[[Q], Awaitable[A]],
        key: Callable[[Q], Hashable],
        writes: bool,
    ) -> None:
        """`many` gives an answer or an error for each question, in their order, or raises StoreError for all of them.
        `single` answers one. No two questions of one `key` are asked in one group: reads share the question, and with
        `writes` the second one waits. A group of writes that was not answered in time has an unknown outcome.
        """
        self._batching = batching
        self._many = many
        self._single = single
        self._key = key
        self._shares = not writes
        self._no_answer = UnknownOutcome if writes else Unreachable
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._wake = asyncio.Event()
        self._next_start = float("-inf")
        self._workers = 0

    async def call(self, question: Q) -> A:
        """Return the answer to one question. Raises StoreError. The caller bounds the time.

        While no `work` runs, as before the start and after the end of the process, the question is asked at once.
        """
        if not self._workers:
            return await self._single(question)
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        self._wake.set()
        return await answer

    async def work(self) -> None:
        """Wait for questions, and answer one group of them. Run this in loops."""
        self._workers += 1
        try:
            await self._answer_group()
        except asyncio.CancelledError:
            if self._workers == 1:
                # Nobody else would ever ask these.
                left, self._waiting = [_Asked(question, [answer]) for question, answer in self._waiting], deque()
                _give(left, [Unreachable("stopped", _STOPPED) for _ in left])
            raise
        finally:
            self._workers -= 1

    async def _answer_group(self) -> None:
        clock = asyncio.get_running_loop().time
        if not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        pause = self._next_start - clock()
        # Even at rest, what other tasks ask in this turn of the event loop belongs to the same group.
        await asyncio.sleep(pause if pause > 0 and len(self._waiting) < self._batching.max_keys else 0)
        group = self._take()
        if not group:
            return
        self._next_start = clock() + self._batching.wait_seconds
        try:
            async with asyncio.timeout(self._batching.timeout_seconds):
                answers: Sequence[A | StoreError] = await self._ask([each.question for each in group])
        except TimeoutError:
            answers = [self._no_answer("timeout", "no answer in time") for _ in group]
        except BaseException:
            _give(group, [self._no_answer("stopped", _STOPPED) for _ in group])
            raise
        _give(group, answers)

    def _take(self) -> list[_Asked[Q, A]]:
        """Take the next group from the queue. Callers that have given up are left out.

        Reads of one key share one question: none of them has been sent yet, so the answer is new enough for each.
        """
        group: dict[Hashable, _Asked[Q, A]] = {}
        later = []
        while self._waiting:
            waiting = self._waiting.popleft()
            question, answer = waiting
            if answer.done():
                continue
            key = self._key(question)
            same = group.get(key)
            if same is None:
                if len(group) == self._batching.max_keys:
                    self._waiting.appendleft(waiting)
                    break
                group[key] = _Asked(question, [answer])
            elif self._shares:
                same.answers.append(answer)
            else:
                later.append(waiting)
        self._waiting.extendleft(reversed(later))
        return list(group.values())

    async def _ask(self, questions: Sequence[Q]) -> Sequence[A | StoreError]:
        try:
            if len(questions) == 1:
                return [await self._single(questions[0])]
            return await self._many(questions)
        except StoreError as error:
            if len(questions) == 1:
                return [error]
            if not isinstance(error, _DIVISIBLE):
                return [_copied(error) for _ in questions]
        middle = len(questions) // 2
        return [*await self._ask(questions[:middle]), *await self._ask(questions[middle:])]


def _give(group: Sequence[_Asked[Q, A]], answers: Sequence[A | StoreError]) -> None:
    for asked, answer in zip(group, answers, strict=True):
        for place, waiting in enumerate(asked.answers):
            if waiting.done():
                continue
            if not isinstance(answer, StoreError):
                waiting.set_result(answer)
            else:
                waiting.set_exception(answer if place == 0 else _copied(answer))


def _copied(error: StoreError) -> StoreError:
    """Each caller gets an exception of its own: a traceback grows wherever one is raised."""
    if isinstance(error, Unrepresentable):
        return Unrepresentable(error.key, error.faults)
    return copy(error)
