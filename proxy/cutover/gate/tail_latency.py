"""The operation whose 99th percentiles in two stores lie furthest apart. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from proxy.metrics.histogram import STORE_BUCKETS

_MIN_ANSWERS: Final = 100
"""With fewer answers, the 99th percentile would be the slowest of them, which says little."""


@dataclass(frozen=True, slots=True)
class Slowest:
    """An operation, its 99th percentiles in one store and in the other, in seconds, and their quotient."""

    operation: str
    one: float
    other: float
    factor: float


def slowest(
    timings: Mapping[tuple[str, str], Sequence[int]], one: str, other: str, floor: float = 0.0
) -> Slowest | None:
    """The operation with the highest quotient, given counts by bucket for each (store, operation). Operations below
    `floor` seconds come after all others. None if no operation was timed often enough in both stores."""
    found: list[tuple[bool, float, Slowest]] = []
    for (store, operation), counts in sorted(timings.items()):
        beside = timings.get((other, operation))
        if store != one or beside is None or min(sum(counts), sum(beside)) < _MIN_ANSWERS:
            continue
        here, there = percentile(counts), percentile(beside)
        found.append((here > floor, here / there, Slowest(operation, here, there, here / there)))
    return max(found, key=lambda each: each[:2])[2] if found else None


def percentile(counts: Sequence[int], share: float = 0.99) -> float:
    """The percentile in seconds: interpolated within a bucket, and the highest bound for what lies beyond it."""
    reached = list(accumulate(counts))
    wanted = share * reached[-1]
    place = bisect_left(reached, wanted)
    if place >= len(STORE_BUCKETS):
        return STORE_BUCKETS[-1]
    low = STORE_BUCKETS[place - 1] if place else 0.0
    before = reached[place - 1] if place else 0
    return low + (STORE_BUCKETS[place] - low) * (wanted - before) / max(1, counts[place])
