"""What a sweep found, for people (Markdown) and for programs (JSON). Lays out; counts and judges nothing."""

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
    REPAIRED: "Differences were found, and all were repaired. Only another sweep can say that they are equal.",
    DIFFERENT: "The two stores differ.",
    UNSETTLED: "Some keys were being written at each look: the sweep cannot say that the two stores are equal.",
}
_MEANINGS: Final = {
    KeyResult.MISSING: "the authority has it, the mirror lacks it",
    KeyResult.EXTRA: "the mirror has it, the authority does not",
    KeyResult.DIFFERENT: "both have it, and differ",
    KeyResult.UNREPRESENTABLE: "the mapping cannot hold it without loss",
    KeyResult.EXPECTED: "differs as the mapping declares and explains",
    KeyResult.RACING: "was being written at each look",
    UNREADABLE: "a row that reads as no item of the table",
}


def document(swept: SweepResult) -> dict[str, Any]:
    """One JSON object; times are Unix seconds."""
    return {
        "table": swept.table,
        "authority": swept.authority,
        "result": swept.result if swept.whole else "unfinished",
        "whole": swept.whole,
        "resumed": swept.resumed,
        "began": swept.began,
        "ended": swept.ended,
        "basis": swept.basis.document(),
        "mended": swept.mended,
        "counts": swept.counts.document(),
        "references": [
            {"attribute": each.attribute, "refer": each.refer, "dangling": each.dangling} for each in swept.references
        ],
        "findings": swept.findings,
    }


def markdown(swept: SweepResult) -> str:
    return "\n".join(_lines(swept)) + "\n"


def _lines(swept: SweepResult) -> Iterator[str]:
    counts = swept.counts
    yield f"# Sweep of {swept.table}"
    yield ""
    if swept.whole:
        yield f"**{_HEADLINES[swept.result]}** "
        yield from _remedies(swept)
    else:
        yield "**Not finished:** other shares of the table are still under way; the last of them says the result. "
    yield ""
    began, ended = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") for at in (swept.began, swept.ended))
    again = ", in more than one run" if swept.resumed else ""
    yield f"{began} to {ended} UTC{again}. Authority: {swept.authority}."
    yield ""
    yield from _table(("", "items", ""), _results(swept), right=1)
    types = sorted({*counts.items, *counts.rows})
    rows = [(name or "(no type)", f"{counts.items[name]:,}", f"{counts.rows[name]:,}") for name in types]
    rows.append(("all", f"{counts.items.total():,}", f"{counts.rows.total():,}"))
    yield from _table(("type", "DynamoDB, as scanned", "DSQL, at the end"), rows, right=2)
    for each in swept.references:
        yield f"Of {each.refer:,} rows with `{each.attribute}`, {each.dangling:,} refer to what is not there."
        yield ""
    equal = counts.pages - counts.pages_unequal
    yield f"{equal:,} of {counts.pages:,} pages were equal at first sight, by their digests."
    yield ""
    if swept.findings:
        yield f"## The first {min(_SHOWN, len(swept.findings))} findings"
        yield ""
        yield from (f"- {_finding_line(each)}" for each in swept.findings[:_SHOWN])
        if len(swept.findings) > _SHOWN:
            yield f"- … {len(swept.findings) - _SHOWN:,} more in the JSON report, which keeps {MOST_KEPT:,}"
        yield ""


def _results(swept: SweepResult) -> list[tuple[str, str, str]]:
    found = swept.counts.results
    rows = [(str(kind), f"{found[str(kind)]:,}", says) for kind, says in _MEANINGS.items() if found[str(kind)]]
    if swept.counts.repaired or swept.counts.unrepaired:
        left = f", and {swept.counts.unrepaired:,} could not be" if swept.counts.unrepaired else ""
        rows.append(("repaired", f"{swept.counts.repaired:,}", f"of those above that differed{left}"))
    seen = swept.counts.seen
    wrong = sum(found[str(kind)] for kind in _MEANINGS if kind not in (KeyResult.EXTRA, "unreadable"))
    return [("agreed", f"{max(0, seen - wrong):,}", "equal in both, as found"), *rows]


def _remedies(swept: SweepResult) -> Iterator[str]:
    """What to do about what was found, a sentence each."""
    counts, found = swept.counts, swept.counts.results
    right, mirror = ("DynamoDB", "DSQL") if swept.authority == "dynamodb" else ("DSQL", "DynamoDB")
    if counts.unrepaired:
        yield "What could not be repaired is told below: mend that, and run it again. "
    elif not swept.mended:
        yield f"`crossfade verify --repair` makes {mirror} hold what {right} holds. "
    if found[KeyResult.RACING]:
        yield "Run it again with more `--patience`, or when the keys named below are written less often. "
    if found[KeyResult.UNREPRESENTABLE]:
        yield "What the mapping cannot hold, no repair mends: widen its columns (`crossfade preflight` says which). "


def _finding_line(found: dict[str, Any]) -> str:
    paths = ", ".join(_difference_text(each) for each in found["differences"] if each["path"])
    said = "; ".join(part for part in (paths, *found["reasons"]) if part)
    mended = {None: "", True: ", repaired", False: ", not repaired"}[found["repaired"]]
    kind = f" ({found['type']})" if found["type"] else ""
    return f"{found['result']}{mended}{kind} {orjson.dumps(found['key']).decode()}" + (f": {said}" if said else "")


def _difference_text(found: dict[str, Any]) -> str:
    """The path and how it differs; both values where they are shown, and not hashed."""
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
