"""Stages, ramp, lease, and the writes that a flip held."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.metrics.histogram import COARSE, Timings
from proxy.metrics.series import TableSeries


class CutoverMetrics:
    """Stages, ramp, lease, and the writes that a flip held."""

    def __init__(self, registry: CollectorRegistry) -> None:
        stage = Gauge(
            "crossfade_stage",
            "1 for the stage that a table, or a type within it, is in; 0 for one it has left.",
            ("table", "type", "stage"),
            registry=registry,
        )
        self._stage = TableSeries(stage)
        self._epoch = Gauge(
            "crossfade_epoch", "The number of the stages in force: it grows with every move.", registry=registry
        )
        self._lease = Gauge(
            "crossfade_lease_valid", "1 while this process may serve, 0 once its lease has run out.", registry=registry
        )
        ramp = Gauge(
            "crossfade_ramp_percent",
            "The share of a table's or type's reads that DSQL serves in shadow, in percent.",
            ("table", "type"),
            registry=registry,
        )
        self._ramp = TableSeries(ramp)
        expired = Counter(
            "crossfade_expired_items_total",
            "Items deleted from DSQL because their time to live was over.",
            ("table",),
            registry=registry,
        )
        self._expired = TableSeries(expired)
        held = Counter("crossfade_held_writes_total", "Writes that waited while a stage was moved.", registry=registry)
        self._held_seconds = Timings(
            "crossfade_held_seconds",
            "Time that a write waited while a stage was moved, in seconds.",
            (),
            buckets=COARSE,
            registry=registry,
        )
        self._held = held
        self._current: dict[tuple[str, str], str] = {}

    def stage(self, table: str, item_type: str, stage: str) -> None:
        """`table` (`item_type` in it, or "" for all) is in `stage` now, and in no other."""
        before = self._current.get((table, item_type))
        if before is not None and before != stage:
            self._stage(table, item_type, before).set(0)
        self._current[table, item_type] = stage
        self._stage(table, item_type, stage).set(1)

    def forget_table(self, table: str) -> None:
        """Remove the series of a table that was deleted."""
        self._stage.forget(table)
        self._ramp.forget(table)
        self._expired.forget(table)
        self._current = {scope: stage for scope, stage in self._current.items() if scope[0] != table}

    def ramp(self, table: str, item_type: str, percent: float) -> None:
        """DSQL serves so many percent of a table's (a type's) reads in `shadow`."""
        self._ramp(table, item_type).set(percent)

    def lease(self, epoch: int, *, valid: bool) -> None:
        """The stages of `epoch` are in force here, and this process may serve, or may not."""
        self._epoch.set(epoch)
        self._lease.set(1 if valid else 0)

    def expired(self, table: str, items: int) -> None:
        """So many items of a table were deleted, because their time to live was over."""
        self._expired(table).inc(items)

    def held(self) -> None:
        """A write waits while a stage is moved."""
        self._held.inc()

    def held_for(self, seconds: float) -> None:
        """A write that was held goes on, or is given up, after `seconds`."""
        self._held_seconds.observe((), seconds)
