"""What was asked of the two stores: how long they took, what failed, and the connections to them."""

import functools
from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.metrics.histogram import COARSE, STORE_BUCKETS, Timings
from proxy.metrics.labels import bounded
from proxy.metrics.series import TableSeries


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


class StoreMetrics:
    """What was asked of the two stores: how long they took, what failed, and the connections to them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._store = Timings(
            "crossfade_store_seconds",
            "Time a store took to answer, in seconds.",
            ("store", "operation"),
            buckets=STORE_BUCKETS,
            registry=registry,
        )
        retried = Counter(
            "crossfade_mirror_retries_total",
            "Calls to the mirror made again, by reason.",
            ("reason",),
            registry=registry,
        )
        self._breaker = Gauge(
            "crossfade_breaker_open",
            "1 while a store is left alone as the mirror after failures, else 0.",
            ("store",),
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
            buckets=COARSE,
            registry=registry,
        )
        self._dsql_token = Timings(
            "crossfade_dsql_token_seconds",
            "Time to make a token for a connection to DSQL, in seconds.",
            (),
            buckets=COARSE,
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
        self._retried = functools.cache(retried.labels)
        self._gave_up = TableSeries(gave_up)
        self._undecided = functools.cache(undecided.labels)
        self._upstream = functools.cache(upstream.labels)
        self._unconnected = functools.cache(unconnected.labels)
        self._dropped = functools.cache(dropped.labels)

    def store_seconds(self, store: str, operation: str, seconds: float) -> None:
        """`store` (`dynamodb` or `dsql`) answered `operation` in `seconds`."""
        self._store.observe((store, operation if store != "dynamodb" else bounded(operation)), seconds)

    def store_timings(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        """(store, operation) to how often it took how long since the start: counts by `STORE_BUCKETS`, one more for
        what took longer."""
        return self._store.counts()

    def mirror_retried(self, reason: str) -> None:
        """A call to the mirror is made again for `reason`."""
        self._retried(reason).inc()

    def breaker(self, store: str, is_open: bool) -> None:
        """The breaker before a store, as the mirror, is open or not."""
        self._breaker.labels(store).set(1 if is_open else 0)

    def gave_up(self, table: str, reason: str) -> None:
        """A comparison or a convergence of a table's failed for `reason`; it may be made again."""
        self._gave_up(table, reason).inc()

    def forget_table(self, table: str) -> None:
        """Remove the series of a table that was deleted."""
        self._gave_up.forget(table)

    def dynamodb_undecided(self, operation: str, code: str) -> None:
        """DynamoDB throttled, or was ill. `code` is one of those it has for that."""
        self._undecided(bounded(operation), code).inc()

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
