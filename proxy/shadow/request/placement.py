"""Where a key stands: the stage and the ramp of its table and item type. Reads the stages and changes nothing."""

from __future__ import annotations

from proxy.cutover.stages import StagePlacement, Stages
from proxy.dynamodb.schema import Key
from proxy.shadow.call import Call


def type_of(call: Call, key: Key) -> str:
    """The item type that a key tells; "" where it tells none."""
    return call.tables[key.table].mapping.type_of(key.attributes)


def placement_of(stages: Stages, call: Call, key: Key) -> StagePlacement:
    return stages.placed(key.table, type_of(call, key))
