"""Remembers which items an index has been behind with, and for how long: a delay that lasts is no delay.

DynamoDB's indexes follow their tables within a second or so, and nobody promises when. But an index that goes on
leaving out an item that nobody writes will never show it: it was made after an item whose attribute it cannot index
("Managing Global Secondary Indexes", developer guide: items that violate the index's key schema are left out). Asks the
other processes about writes; gives no verdict.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.comparison.peers import PeerActivity
from proxy.shadow.journal.journal import Journal

LASTING_SECONDS: Final = 60.0
"""An index that is behind for longer, with an item that nobody writes, disagrees."""
_MAX_SIGHTINGS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Sighting:
    since: float
    """When the delay was first seen, by the event loop's clock."""
    item: Item | None
    """What both stores held."""


class IndexDelays:
    """The delays that were seen, by index and key. The oldest are forgotten."""

    def __init__(self, journal: Journal, peers: PeerActivity) -> None:
        self._journal = journal
        self._peers = peers
        self._seen: OrderedDict[tuple[str, Key], _Sighting] = OrderedDict()

    async def lasting(self, index: str, late: Mapping[Key, Item | None]) -> frozenset[Key]:
        """Return those of the keys with which the index has been behind for too long.

        `late` are the keys with which it is behind now, and what both stores hold for them.
        """
        now = asyncio.get_running_loop().time()
        suspects: dict[Key, float] = {}
        for key, item in late.items():
            seen = self._seen.get((index, key))
            age = now - seen.since if seen is not None else 0.0
            if seen is None or seen.item != item or self._journal.idle_seconds(key) < age:
                self._note(index, key, _Sighting(now, item))
            elif age >= LASTING_SECONDS:
                suspects[key] = age
        if not suspects:
            return frozenset()
        rewritten = await self._peers.recently_written(list(suspects), max(suspects.values())) or frozenset()
        for key in rewritten:
            self._note(index, key, _Sighting(now, late[key]))
        return frozenset(suspects) - rewritten

    def _note(self, index: str, key: Key, sighting: _Sighting) -> None:
        self._journal.idle_seconds(key)  # from now on the journal remembers when this key is written
        self._seen[index, key] = sighting
        self._seen.move_to_end((index, key))
        if len(self._seen) > _MAX_SIGHTINGS:
            self._seen.popitem(last=False)
