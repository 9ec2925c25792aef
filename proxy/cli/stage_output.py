"""Prints stages, gates, moves and history as plain text, from the documents of the admin API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

# The votes with which a process is not waited for in a phase.
_VOTED: Final = {
    "announced": ("ready", "drained", "switched", "passed over"),
    "holding": ("drained", "switched", "passed over"),
    "switched": ("switched", "passed over"),
}
_PHASES: Final = {"announced": "getting ready", "holding": "writes are held", "switched": "taking up the new stage"}
_COMPLETE: Final = """\
  DynamoDB gets no more writes, and no move leads out of complete. Nothing in DynamoDB was deleted.
  When all tables are complete, proxies can run without it: set stage = "complete" and take table out of [stages]
  (with stages set for tables or types, "complete" there too), give the tables' mappings, and restart them."""
_KEPT: Final = "  what to do: `crossfade stage` shows each process; mend what is named here, and try again"
_PROCESS: Final = ("PROCESS", "HOST", "PID", "LISTENS AT", "HAS", "")
_SHORT: Final = 8
_NAMED: Final = 3
_NONE: Final = "no table yet: a proxy learns of a table by the first request for it or by a mapping file"
_HEAD: Final = ("TABLE / TYPE", "STAGE", "AUTHORITY", "RAMP", "SINCE", "BY", "NEXT", "BLOCKED BY")


def stages(document: Mapping[str, Any]) -> str:
    """All stages, what blocks the next one of each, and the proxies."""
    lines = table([_HEAD, *(_row(each) for each in document["stages"])]) if document["stages"] else [_NONE]
    lines.append(f"epoch {document['epoch']}" + (f"; {document['pinned']}" if document["pinned"] else ""))
    flip = document["flip"]
    if flip is not None:
        lines.append(f"{scope(flip)} is being moved to {flip['to']} by {flip['by'] or 'somebody'}: {flip['phase']}")
    lines += [line for each in document["stages"] if each["own"] for line in _record(each)]
    if document["processes"]:
        lines += ["", *table([_PROCESS, *(_process(each) for each in document["processes"])])]
        lines += [f"{each['process']}: {each['problem']}" for each in document["processes"] if each.get("problem")]
    for each in document["stages"]:
        if each["own"] and each["blocked_by"]:
            lines += ["", f"{scope(each)}, before {each['next']}:", *criteria(each["blocked_by"])]
    return "\n".join(lines)


def gate(document: Mapping[str, Any]) -> str:
    """Every criterion of a move."""
    if document["from"] == document["to"] == "complete":
        return f"{scope(document)}: complete, the last stage: no move leads out of it"
    lines = [f"{scope(document)}: {document['from']} → {document['to']}"]
    if document["impossible"]:
        return "\n".join([*lines, f"  it cannot be made: {document['impossible']}"])
    lines += criteria(document["criteria"]) or ["  nothing must hold before it"]
    return "\n".join(lines)


def unmet_criteria(document: Mapping[str, Any]) -> str:
    """The criteria that stop a move, and no others."""
    stops = [each for each in document["criteria"] if each["blocks"] and not each["holds"]]
    return "\n".join([f"{scope(document)}: {document['from']} → {document['to']}", *criteria(stops)])


def preview(document: Mapping[str, Any]) -> str:
    """What a move would do, and its gate."""
    said = [f"  {each}" for each in document["sentences"]]
    if document["gate"]["impossible"]:
        return gate(document["gate"])
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


def progress_line(document: Mapping[str, Any]) -> str:
    """How far a move is, in one line: its phase, and the processes that it waits for."""
    phase = document["phase"]
    awaited = [each for each in document["processes"] if each["phase"] not in _VOTED.get(phase, ())]
    head = f"  {document['seconds']:5.1f} s  {_PHASES.get(phase, phase)}"
    if phase not in _VOTED:
        return f"{head}: {document['text']}".rstrip(": ")
    count = len(document["processes"])
    names = ", ".join(_awaited(each) for each in awaited[:_NAMED])
    more = f" and {len(awaited) - _NAMED} more" if len(awaited) > _NAMED else ""
    return f"{head}: {count - len(awaited)} of {count} processes" + (f", waiting for {names}{more}" if names else "")


def progress_key(document: Mapping[str, Any]) -> object:
    """The part of a step whose change is worth a line of its own; counts of keys are not."""
    return document["phase"], [(each["process"], each["phase"]) for each in document["processes"]]


