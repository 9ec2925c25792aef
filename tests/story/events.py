"""What spoke against the stores' agreement, one sentence each: which call, when, and what differed or failed.

Reads what the proxy publishes: `/v1/mismatches` and its log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

SHOWN: Final = 3
_LONGEST: Final = 80


def first(sentences: Sequence[str]) -> str:
    """The first few of them in one line, and how many more there are."""
    rest = len(sentences) - SHOWN
    return "; ".join(sentences[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def differences(mismatches: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each entry of `/v1/mismatches`, the oldest first."""
    return [_difference(each) for each in reversed(list(mismatches))]


def mirror_errors(log: Path) -> list[str]:
    """A sentence for each comparison that the mirror failed, in the order of the log."""
    found = []
    for line in log.read_text("utf-8", "replace").splitlines():
        if '"mirror_error"' not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("event") == "verdict" and event.get("verdict") == "mirror_error":
            found.append(f"{event['operation']} of {event['table']} at {event['time']}: {event.get('reason')}")
    return found


def unlike(position: int, operation: str, answer: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """How a client's answer differs from what it would have been told without the proxy."""
    names = [name for name in sorted({*answer, *wanted}) if answer.get(name) != wanted.get(name)]
    shown = "; ".join(f"{name} was {_short(answer.get(name))}, not {_short(wanted.get(name))}" for name in names[:2])
    return f"call {position + 1}, {operation}: {shown}"


def _difference(entry: Mapping[str, Any]) -> str:
    held = ""
    if "authority" in entry or "mirror" in entry:
        held = f": {_short(entry.get('authority'))} against {_short(entry.get('mirror'))}"
    of = f" of {_short(entry['key'])}" if entry.get("key") else ""
    place = entry.get("path") or entry.get("field") or "the answer"
    return f"{entry['verdict']} in {entry['operation']}{of} at {entry['at']}, {place} ({entry['kind']}){held}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
