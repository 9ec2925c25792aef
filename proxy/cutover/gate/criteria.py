"""The criteria of the gate, one function each: the present value, the wanted one, and a sentence. Pure.

`requirements` decides which of them a move must meet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.cutover.gate.binomial_bound import upper_bound
from proxy.cutover.gate.evidence import ANSWERED, MIRROR_ERROR, OCC, AccessPattern, Evidence, JournalBacklog, LastSweep
from proxy.cutover.gate.tail_latency import slowest
from proxy.cutover.stages import ForgottenProcesses, Scope
from proxy.settings.gate import GateSettings
from proxy.stores.dsql.system_tables.sweep_records import DIFFERENT, EQUAL, REPAIRED, UNSETTLED

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of a move: its present value, the wanted one, and a sentence with its meaning and the remedy. A
    criterion that does not hold stops the move if it `blocks`; otherwise it is advice."""

    name: str
    holds: bool
    value: str
    wanted: str
    sentence: str
    blocks: bool = True

    @property
    def stops(self) -> bool:
        return self.blocks and not self.holds

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "holds": self.holds,
            "value": self.value,
            "wanted": self.wanted,
            "sentence": self.sentence,
            "blocks": self.blocks,
        }


@dataclass(frozen=True, slots=True)
class PatternCounts:
    """The counts of one access pattern in the last day."""

    seen: int = 0
    compared: int = 0
    mismatches: int = 0
    unrepresentable: int = 0
    refused: int = 0

    @property
    def asks_nothing(self) -> bool:
        """Whether both stores refused every such request as invalid: there is nothing to compare."""
        return 0 < self.seen <= self.refused and not self.compared

    @property
    def agreed(self) -> int:
        """Comparisons without a mismatch: a mismatch must not help to reach the required number."""
        return self.compared - self.mismatches


DOOR: Final = Criterion(
    "door",
    False,
    "open",
    "closed on purpose",
    "complete closes the door: writes no longer go to DynamoDB, and no move leads out of it, forced or not; "
    'if you mean it, use --force --because "…".',
)


def check_heard_from(evidence: Evidence, settings: GateSettings, now: float) -> Criterion:
    ages = {name: max(0.0, now - at) for name, at in evidence.reported_at.items()}
    oldest = max(ages.values(), default=0.0)
    late = sorted(name for name, age in ages.items() if age > settings.max_evidence_seconds)
    proxies = "1 proxy" if len(ages) == 1 else f"{len(ages)} proxies"
    value = f"{proxies}, the oldest report {oldest:.0f} s old" if ages else "no proxy has reported"
    sentence = "Every proxy has reported recently."
    if late:
        sentence = (
            f"Not heard from recently: {_some(late)}. Its journal may hold keys that have not converged: restart it "
            "with its journal or, if that is lost: crossfade stage forget, and then sweep each table."
        )
    elif not ages:
        sentence = "Start a proxy with these settings, and send it traffic."
    return Criterion(
        "told", bool(ages) and not late, value, f"each within {settings.max_evidence_seconds:g} s", sentence
    )


def check_working(evidence: Evidence) -> Criterion:
    troubles = sorted(evidence.troubles)
    sentence = "Every proxy reaches both stores and can write its journal."
    if troubles:
        sentence = f"A proxy reports: {_some(troubles)}. Mend that first."
    return Criterion("working", not troubles, f"{len(troubles)} troubles" if troubles else "all well", "none", sentence)


def check_journal(here: JournalBacklog, settings: GateSettings) -> Criterion:
    most = settings.max_journal_seconds
    holds = not here.keys or here.oldest_seconds <= most
    value = f"{here.keys} keys, the oldest {here.oldest_seconds:.1f} s" if here.keys else "empty"
    sentence = (
        "All writes but the latest are in both stores."
        if holds
        else "The mirror is behind: check whether it answers (breaker, mirror errors), and wait until it has caught up."
    )
    return Criterion("journal", holds, value, f"empty, or no key older than {most:g} s", sentence)


def check_settled(here: JournalBacklog, authority: str) -> Criterion:
    """Whether a call with an unknown outcome could still take effect on the store that is about to become the
    authority. On the next mirror it would be repaired, so it holds up nothing there."""
    seconds = here.lingering.get(authority, 0.0)
    sentence = f"No call with an unknown outcome can still take effect on {authority}."
    if seconds > 0:
        sentence = f"A call to {authority} had no answer, and may still take effect there: wait {seconds:.0f} s."
    value = f"{seconds:.0f} s to go" if seconds > 0 else "nothing"
    return Criterion("settled", seconds <= 0, value, "nothing", sentence)


