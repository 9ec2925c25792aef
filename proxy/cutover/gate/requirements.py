"""The gate: the criteria that a move must meet, each with its present value and one plain sentence. Pure.

It evaluates evidence; nothing is moved, read or awaited here. Without evidence the gate stays shut, and more mismatches
never open it. Force overrides the criteria, and its reason is recorded; it does not override `forbidden_reason` and
`missing_sweep_reason`, because such a move would lose writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from proxy.cutover.gate import criteria
from proxy.cutover.gate.criteria import Criterion, PatternCounts
from proxy.cutover.gate.evidence import SEEN, SPANS, AccessPattern, Evidence, JournalBacklog, span_of
from proxy.cutover.gate.forgotten_writes import affects, missing_sweep_reason
from proxy.cutover.stages import DSQL, DYNAMODB, NO_PROCESS, Era, ForgottenProcesses, Scope, Stage, StagePlacement
from proxy.settings.gate import GateSettings
from proxy.verdicts import REQUEST_REFUSED, Verdict

# The verdicts that count as comparisons: both stores answered, and the result was not a race.
_COMPARED: Final = (Verdict.AGREED, Verdict.LAGGING, Verdict.EXPECTED, Verdict.MISMATCH)


@dataclass(frozen=True, slots=True)
class TableHistory:
    """The eras and forgotten processes of the stage table, which decide whether evidence is valid."""

    eras: Mapping[str, Era] = field(default_factory=lambda: {"": Era()})
    """The present era of each item type that would move."""
    forgotten: ForgottenProcesses = NO_PROCESS

    def missing_sweep_reason(self, evidence: Evidence, table: str, at: Stage, to: Stage) -> str | None:
        """Why the authority cannot move yet, forced or not; None if it can."""
        mappings = evidence.mappings.get(table, frozenset())
        return missing_sweep_reason(table, evidence.sweeps.get(table), self.eras, mappings, at, to)


LEFT_BY_NO_MOVE: Final = "no move leaves complete, forced or not: DynamoDB misses what was written there"


def forbidden_reason(at: Stage, to: Stage) -> str | None:
    """Why a move cannot be made at all, forced or not; None if it can.

    The authority may change only if writes went to both stores before.
    """
    if at is Stage.COMPLETE and to is not Stage.COMPLETE:
        # Nor in two steps: nothing would record, two moves later, that DynamoDB got no writes.
        return LEFT_BY_NO_MOVE
    if at.authority == to.authority or at.mirrored:
        return None
    return "DSQL has not been kept equal in off: go to dualwrite first, then to shadow"


def split_reason(scope: Scope, to: Stage, table: Stage) -> str | None:
    """Why a type cannot be in `to` while its table is in `table`; None if it can.

    Reads that name no type are answered by the table's authority, and return items of all types.
    """
    if to.mirrored or to.authority == table.authority:
        return None
    return (
        f"reads of {scope.table} that name no type are answered by its authority, {table.authority}, which would get "
        f"no more writes to {scope.item_type}: move the table across the flip first"
    )


def next_stage(at: Stage) -> Stage | None:
    """The stage that follows; None after `complete`."""
    stages = list(Stage)
    place = stages.index(at) + 1
    return stages[place] if place < len(stages) else None


def requirements(
    evidence: Evidence,
    scope: Scope,
    at: StagePlacement,
    to: Stage,
    settings: GateSettings,
    ramp: float = 0.0,
    now: float | None = None,
    history: TableHistory = TableHistory(),
) -> list[Criterion]:
    """The criteria of a move of `scope` from its placement `at` to the stage `to`. `now` is in Unix seconds."""
    now = time.time() if now is None else now
    here = evidence.backlogs.get(scope.table, JournalBacklog())
    seen = count_patterns(evidence, scope, now)
    found: list[Criterion] = []
    if to.authority != at.stage.authority:
        found += [
            criteria.check_heard_from(evidence, settings, now),
            criteria.check_working(evidence),
            criteria.check_journal(here, settings),
            criteria.check_settled(here, to.authority),
            criteria.check_parked(here, scope),
        ]
        last = evidence.sweeps.get(scope.table)
        missing = history.missing_sweep_reason(evidence, scope.table, at.stage, to)
        if at.stage.mirrored:
            found.append(criteria.check_sweep(last, scope.table, missing, settings, now))
        if affects(history.forgotten, at.stage, to):
            found.append(criteria.check_forgotten(last, history.forgotten, missing))
    if (at.stage.authority, to.authority) == (DYNAMODB, DSQL):
        found += [
            *criteria.check_coverage(seen, settings),
            criteria.check_agreement(seen, settings, sure=True),
            criteria.check_agreement_each(seen, settings),
            criteria.check_representable(seen),
            *criteria.check_mirror(evidence, scope, settings),
        ]
    elif to is Stage.SHADOW and ramp > 0:
        found += [
            criteria.check_working(evidence),
            criteria.check_parked(here, scope),
            criteria.check_agreement(seen, settings, sure=False),
            criteria.check_agreement_each(seen, settings),
            criteria.check_representable(seen),
            *criteria.check_mirror(evidence, scope, settings),
        ]
    elif to.mirrored and not at.stage.mirrored:
        found.append(criteria.check_working(evidence))
    if to is Stage.COMPLETE and at.stage is not Stage.COMPLETE:
        found.append(criteria.DOOR)
    return [replace(each, blocks=False) if each.name in settings.advisory else each for each in found]


def demotion(
    evidence: Evidence, scope: Scope, at: StagePlacement, settings: GateSettings, now: float | None = None
) -> str | None:
    """Why the ramp should be set to 0 automatically; None if it should stay, or is left to people.

    Only evidence against the mirror counts, never a lack of evidence: a new access pattern is no fault.
    """
    if not settings.demote or at.stage is not Stage.SHADOW or at.ramp <= 0:
        return None
    stopping = [each for each in requirements(evidence, scope, at, Stage.SHADOW, settings, at.ramp, now) if each.stops]
    return "; ".join(f"{each.name}: {each.value}, wanted {each.wanted}" for each in stopping) or None


def count_patterns(evidence: Evidence, scope: Scope, now: float) -> dict[AccessPattern, PatternCounts]:
    """The counts of each access pattern of a scope in the last day. Operations on several types (`*`) count for the
    table, and for no single type."""
    oldest = span_of(now) - (SPANS - 1)
    words: dict[AccessPattern, dict[str, int]] = {}
    for (pattern, span, word), count in evidence.counts.items():
        if pattern.table == scope.table and scope.item_type in ("", pattern.item_type) and span >= oldest:
            of_pattern = words.setdefault(pattern, {})
            of_pattern[word] = of_pattern.get(word, 0) + count
    return {
        pattern: PatternCounts(
            of.get(SEEN, 0),
            sum(of.get(word, 0) for word in _COMPARED),
            of.get(Verdict.MISMATCH, 0),
            of.get(Verdict.UNREPRESENTABLE, 0),
            of.get(REQUEST_REFUSED, 0),
        )
        for pattern, of in sorted(words.items())
    }
