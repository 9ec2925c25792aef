"""Renders a sweep's result for people (Markdown) and for programs (JSON). Counts and judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from proxy.migrate.verify.recheck import KeyResult
from proxy.migrate.verify.sweep import MOST_KEPT
from proxy.migrate.verify.sweep_result import UNREADABLE, SweepResult
from proxy.stores.dsql.system_tables.sweep_records import DIFFERENT, EQUAL, REPAIRED, UNSETTLED

_SHOWN: Final = 20
_HEADLINES: Final = {
    EQUAL: "The two stores are equal.",
    REPAIRED: "Differences were found, and all were repaired. Only another sweep can confirm equality.",
    DIFFERENT: "The two stores differ.",
    UNSETTLED: "Some keys were written during each recheck, so it is unknown whether the two stores are equal.",
}
_MEANINGS: Final = {
    KeyResult.MISSING: "the authority has the item, the mirror does not",
    KeyResult.EXTRA: "the mirror has the item, the authority does not",
    KeyResult.DIFFERENT: "both have the item, and differ",
    KeyResult.UNREPRESENTABLE: "the mapping cannot hold the item without loss",
    KeyResult.EXPECTED: "differs as the mapping declares and explains",
    KeyResult.RACING: "was written during each recheck",
    UNREADABLE: "a row that cannot be read as an item of the table",
}


def document(result: SweepResult) -> dict[str, Any]:
    """Return the report as one JSON object; times are Unix seconds."""
    return {
        "table": result.table,
        "authority": result.authority,
        "result": result.outcome if result.whole else "unfinished",
        "whole": result.whole,
        "resumed": result.resumed,
        "began": result.began,
        "ended": result.ended,
        "basis": result.basis.document(),
        "mended": result.mended,
        "counts": result.counts.document(),
        "references": [
            {"attribute": each.attribute, "refer": each.refer, "dangling": each.dangling} for each in result.references
        ],
        "findings": result.findings,
    }


def markdown(result: SweepResult) -> str:
    """Return the report as Markdown."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: SweepResult) -> Iterator[str]:
    counts = result.counts
    yield f"# Sweep of {result.table}"
    yield ""
    if result.whole:
        yield f"**{_HEADLINES[result.outcome]}** "
        yield from _remedies(result)
    else:
        yield "**Not finished:** other shares of the table are still under way; the last to finish reports the result. "
    yield ""
    began, ended = (
        datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") for at in (result.began, result.ended)
    )
    again = ", in more than one run" if result.resumed else ""
    yield f"{began} to {ended} UTC{again}. Authority: {result.authority}."
    yield ""
    yield from _table(("", "items", ""), _results(result), right=1)
    types = sorted({*counts.items, *counts.rows})
    rows = [(name or "(no type)", f"{counts.items[name]:,}", f"{counts.rows[name]:,}") for name in types]
    rows.append(("all", f"{counts.items.total():,}", f"{counts.rows.total():,}"))
    yield from _table(("type", "DynamoDB, as scanned", "DSQL, at the end"), rows, right=2)
    for each in result.references:
        yield f"Of {each.refer:,} rows with `{each.attribute}`, {each.dangling:,} refer to an item that does not exist."
        yield ""
    equal = counts.pages - counts.pages_unequal
    yield f"{equal:,} of {counts.pages:,} pages were equal at first sight, by their digests."
    yield ""
    if result.findings:
        yield f"## The first {min(_SHOWN, len(result.findings))} findings"
        yield ""
        yield from (f"- {_finding_line(each)}" for each in result.findings[:_SHOWN])
        if len(result.findings) > _SHOWN:
            yield f"- … {len(result.findings) - _SHOWN:,} more in the JSON report, which keeps {MOST_KEPT:,}"
        yield ""


def _results(result: SweepResult) -> list[tuple[str, str, str]]:
    found = result.counts.results
    rows = [(str(kind), f"{found[str(kind)]:,}", says) for kind, says in _MEANINGS.items() if found[str(kind)]]
    if result.counts.repaired or result.counts.unrepaired:
        left = f", and {result.counts.unrepaired:,} could not be" if result.counts.unrepaired else ""
        rows.append(("repaired", f"{result.counts.repaired:,}", f"of those above that differed{left}"))
    seen = result.counts.seen
    wrong = sum(found[str(kind)] for kind in _MEANINGS if kind not in (KeyResult.EXTRA, "unreadable"))
    return [("agreed", f"{max(0, seen - wrong):,}", "equal in both stores"), *rows]


def _remedies(result: SweepResult) -> Iterator[str]:
    """Yield one sentence for each thing to do about the findings."""
    counts, found = result.counts, result.counts.results
    right, mirror = ("DynamoDB", "DSQL") if result.authority == "dynamodb" else ("DSQL", "DynamoDB")
    if counts.unrepaired:
        yield "The findings below say what could not be repaired: fix that, and run the sweep again. "
    elif not result.mended:
        yield f"`crossfade verify --repair` makes {mirror} hold what {right} holds. "
    if found[KeyResult.RACING]:
        yield "Run the sweep again with more `--patience`, or when the keys named below are written less often. "
    if found[KeyResult.UNREPRESENTABLE]:
        yield "No repair brings what the mapping cannot hold: widen its columns (`crossfade preflight` says which). "


def _finding_line(found: dict[str, Any]) -> str:
    paths = ", ".join(_difference_text(each) for each in found["differences"] if each["path"])
    said = "; ".join(part for part in (paths, *found["reasons"]) if part)
    mended = {None: "", True: ", repaired", False: ", not repaired"}[found["repaired"]]
    kind = f" ({found['type']})" if found["type"] else ""
    return f"{found['result']}{mended}{kind} {orjson.dumps(found['key']).decode()}" + (f": {said}" if said else "")


def _difference_text(found: dict[str, Any]) -> str:
    """Return the path and how it differs, with both values if they are shown rather than hashed."""
    text = f"`{found['path']}` {found['kind']}"
    sides = [found[side] for side in ("authority", "mirror")]
    if any(isinstance(side, dict) and "hash" in side for side in sides) or sides == [None, None]:
        return text
    return f"{text}: {' against '.join(orjson.dumps(side).decode() for side in sides)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: int) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join(" ---: " if 0 < n <= right else " --- " for n in range(len(head))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""
