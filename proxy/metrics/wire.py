"""Clients' requests: how long they took, which were refused or passed through."""

import functools

from prometheus_client import CollectorRegistry, Counter

from proxy.metrics.histogram import STORE_BUCKETS, Timings
from proxy.metrics.labels import bounded


class WireMetrics:
    """Clients' requests: how long they took, which were refused or passed through."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._proxied = Timings(
            "crossfade_proxy_seconds",
            "Time from a client's whole request to its answer, in seconds.",
            ("operation", "status"),
            buckets=STORE_BUCKETS,
            registry=registry,
        )
        refused = Counter(
            "crossfade_refused_requests_total",
            "Requests refused for their signature, by DynamoDB's code.",
            ("code",),
            registry=registry,
        )
        passed = Counter(
            "crossfade_passed_through_total",
            "Requests passed to the authority unread, by operation.",
            ("operation",),
            registry=registry,
        )
        self._refused = functools.cache(refused.labels)
        self._passed = functools.cache(passed.labels)

    def proxy_seconds(self, operation: str, status: int, seconds: float) -> None:
        """A client got an answer with `status` to `operation`, `seconds` after its request was read."""
        self._proxied.observe((bounded(operation), str(status)), seconds)

    def refused(self, code: str) -> None:
        """A request was refused for its signature."""
        self._refused(code).inc()

    def passed_through(self, operation: str) -> None:
        """A request was passed to the authority unread."""
        self._passed(bounded(operation)).inc()
