"""All stages at one moment, and the gate of every move from there. No I/O.

The gate of a table covers all types that move with it. A type of an indivisible table is judged as the whole table.
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
    """The stages and the evidence as they were at `now` (Unix seconds)."""

    overview: StagesView
    evidence: Evidence
    settings: GateSettings
    now: float
    stage_map: StageMap = field(default_factory=StageMap)
    indivisible: Container[str] = frozenset()

    def find(self, scope: Scope) -> StagedScope:
        """The scope with its stage. Raises Problem (404)."""
        for at in self.overview.scopes:
            if at.scope == scope:
                return at
        types = sorted(at.scope.item_type for at in self.overview.scopes if at.scope.table == scope.table)
        if not types:
            raise Problem(404, f"there is no table {scope.table!r}, neither here nor in DynamoDB")
        known = ", ".join(each for each in types if each) or "none"
        raise Problem(404, f"the mapping of {scope.table} declares no type {scope.item_type!r}: it has {known}")

    def gate(self, scope: Scope, to: Stage, ramp: float = 0.0) -> GateView:
        """The gate of a move of a scope to a stage. Raises Problem (404)."""
        self.find(scope)
        found: dict[str, Criterion] = {}
        forbidden = unswept_reason = ""
        if scope.item_type and scope.table in self.indivisible:
            forbidden = f"the keys of {scope.table} do not show the type of an item: move the whole table"
        # The keys of such a table do not show which type an operation is about: it is judged as a whole.
        judged = Scope(scope.table) if scope.table in self.indivisible else scope
        # A table takes its types with it, each from its own stage.
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
        """The scopes that a move of the scope would move."""
        return [at for at in self.overview.scopes if at.scope == scope or Scope(at.scope.table) == scope]

    def next_stage_of(self, scope: Scope) -> Stage:
        """The stage that follows the present one, or `complete` where it is the last. Raises Problem (404)."""
        at = self.find(scope).stage
        return next_stage(at) or at

    def gate_to_next_stage(self, at: StagedScope) -> GateView | None:
        """The gate of a scope's next stage; None in `complete`."""
        further = next_stage(at.stage)
        return self.gate(at.scope, further) if further is not None else None
