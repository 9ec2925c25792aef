"""How long things took, counted into buckets: a Prometheus histogram for one thread.

`prometheus_client`'s own takes a lock for each of the sums it keeps and walks its buckets one by one, 6 µs for each
duration (measured); there are several in every request, and one event loop that counts them.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

STORE_BUCKETS: Final = (
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
COARSE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

clock = time.perf_counter
"""The clock that durations are taken with, in seconds."""


class _Series:
    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class Timings:
    """A histogram in seconds. The caller bounds the values of its labels. Use from one thread."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._family = name, documentation, labels
        self._bounds = tuple(buckets)
        self._texts = [*map(floatToGoString, buckets), "+Inf"]
        # Without labels there is one series, which is there from the start.
        self._series: dict[tuple[str, ...], _Series] = {} if labels else {(): _Series(len(self._bounds))}
        registry.register(self)

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        """Count one duration."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(len(self._bounds))
        series.counts[bisect_left(self._bounds, seconds)] += 1
        series.total += seconds

    def counts(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        """How many durations fell into each bucket, and beyond the last one, by the values of the labels."""
        return {labels: tuple(series.counts) for labels, series in self._series.items()}

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the registry asks for."""
        name, documentation, labels = self._family
        family = HistogramMetricFamily(name, documentation, labels=labels)
        for values, series in self._series.items():
            reached = zip(self._texts, accumulate(series.counts), strict=True)
            family.add_metric(values, buckets=list(reached), sum_value=series.total)
        yield family
