"""Every number Crossfade publishes: its name, its labels, and one typed method a fact.

Label children are kept after the first use (0.4 µs a look-up, against 1.5 in prometheus_client), and labels that a
client could make up (`operation`) are bounded. Each `Metrics` has a registry of its own, so that two in one process do
not meet. Nothing here decides what is worth counting.
"""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from prometheus_client import (
    GC_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from proxy.metrics.histogram import Timings

# Otherwise each counter and histogram has a second series, which no panel or rule reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

OPERATIONS: Final = frozenset(
    {
        "BatchExecuteStatement",
        "BatchGetItem",
        "BatchWriteItem",
        "CreateBackup",
        "CreateGlobalTable",
        "CreateTable",
        "DeleteBackup",
        "DeleteItem",
        "DeleteTable",
        "DescribeBackup",
        "DescribeContinuousBackups",
        "DescribeEndpoints",
        "DescribeStream",
        "DescribeTable",
        "DescribeTimeToLive",
        "ExecuteStatement",
        "ExecuteTransaction",
        "GetItem",
        "GetRecords",
        "GetShardIterator",
        "Items.Query",
        "ListBackups",
        "ListStreams",
        "ListTables",
        "ListTagsOfResource",
        "PutItem",
        "Query",
        "Scan",
        "TagResource",
        "TransactGetItems",
        "TransactWriteItems",
        "UntagResource",
        "UpdateContinuousBackups",
        "UpdateItem",
        "UpdateTable",
        "UpdateTimeToLive",
    }
)
OTHER: Final = "other"
_GRAVE: Final = ("mismatch", "unrepresentable")

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
_COARSE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class PoolGauges(Protocol):
    """How many connections there are, and how many callers wait for one."""

    @property
    def open(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def connecting(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class Metrics:
    """The series of one proxy. Methods count; `text()` renders them all in Prometheus's text format."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        registry.register(GC_COLLECTOR)
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
        self._store = Timings(
            "crossfade_store_seconds",
            "Time a store took to answer, in seconds.",
            ("store", "operation"),
            buckets=STORE_BUCKETS,
            registry=registry,
        )
        self._proxied = Timings(
            "crossfade_proxy_seconds",
            "Time from a client's whole request to its answer, in seconds.",
            ("operation", "status"),
            buckets=STORE_BUCKETS,
            registry=registry,
        )
        self._convergence = Timings(
            "crossfade_convergence_seconds",
            "Time from a key's entry in the journal to its convergence, in seconds.",
            (),
            buckets=_COARSE,
            registry=registry,
        )
        self._journal_keys = Gauge("crossfade_journal_keys", "Keys not yet known to have converged.", registry=registry)
        self._journal_oldest = Gauge(
            "crossfade_journal_oldest_seconds", "Age of the oldest key in the journal, in seconds.", registry=registry
        )
        self._parked = Gauge(
            "crossfade_parked_keys", "Keys whose items the mapping cannot hold without loss.", registry=registry
        )
        self._tasks = Gauge("crossfade_tasks", "asyncio tasks alive in the process.", registry=registry)
        retried = Counter(
            "crossfade_mirror_retries_total",
            "Calls to the mirror made again, by reason.",
            ("reason",),
            registry=registry,
        )
        shed = Counter(
            "crossfade_shed_total",
            "Comparisons given up to protect the client, by reason.",
            ("reason",),
            registry=registry,
        )
        self._stage = Gauge(
            "crossfade_stage",
            "1 for the stage that a table, or a type within it, is in; 0 for one it has left.",
            ("table", "type", "stage"),
            registry=registry,
        )
        self._breaker = Gauge(
            "crossfade_breaker_open",
            "1 while a store is left alone as the mirror after failures, else 0.",
            ("store",),
            registry=registry,
        )
        ramped = Counter(
            "crossfade_ramped_reads_total",
            "Reads chosen for DSQL by the ramp: `served` by it, or by DynamoDB for the reason given.",
            ("outcome",),
            registry=registry,
        )
        self._epoch = Gauge(
            "crossfade_epoch", "The number of the stages in force: it grows with every move.", registry=registry
        )
        self._lease = Gauge(
            "crossfade_lease_valid", "1 while this process may serve, 0 once its lease has run out.", registry=registry
        )
        self._ramp = Gauge(
            "crossfade_ramp_percent",
            "The share of a table's or type's reads that DSQL serves in shadow, in percent.",
            ("table", "type"),
            registry=registry,
        )
        held = Counter("crossfade_held_writes_total", "Writes that waited while a stage was moved.", registry=registry)
        self._held = held
        self._held_seconds = Timings(
            "crossfade_held_seconds",
            "Time that a write waited while a stage was moved, in seconds.",
            (),
            buckets=_COARSE,
            registry=registry,
        )
        gave_up = Counter(
            "crossfade_gave_up_total",
            "Comparisons and convergences that a store let down, by table and reason (`occ`: conflicts, each time).",
            ("table", "reason"),
            registry=registry,
        )
        undecided = Counter(
            "crossfade_dynamodb_undecided_total",
            "Answers by which DynamoDB decided nothing, because it throttled or was ill, by its code.",
            ("operation", "code"),
            registry=registry,
        )
        undecoded = Counter(
            "crossfade_undecoded_total",
            "Requests to a shadowed operation that could not be decoded and went to the authority alone.",
            ("operation",),
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
        upstream = Counter(
            "crossfade_upstream_failures_total",
            "Requests to DynamoDB without an answer: `unreachable` had no effect, of `unknown` it is not known.",
            ("outcome", "reason"),
            registry=registry,
        )

        self._dsql_connections = Gauge(
            "crossfade_dsql_connections",
            "Connections to DSQL: `open`, `idle` ones among them, and those that are `connecting`.",
            ("state",),
            registry=registry,
        )
        self._dsql_waiting = Gauge(
            "crossfade_dsql_waiting", "Callers that wait for a connection to DSQL.", registry=registry
        )
        self._dsql_connect = Timings(
            "crossfade_dsql_connect_seconds",
            "Time to connect to DSQL, its token included, in seconds.",
            (),
            buckets=_COARSE,
            registry=registry,
        )
        self._dsql_token = Timings(
            "crossfade_dsql_token_seconds",
            "Time to make a token for a connection to DSQL, in seconds.",
            (),
            buckets=_COARSE,
            registry=registry,
        )
        unconnected = Counter(
            "crossfade_dsql_connect_failures_total",
            "Connects to DSQL that failed, by reason.",
            ("reason",),
            registry=registry,
        )
        dropped = Counter(
            "crossfade_dsql_connections_dropped_total",
            "Connections to DSQL let go of: `expired`, `outdated` by a change of a table, or `dead`.",
            ("reason",),
            registry=registry,
        )

        # Children by their labels: every set of labels below is bounded, so these grow to a fixed size.
        def comparison(table: str, item_type: str, operation: str, verdict: str) -> Counter:
            # A series that begins at 1 shows no increase: the first mismatch would go unseen.
            for grave in _GRAVE:
                compared.labels(table, item_type, operation, grave)
            return compared.labels(table, item_type, operation, verdict)

        self._compared = functools.cache(comparison)
        self._differed = functools.cache(differed.labels)
        self._retried = functools.cache(retried.labels)
        self._shed = functools.cache(shed.labels)
        self._shed_counts: dict[str, int] = {}
        self._undecoded = functools.cache(undecoded.labels)
        self._refused = functools.cache(refused.labels)
        self._gave_up = functools.cache(gave_up.labels)
        self._undecided = functools.cache(undecided.labels)
        self._passed = functools.cache(passed.labels)
        self._upstream = functools.cache(upstream.labels)
        self._unconnected = functools.cache(unconnected.labels)
        self._dropped = functools.cache(dropped.labels)
        self._ramped = functools.cache(ramped.labels)
        self._current: dict[tuple[str, str], str] = {}

    def compared(self, table: str, item_type: str, operation: str, verdict: str, count: int = 1) -> None:
        """`count` comparisons of `operation` on items of `item_type` came to `verdict`."""
        self._compared(table, item_type, bounded(operation), verdict).inc(count)

    def difference(self, table: str, item_type: str, field: str, kind: str, verdict: str) -> None:
        """One difference. The caller bounds `field`: attributes the mapping knows, else `other`."""
        self._differed(table, item_type, field, kind, verdict).inc()

    def store_seconds(self, store: str, operation: str, seconds: float) -> None:
        """`store` (`dynamodb` or `dsql`) answered `operation` in `seconds`."""
        self._store.observe((store, operation if store != "dynamodb" else bounded(operation)), seconds)

    def store_timings(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        """(store, operation) to how often it took how long since the start: counts by `STORE_BUCKETS`, one more for
        what took longer."""
        return self._store.counts()

    def proxy_seconds(self, operation: str, status: int, seconds: float) -> None:
        """A client got an answer with `status` to `operation`, `seconds` after its request was read."""
        self._proxied.observe((bounded(operation), str(status)), seconds)

    def converged(self, seconds: float) -> None:
        """A key left the journal `seconds` after it had entered."""
        self._convergence.observe((), seconds)

    def journal(self, keys: int, oldest_seconds: float, parked: int) -> None:
        """The journal holds `keys`, the oldest for `oldest_seconds`, and `parked` beside."""
        self._journal_keys.set(keys)
        self._journal_oldest.set(oldest_seconds)
        self._parked.set(parked)

    def tasks(self, count: int) -> None:
        """So many tasks live on the event loop: it grows without end only if one is leaked."""
        self._tasks.set(count)

    def mirror_retried(self, reason: str) -> None:
        """A call to the mirror is made again for `reason`."""
        self._retried(reason).inc()

    def shed(self, reason: str) -> None:
        """A comparison was given up for `reason`."""
        self._shed(reason).inc()
        self._shed_counts[reason] = self._shed_counts.get(reason, 0) + 1

    def shed_counts(self) -> dict[str, int]:
        """Comparisons given up since the start, by reason."""
        return dict(self._shed_counts)

    def stage(self, table: str, item_type: str, stage: str) -> None:
        """`table` (`item_type` in it, or "" for all) is in `stage` now, and in no other."""
        before = self._current.get((table, item_type))
        if before is not None and before != stage:
            self._stage.labels(table, item_type, before).set(0)
        self._current[table, item_type] = stage
        self._stage.labels(table, item_type, stage).set(1)

    def ramp(self, table: str, item_type: str, percent: float) -> None:
        """DSQL serves so many percent of a table's (a type's) reads in `shadow`."""
        self._ramp.labels(table, item_type).set(percent)

    def lease(self, epoch: int, *, valid: bool) -> None:
        """The stages of `epoch` are in force here, and this process may serve, or may not."""
        self._epoch.set(epoch)
        self._lease.set(1 if valid else 0)

    def breaker(self, store: str, is_open: bool) -> None:
        """The breaker before a store, as the mirror, is open or not."""
        self._breaker.labels(store).set(1 if is_open else 0)

    def ramped(self, outcome: str) -> None:
        """A read was chosen by the ramp: `served`, or why DynamoDB served it after all."""
        self._ramped(outcome).inc()

    def held(self) -> None:
        """A write waits while a stage is moved."""
        self._held.inc()

    def held_for(self, seconds: float) -> None:
        """A write that was held goes on, or is given up, after `seconds`."""
        self._held_seconds.observe((), seconds)

    def gave_up(self, table: str, reason: str) -> None:
        """A comparison or a convergence of a table's failed for `reason`; it may be made again."""
        self._gave_up(table, reason).inc()

    def dynamodb_undecided(self, operation: str, code: str) -> None:
        """DynamoDB throttled, or was ill. `code` is one of those it has for that."""
        self._undecided(bounded(operation), code).inc()

    def undecoded(self, operation: str) -> None:
        """A request to a shadowed operation could not be decoded."""
        self._undecoded(bounded(operation)).inc()

    def refused(self, code: str) -> None:
        """A request was refused for its signature."""
        self._refused(code).inc()

    def passed_through(self, operation: str) -> None:
        """A request was passed to the authority unread."""
        self._passed(bounded(operation)).inc()

    def upstream_failed(self, outcome: str, reason: str) -> None:
        """A request to DynamoDB got no answer: `outcome` is `unreachable` or `unknown`."""
        self._upstream(outcome, reason).inc()

    def dsql_pool(self, read: Callable[[], PoolGauges]) -> None:
        """`read` gives the state of the pool; it is asked whenever the numbers are."""
        for state in ("open", "idle", "connecting"):
            self._dsql_connections.labels(state).set_function(lambda name=state: getattr(read(), name))  # type: ignore[misc]
        self._dsql_waiting.set_function(lambda: read().waiting)

    def dsql_connected(self, seconds: float) -> None:
        """A connection to DSQL was made in `seconds`."""
        self._dsql_connect.observe((), seconds)

    def dsql_connect_failed(self, reason: str) -> None:
        """A connect to DSQL failed for `reason`."""
        self._unconnected(reason).inc()

    def dsql_connection_dropped(self, reason: str) -> None:
        """A connection to DSQL was let go of for `reason`."""
        self._dropped(reason).inc()

    def dsql_token_made(self, seconds: float) -> None:
        """A token for a connection to DSQL was made in `seconds`."""
        self._dsql_token.observe((), seconds)

    def text(self, names: Iterable[str] = ()) -> bytes:
        """All series (or those of `names`) in Prometheus's text format 0.0.4."""
        wanted = list(names)
        return generate_latest(self.registry.restricted_registry(wanted) if wanted else self.registry)


def bounded(operation: str) -> str:
    """`operation` if it is one DynamoDB has and we know, else `other`: clients must not make up series."""
    return operation if operation in OPERATIONS else OTHER


clock = time.perf_counter
"""The clock that durations are taken with, in seconds."""