def move_outcome(document: Mapping[str, Any]) -> str:
    """The outcome of a move; if it was not made, also the reason and the remedy."""
    outcome = document["outcome"]
    if outcome == "moved":
        held = f"writes were held for {document['held_ms']:.0f} ms" if document["held_ms"] else "no write was held"
        told = f"{scope(document)} is in {_stage(document)} now: epoch {document['epoch']}, {held}"
        return f"{told}\n{_COMPLETE}" if document["to"] == "complete" else told
    if outcome == "unchanged":
        return f"{scope(document)} is in {_stage(document)} already: epoch {document['epoch']}"
    if outcome == "kept":
        stays = f"{scope(document)} stays in {document['from']}: everything is as it was (epoch {document['epoch']})"
        return f"not moved, {stays}\n  why: {document['detail']}\n{_KEPT}"
    return f"the outcome is unknown: {document['detail']}"


def history(entries: Sequence[Mapping[str, Any]]) -> str:
    """The changes of stage, a paragraph each."""
    return "\n".join(line for each in entries for line in _entry(each)) or "no stage has been moved yet"


def scope(document: Mapping[str, Any]) -> str:
    return f"{document['table']}/{document['type']}" if document["type"] else str(document["table"])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _awaited(each: Mapping[str, Any]) -> str:
    host = f" on {each['host']}" if each["host"] else ""
    return f"{each['process'][:_SHORT]}{host}" + (f" ({each['note']})" if each["note"] else "")


def _row(each: Mapping[str, Any]) -> Sequence[str]:
    name = f"  {each['type']}" if each["type"] else str(each["table"])
    if not each["own"]:
        return (name, each["stage"], "", "", "with its table", "", "", "")
    stops = ", ".join(one["name"] for one in each["blocked_by"])
    ramp = f"{each['ramp']:g} %" if each["ramp"] else ""
    since = _when(each["since"]) or "the settings"
    return (name, each["stage"], each["authority"], ramp, since, each["by"] or "", each["next"] or "", stops)


def _record(each: Mapping[str, Any]) -> list[str]:
    """The era, the mapping in force, and DSQL's own word on the authority; a proxy of an older version has none."""
    era, parts = each.get("era"), []
    if era and era["since"]:
        parts.append(f"unbroken since {_when(era['since'])} ({era['because']})")
    if each.get("recorded"):
        agrees = "" if each["recorded"] == each["authority"] else ", WHICH IS NOT WHAT THE STAGE SAYS"
        parts.append(f"DSQL's record names {each['recorded']} as the authority{agrees}")
    if each.get("mapping"):
        parts.append(f"mapping {each['mapping'][:_SHORT]}")
    return [f"{scope(each)}: {'; '.join(parts)}"] if parts else []


def _process(each: Mapping[str, Any]) -> Sequence[str]:
    """A row for a proxy; one of an older version reports less."""
    gone = f"GONE, last seen {_when(each['seen'])}" if each.get("gone") else ""
    owes = "may owe keys" if each["owes"] else ""
    state = ": ".join(part for part in (gone, owes) if part)
    listen, pid = each.get("listen") or "", str(each.get("pid") or "")
    return (each["process"], each["host"] or "", pid, listen, f"epoch {each['epoch']}", state)


def _entry(each: Mapping[str, Any]) -> list[str]:
    when, by = _when(each["at"]), each["by"] or "somebody"
    if each["outcome"] == "forgotten":
        lines = [f"{when}  epoch {each['epoch']}  process {each['process']} forgotten, by {by}"]
    elif each["outcome"] == "adopted":
        lines = [f"{when}  epoch {each['epoch']}  DSQL database adopted, every era ended, by {by}"]
    elif each["outcome"] == "era ended":
        lines = [f"{when}  epoch {each['epoch']}  era ended, by {by}"]
    else:
        before = each.get("ramp_before")  # an older entry, or an older proxy, does not say
        moves = f"{each['from']}{_ramp(before)} → {each['to']}{_ramp(each['ramp'])}"
        if each["from"] == each["to"] == "shadow":
            was = f"from {before:g} % " if before is not None else ""
            moves = f"ramp set {was}to {each['ramp'] or 0:g} %"
        head = f"{when}  epoch {each['epoch']}  {scope(each)}: {moves}, by {by}"
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


def _ramp(share: float | None) -> str:
    return f" ({share:g} % from DSQL)" if share else ""


def _stage(document: Mapping[str, Any]) -> str:
    return f"{document['to']} with {document['ramp']:g} % of reads from DSQL" if document["ramp"] else document["to"]


def _when(moment: str | None) -> str:
    return moment[:19].replace("T", " ") + "Z" if moment else ""