def check_parked(here: JournalBacklog, scope: Scope) -> Criterion:
    parked = {each: n for each, n in here.parked.items() if scope.item_type in ("", each) or not each}
    count = sum(parked.values())
    where = ", ".join(f"{n} of {each}" if each else f"{n} of no type" for each, n in sorted(parked.items()) if n)
    sentence = "The mapping can hold every item that it has received."
    if count:
        sentence = (
            f"Items that the mirror cannot hold: {where}. crossfade parked lists them with their reasons: change the "
            "mapping or the items and retry them, or drop them."
        )
    return Criterion("parked", not count, f"{count} keys", "none", sentence)


def check_sweep(
    last: LastSweep | None, table: str, missing: str | None, settings: GateSettings, now: float
) -> Criterion:
    """Whether the whole table, and not only what clients touched, was found equal. `missing` is why the last sweep does
    not count, even with force (`missing_sweep_reason`)."""
    hours = settings.max_sweep_hours
    verify = f"crossfade verify --table {table}"
    wanted = f"equal, begun in this era, within {hours:g} h"
    if last is None:
        sentence = f"No sweep of the whole table is on record: items that nobody touched may be missing. Run {verify}."
        return Criterion("sweep", False, "none on record", wanted, sentence)
    # A sweep in shares is as old as the oldest of them.
    age = max(0.0, now - (last.began or last.ended)) / 3600
    value = f"{last.result}, {age:.1f} h ago"
    if missing is not None:
        return Criterion("sweep", False, f"{value}, and outdated", wanted, missing + ".")
    holds = last.result == EQUAL and age <= hours
    if last.result == REPAIRED:
        sentence = f"The last sweep found differences and mended all of them; run {verify} once more to find it equal."
    elif last.result == UNSETTLED:
        sentence = f"The last sweep could not settle every key: run {verify} again, with more --patience."
    elif last.result != EQUAL:
        sentence = f"The last sweep found differences, and left some: read its report, and run {verify} --repair."
    elif holds:
        sentence = "The whole table was compared and found equal."
    else:
        sentence = f"It is too old: run {verify} again."
    return Criterion("sweep", holds, value, wanted, sentence)


def check_forgotten(last: LastSweep | None, lost: ForgottenProcesses, missing: str | None) -> Criterion:
    """Whether a sweep has made good what a forgotten process owed. If none has, not even force helps."""
    wanted = f"a sweep that began after {lost.last_process} was forgotten"
    if missing is not None:
        return Criterion("forgotten", False, "not swept since", wanted, missing + ".")
    if last is not None and last.result == DIFFERENT:
        sentence = (
            "The sweep since found items that the mapping cannot hold: what the process had parked is among them, and "
            "the move would lose it. See the sweep's report; change the mapping or the items, and sweep again."
        )
        return Criterion("forgotten", False, "swept since, with items that do not fit", wanted, sentence)
    return Criterion("forgotten", True, "swept since", wanted, "The sweep has made good what it owed.")


def check_coverage(seen: Mapping[AccessPattern, PatternCounts], settings: GateSettings) -> Iterable[Criterion]:
    seen = {pattern: of for pattern, of in seen.items() if not of.asks_nothing}
    operations: dict[str, int] = {}
    for pattern, of in seen.items():
        name = f"{pattern.item_type} {pattern.operation}"
        operations[name] = operations.get(name, 0) + of.agreed
    least, few = settings.min_comparisons, settings.min_pattern_comparisons
    short = [f"{name} ({count})" for name, count in sorted(operations.items()) if count < least]
    yield Criterion(
        "comparisons",
        bool(operations) and not short,
        f"{len(operations) - len(short)} of {len(operations)} operations" if operations else "no traffic was seen",
        f"each compared {_times(least)}",
        f"Compared too rarely: {_some(short)}. Let more traffic through, or lower gate.min_comparisons."
        if short
        else "Each operation of each item type has been compared often enough."
        if operations
        else "There was no request for this table in the last day: send traffic through the proxy.",
    )
    rare = [
        f"{pattern} ({of.agreed} of {of.seen}{f', {of.refused} refused' if of.refused else ''})"
        for pattern, of in seen.items()
        if of.agreed < few
    ]
    yield Criterion(
        "coverage",
        bool(seen) and not rare,
        f"{len(seen) - len(rare)} of {len(seen)} access patterns" if seen else "no traffic was seen",
        f"each seen in the last day compared {_times(few)}",
        f"Used, but hardly compared: {_some(rare)}. Exercise them, or lower gate.min_pattern_comparisons."
        if rare
        else "Every access pattern of the last day has been compared."
        if seen
        else "There was no request for this table in the last day: send traffic through the proxy.",
    )


