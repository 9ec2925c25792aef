"""The evidence collector: counts this process's operations and verdicts for the gate.

It is called for every operation, so it only counts; the journal's backlog is read when the evidence is asked for.
Bounded: at most 300 access patterns, a day in spans of three hours, ten minutes in minutes. The counts of an earlier
run are resumed if they are of the same mappings and release: a restart or a new release makes nothing equal that was
not.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from proxy.cutover.gate.access_patterns import OTHER, form_of, has_parts, pattern_of
from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.evidence import (
    ANSWERED,
    MIRROR_ERROR,
    OCC,
    SEEN,
    SPAN_SECONDS,
    SPANS,
    AccessPattern,
    CountKey,
    Evidence,
    JournalBacklog,
    LastSweep,
    span_of,
)
from proxy.cutover.stages import SEVERAL_TYPES
from proxy.dynamodb.operations import Operation
from proxy.verdicts import REQUEST_REFUSED, Verdict

_MAX_PATTERNS: Final = 300
_FORMS: Final = 4096
_MINUTES: Final = 10
_EQUAL_VERDICTS: Final = (Verdict.AGREED, Verdict.LAGGING, Verdict.EXPECTED)

Timed = Mapping[tuple[str, ...], tuple[int, ...]]


class EvidenceCollector:
    """Counts operations and verdicts, and gives the evidence of this process, whose name is `name`. `timings` gives the
    stores' latencies since the start (`Metrics.store_timings`), `backlogs` the journal's backlog of each table,
    `troubles` what keeps this process from working, `sweeps` the latest sweeps, `basis` the present basis of a table.
    `clock` gives Unix seconds."""

    def __init__(
        self,
        name: Callable[[], str],
        *,
        timings: Callable[[], Timed],
        backlogs: Callable[[], Awaitable[Mapping[str, JournalBacklog]]],
        troubles: Callable[[], Iterable[str]],
        sweeps: Callable[[], Mapping[str, LastSweep]] = dict,
        basis: Callable[[str], Basis] = lambda _: Basis(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._timings = timings
        self._backlogs = backlogs
        self._troubles = troubles
        self._sweeps = sweeps
        self._basis = basis
        self._bases: dict[str, Basis] = {}
        self._clock = clock
        self._counts: dict[AccessPattern, dict[int, Counter[str]]] = {}
        # The counter of each form of operation, until the span is over: there are several thousand operations a second.
        self._met: dict[object, Counter[str]] = {}
        self._until = 0.0
        self._minutes: deque[tuple[int, Counter[tuple[str, str, str]]]] = deque()
        self._timed: deque[tuple[int, Timed]] = deque()

    def count_seen(self, operation: Operation, table: str, item_type: str) -> None:
        """Count an operation in a stage other than `off`."""
        self._words(operation, table, item_type, self._clock())[SEEN] += 1

    def count_verdict(
        self,
        operation: Operation,
        table: str,
        item_type: str,
        verdict: Verdict,
        reason: str | None = None,
        mirror: str = "",
    ) -> None:
        """Count a verdict. `reason` is the reason of a mirror error, or says that both stores refused the request as
        invalid, which is counted separately. `mirror` is the store that failed at a mirror error."""
        now = self._clock()
        word = REQUEST_REFUSED if verdict in _EQUAL_VERDICTS and reason == REQUEST_REFUSED else verdict
        self._words(operation, table, item_type, now)[word] += 1
        recent = self._recent(now)
        recent[table, item_type, MIRROR_ERROR if verdict is Verdict.MIRROR_ERROR else ANSWERED] += 1
        if verdict is Verdict.MIRROR_ERROR and mirror:
            recent[table, item_type, f"{MIRROR_ERROR} {mirror}"] += 1
        if verdict is Verdict.MIRROR_ERROR and reason == OCC:
            recent[table, item_type, OCC] += 1

    def count_failure(self, table: str, reason: str) -> None:
        """Count the failure of a call that was not a comparison: a convergence, or DSQL as the authority."""
        if reason == OCC:
            self._recent(self._clock())[table, "", OCC] += 1

    async def evidence(self) -> Evidence:
        """The evidence of now. Call it every few seconds: it also drops what is too old."""
        now = self._clock()
        self._forget(now)
        for table in {pattern.table for pattern in self._counts} | set(await self._backlogs()):
            self._rebase(table, self._basis(table))
        recent: Counter[tuple[str, str, str]] = Counter()
        for _, counted in self._minutes:
            recent.update(counted)
        return Evidence(
            reported_at=MappingProxyType({self._name(): now}),
            counts=MappingProxyType(
                {
                    CountKey(pattern, span, word): count
                    for pattern, spans in self._counts.items()
                    for span, words in spans.items()
                    for word, count in words.items()
                }
            ),
            recent=MappingProxyType(dict(recent)),
            timings=MappingProxyType(self._lately(now)),
            backlogs=await self._backlogs(),
            troubles=frozenset(self._troubles()),
            sweeps=MappingProxyType(dict(self._sweeps())),
            bases=MappingProxyType(dict(self._bases)),
            mappings=MappingProxyType(
                {table: frozenset({basis.mapping}) for table, basis in self._bases.items() if basis.mapping}
            ),
        )

    def resume(self, earlier: Evidence) -> None:
        """Resume the counts of an earlier run of this process."""
        for table, basis in earlier.bases.items():
            self._bases[table] = basis
        for (pattern, span, word), count in earlier.counts.items():
            if len(self._counts) < _MAX_PATTERNS or pattern in self._counts:
                self._counts.setdefault(pattern, {}).setdefault(span, Counter())[word] += count
        self._met.clear()
        self._forget(self._clock())
        for table in {pattern.table for pattern in self._counts}:
            self._rebase(table, self._basis(table))

    def forget_table(self, table: str) -> None:
        """Forget what was counted of a table that was deleted."""
        for pattern in [each for each in self._counts if each.table == table]:
            del self._counts[pattern]
        for _, counted in self._minutes:
            for place in [each for each in counted if each[0] == table]:
                del counted[place]
        self._bases.pop(table, None)
        self._met.clear()

    def _rebase(self, table: str, now: Basis) -> None:
        """Drop counts of another mapping, or of another era of their type."""
        before = self._bases.get(table)
        if before is not None and not now.mapping:
            now = replace(now, mapping=before.mapping)  # the table has not been met yet in this run
        self._bases[table] = now
        if before is None or before == now:
            return
        for pattern in [each for each in self._counts if each.table == table]:
            eras = (
                {number.eras.get(pattern.item_type, number.eras.get("", 0)) for number in (before, now)}
                if pattern.item_type != SEVERAL_TYPES
                else {tuple(sorted(number.eras.items())) for number in (before, now)}
            )
            if len(eras) > 1 or before.mapping != now.mapping:
                del self._counts[pattern]
        self._met.clear()

    def _words(self, operation: Operation, table: str, item_type: str, now: float) -> Counter[str]:
        """The counter of the operation in the present span."""
        if now >= self._until:
            self._met.clear()
            self._until = (span_of(now) + 1) * SPAN_SECONDS
        if has_parts(operation):
            return self._find(operation, table, item_type, now)
        form = (table, item_type, form_of(operation))
        try:
            met = self._met.get(form)
        except TypeError:
            return self._find(operation, table, item_type, now)
        if met is None:
            if len(self._met) >= _FORMS:  # an application that writes its values into its expressions
                self._met.clear()
            met = self._met[form] = self._find(operation, table, item_type, now)
        return met

    def _find(self, operation: Operation, table: str, item_type: str, now: float) -> Counter[str]:
        pattern = AccessPattern(table, item_type, operation.action, pattern_of(operation))
        if pattern not in self._counts and len(self._counts) >= _MAX_PATTERNS:
            pattern = AccessPattern(table, item_type, operation.action, OTHER)
        if table not in self._bases:
            self._bases[table] = self._basis(table)
        return self._counts.setdefault(pattern, {}).setdefault(span_of(now), Counter())

    def _recent(self, now: float) -> Counter[tuple[str, str, str]]:
        minute = int(now // 60)
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Counter()))
        return self._minutes[-1][1]

    def _lately(self, now: float) -> dict[tuple[str, str], tuple[int, ...]]:
        """The latencies of the last ten minutes: the counts of now less those of then."""
        present = self._timings()
        minute = int(now // 60)
        if not self._timed or self._timed[-1][0] != minute:
            self._timed.append((minute, present))
        then = self._timed[0][1] if len(self._timed) > 1 else {}
        found = {}
        for labels, counts in present.items():
            store, operation = labels
            before = then.get(labels, (0,) * len(counts))
            found[store, operation] = tuple(a - b for a, b in zip(counts, before, strict=True))
        return found

    def _forget(self, now: float) -> None:
        oldest, minute = span_of(now) - (SPANS - 1), int(now // 60)
        for pattern, spans in list(self._counts.items()):
            for span in [each for each in spans if each < oldest]:
                del spans[span]
            if not spans:
                del self._counts[pattern]
        while self._minutes and self._minutes[0][0] <= minute - _MINUTES:
            self._minutes.popleft()
        while len(self._timed) > 1 and self._timed[1][0] <= minute - _MINUTES:
            self._timed.popleft()
