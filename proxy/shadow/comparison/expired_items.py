"""Differences that come of time to live: one store has deleted an item that has expired, and the other has not yet.

DynamoDB deletes an expired item within days ("Using time to live (TTL) in DynamoDB"), and past every proxy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from proxy.dynamodb.schema import Key
from proxy.dynamodb.tables.time_to_live import has_expired
from proxy.shadow.comparison.authority_reader import AuthorityReader
from proxy.shadow.journal.key_activity import any_key_of
from proxy.stores.interface import Store
from proxy.verdicts import JudgedDifference, Verdict

Suspects = list[tuple[JudgedDifference, list[Key]]]

_BECAUSE: Final = "its time to live is over, and one store has deleted it already"


class ExpiredItems:
    """Tells what comes of time to live from what does not. Every coroutine raises StoreError."""

    def __init__(self, authority: AuthorityReader, mirror: Store, attribute_of: Callable[[str], str | None]) -> None:
        """`attribute_of` says by which attribute a table's items expire."""
        self._authority = authority
        self._mirror = mirror
        self._attribute_of = attribute_of

    async def explain(self, suspects: Suspects) -> tuple[list[JudgedDifference], Suspects, list[Key]]:
        """Return the differences that are explained, the others, and the keys that only the mirror still holds.

        A difference of a whole page, as of its count, is explained if all of its items' differences are.
        """
        expired: dict[Key, bool] = {}
        for key in dict.fromkeys(key for _, keys in suspects for key in keys):
            left = await self._left_in_one(key)
            if left is not None:
                expired[key] = left
        of_items = [(each, keys) for each, keys in suspects if not _of_page(keys)]
        unexplained = [(each, keys) for each, keys in of_items if not all(key in expired for key in keys)]
        if not expired or unexplained:
            explained = [each for each, keys in of_items if all(key in expired for key in keys)]
            rest = [*unexplained, *((each, keys) for each, keys in suspects if _of_page(keys))]
        else:
            explained, rest = [each for each, _ in suspects], []
        judged = [replace(each, verdict=Verdict.EXPECTED, because=_BECAUSE) for each in explained]
        return judged, rest, [key for key, in_mirror in expired.items() if in_mirror]

    async def _left_in_one(self, key: Key) -> bool | None:
        """Return whether the mirror alone holds the item, which has expired; None where that is not so of either."""
        attribute = self._attribute_of(key.table)
        if attribute is None or key == any_key_of(key.table):
            return None
        wanted, held = await self._authority.get(key), (await self._mirror.get(key)).item
        if (wanted is None) == (held is None) or not has_expired(wanted or held or {}, attribute, time.time()):
            return None
        return wanted is None


def _of_page(keys: Sequence[Key]) -> bool:
    return all(key == any_key_of(key.table) for key in keys)
