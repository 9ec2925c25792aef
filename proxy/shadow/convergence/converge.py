"""Converge: make the mirror hold what the authority holds, for one key. The one mechanism that repairs.

    loop:
        wanted = authority.get(key)      # strongly consistent, after the write it answers for
        held   = mirror.get(key)
        if wanted equals held: return
        mirror.put(key, wanted)          # the whole item, or its absence, if the row is still what was read

Why it ends in agreement with any number of writers: whoever wrote the mirror last has read the authority after that
and found it equal, or would have written again. So after a write of one's own only the authority is read again; what
somebody else writes to the mirror meanwhile is theirs to check.
"""

from __future__ import annotations

from typing import Final

from proxy.dynamodb.item_writes import items_equal
from proxy.dynamodb.schema import Key
from proxy.stores.errors import Unreachable
from proxy.stores.interface import Store, StoredItem, Unrepresentable, unreadable

ROUNDS: Final = 20


async def converge(key: Key, authority: Store, mirror: Store) -> int:
    """Gives how many times it had to write the mirror.

    Raises StoreError: Unrepresentable if the mirror cannot hold the item, Unreachable if the two kept moving.
    """
    held: StoredItem | None = None
    for repairs in range(ROUNDS):
        truth = await authority.get(key)
        if truth.unreadable is not None:
            # It is there, and nobody can say what it is: the mirror must not lose its item over that.
            raise Unrepresentable(key, (unreadable(key, truth.unreadable),))
        wanted = truth.item
        image, faults = mirror.image(key, wanted)
        if held is None or not items_equal(image, held.item):
            held = await mirror.get(key)
        if items_equal(image, held.item) and held.index_consistent and (image is not None or wanted is None):
            return repairs
        if image is None and wanted is not None:
            raise Unrepresentable(key, faults)
        held = await mirror.put(key, wanted, held)
    raise Unreachable("moving", f"the two stores kept moving through {ROUNDS} rounds")
