"""How all stages stood at one moment, and what must hold before any of them is moved. Asks nobody.

A table is judged with all that it takes with it, and a type with its table where the two cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from proxy.cutover.gate.criteria import Criterion
from proxy.cutover.gate.evidence import Evidence
from proxy.cutover.gate.requirements import TableHistory, forbidden_reason, next_stage, requirements, split_reason
from proxy.cutover.model import GateView, StagedScope, StagesView
from proxy.cutover.stages import Scope, Stage, StageMap
from proxy.problems import Problem
from proxy.settings.gate import GateSettings


@dataclass(frozen=True, slots=True)
class StagesSnapshot:
    """How everything stood when it was asked."""

    overview: StagesView
    evidence: Evidence
    settings: GateSettings
    now: float
    stage_map: StageMap = field(default_factory=StageMap)
    indivisible: Container[str] = frozenset()

    def find(self, scope: Scope) -> StagedScope:
        """Where a scope stands. Raises Problem (404)."""
        for at in self.overview.scopes:
            if at.scope == scope:
                return at
        types = sorted(at.scope.item_type for at in self.overview.scopes if at.scope.table == scope.table)
        if not types:
            raise Problem(404, f"there is no table {scope.table!r}, neither here nor in DynamoDB")
        known = ", ".join(each for each in types if each) or "none"
        raise Problem(404, f"the mapping of {scope.table} declares no type {scope.item_type!r}: it has {known}")

    def gate(self, scope: Scope, to: Stage, ramp: float = 0.0) -> GateView:
        """What must hold before a scope goes to a stage. Raises Problem (404)."""
        self.find(scope)
        found: dict[str, Criterion] = {}
        forbidden = unswept_reason = ""
        if scope.item_type and scope.table in self.indivisible:
            forbidden = f"the keys of {scope.table} do not tell the type of an item: move the whole table"
        # What most operations are about cannot be told of such a table's keys: it is judged as it is moved.
        judged = Scope(scope.table) if scope.table in self.indivisible else scope
        # A table takes its types with it, from wherever each of them stands.
        for at in self.affected_by(judged):
            name = at.scope.item_type
            history = TableHistory({name: self.stage_map.era(scope.table, name)}, self.stage_map.forgotten)
            missing = history.missing_sweep_reason(self.evidence, scope.table, at.stage, to)
            forbidden = forbidden or forbidden_reason(at.stage, to) or ""
            unswept_reason = unswept_reason or missing or ""
            for each in requirements(self.evidence, judged, at.placement, to, self.settings, ramp, self.now, history):
                if each.name not in found or found[each.name].holds:
                    found[each.name] = each
        if scope.item_type and not forbidden:
            forbidden = split_reason(scope, to, self.find(Scope(scope.table)).stage) or ""
        return GateView(scope, to, list(found.values()), forbidden or unswept_reason)

    def affected_by(self, scope: Scope) -> list[StagedScope]:
        """What a move of the scope would move."""
        return [at for at in self.overview.scopes if at.scope == scope or Scope(at.scope.table) == scope]

    def next_stage_of(self, scope: Scope) -> Stage:
        """The stage that follows; at the end of the way, the last one. Raises Problem (404)."""
        at = self.find(scope).stage
        return next_stage(at) or at

    def gate_to_next_stage(self, at: StagedScope) -> GateView | None:
        """What stands between a place and its next stage; None at the end of the way."""
        further = next_stage(at.stage)
        return self.gate(at.scope, further) if further is not None else None
