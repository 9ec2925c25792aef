"""The gate as metrics: which criteria hold for each table and type, and how sure the agreement is, for dashboards.

The stage table is read every ten seconds, as the API and the console read it, and the numbers are kept until the next
read. Every process publishes the whole, so a panel can use any one of them. Nothing is moved or decided here. Bounded:
at most 50 tables and types, those with a stage of their own first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from proxy.cutover.gate.binomial_bound import upper_bound
from proxy.cutover.gate.criteria import Criterion
from proxy.cutover.gate.requirements import count_patterns, next_stage, requirements
from proxy.cutover.model import StagedScope
from proxy.cutover.service import CutoverService
from proxy.cutover.snapshot import StagesSnapshot
from proxy.cutover.stages import DSQL, Stage, StagePlacement
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 10.0
_MAX_SCOPES: Final = 50

_OF_PLACE: Final = ("table", "type")
_FAMILIES: Final = {
    "crossfade_gate_open": ("1 if nothing stops the move to stage `to`, else 0.", (*_OF_PLACE, "to")),
    "crossfade_gate_holds": (
        "1 if a criterion of the gate holds, else 0; `blocks` says whether it would stop the move to stage `to`.",
        (*_OF_PLACE, "to", "criterion", "blocks"),
    ),
    "crossfade_gate_compared": ("Comparisons of the last day that count for the gate, in all processes.", _OF_PLACE),
    "crossfade_gate_mismatches": ("Mismatches among the gate's comparisons of the last day.", _OF_PLACE),
    "crossfade_gate_mismatch_bound": (
        "The highest mismatch rate that the gate's comparisons leave open, at 95 % confidence, from 0 to 1.",
        _OF_PLACE,
    ),
    "crossfade_gate_mismatch_limit": ("The mismatch rate that the settings allow, from 0 to 1.", ()),
    "crossfade_gate_latency_factor_limit": ("How often DynamoDB's p99 the settings allow DSQL's to be.", ()),
    "crossfade_gate_read": ("1 if the gate's numbers are of now, 0 if the stage table could not be read.", ()),
}

Numbers = Mapping[str, Mapping[tuple[str, ...], float]]


@dataclass(slots=True, eq=False)
class GateMetrics:
    """A Prometheus collector. Run `watch` in a loop; the registry calls `collect` from any thread, so the numbers are
    replaced as a whole."""

    cutover: CutoverService
    registry: CollectorRegistry
    every: float = LOOK_SECONDS
    _numbers: Numbers = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        self.registry.register(self)

    async def watch(self) -> None:
        """Read once, and wait until the next read is due."""
        try:
            self._numbers = numbers(await self.cutover.snapshot())
        except StoreError as error:
            # What held at the last read may hold no longer: publish none of it.
            self._numbers = MappingProxyType({"crossfade_gate_read": {(): 0.0}})
            log.info("gate_not_read", reason=error.reason)
        await asyncio.sleep(self.every)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in _FAMILIES.items()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, series in self._numbers.items():
            text, labels = _FAMILIES[name]
            family = GaugeMetricFamily(name, text, labels=labels)
            for values, number in series.items():
                family.add_metric(values, number)
            yield family


def numbers(snapshot: StagesSnapshot) -> Numbers:
    """The numbers of a snapshot, as series by their labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in _FAMILIES}
    for at in _shown(snapshot.overview.scopes):
        place = (at.scope.table, at.scope.item_type)
        to, criteria = _criteria(snapshot, at)
        if to is not None:
            found["crossfade_gate_open"][(*place, str(to))] = float(not any(each.stops for each in criteria))
            for each in criteria:
                blocks = "yes" if each.blocks else "no"
                found["crossfade_gate_holds"][(*place, str(to), each.name, blocks)] = float(each.holds)
        seen = count_patterns(snapshot.evidence, at.scope, snapshot.now)
        compared = sum(each.compared for each in seen.values())
        mismatches = sum(each.mismatches for each in seen.values())
        found["crossfade_gate_compared"][place] = compared
        found["crossfade_gate_mismatches"][place] = mismatches
        found["crossfade_gate_mismatch_bound"][place] = upper_bound(mismatches, compared)
    found["crossfade_gate_mismatch_limit"][()] = snapshot.settings.max_mismatch_rate
    found["crossfade_gate_latency_factor_limit"][()] = snapshot.settings.max_latency_factor
    found["crossfade_gate_read"][()] = 1.0
    return MappingProxyType(found)


def _criteria(snapshot: StagesSnapshot, at: StagedScope) -> tuple[Stage | None, Sequence[Criterion]]:
    """The next stage of a scope, and its criteria. After the flip they are those of the flip, which should go on
    holding: the way back is open, and DSQL is the authority."""
    if at.stage.authority == DSQL:
        before = StagePlacement(Stage.SHADOW, 0.0, at.since, at.by)
        return Stage.LIVE, requirements(
            snapshot.evidence, at.scope, before, Stage.LIVE, snapshot.settings, 0.0, snapshot.now
        )
    further = next_stage(at.stage)
    if further is None:
        return None, ()
    return further, snapshot.gate(at.scope, further).criteria


def _shown(places: Iterable[StagedScope]) -> list[StagedScope]:
    """The scopes with a stage of their own, then the others, at most `_MAX_SCOPES`."""
    return sorted(places, key=lambda at: (not at.has_own_stage, at.scope.table, at.scope.item_type))[:_MAX_SCOPES]
