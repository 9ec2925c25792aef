"""Where one store is slowest beside another: the operation whose 99th percentiles lie furthest apart. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from proxy.metrics.histogram import STORE_BUCKETS

_MIN_ANSWERS: Final = 100
"""Of fewer answers, the 99th percentile is the slowest one, which tells nothing."""


@dataclass(frozen=True, slots=True)
class Slowest:
    """An operation, its 99th percentile in one store and in the other, in seconds, and the one by the other."""

    operation: str
    one: float
    other: float
    factor: float


def slowest(
    timings: Mapping[tuple[str, str], Sequence[int]], one: str, other: str, floor: float = 0.0
) -> Slowest | None:
    """By (store, operation) to counts by bucket. What stays below `floor` seconds comes after all that does not. None
    where no operation has been timed often enough in both."""
    found: list[tuple[bool, float, Slowest]] = []
    for (store, operation), counts in sorted(timings.items()):
        beside = timings.get((other, operation))
        if store != one or beside is None or min(sum(counts), sum(beside)) < _MIN_ANSWERS:
            continue
        here, there = percentile(counts), percentile(beside)
        found.append((here > floor, here / there, Slowest(operation, here, there, here / there)))
    return max(found, key=lambda each: each[:2])[2] if found else None


def percentile(counts: Sequence[int], share: float = 0.99) -> float:
    """Seconds below which so large a share lies: within a bucket as if it were evenly filled, and the highest bound for
    what lies beyond all of them."""
    reached = list(accumulate(counts))
    wanted = share * reached[-1]
    place = bisect_left(reached, wanted)
    if place >= len(STORE_BUCKETS):
        return STORE_BUCKETS[-1]
    low = STORE_BUCKETS[place - 1] if place else 0.0
    before = reached[place - 1] if place else 0
    return low + (STORE_BUCKETS[place] - low) * (wanted - before) / max(1, counts[place])
