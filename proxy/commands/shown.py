"""How stages, gates, moves and history look in a terminal: plain text, from the documents of the admin API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_ANSWERS: Final = {
    "announced": "asked",
    "ready": "ready",
    "drained": "drained and converged",
    "switched": "acknowledged",
    "refused": "refused",
}
_PROCESS: Final = ("PROCESS", "HOST", "PID", "LISTENS AT", "HAS", "")
_HEAD: Final = ("TABLE / TYPE", "STAGE", "AUTHORITY", "RAMP", "SINCE", "BY", "NEXT", "BLOCKED BY")


def standing(document: Mapping[str, Any]) -> str:
    """All stages, what blocks the next one of each, and the proxies."""
    lines = table([_HEAD, *(_row(each) for each in document["stages"])])
    lines.append(f"epoch {document['epoch']}" + (f"; {document['pinned']}" if document["pinned"] else ""))
    flip = document["flip"]
    if flip is not None:
        lines.append(f"{scope(flip)} is being moved to {flip['to']} by {flip['by'] or 'somebody'}: {flip['phase']}")
    if document["processes"]:
        lines += ["", *table([_PROCESS, *(_process(each) for each in document["processes"])])]
    for each in document["stages"]:
        if each["own"] and each["blocked_by"]:
            lines += ["", f"{scope(each)}, before {each['next']}:", *criteria(each["blocked_by"])]
    return "\n".join(lines)


def gate(document: Mapping[str, Any]) -> str:
    """Every criterion of a move."""
    lines = [f"{scope(document)}: {document['from']} → {document['to']}"]
    if document["impossible"]:
        lines.append(f"  it cannot be made: {document['impossible']}")
    lines += criteria(document["criteria"]) or ["  nothing must hold before it"]
    return "\n".join(lines)


def preview(document: Mapping[str, Any]) -> str:
    """What a move would do, and what the gate says."""
    said = [f"  {each}" for each in document["sentences"]]
    return "\n".join([gate(document["gate"]), *said, f"  {document['detail']}"])


def criteria(found: Iterable[Mapping[str, Any]]) -> list[str]:
    marks = {(True, True): "ok  ", (True, False): "ok  ", (False, True): "STOP", (False, False): "note"}
    lines = []
    for each in found:
        lines.append(
            f"  {marks[each['holds'], each['blocks']]} {each['name']}: {each['value']} (wanted: {each['wanted']})"
        )
        if not each["holds"]:
            lines.append(f"       {each['sentence']}")
    return lines


def step(document: Mapping[str, Any]) -> str:
    """One step of a move: the phase, and each proxy in it."""
    head = f"  {document['seconds']:6.2f} s  {document['phase']:<10} {document['text']}".rstrip()
    lines = [head]
    for each in document["processes"]:
        answer = _ANSWERS.get(each["phase"], each["phase"])
        note = f" ({each['note']})" if each["note"] else ""
        lines.append(f"            {each['process']} on {each['host'] or '?'}: {answer}{note}")
    return "\n".join(lines)


def end(document: Mapping[str, Any]) -> str:
    """How a move ended."""
    outcome = document["outcome"]
    if outcome == "moved":
        held = f"writes were held for {document['held_ms']:.0f} ms" if document["held_ms"] else "no write was held"
        return f"{scope(document)} is in {_stage(document)} now: epoch {document['epoch']}, {held}"
    if outcome == "unchanged":
        return f"{scope(document)} is in {_stage(document)} already: epoch {document['epoch']}"
    return f"{outcome}: {document['detail']}"


def history(entries: Sequence[Mapping[str, Any]]) -> str:
    """The changes of stage, a paragraph each."""
    return "\n".join(line for each in entries for line in _entry(each)) or "no stage has been moved yet"


def scope(document: Mapping[str, Any]) -> str:
    return f"{document['table']}/{document['type']}" if document["type"] else str(document["table"])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(each: Mapping[str, Any]) -> Sequence[str]:
    name = f"  {each['type']}" if each["type"] else str(each["table"])
    if not each["own"]:
        return (name, each["stage"], "", "", "with its table", "", "", "")
    stops = ", ".join(one["name"] for one in each["blocked_by"])
    ramp = f"{each['ramp']:g} %" if each["ramp"] else ""
    since = _when(each["since"]) or "the settings"
    return (name, each["stage"], each["authority"], ramp, since, each["by"] or "", each["next"] or "", stops)


def _process(each: Mapping[str, Any]) -> Sequence[str]:
    """A proxy; of one of an older version, less is known."""
    gone = f"GONE, last seen {_when(each['seen'])}" if each.get("gone") else ""
    owes = "may owe keys" if each["owes"] else ""
    state = ": ".join(part for part in (gone, owes) if part)
    listen, pid = each.get("listen") or "", str(each.get("pid") or "")
    return (each["process"], each["host"] or "", pid, listen, f"epoch {each['epoch']}", state)


def _entry(each: Mapping[str, Any]) -> list[str]:
    when, by = _when(each["at"]), each["by"] or "somebody"
    if each["outcome"] == "forgotten":
        lines = [f"{when}  epoch {each['epoch']}  process {each['process']} forgotten, by {by}"]
    else:
        ramp = f" ({each['ramp']:g} % from DSQL)" if each["ramp"] else ""
        head = f"{when}  epoch {each['epoch']}  {scope(each)}: {each['from']} → {each['to']}{ramp}, by {by}"
        if each["outcome"] == "moved":
            held = f", writes held for {each['held_ms']:.0f} ms" if each["held_ms"] else ""
            lines = [f"{head}: moved{held}{', forced' if each['forced'] else ''}"]
        else:
            lines = [f"{head}: not moved", f"    {each['reason']}"]
    if each["because"]:
        lines.append(f"    because {each['because']}")
    if each["passed_over"]:
        lines.append(f"    passed over: {', '.join(each['passed_over'])}")
    return lines


def _stage(document: Mapping[str, Any]) -> str:
    return f"{document['to']} with {document['ramp']:g} % of reads from DSQL" if document["ramp"] else document["to"]


def _when(moment: str | None) -> str:
    return moment[:19].replace("T", " ") + "Z" if moment else ""
