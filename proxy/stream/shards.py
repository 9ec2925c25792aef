"""Which shards of a stream may be read now: a shard's records come after its parent's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from proxy.stores.dynamodb.streams import Shard
from proxy.stream.positions import ShardPosition


def readable_shards(shards: Iterable[Shard], positions: Mapping[str, ShardPosition]) -> list[Shard]:
    """Those not read to their end whose parent has been, or is no more (streams forget shards after a day)."""
    listed = list(shards)
    there = {shard.name for shard in listed}

    def ended(name: str) -> bool:
        return name in positions and positions[name].done

    return [
        shard
        for shard in listed
        if not ended(shard.name) and (shard.parent is None or shard.parent not in there or ended(shard.parent))
    ]


def lost_shards(shards: Iterable[Shard], positions: Mapping[str, ShardPosition]) -> list[str]:
    """Shards that were not read to their end and are no more: what they still had, nobody has seen."""
    there = {shard.name for shard in shards}
    return [name for name, position in positions.items() if name not in there and not position.done]
