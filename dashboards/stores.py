"""*Stores*: how the two answer, side by side, and what is between them and the proxy."""

from __future__ import annotations

from typing import Any

from dashboards.parts import (
    AMBER,
    CALL,
    EVERY,
    GREEN,
    HERE,
    LIMIT,
    RED,
    STATUS_COLOURS,
    STORE_COLOURS,
    Query,
    board,
    lines,
    section,
    states,
)


def _quantile(share: float, metric: str, selected: str, by: str) -> str:
    # Without calls in the interval the quantile is no number, which is no point of a line.
    return f"histogram_quantile({share:g}, sum by ({by}, le) (rate({metric}_bucket{{{selected}}}[{EVERY}]))) >= 0"


def _store(share: float, store: str) -> Query:
    return Query(_quantile(share, "crossfade_store_seconds", f'{CALL}, store="{store}"', "operation"), "{{operation}}")


def stores() -> dict[str, Any]:
    ratio = " / ".join(
        f"(histogram_quantile(0.99, sum by (operation, le) (rate(crossfade_store_seconds_bucket{{{CALL}, "
        f'store="{store}"}}[{EVERY}]))) > 0)'
        for store in ("dsql", "dynamodb")
    )
    return board(
        "crossfade-stores",
        "Crossfade: Stores",
        "Latency and errors of DynamoDB and DSQL side by side, conflicts, connections, and what was given up.",
        section("How fast, side by side?"),
        lines("DynamoDB, p50", "Half of its answers came within this time.", "s", _store(0.5, "dynamodb")),
        lines("DSQL, p50", "Half of its answers came within this time, retries included.", "s", _store(0.5, "dsql")),
        lines("DynamoDB, p99", "Of a hundred answers, one took longer.", "s", _store(0.99, "dynamodb")),
        lines("DSQL, p99", "Of a hundred answers, one took longer, retries included.", "s", _store(0.99, "dsql")),
        lines(
            "DSQL's p99 over DynamoDB's",
            "How often DynamoDB's p99 is DSQL's. The gate compares this with its limit, and forgives what is fast anyway.",
            "short",
            Query(ratio, "{{operation}}"),
            Query(f"max(crossfade_gate_latency_factor_limit{{{HERE}}})", LIMIT),
            colours={LIMIT: RED},
        ),
        lines(
            "Calls a second",
            "What each store was asked, by Crossfade's own reads and writes too (converging reads both stores).",
            "ops",
            Query(f"sum by (store) (rate(crossfade_store_seconds_count{{{HERE}}}[{EVERY}]))", "{{store}}"),
            colours=STORE_COLOURS,
        ),
        section("What clients get"),
        lines(
            "Clients' latency, p50",
            "From a whole request to its answer: the authority's time and Crossfade's own.",
            "s",
            Query(_quantile(0.5, "crossfade_proxy_seconds", CALL, "operation"), "{{operation}}"),
        ),
        lines(
            "Clients' latency, p99",
            "Of a hundred requests, one took longer from its last byte to its answer.",
            "s",
            Query(_quantile(0.99, "crossfade_proxy_seconds", CALL, "operation"), "{{operation}}"),
        ),
        lines(
            "Answers a second by status",
            "What clients were answered. 400 is DynamoDB's own way to refuse (a condition that fails); 5xx is an error.",
            "ops",
            Query(f"sum by (status) (rate(crossfade_proxy_seconds_count{{{CALL}}}[{EVERY}]))", "{{status}}"),
            stacked=True,
            colours=STATUS_COLOURS,
            width=8,
        ),
        lines(
            "Passed on unread",
            "Operations that Crossfade hands to the authority as they are; while a table is in shadow they are not compared.",
            "ops",
            Query(f"sum by (operation) (rate(crossfade_passed_through_total{{{CALL}}}[{EVERY}]))", "{{operation}}"),
            width=8,
            nothing="none",
        ),
        lines(
            "Refused for their signature",
            "Requests that were not let in, by DynamoDB's code. A client with wrong keys, a wrong clock, or none at all.",
            "ops",
            Query(f"sum by (code) (rate(crossfade_refused_requests_total{{{HERE}}}[{EVERY}]))", "{{code}}"),
            width=8,
            nothing="none",
        ),
        section("The items port"),
        lines(
            "Items: answers a second",
            "What the items port answered, by route and status.",
            "ops",
            Query(
                f"sum by (route, status) (rate(crossfade_items_requests_total{{{HERE}}}[{EVERY}]))",
                "{{route}} {{status}}",
            ),
            stacked=True,
            nothing="nothing was asked of the items port",
        ),
        lines(
            "Items: latency",
            "From a request to the items port to its answer.",
            "s",
            Query(_quantile(0.5, "crossfade_items_seconds", HERE, "route"), "p50 {{route}}"),
            Query(_quantile(0.99, "crossfade_items_seconds", HERE, "route"), "p99 {{route}}"),
            nothing="nothing was asked of the items port",
        ),
        section("Errors"),
        lines(
            "DynamoDB throttles, or is ill",
            "Answers by which DynamoDB decided nothing, by code. Clients see these, unless DynamoDB is the mirror.",
            "ops",
            Query(
                f"sum by (operation, code) (rate(crossfade_dynamodb_undecided_total{{{CALL}}}[{EVERY}]))",
                "{{operation}} {{code}}",
            ),
            width=8,
            nothing="none",
        ),
        lines(
            "DynamoDB without an answer",
            "Clients' requests without an answer: `unreachable` had no effect; the effect of `unknown` is not known.",
            "ops",
            Query(
                f"sum by (outcome, reason) (rate(crossfade_upstream_failures_total{{{HERE}}}[{EVERY}]))",
                "{{outcome}} {{reason}}",
            ),
            width=8,
            nothing="none",
        ),
        lines(
            "Given up on the mirror",
            "Comparisons and convergences that failed, by reason. Convergences are made again; comparisons are not.",
            "ops",
            Query(f"sum by (reason) (rate(crossfade_gave_up_total{{{HERE}}}[{EVERY}]))", "{{reason}}"),
            width=8,
            nothing="none",
        ),
        lines(
            "Conflicts on DSQL, and other retries",
            "Calls made again, by reason. `occ` is another writer that was faster: some are normal on hot keys.",
            "ops",
            Query(f"sum by (reason) (rate(crossfade_mirror_retries_total{{{HERE}}}[{EVERY}]))", "{{reason}}"),
            width=8,
            nothing="none",
        ),
        states(
            "Breaker",
            "While it is open, its store is left alone as the mirror, and its keys wait in the journal.",
            {0: ("closed", GREEN), 1: ("open", RED)},
            Query(f"max by (store, instance) (crossfade_breaker_open{{{HERE}}})", "{{store}} {{instance}}"),
            width=8,
        ),
        lines(
            "Shed comparisons",
            "Comparisons left out to protect clients, by reason. Writes are never left out.",
            "ops",
            Query(f"sum by (reason) (rate(crossfade_shed_total{{{HERE}}}[{EVERY}]))", "{{reason}}"),
            width=8,
            nothing="none",
        ),
        section("Connections to DSQL"),
        lines(
            "Connections",
            "Open ones, idle ones among them, and those that are being made, of all proxies.",
            "short",
            Query(f"sum by (state) (crossfade_dsql_connections{{{HERE}}})", "{{state}}"),
            width=6,
        ),
        lines(
            "Waiting for a connection",
            "Callers that wait because all connections are in use. More than a moment of this means the pool is too small.",
            "short",
            Query(f"sum by (instance) (crossfade_dsql_waiting{{{HERE}}})", "{{instance}}"),
            width=6,
            limits=((None, GREEN), (10, AMBER)),
        ),
        lines(
            "Connects",
            "Connections that failed, by reason, and those let go of: `expired` is normal, `dead` is not.",
            "ops",
            Query(
                f"sum by (reason) (rate(crossfade_dsql_connect_failures_total{{{HERE}}}[{EVERY}]))", "failed {{reason}}"
            ),
            Query(
                f"sum by (reason) (rate(crossfade_dsql_connections_dropped_total{{{HERE}}}[{EVERY}]))",
                "dropped {{reason}}",
            ),
            width=6,
            nothing="none",
        ),
        lines(
            "Time to connect",
            "Including the token; a pool that connects on the way of a request costs that request this much.",
            "s",
            Query(_quantile(0.99, "crossfade_dsql_connect_seconds", HERE, "instance"), "connect {{instance}}"),
            Query(_quantile(0.99, "crossfade_dsql_token_seconds", HERE, "instance"), "token {{instance}}"),
            width=6,
        ),
        section("The proxies themselves"),
        lines(
            "CPU",
            "Cores in use. One proxy is one process with one loop: near 1 it is full.",
            "short",
            Query(
                f"sum by (instance) (rate(process_cpu_seconds_total{{{HERE}}}[{EVERY}]) and on (instance) crossfade_epoch)",
                "{{instance}}",
            ),
            width=8,
            limits=((None, GREEN), (0.8, AMBER)),
        ),
        lines(
            "Memory",
            "Resident memory.",
            "bytes",
            Query(
                f"sum by (instance) (process_resident_memory_bytes{{{HERE}}} and on (instance) crossfade_epoch)",
                "{{instance}}",
            ),
            width=8,
        ),
        lines(
            "Tasks",
            "asyncio tasks alive: it follows the load, and grows without end only if one is leaked.",
            "short",
            Query(f"sum by (instance) (crossfade_tasks{{{HERE}}})", "{{instance}}"),
            width=8,
        ),
        lines(
            "Connections of clients",
            "By port, in parts of its limit ([connections] in the settings).",
            "percentunit",
            Query(
                f"max by (port) (crossfade_connections{{{HERE}}} / crossfade_connections_limit{{{HERE}}})",
                "{{port}}",
            ),
            width=8,
            limits=((None, GREEN), (0.8, AMBER)),
        ),
        lines(
            "Refused connections",
            "Closed at once: the port has too many, descriptors run short, or TLS failed.",
            "ops",
            Query(
                f"sum by (port, reason) (rate(crossfade_refused_connections_total{{{HERE}}}[{EVERY}]))",
                "{{port}} {{reason}}",
            ),
            width=8,
            nothing="none was refused",
        ),
        lines(
            "File descriptors",
            "Open, in parts of those that connections may take. At 1, connections are refused.",
            "percentunit",
            Query(
                f"max by (instance) (process_open_fds{{{HERE}}}"
                f" / on (instance) (process_max_fds{{{HERE}}} - on (instance) crossfade_reserved_descriptors))",
                "{{instance}}",
            ),
            width=8,
            limits=((None, GREEN), (0.8, AMBER)),
        ),
        lines(
            "Spans",
            "What became of spans: `lost` ones the collector did not take, `dropped` ones were too many to keep.",
            "ops",
            Query(f"sum by (outcome) (rate(crossfade_spans_total{{{HERE}}}[{EVERY}]))", "{{outcome}}"),
            colours={"sent": GREEN, "lost": RED, "dropped": AMBER},
            nothing="tracing is off",
        ),
        lines(
            "Spans that wait",
            "Spans not yet sent. At the limit of the settings the next ones are dropped.",
            "short",
            Query(f"sum by (instance) (crossfade_spans_waiting{{{HERE}}})", "{{instance}}"),
            nothing="tracing is off",
        ),
    )
