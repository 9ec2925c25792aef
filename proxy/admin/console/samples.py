"""The last two hours of this process, for the console: a ring of samples, one every ten seconds.

It reads the metrics and keeps the samples in memory, bounded. It counts nothing itself and calls no store. It does not
replace Prometheus: it starts empty with the process.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

EVERY_SECONDS: Final = 10.0
KEPT: Final = 720
# How far back the latency of "now" looks, and so how many readings of the buckets are kept.
LATENCY_SECONDS: Final = 600.0
_READINGS: Final = int(LATENCY_SECONDS / EVERY_SECONDS) + 1

_COMPARED: Final = "crossfade_comparisons_total"
_KEYS: Final = "crossfade_journal_keys"
_OLDEST: Final = "crossfade_journal_oldest_seconds"
_PARKED: Final = "crossfade_parked_keys"
_BREAKER: Final = "crossfade_breaker_open"
_SHED: Final = "crossfade_shed_total"
_STORE: Final = "crossfade_store_seconds_bucket"
_READ: Final = (_COMPARED, _KEYS, _OLDEST, _PARKED, _BREAKER, _SHED, _STORE)

Buckets = Mapping[tuple[str, str], Sequence[tuple[float, int]]]


@dataclass(frozen=True, slots=True)
class Sample:
    """The numbers at `at` (Unix seconds), and the `verdicts` and `shed` comparisons since the last sample."""

    at: float
    verdicts: Mapping[str, int]
    shed: int
    keys: int
    oldest_seconds: float
    parked: int
    breaker_open: bool


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of `count` calls of a store, in seconds, as precise as the histogram's buckets are."""

    count: int
    p50: float
    p99: float


class Samples:
    """The ring of samples. `keep()` is its loop; `take()` takes one sample. Use from one event loop."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry.restricted_registry(_READ)
        self._clock = clock
        self._ring: deque[Sample] = deque(maxlen=KEPT)
        self._buckets: deque[tuple[float, Buckets]] = deque(maxlen=_READINGS)
        self._verdicts: Counter[str] = Counter()
        self._shed = 0
        self.since = clock()

    async def keep(self) -> None:
        """Take a sample every ten seconds, for ever."""
        while True:
            self.take()
            await asyncio.sleep(EVERY_SECONDS)

    def take(self) -> None:
        """Take one sample now."""
        sample, buckets, verdicts, shed = self._read()
        self._ring.append(sample)
        self._buckets.append((sample.at, buckets))
        self._verdicts, self._shed = verdicts, shed

    def _read(self) -> tuple[Sample, Buckets, Counter[str], int]:
        """A sample of now, and what was counted in all."""
        verdicts: Counter[str] = Counter()
        shed = 0
        plain: dict[str, float] = {}
        buckets: dict[tuple[str, str], list[tuple[float, int]]] = {}
        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name == _COMPARED:
                    verdicts[sample.labels["verdict"]] += int(sample.value)
                elif sample.name == _SHED:
                    shed += int(sample.value)
                elif sample.name == _STORE:
                    of = sample.labels["store"], sample.labels["operation"]
                    buckets.setdefault(of, []).append((float(sample.labels["le"]), int(sample.value)))
                else:
                    # Of several, such as the breakers of two stores, the worst.
                    plain[sample.name] = max(plain.get(sample.name, 0.0), sample.value)
        now = Sample(
            at=self._clock(),
            verdicts={verdict: count for verdict, count in (verdicts - self._verdicts).items() if count},
            shed=shed - self._shed,
            keys=int(plain.get(_KEYS, 0)),
            oldest_seconds=plain.get(_OLDEST, 0.0),
            parked=int(plain.get(_PARKED, 0)),
            breaker_open=bool(plain.get(_BREAKER, 0)),
        )
        return now, buckets, verdicts, shed

    def ring(self) -> tuple[Sample, ...]:
        """All samples, oldest first, followed by one of now."""
        return (*self._ring, self._read()[0])

    def latency(self) -> dict[tuple[str, str], Latency]:
        """The latency of each (store, operation) that was called in the last ten minutes, or since the start."""
        if not self._buckets:
            return {}
        # If the oldest reading is the first of all, the counts before it were zero.
        before: Buckets = self._buckets[0][1] if len(self._buckets) == _READINGS else {}
        found = {}
        for of, reached in self._buckets[-1][1].items():
            then = before.get(of) or [(bound, 0) for bound, _ in reached]
            counts = [(bound, now - was) for (bound, now), (_, was) in zip(reached, then, strict=True)]
            if counts[-1][1]:
                found[of] = Latency(counts[-1][1], quantile(counts, 0.5), quantile(counts, 0.99))
        return found


def quantile(reached: Sequence[tuple[float, int]], q: float) -> float:
    """The q-quantile of a histogram given as (upper bound, how many up to it), as Prometheus's histogram_quantile does:
    interpolated within a bucket; values past the last bound count as that bound ("Query functions")."""
    wanted = q * reached[-1][1]
    at = bisect_left([count for _, count in reached], wanted)
    bound, count = reached[at]
    lower, below = reached[at - 1] if at else (0.0, 0)
    if bound == float("inf"):
        return lower
    return lower + (bound - lower) * ((wanted - below) / (count - below)) if count > below else bound


def sum_verdicts(samples: Iterable[Sample]) -> Counter[str]:
    """The number of each verdict in all of the samples."""
    total: Counter[str] = Counter()
    for sample in samples:
        total.update(sample.verdicts)
    return total
