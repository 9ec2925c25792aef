"""Compares two items, attribute by attribute, under the rules of their type.

This is the hot path of every comparison: almost all items are equal, and equal items cost one dict comparison in C.
"""

from comparators import paths
from comparators.difference import Difference, Item, Kind
from comparators.rules import ItemRules
from comparators.values import ValueDifference, collect_differences


def compare_items(
    authority: Item | None, mirror: Item | None, rules: ItemRules, *, within: str = "", key: Item | None = None
) -> tuple[Difference, ...]:
    """Return the differences between two items; None stands for no item.

    If only one side has an item, that is one difference, `missing` or `extra`, at the path `""`. `within` and `key`
    become attributes of the differences.
    """
    if authority == mirror:
        return ()
    if authority is None or mirror is None:
        kind = Kind.EXTRA if authority is None else Kind.MISSING
        held = None if authority is None else {"M": authority}
        other = None if mirror is None else {"M": mirror}
        return (Difference("", "", kind, held, other, rules.type, within, key),)
    found: list[ValueDifference] = []
    fields: list[str] = []
    named, default = rules.attributes, rules.default
    for name, held in authority.items():
        other = mirror.get(name)
        if held != other:
            collect_differences(found, paths.name(name), held, other, named.get(name, default))
            fields += [name] * (len(found) - len(fields))
    for name, other in mirror.items():
        if name not in authority:
            collect_differences(found, paths.name(name), None, other, named.get(name, default))
            fields += [name] * (len(found) - len(fields))
    return tuple(
        Difference(path, field, kind, held, other, rules.type, within, key)
        for field, (path, kind, held, other) in zip(fields, found, strict=True)
    )
