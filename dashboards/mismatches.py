"""*Mismatches*: what differs, in which type, operation and field, since when, and where to see it item by item."""

from __future__ import annotations

from typing import Any, Final

from dashboards.parts import (
    AMBER,
    BLUE,
    CALL,
    COMPARED,
    EVERY,
    GREEN,
    GREY,
    HERE,
    PLACE,
    RANGE,
    RED,
    Link,
    Query,
    board,
    lines,
    numbers,
    risen,
    rows,
    section,
)

_VERDICTS: Final = {
    "agreed": GREEN,
    "lagging": "light-yellow",
    "expected": BLUE,
    "racing": GREY,
    "undecided": "light-orange",
    "mirror_error": AMBER,
    "unrepresentable": "purple",
    "mismatch": RED,
}
# A proxy's console is on its admin port, which is what Prometheus scrapes.
_CONSOLE: Final = Link(
    "Newest differences in this proxy's console", "http://${__data.fields.instance}/#mismatches", "instance"
)
_MISMATCHED: Final = f'crossfade_comparisons_total{{{COMPARED}, verdict="mismatch"}}'
_UNREPRESENTABLE: Final = f'crossfade_comparisons_total{{{COMPARED}, verdict="unrepresentable"}}'
_DIFFERED: Final = f'crossfade_differences_total{{{PLACE}, verdict=~"mismatch|unrepresentable"}}'


def mismatches() -> dict[str, Any]:
    return board(
        "crossfade-mismatches",
        "Crossfade: Mismatches",
        "What the two stores disagree about: by type, operation, field and kind. Items' values are never here.",
        section("How much?"),
        numbers(
            "Mismatches",
            "In the time shown: comparisons in which the stores disagreed and went on disagreeing.",
            "locale",
            Query(
                risen("", _MISMATCHED, RANGE) + " or vector(0)",
                now=True,
            ),
            steps=((None, GREEN), (0.5, RED)),
            width=6,
            decimals=0,
        ),
        numbers(
            "Unrepresentable",
            "In the time shown: items that the mapping cannot hold without loss, found before anything was written.",
            "locale",
            Query(
                risen("", _UNREPRESENTABLE, RANGE) + " or vector(0)",
                now=True,
            ),
            steps=((None, GREEN), (0.5, RED)),
            width=6,
            decimals=0,
        ),
        numbers(
            "Compared",
            "In the time shown: comparisons that say something about the stores (agreed, lagging, expected, mismatch).",
            "locale",
            Query(
                f'sum(increase(crossfade_comparisons_total{{{COMPARED}, verdict=~"agreed|lagging|expected|mismatch"}}[$__range]))'
                " or vector(0)",
                now=True,
            ),
            steps=((None, GREY), (1, GREEN)),
            width=6,
            decimals=0,
        ),
        numbers(
            "Shed",
            "In the time shown: comparisons that were left out to protect clients. What is shed is not seen here.",
            "locale",
            Query(f"sum(increase(crossfade_shed_total{{{HERE}}}[$__range])) or vector(0)", now=True),
            steps=((None, GREEN), (1, AMBER)),
            width=6,
            decimals=0,
        ),
        section("Verdicts"),
        lines(
            "Verdicts a second",
            "What comparisons came to. Racing says nothing either way; lagging differed and then agreed by itself.",
            "ops",
            Query(f"sum by (verdict) (rate(crossfade_comparisons_total{{{COMPARED}}}[{EVERY}]))", "{{verdict}}"),
            stacked=True,
            colours=_VERDICTS,
        ),
        lines(
            "Without those that agreed",
            "The same without `agreed`, which hides all others.",
            "ops",
            Query(
                f'sum by (verdict) (rate(crossfade_comparisons_total{{{COMPARED}, verdict!="agreed"}}[{EVERY}]))',
                "{{verdict}}",
            ),
            stacked=True,
            colours=_VERDICTS,
        ),
        section("Where?"),
        lines(
            "Mismatches by type and operation",
            "Which operation on which type of item disagrees.",
            "short",
            Query(
                risen("table, type, operation", _MISMATCHED, EVERY) + " > 0",
                "{{table}} {{type}} {{operation}}",
            ),
            stacked=True,
            bars=True,
            nothing="none",
        ),
        lines(
            "Unrepresentable by type and operation",
            "Which operation on which type of item brought something that the mapping cannot hold.",
            "short",
            Query(
                risen("table, type, operation", _UNREPRESENTABLE, EVERY) + " > 0",
                "{{table}} {{type}} {{operation}}",
            ),
            stacked=True,
            bars=True,
            nothing="none",
        ),
        lines(
            "Differences by field",
            "The ten fields that differ most often. `other` is an attribute that the mapping does not name.",
            "short",
            Query(
                f"topk(10, {risen('field', _DIFFERED, EVERY)}) > 0",
                "{{field}}",
            ),
            stacked=True,
            bars=True,
            nothing="none",
        ),
        lines(
            "Differences by kind",
            "How they differ: missing in the mirror, extra there, another value, another type, another order.",
            "short",
            Query(risen("kind", _DIFFERED, EVERY) + " > 0", "{{kind}}"),
            stacked=True,
            bars=True,
            nothing="none",
        ),
        rows(
            "Top fields",
            "Fields that differed most often in the time shown. A click on the instance opens the console of the proxy that "
            "saw it, with the newest differences.",
            "short",
            Query(f"topk(25, {risen('instance, table, type, field, kind, verdict', _DIFFERED, RANGE)}) > 0"),
            {
                "table": "table",
                "type": "type",
                "field": "field",
                "kind": "kind",
                "verdict": "verdict",
                "instance": "instance",
            },
            value="differences",
            width=24,
            height=9,
            nothing="no differences",
            link=_CONSOLE,
        ),
        section("What is not compared?"),
        lines(
            "Mirror errors by reason",
            "Comparisons and convergences that a store let down. `occ`: it gave up after conflicts; `timeout`: too slow.",
            "ops",
            Query(
                f'sum by (table, reason) (rate(crossfade_gave_up_total{{{HERE}, table=~"$table"}}[{EVERY}]))',
                "{{table}} {{reason}}",
            ),
            nothing="none",
        ),
        lines(
            "Shed comparisons by reason",
            "`queue`: too many at once; `lag`: the event loop was behind; `breaker`: the mirror is left alone; `flip`: "
            "during a move.",
            "ops",
            Query(f"sum by (reason) (rate(crossfade_shed_total{{{HERE}}}[{EVERY}]))", "{{reason}}"),
            nothing="none",
        ),
        lines(
            "Not decoded",
            "Requests that went to the authority alone, because they could not be decoded. Their writes are not followed.",
            "ops",
            Query(f"sum by (operation) (rate(crossfade_undecoded_total{{{CALL}}}[{EVERY}]))", "{{operation}}"),
            nothing="none",
        ),
        lines(
            "Parked keys by proxy",
            "Keys that wait in the journal for the mapping or the item to change, by proxy.",
            "short",
            Query(f"sum by (instance) (crossfade_parked_keys{{{HERE}}})", "{{instance}}"),
        ),
    )
