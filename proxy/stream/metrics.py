"""What following a stream counts, in the registry of the proxy's other metrics. Labels are tables from the settings."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class StreamMetrics:
    """`Watch` of `proxy.stream.follower`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter(
            "crossfade_stream_records_total",
            "Records of a table's stream whose keys were nominated for convergence.",
            ("table",),
            registry=registry,
        )
        self._lag = Gauge(
            "crossfade_stream_lag_seconds",
            "Age of the newest record of a table's stream when its key was last nominated.",
            ("table",),
            registry=registry,
        )
        self._gaps = Counter(
            "crossfade_stream_gaps_total",
            "Times that records of a table's stream were gone before they were read: a sweep is needed.",
            ("table",),
            registry=registry,
        )

    def stream_records(self, table: str, records: int) -> None:
        self._records.labels(table).inc(records)

    def stream_lag(self, table: str, seconds: float) -> None:
        """How old the newest record was when it was nominated."""
        self._lag.labels(table).set(seconds)

    def stream_gap(self, table: str) -> None:
        self._gaps.labels(table).inc()