def check_agreement(seen: Mapping[AccessPattern, PatternCounts], settings: GateSettings, *, sure: bool) -> Criterion:
    """The highest mismatch rate that the comparisons leave open. Without `sure`, too few comparisons are no fault."""
    compared = sum(of.compared for of in seen.values())
    mismatches = sum(of.mismatches for of in seen.values())
    bound, most = upper_bound(mismatches, compared), settings.max_mismatch_rate
    holds = bound <= most or (not sure and not mismatches)
    sentence = "With 95 % confidence the two stores disagree no more often than this."
    if not holds and mismatches:
        sentence = "The two stores disagree: see /v1/mismatches, mend the cause, and compare again."
    elif not holds:
        sentence = f"No mismatch, but too few comparisons to be sure: about {_needed(most)} are needed."
    value = f"{mismatches} of {compared}, so at most {bound:.2g}"
    return Criterion("agreement", holds, value, f"at most {most:g}", sentence)


def check_agreement_each(seen: Mapping[AccessPattern, PatternCounts], settings: GateSettings) -> Criterion:
    """One access pattern that always differs must not be hidden by ten thousand others that agree."""
    most = settings.max_mismatch_rate
    bad = [
        f"{pattern} ({of.mismatches} of {of.compared})"
        for pattern, of in seen.items()
        if of.mismatches and upper_bound(of.mismatches, of.compared) > most
    ]
    sentence = (
        f"It differs in: {_some(bad)}. See /v1/mismatches, and mend the cause." if bad else "No pattern is unusual."
    )
    return Criterion("agreement_each", not bad, f"{len(bad)} access patterns differ", "none", sentence)


def check_representable(seen: Mapping[AccessPattern, PatternCounts]) -> Criterion:
    bad = [f"{pattern} ({of.unrepresentable})" for pattern, of in seen.items() if of.unrepresentable]
    count = sum(of.unrepresentable for of in seen.values())
    sentence = "Nothing was written that the mapping cannot hold."
    if bad:
        sentence = f"The mapping would lose something in: {_some(bad)}. Change the mapping or the items."
    return Criterion("representable", not count, f"{count} in the last day", "none", sentence)


def check_mirror(evidence: Evidence, scope: Scope, settings: GateSettings) -> Iterable[Criterion]:
    """How the mirror has answered in the last ten minutes: DSQL's failures are the client's after the flip, and without
    DynamoDB there is no way back."""
    recent: Counter[str] = Counter()
    for (table, item_type, word), count in evidence.recent.items():
        if table == scope.table and (not scope.item_type or item_type in ("", scope.item_type)):
            recent[word] += count
    failed, asked = recent[MIRROR_ERROR], recent[ANSWERED] + recent[MIRROR_ERROR]
    rate, most = failed / asked if asked else 0.0, settings.max_mirror_error_rate
    stores = [each for each in ("DSQL", "DynamoDB") if recent[f"{MIRROR_ERROR} {each.lower()}"]] or ["DSQL"]
    yield Criterion(
        "mirror_errors",
        rate <= most,
        f"{failed} of {asked} in ten minutes",
        f"at most {most:g} of all",
        "The mirror answers its requests."
        if rate <= most
        else f"{' and '.join(stores)} failed or was too slow as the mirror"
        + (", which clients would notice after the flip" if "DSQL" in stores else "")
        + ": see mirror_error in the log.",
    )
    yield Criterion(
        "occ",
        recent[OCC] <= settings.max_occ_exhausted,
        f"{recent[OCC]} in ten minutes",
        _most(settings.max_occ_exhausted),
        "No write failed because of conflicts."
        if recent[OCC] <= settings.max_occ_exhausted
        else "Writes failed after repeated conflicts on DSQL: spread the hot keys, or write them less often.",
    )
    floor = settings.latency_floor_seconds
    worst = slowest(evidence.timings, "dsql", "dynamodb", floor)
    holds = worst is None or worst.one <= floor or worst.factor <= settings.max_latency_factor
    yield Criterion(
        "latency",
        holds,
        "too few calls"
        if worst is None
        else f"{worst.operation}: p99 {worst.one * 1000:.1f} ms, DynamoDB's {worst.other * 1000:.1f} ms",
        f"at most {settings.max_latency_factor:g} times DynamoDB's, or {floor * 1000:g} ms",
        "DSQL is fast enough." if holds else "DSQL is slower than clients are used to: check indexes, pool and region.",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _most(count: int) -> str:
    return f"at most {count}" if count else "none"


def _needed(rate: float) -> str:
    trials = 1
    while upper_bound(0, trials) > rate and trials < 1_000_000_000:
        trials *= 2
    low = trials // 2
    while trials - low > 1:
        middle = (low + trials) // 2
        low, trials = (middle, trials) if upper_bound(0, middle) > rate else (low, middle)
    return f"{trials:,}"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
