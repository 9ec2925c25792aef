"""The way to a store and back: how long it takes, and what goes wrong on it. Every choice is the seed's.

A request's effect happens at one instant, in the store, whether or not anybody still waits for its answer: the caller
may have given up, or be dead. Knows nothing of what the effect is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from proxy.stores.errors import UnknownOutcome, Unreachable
from tests.simulation.loop import Loop

T = TypeVar("T")

Fate = Literal["refused", "lost", "cut", "lingering", "silent", "conflict"]

# Effects belong to no process: they happen when the one that asked is dead.
_NOBODY: Final = Context()


@dataclass(frozen=True, slots=True)
class Weather:
    """Probabilities of each fate, a way's longest and usual delay in seconds, and the store's settle time.

    refused: no effect, and the caller is told so. lost: no effect, but the caller cannot know. cut: an effect, but the
    caller cannot know. lingering: the same, and the effect comes up to `settle` later. silent: no answer ever, the
    effect at any time or never. conflict: OCC goes on (40001), no effect.
    """

    delay: float
    settle: float
    refused: float = 0.0
    lost: float = 0.0
    cut: float = 0.0
    lingering: float = 0.0
    silent: float = 0.0
    conflict: float = 0.0

    @property
    def calm(self) -> bool:
        return not (self.refused or self.lost or self.cut or self.lingering or self.silent or self.conflict)


@dataclass(frozen=True, slots=True)
class Outage:
    """From when to when a store gives nothing: it refuses connections, or hangs."""

    begins: float
    ends: float
    hangs: bool


class Line:
    """`failed` is told each time that a request of these keys did not simply work."""

    def __init__(
        self,
        loop: Loop,
        chance: random.Random,
        weather: Weather,
        outages: tuple[Outage, ...],
        failed: Callable[[tuple[str, ...], Fate], None],
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._outages = outages
        self._failed = failed
        self.weather = weather
        self.under_way: dict[str, int] = {}

    def clear_up(self) -> None:
        """No more faults from now on, and no way longer than a time limit allows."""
        self.weather = Weather(min(self.weather.delay, 0.1), self.weather.settle)
        self._outages = ()

    def delay(self) -> float:
        """Mostly near nothing, sometimes the longest: what makes calls overtake each other."""
        return self.weather.delay * self._chance.random() ** 3

    async def ask(self, effect: Callable[[], T], *, writes: bool, keys: tuple[str, ...]) -> T:
        """One request. `keys` tell which it writes, for who wants to know what is still under way."""
        fate = self._fate()
        if fate is not None and fate not in ("refused", "conflict") and not writes:
            fate = "silent" if fate == "silent" else "refused"
        if fate is not None:
            self._failed(keys, fate)
        if fate in ("refused", "conflict"):
            await asyncio.sleep(self.delay())
            raise Unreachable("occ" if fate == "conflict" else "connect")
        answer: asyncio.Future[T] = self._loop.create_future()
        happens = self._happens(fate)
        if happens is not None:
            self._send(happens, effect, answer if fate is None else None, keys if writes else ())
        if fate in ("lost", "cut", "lingering"):
            await asyncio.sleep(self.delay() + self.delay())
            raise UnknownOutcome("connection")
        return await answer

    def _send(
        self, happens: float, effect: Callable[[], T], answer: asyncio.Future[T] | None, keys: tuple[str, ...]
    ) -> None:
        for key in keys:
            self.under_way[key] = self.under_way.get(key, 0) + 1

        def happen() -> None:
            for key in keys:
                self.under_way[key] -= 1
            result = effect()
            if answer is not None:
                self._loop.call_later(self.delay(), give, result, context=_NOBODY)

        def give(result: T) -> None:
            if answer is not None and not answer.done():
                answer.set_result(result)

        self._loop.call_later(happens, happen, context=_NOBODY)

    def _happens(self, fate: Fate | None) -> float | None:
        """In how many seconds the effect comes."""
        late = self._chance.uniform(0, self.weather.settle * 0.95)
        if fate == "lost":
            return None
        if fate == "lingering":
            return late
        if fate == "silent":
            return self._chance.choice((None, self.delay(), late))
        return self.delay()

    def _fate(self) -> Fate | None:
        now = self._loop.time()
        for outage in self._outages:
            if outage.begins <= now < outage.ends:
                return "silent" if outage.hangs else "refused"
        weather = self.weather
        if weather.calm:
            return None
        drawn = self._chance.random()
        fates: tuple[tuple[Fate, float], ...] = (
            ("refused", weather.refused),
            ("lost", weather.lost),
            ("cut", weather.cut),
            ("lingering", weather.lingering),
            ("silent", weather.silent),
            ("conflict", weather.conflict),
        )
        for fate, share in fates:
            if drawn < share:
                return fate
            drawn -= share
        return None
