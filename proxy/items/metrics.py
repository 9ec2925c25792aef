"""What the items port counts, in the registry of the proxy's other metrics. Labels are routes and statuses: bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class ItemsMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "crossfade_items_requests_total",
            "Requests to the items port, by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "crossfade_items_seconds",
            "Time that the items port took to answer, in seconds.",
            ("route",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
