"""What was compared and what came of it; what was shed, and what the ramp served."""

import functools
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from proxy.metrics.labels import bounded
from proxy.metrics.series import TableSeries

_GRAVE: Final = ("mismatch", "unrepresentable")


class ComparisonMetrics:
    """What was compared and what came of it; what was shed, and what the ramp served."""

    def __init__(self, registry: CollectorRegistry) -> None:
        compared = Counter(
            "crossfade_comparisons_total",
            "Operations compared between the two stores, by verdict.",
            ("table", "type", "operation", "verdict"),
            registry=registry,
        )
        differed = Counter(
            "crossfade_differences_total",
            "Single differences found, by field, kind and verdict.",
            ("table", "type", "field", "kind", "verdict"),
            registry=registry,
        )
        shed = Counter(
            "crossfade_shed_total",
            "Comparisons given up to protect the client, by reason.",
            ("reason",),
            registry=registry,
        )
        ramped = Counter(
            "crossfade_ramped_reads_total",
            "Reads chosen for DSQL by the ramp: `served` by it, or by DynamoDB for the reason given.",
            ("outcome",),
            registry=registry,
        )
        undecoded = Counter(
            "crossfade_undecoded_total",
            "Requests to a shadowed operation that could not be decoded and went to the authority alone.",
            ("operation",),
            registry=registry,
        )

        def also_grave(table: str, item_type: str, operation: str, _: str) -> None:
            # A series that begins at 1 shows no increase: the first mismatch would go unseen.
            for grave in _GRAVE:
                compared.labels(table, item_type, operation, grave)

        self._compared = TableSeries(compared, also_grave)
        self._differed = TableSeries(differed)
        self._shed = functools.cache(shed.labels)
        self._ramped = functools.cache(ramped.labels)
        self._undecoded = functools.cache(undecoded.labels)
        self._shed_counts: dict[str, int] = {}

    def compared(self, table: str, item_type: str, operation: str, verdict: str, count: int = 1) -> None:
        """`count` comparisons of `operation` on items of `item_type` came to `verdict`."""
        self._compared(table, item_type, bounded(operation), verdict).inc(count)

    def difference(self, table: str, item_type: str, field: str, kind: str, verdict: str) -> None:
        """One difference. The caller bounds `field`: attributes the mapping knows, else `other`."""
        self._differed(table, item_type, field, kind, verdict).inc()

    def forget_table(self, table: str) -> None:
        """Remove the series of a table that was deleted."""
        self._compared.forget(table)
        self._differed.forget(table)

    def shed(self, reason: str) -> None:
        """A comparison was given up for `reason`."""
        self._shed(reason).inc()
        self._shed_counts[reason] = self._shed_counts.get(reason, 0) + 1

    def shed_counts(self) -> dict[str, int]:
        """Comparisons given up since the start, by reason."""
        return dict(self._shed_counts)

    def ramped(self, outcome: str) -> None:
        """A read was chosen by the ramp: `served`, or why DynamoDB served it after all."""
        self._ramped(outcome).inc()

    def undecoded(self, operation: str) -> None:
        """A request to a shadowed operation could not be decoded."""
        self._undecoded(bounded(operation)).inc()
