"""*Cutover*: the one look that says how far each table is, whether it may go on, and what hinders it."""

from __future__ import annotations

from typing import Any, Final

from dashboards.parts import (
    AMBER,
    EVERY,
    GREEN,
    GREY,
    HERE,
    PLACE,
    RED,
    Query,
    board,
    lines,
    numbers,
    risen,
    rows,
    section,
    stage_numbers,
    stage_words,
    states,
)

_SPEAKS: Final = 'verdict=~"agreed|lagging|expected|mismatch"'
_MISMATCHED: Final = f'crossfade_comparisons_total{{{PLACE}, verdict="mismatch"}}'
_AGREES: Final = 'verdict=~"agreed|lagging|expected"'


def cutover() -> dict[str, Any]:
    return board(
        "crossfade-cutover",
        "Crossfade: Cutover",
        "How far each table and type is, whether the gate is open, and what blocks the next stage.",
        section("Is anything wrong?"),
        numbers(
            "Mismatches, last hour",
            "Comparisons in the last hour in which the two stores disagreed and went on disagreeing. One is enough to look.",
            "short",
            Query(risen("", _MISMATCHED, "1h") + " or vector(0)", now=True),
            steps=((None, GREEN), (0.5, RED)),
            height=4,
            decimals=0,
        ),
        numbers(
            "Parked keys",
            "Keys whose items the mirror cannot hold. They are not in the mirror, and a flip would lose them.",
            "short",
            Query(f"sum(crossfade_parked_keys{{{HERE}}})", now=True),
            steps=((None, GREEN), (1, RED)),
            height=4,
        ),
        numbers(
            "May serve",
            "Proxies with a valid lease. Those without answer 500 until they reach the stage table again.",
            "short",
            Query(f"sum(crossfade_lease_valid{{{HERE}}})", "may", now=True),
            Query(f"count(crossfade_lease_valid{{{HERE}}} == 0) or vector(0)", "may not", now=True),
            height=4,
        ),
        numbers(
            "Breaker",
            "Whether any proxy leaves a store alone as the mirror because it failed. Its keys wait in the journal meanwhile.",
            "none",
            Query(f"max by (store) (crossfade_breaker_open{{{HERE}}})", "{{store}}", now=True),
            words={0: ("closed", GREEN), 1: ("open", RED)},
            height=4,
        ),
        numbers(
            "Compared in a day",
            "Comparisons that count for the gate, of all processes in the last day, as the gate counted them.",
            "short",
            Query(f'sum(max by (table) (crossfade_gate_compared{{{HERE}, table=~"$table", type=""}}))', now=True),
            steps=((None, GREY), (1, GREEN)),
            height=4,
        ),
        numbers(
            "Epoch",
            "The number of the stages in force; it grows with each move. Two numbers that differ: a proxy is behind.",
            "none",
            Query(f"min(crossfade_epoch{{{HERE}}})", "lowest", now=True),
            Query(f"max(crossfade_epoch{{{HERE}}})", "highest", now=True),
            steps=((None, GREY),),
            height=4,
        ),
        rows(
            "Alerts that fire",
            "Crossfade's alerts that fire now. Each has a runbook in docs/runbooks, named by the alert.",
            "none",
            Query(
                'sum by (alertname, severity, table, type, instance) (ALERTS{alertname=~"Crossfade.+", alertstate="firing"})'
            ),
            {"alertname": "alert", "severity": "severity", "table": "table", "type": "type", "instance": "instance"},
            width=24,
            height=6,
            nothing="none fires",
        ),
        section("How far is it, and may it go on?"),
        states(
            "Stage by table and type",
            "Where each table and type stands. A type without a line of its own stands where its table does.",
            stage_words(),
            Query(stage_numbers("table, type"), "{{table}} {{type}}"),
            height=9,
        ),
        numbers(
            "The gate",
            "Whether the next move would be let through. Past the flip: whether what had to hold before it still holds.",
            "none",
            Query(
                f"min by (table, type, to) (crossfade_gate_open{{{PLACE}}})", "{{table}} {{type}} to {{to}}", now=True
            ),
            words={0: ("shut", AMBER), 1: ("open", GREEN)},
            width=4,
            height=9,
            nothing="at the end",
        ),
        rows(
            "What blocks the next stage",
            "Criteria that do not hold and stop the move. The console and GET /v1/gate/TABLE say the value, what is "
            "wanted, and what to do.",
            "none",
            Query(f'max by (table, type, to, criterion) (crossfade_gate_holds{{{PLACE}, blocks="yes"}} == 0)'),
            {"table": "table", "type": "type", "to": "to", "criterion": "criterion"},
            width=8,
            height=9,
            nothing="nothing blocks it",
        ),
        section("Do the two stores agree?"),
        lines(
            "Agreement",
            "Of all comparisons that say anything, the share that agreed. Races and mirror errors say nothing.",
            "percentunit",
            Query(
                f"sum by (table, type) (rate(crossfade_comparisons_total{{{PLACE}, {_AGREES}}}[{EVERY}]))"
                f" / sum by (table, type) (rate(crossfade_comparisons_total{{{PLACE}, {_SPEAKS}}}[{EVERY}]) > 0)",
                "{{table}} {{type}}",
            ),
            lowest=0.99,
            highest=1,
            nothing="nothing was compared",
        ),
        lines(
            "Mismatch rate at most (95 % confidence)",
            "The highest mismatch rate that the last day's comparisons leave open. It falls as more are compared; the gate "
            "wants it below the limit.",
            "percentunit",
            Query(f"max by (table, type) (crossfade_gate_mismatch_bound{{{PLACE}}})", "{{table}} {{type}}"),
            Query(f"max(crossfade_gate_mismatch_limit{{{HERE}}})", "limit"),
            logarithmic=True,
            colours={"limit": RED},
        ),
        section("Is the mirror keeping up?"),
        lines(
            "Keys in the journal",
            "Keys not yet known to have converged. It falls back to zero in quiet moments; what grows is behind.",
            "short",
            Query(f"sum by (instance) (crossfade_journal_keys{{{HERE}}})", "{{instance}}"),
            width=8,
        ),
        lines(
            "Oldest key in the journal",
            "How long the oldest key has been waiting to converge. A key with an unknown outcome waits for the settle time.",
            "s",
            Query(f"max by (instance) (crossfade_journal_oldest_seconds{{{HERE}}})", "{{instance}}"),
            width=8,
        ),
        lines(
            "Time to converge",
            "From a key's entry in the journal until both stores were seen to hold the same.",
            "s",
            Query(
                f"histogram_quantile(0.5, sum by (le) (rate(crossfade_convergence_seconds_bucket{{{HERE}}}[{EVERY}]))) >= 0",
                "p50",
            ),
            Query(
                f"histogram_quantile(0.99, sum by (le) (rate(crossfade_convergence_seconds_bucket{{{HERE}}}[{EVERY}]))) >= 0",
                "p99",
            ),
            width=8,
            nothing="nothing was written",
        ),
        section("What did the flips cost, and how far is the ramp?"),
        lines(
            "Writes held at flips",
            "Writes that waited while the authority was moved: some at each flip, none otherwise.",
            "short",
            Query(f"sum by (instance) (increase(crossfade_held_writes_total{{{HERE}}}[{EVERY}]))", "{{instance}}"),
            width=8,
        ),
        lines(
            "How long writes were held",
            "The slowest write that waited for a flip, and the usual one, as near as the buckets tell.",
            "s",
            Query(
                f"histogram_quantile(1, sum by (le) (rate(crossfade_held_seconds_bucket{{{HERE}}}[{EVERY}]))) >= 0",
                "longest",
            ),
            Query(
                f"histogram_quantile(0.5, sum by (le) (rate(crossfade_held_seconds_bucket{{{HERE}}}[{EVERY}]))) >= 0",
                "p50",
            ),
            width=8,
            nothing="no write was held",
        ),
        lines(
            "Ramp",
            "The share of reads that DSQL serves while its table is still in shadow.",
            "percent",
            Query(f"max by (table, type) (crossfade_ramp_percent{{{PLACE}}})", "{{table}} {{type}}"),
            highest=100,
            width=8,
        ),
        section("Backfill and sweeps"),
        lines(
            "Items a second",
            "How fast a backfill or a sweep goes through the table; needs --metrics on the command.",
            "ops",
            Query(f"sum by (what, instance) (rate(crossfade_job_items[{EVERY}]))", "{{what}} {{instance}}"),
            nothing="no backfill or sweep runs with --metrics",
        ),
        lines(
            "How far",
            "Items done, of those that DynamoDB last counted (it counts every six hours).",
            "percentunit",
            Query(
                "max by (what, instance) (crossfade_job_items / (crossfade_job_items_expected > 0))",
                "{{what}} {{instance}}",
            ),
            highest=1,
            nothing="no backfill or sweep runs with --metrics",
        ),
    )
