"""Where a call is in the cutover, worked out once for all who ask: reads, writes, their parts, and tracing.

Reads the stages and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.cutover.stages import Stage, StagePlacement, Stages
from proxy.dynamodb.schema import Key
from proxy.shadow.call import Call
from proxy.shadow.request.item_type import ANY_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What the stages say of a call at one moment. They may have changed after the next await."""

    keys: Mapping[Key, Stage]
    """The stage of each key that the call names; a Query or a Scan names none."""
    scopes: frozenset[tuple[str, str]]
    """The (table, item type) pairs of these keys."""
    stages: frozenset[Stage]
    """The stages of the keys, or that of the page."""
    compared: bool
    """Whether the two stores' answers are to be compared."""
    ramp_percent: float
    """The share of such reads that DSQL serves: the smallest of the keys'."""

    @property
    def authority(self) -> str | None:
        """The store that is the authority for all of the call; None where its keys have different ones."""
        authorities = {stage.authority for stage in self.stages}
        return authorities.pop() if len(authorities) == 1 else None

    @property
    def mirrored_keys(self) -> list[Key]:
        """The keys whose writes go to both stores."""
        return [key for key, stage in self.keys.items() if stage.mirrored]


def placement_of(stages: Stages, call: Call) -> Placement:
    """Return where the call is in the cutover now."""
    if not call.operation.keys:
        return _page_placement(stages, call)
    keys: dict[Key, Stage] = {}
    scopes = set()
    ramps = []
    for key in call.operation.keys:
        scope = key.table, call.tables[key.table].mapping.type_of(key.attributes)
        placed = stages.placement(*scope)
        keys[key] = placed.stage
        scopes.add(scope)
        ramps.append(_ramp_percent(placed))
    distinct = frozenset(keys.values())
    return Placement(
        keys=keys,
        scopes=frozenset(scopes),
        stages=distinct,
        compared=all(stage.compared for stage in distinct),
        ramp_percent=min(ramps),
    )


def _page_placement(stages: Stages, call: Call) -> Placement:
    """A Query or Scan is in its type's stage, or in the table's where it names no type. One that names no type shows
    items of all, and is compared only if they are all in one stage."""
    typed = call.item_type != ANY_TYPE
    placed = stages.placement(call.table.name, call.item_type if typed else "")
    compared = placed.stage.compared and (typed or stages.common_stage(call.table.name) is not None)
    return Placement(
        keys={},
        scopes=frozenset(),
        stages=frozenset({placed.stage}),
        compared=compared,
        ramp_percent=_ramp_percent(placed) if compared else 0.0,
    )


def _ramp_percent(placed: StagePlacement) -> float:
    return placed.ramp if placed.stage is Stage.SHADOW else 0.0
