"""Clients' connections to the ports: how many are open, how many there may be, and how many were refused."""

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge


class ConnectionMetrics:
    """The connections of each port (`data`, `admin`, `items`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        open_ = Gauge("crossfade_connections", "Connections of clients that are open.", ("port",), registry=registry)
        limit = Gauge("crossfade_connections_limit", "How many there may be.", ("port",), registry=registry)
        refused = Counter(
            "crossfade_refused_connections_total",
            "Connections closed at once: the port has too many, descriptors run short, or TLS failed.",
            ("port", "reason"),
            registry=registry,
        )
        self._reserved = Gauge(
            "crossfade_reserved_descriptors",
            "File descriptors that connections must leave to the journal and the stores.",
            registry=registry,
        )
        self._open = functools.cache(open_.labels)
        self._limit = functools.cache(limit.labels)
        self._refused = functools.cache(refused.labels)

    def limits(self, port: str, connections: int, reserved_descriptors: int) -> None:
        """The limits of a port."""
        self._limit(port).set(connections)
        self._reserved.set(reserved_descriptors)

    def open(self, port: str, count: int) -> None:
        """How many connections a port has."""
        self._open(port).set(count)

    def refused(self, port: str, reason: str) -> None:
        """A connection was closed at once."""
        self._refused(port, reason).inc()
