"""Converge: make the mirror hold what the authority holds, for one key. The one mechanism that repairs.

    loop:
        1. wanted = authority.get(key)      # strongly consistent, and after the write that the key is here for
        2. held   = mirror.get(key)
        3. if wanted equals held: return
        4. mirror.put(key, wanted)          # the whole item or its absence, only if the row is still `held`

Why the stores end equal, with any number of writers in any number of processes:

1. Consider the last write that the mirror sees for the key. Its writer read the authority after that write.
2. It found the two equal, for otherwise it would have written again.
3. If the authority changed after that read, whoever changed it has a convergence of its own to come, which reads later,
   sees the difference and writes the mirror. Then the write of step 1 was not the last: a contradiction.

So after a write of its own a convergence reads only the authority again: if somebody else writes the mirror meanwhile,
checking that is theirs. Source: `design.md`, "The one mechanism: converge".
"""

from __future__ import annotations

from typing import Final

from proxy.dynamodb.item_writes import items_equal
from proxy.dynamodb.schema import Key
from proxy.stores.errors import Unreachable
from proxy.stores.interface import Store, StoredItem, Unrepresentable, unreadable

ROUNDS: Final = 20


async def converge(key: Key, authority: Store, mirror: Store) -> int:
    """Make `mirror` hold what `authority` holds for the key. Returns how many times the mirror was written.

    Raises StoreError: Unrepresentable if the mirror cannot hold the item or the authority cannot read it, Unreachable
    if the two stores were still changing after `ROUNDS` rounds, and whatever the stores raise.
    """
    held: StoredItem | None = None
    for repairs in range(ROUNDS):
        truth = await authority.get(key)
        if truth.unreadable is not None:
            # There is an item, and nobody can say what it is: the mirror must keep what it has.
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
    raise Unreachable("moving", f"the two stores were still changing after {ROUNDS} rounds")
