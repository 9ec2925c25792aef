"""What clients asked and were told, and what must be true of it. Knows no product: only DynamoDB's promises.

An operation is acknowledged, refused (it certainly did nothing) or unknown (it may have been carried out, or may yet).
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Result = Literal["acknowledged", "refused", "unknown"]

# The keys of the workload, by what is done to them.
SETS: Final = ("set-0", "set-1")
COUNTERS: Final = ("counter-0", "counter-1")
PAIRS: Final = (("left-0", "right-0"), ("left-1", "right-1"))
REGISTERS: Final = ("register-0", "register-1", "register-2")
CHAINS: Final = ("chain-0", "chain-1")


@dataclass(frozen=True, slots=True)
class Event:
    """One operation of one client. `value` is what was written, or read (None: nothing was there)."""

    client: str
    kind: str
    key: str
    value: Any
    result: Result
    began: float
    ended: float


@dataclass(slots=True)
class History:
    """Filled by many threads; checked when all have ended."""

    events: list[Event] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, client: str, kind: str, key: str, value: Any, result: Result, began: float) -> None:
        event = Event(client, kind, key, value, result, began, time.monotonic())
        with self._lock:
            self.events.append(event)

    def counted(self) -> Mapping[str, int]:
        return Counter(event.result for event in self.events)


Items = Mapping[str, Mapping[str, Any]]


def violations(events: Iterable[Event], final: Items) -> list[str]:
    """What was promised and not kept, a sentence each. `final` are the items when all is at rest, by key, as plain
    values (`n`, `v`, `seen`)."""
    by_key: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda each: each.began):
        by_key[event.key].append(event)
    found = []
    for key in SETS:
        found += _lost_from_set(key, by_key[key], final)
    for key in COUNTERS:
        found += _miscounted(key, by_key[key], final)
    for left, right in PAIRS:
        found += _miscounted(left, by_key[left], final)
        one, two = _number(final, left, "n"), _number(final, right, "n")
        if one != two:
            found.append(f"a transaction took effect in part: {left} is {one}, {right} is {two}")
    for key in REGISTERS:
        found += _went_back(key, by_key[key], final)
    for key in CHAINS:
        found += _broke_its_condition(key, by_key[key], final)
    return found


def _lost_from_set(key: str, events: list[Event], final: Items) -> list[str]:
    held = set(final.get(key, {}).get("seen", ()))
    acknowledged = {e.value for e in events if e.kind == "add" and e.result == "acknowledged"}
    asked = {e.value for e in events if e.kind == "add" and e.result != "refused"}
    return [f"{key}: {each} was acknowledged and is lost" for each in sorted(acknowledged - held)] + [
        f"{key}: {each} is there and nobody asked for it, or it was refused" for each in sorted(held - asked)
    ]


def _miscounted(key: str, events: list[Event], final: Items) -> list[str]:
    writes = Counter(e.result for e in events if e.kind == "count")
    least, held = writes["acknowledged"], _number(final, key, "n")
    most = least + writes["unknown"]
    if least <= held <= most:
        return []
    return [f"{key}: {least} increments were acknowledged and {writes['unknown']} are unknown, but it is {held}"]


def _went_back(key: str, events: list[Event], final: Items) -> list[str]:
    """One writer raises the register, each time to a value never used before; nobody may see it go back."""
    found = []
    highest: list[tuple[float, int]] = []  # (when it had been seen or acknowledged, value), rising
    for event in sorted((e for e in events if e.result == "acknowledged"), key=lambda each: each.ended):
        value = event.value or 0
        if not highest or value > highest[-1][1]:
            highest.append((event.ended, value))
    for event in (e for e in events if e.kind == "read" and e.result == "acknowledged"):
        before = max((value for ended, value in highest if ended < event.began), default=0)
        if (event.value or 0) < before:
            found.append(f"{key}: {event.client} read {event.value} after {before} had been seen or acknowledged")
    last = highest[-1][1] if highest else 0
    if _number(final, key, "v") < last:
        found.append(f"{key}: it had reached {last}, and ends as {_number(final, key, 'v')}")
    return found


def _broke_its_condition(key: str, events: list[Event], final: Items) -> list[str]:
    """Each write raises the value by one if it is still what was read: no two may be told that they did so to one."""
    done = Counter(e.value for e in events if e.kind == "raise" and e.result == "acknowledged")
    found = [f"{key}: {count} writers were told that they raised it to {to}" for to, count in done.items() if count > 1]
    unknown = sum(e.kind == "raise" and e.result == "unknown" for e in events)
    held = _number(final, key, "v")
    if done and held < max(done):
        found.append(f"{key}: it was raised to {max(done)}, and ends as {held}")
    if held > len(done) + unknown:
        found.append(
            f"{key}: it ends as {held}, though only {len(done)} raises were acknowledged and {unknown} unknown"
        )
    return found


def _number(final: Items, key: str, name: str) -> int:
    return int(final.get(key, {}).get(name, 0))
