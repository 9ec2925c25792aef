"""Which item of one answer is which item of the other: by table key, or by what they hold where keys are not shown.

Finds pairs only. What it means that an item has no counterpart depends on the answer, so the caller says.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from comparators.canonical_forms import canonical_form
from comparators.difference import Item


@dataclass(frozen=True, slots=True)
class Pairing:
    """Indexes into two lists of items: those that belong together and those left alone, each in the authority's order.

    `keyed`     whether they were paired by table key; else by their whole content, so that a pair has no differences.
    `repeated`  those left alone (authority's, mirror's) whose key the other list does have, less often.
    """

    pairs: tuple[tuple[int, int], ...]
    authority_only: tuple[int, ...]
    mirror_only: tuple[int, ...]
    keyed: bool
    repeated: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())


def key_of(item: Item, attributes: Sequence[str]) -> Item | None:
    """The item's table key; None where it does not show all of it."""
    if not attributes or any(name not in item for name in attributes):
        return None
    return {name: item[name] for name in attributes}


def key_identity(key: Item) -> Hashable:
    """Equal for two keys exactly when they are one key, however their numbers and bytes are spelt."""
    return canonical_form({"M": key})


def pair_items(authority: Sequence[Item], mirror: Sequence[Item], attributes: Sequence[str]) -> Pairing:
    """Pair the items of two answers. Where one shows a key several times, first goes with first, second with second."""
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
    both: list[tuple[int, int]] = []
    alone: list[int] = []
    for index, held in enumerate(first):
        if waiting[held]:
            both.append((index, waiting[held].popleft()))
        else:
            alone.append(index)
    left = sorted(index for indexes in waiting.values() for index in indexes)
    repeated = (frozenset[int](), frozenset[int]())
    if keyed:
        ours, theirs = frozenset(first), frozenset(second)
        repeated = (
            frozenset(index for index in alone if first[index] in theirs),
            frozenset(index for index in left if second[index] in ours),
        )
    return Pairing(tuple(both), tuple(alone), tuple(left), keyed, repeated)
