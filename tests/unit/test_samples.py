"""The ring of samples: what happened between two of them, what is forgotten, and latencies of the last ten minutes."""

import pytest

from proxy.admin.console.samples import EVERY_SECONDS, KEPT, LATENCY_SECONDS, Samples, quantile
from proxy.metrics.registry import Metrics


class Ring:
    """Samples of metrics, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.metrics = Metrics()
        self.samples = Samples(self.metrics.registry, lambda: self.now)

    def take(self, count: int = 1) -> None:
        for _ in range(count):
            self.samples.take()
            self.now += EVERY_SECONDS


def test_a_sample_counts_what_came_since_the_last() -> None:
    ring = Ring()
    ring.metrics.comparison.compared("t", "Book", "GetItem", "agreed", 5)
    ring.take()
    ring.metrics.comparison.compared("t", "Book", "GetItem", "agreed", 2)
    ring.metrics.comparison.compared("t", "Film", "Query", "agreed")
    ring.metrics.comparison.compared("t", "Film", "Query", "mismatch")
    ring.metrics.comparison.shed("queue")
    ring.metrics.journal.backlog(7, 1.5, 2)
    ring.metrics.stores.breaker("dsql", True)
    ring.metrics.stores.breaker("dynamodb", False)
    ring.take(2)
    first, second, third, now = ring.samples.ring()
    assert (now.verdicts, now.keys) == ({}, 7)
    assert (first.verdicts, first.shed, first.keys, first.breaker_open) == ({"agreed": 5}, 0, 0, False)
    assert (second.verdicts, second.shed) == ({"agreed": 3, "mismatch": 1}, 1)
    assert (second.keys, second.oldest_seconds, second.parked, second.breaker_open) == (7, 1.5, 2, True)
    assert (third.verdicts, third.shed, third.at - second.at) == ({}, 0, EVERY_SECONDS)


def test_what_has_come_since_the_last_sample_is_seen_and_counted_once() -> None:
    ring = Ring()
    ring.take()
    ring.metrics.comparison.compared("t", "Book", "GetItem", "mismatch", 3)
    assert [each.verdicts for each in ring.samples.ring()] == [{}, {"mismatch": 3}]
    ring.take()
    assert [each.verdicts for each in ring.samples.ring()] == [{}, {"mismatch": 3}, {}]


def test_two_hours_are_kept_and_no_more() -> None:
    ring = Ring()
    ring.take(KEPT + 30)
    kept = ring.samples.ring()
    assert len(kept) == KEPT + 1
    assert kept[-2].at - kept[0].at == pytest.approx(7200 - EVERY_SECONDS)


def test_latency_is_of_the_last_ten_minutes() -> None:
    ring = Ring()
    assert ring.samples.latency() == {}
    for _ in range(100):
        ring.metrics.stores.store_seconds("dsql", "Query", 0.004)
    ring.take()
    old = ring.samples.latency()["dsql", "Query"]
    assert (old.count, 0.003 < old.p50 <= 0.005, 0.003 < old.p99 <= 0.005) == (100, True, True)
    ring.take(int(LATENCY_SECONDS / EVERY_SECONDS))
    for _ in range(10):
        ring.metrics.stores.store_seconds("dsql", "Query", 0.2)
    ring.take()
    new = ring.samples.latency()["dsql", "Query"]
    assert (new.count, 0.1 < new.p50 <= 0.25) == (10, True)
    ring.take(int(LATENCY_SECONDS / EVERY_SECONDS))
    assert ring.samples.latency() == {}


@pytest.mark.parametrize(
    ("reached", "q", "expected"),
    [
        ([(1.0, 10), (2.0, 20), (float("inf"), 20)], 0.5, 1.0),
        ([(1.0, 10), (2.0, 20), (float("inf"), 20)], 0.75, 1.5),
        ([(1.0, 0), (2.0, 4), (float("inf"), 4)], 0.5, 1.5),
        ([(1.0, 1), (2.0, 1), (float("inf"), 10)], 0.99, 2.0),
    ],
)
def test_a_quantile_is_where_prometheus_would_say(reached: list[tuple[float, int]], q: float, expected: float) -> None:
    assert quantile(reached, q) == pytest.approx(expected)
