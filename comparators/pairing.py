"""Pairs the items of two answers: by table key, or by content if keys are not shown.

Finds pairs only. What an item without a counterpart means depends on the answer, and is for the caller to decide.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from comparators.canonical_forms import canonical_form
from comparators.difference import Item


@dataclass(frozen=True, slots=True)
class Pairing:
    """A pairing of two lists of items, as indexes into them."""

    pairs: tuple[tuple[int, int], ...]
    """(authority's index, mirror's index) of each pair, in the authority's order."""
    authority_only: tuple[int, ...]
    """The authority's items without a counterpart."""
    mirror_only: tuple[int, ...]
    """The mirror's items without a counterpart."""
    keyed: bool
    """Whether items were paired by table key; otherwise by their whole content, so that a pair has no differences."""
    repeated: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    """Those (of the authority, of the mirror) without a counterpart whose key the other list does have, less often."""


def key_of(item: Item, attributes: Sequence[str]) -> Item | None:
    """Return the item's table key; None if it does not show all of it."""
    if not attributes or any(name not in item for name in attributes):
        return None
    return {name: item[name] for name in attributes}


def key_identity(key: Item) -> Hashable:
    """Return a form that is equal for two keys exactly if they are one key, however numbers and bytes are spelt."""
    return canonical_form({"M": key})


def pair_items(authority: Sequence[Item], mirror: Sequence[Item], attributes: Sequence[str]) -> Pairing:
    """Pair the items of two answers. If a key occurs several times, first goes with first, second with second.

    `attributes` are the names of the table's key attributes.
    """
    keyed = bool(attributes) and all(
        name in item for items in (authority, mirror) for item in items for name in attributes
    )
    first, second = (
        [canonical_form({"M": {name: item[name] for name in attributes} if keyed else item}) for item in items]
        for items in (authority, mirror)
    )
    waiting: defaultdict[Hashable, deque[int]] = defaultdict(deque)
    for index, held in enumerate(second):
        waiting[held].append(index)
    pairs: list[tuple[int, int]] = []
    authority_only: list[int] = []
    for index, held in enumerate(first):
        if waiting[held]:
            pairs.append((index, waiting[held].popleft()))
        else:
            authority_only.append(index)
    mirror_only = sorted(index for indexes in waiting.values() for index in indexes)
    repeated = (frozenset[int](), frozenset[int]())
    if keyed:
        ours, theirs = frozenset(first), frozenset(second)
        repeated = (
            frozenset(index for index in authority_only if first[index] in theirs),
            frozenset(index for index in mirror_only if second[index] in ours),
        )
    return Pairing(tuple(pairs), tuple(authority_only), tuple(mirror_only), keyed, repeated)
