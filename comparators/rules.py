"""Rules: how the values of an attribute are compared, the rules of an item type, and how settings declare both.

A rule says when two values are equal. Which differences are acceptable is for `comparators.expectations` to say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from comparators.difference import Item

IMAGE_ENTRIES = frozenset({"url", "width", "height"})
ANY = "*"
"""The name of the rules for item types without rules of their own, and of the rule for attributes without one."""


class Comparator(StrEnum):
    """How two values of one attribute are compared.

    A comparator that does not fit the type of the values (`timestamp` on a map) acts as `auto`: a rule that is not
    meant for a value never hides how it differs. Values of different types always differ.
    """

    AUTO = "auto"  # by the values' type, as the next seven
    NUMBER = "number"  # N by value: `5.00` equals `5`; lost digits are `precision`, everything else is `value`
    STRING = "string"  # S, character for character
    BOOLEAN = "boolean"  # BOOL
    BINARY = "binary"  # B by its bytes, not by its base64 text
    SET = "set"  # SS, NS, BS without order, members by value
    LIST = "list"  # L, element by element
    MAP = "map"  # M, entry by entry; an entry with a rule in `fields` by that rule
    IMAGE = "image"  # the M {url, width, height}: url as string, width and height as numbers, other entries by type
    NUMBER_EXACT = "number_exact"  # N by value and by text: `5.00` against `5` is `spelling`, 8.5 against 8 is `value`
    EXACT = "exact"  # as `auto`; values that are equal but not the same JSON are `spelling`
    TIMESTAMP = "timestamp"  # N as epoch milliseconds, S as ISO 8601 (UTC where it names no zone): the same instant
    UNORDERED_LIST = "unordered_list"  # L with its elements in any order, duplicates counted
    IGNORE = "ignore"  # never differs, whether it is there or not


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule by which the values of one attribute are compared."""

    comparator: Comparator = Comparator.AUTO
    tolerance_ms: int | float = 0
    """For `timestamp`: how many milliseconds two instants may differ."""
    null_is_missing: bool = False
    """Whether NULL equals no value at all, here and inside maps."""
    fields: Mapping[str, "Rule"] = field(default_factory=lambda: MappingProxyType({}))
    """For `map`: the rules of entries, by name. Other entries are compared by type."""


AUTO = Rule()


@dataclass(frozen=True, slots=True)
class ItemRules:
    """The rules for the items of one type."""

    type: str = ANY
    attributes: Mapping[str, Rule] = field(default_factory=lambda: MappingProxyType({}))
    """The rules by attribute."""
    default: Rule = AUTO
    """The rule for all other attributes."""


def declared_entries(rules: ItemRules) -> frozenset[str]:
    """Return the names of map entries that the rules of a type declare, at any depth: they are schema, not content."""
    found: set[str] = set()
    waiting = [*rules.attributes.values(), rules.default]
    while waiting:
        rule = waiting.pop()
        if rule.comparator is Comparator.IMAGE:
            found |= IMAGE_ENTRIES
        found |= rule.fields.keys()
        waiting.extend(rule.fields.values())
    return frozenset(found)


Picker: TypeAlias = Callable[[Item], ItemRules]
"""Chooses the rules for an item. The item may be a projection without the attribute that names its type."""


def picker(rules: Mapping[str, ItemRules], attribute: str) -> Picker:
    """Return a picker that chooses by the string in `attribute`. An item without it, or of an unknown type, gets the
    rules named `*`."""
    fallback = rules.get(ANY) or ItemRules()

    def pick(item: Item) -> ItemRules:
        name = item.get(attribute, {}).get("S")
        return rules.get(name, fallback) if isinstance(name, str) else fallback

    return pick


def parse_rules(mapping: Mapping[str, Any]) -> Mapping[str, ItemRules]:
    """Parse the rules in settings. Returns item type → rules; there is always an entry `*`.

    `mapping` is type → attribute → rule, where a rule is the name of a comparator or a table of its options:

        {"*": {"movedAt": {"comparator": "timestamp", "tolerance_ms": 0}},
         "Book": {"rating": "number", "image": {"comparator": "map", "fields": {"etag": "ignore"}}, "*": "exact"}}

    The attribute `*` sets the default. The rules of type `*` apply to every type that does not override them. Raises
    ValueError, with the place and the remedy, for anything unknown.
    """
    common = _attributes(ANY, mapping.get(ANY, {}))
    found = {ANY: _item_rules(ANY, common)}
    for name, attributes in mapping.items():
        if name != ANY:
            found[name] = _item_rules(name, {**common, **_attributes(name, attributes)})
    return MappingProxyType(found)


def _item_rules(name: str, attributes: dict[str, Rule]) -> ItemRules:
    named = {attribute: rule for attribute, rule in attributes.items() if attribute != ANY}
    return ItemRules(name, MappingProxyType(named), attributes.get(ANY, AUTO))


def _attributes(place: str, written: Any) -> dict[str, Rule]:
    if not isinstance(written, Mapping):
        raise ValueError(f"{place}: expected a table of attributes and their comparators, not {written!r}")
    return {name: _rule(f"{place}.{name}", rule) for name, rule in written.items()}


_OPTIONS: Mapping[str, frozenset[Comparator]] = MappingProxyType(
    {
        "tolerance_ms": frozenset({Comparator.TIMESTAMP}),
        "null_is_missing": frozenset(Comparator) - {Comparator.IGNORE},
        "fields": frozenset({Comparator.MAP}),
    }
)


def _rule(place: str, written: Any) -> Rule:
    if isinstance(written, str):
        return Rule(_comparator(place, written))
    if not isinstance(written, Mapping):
        raise ValueError(f"{place}: expected the name of a comparator or a table with `comparator`, not {written!r}")
    comparator = _comparator(place, written.get("comparator", Comparator.AUTO))
    for option in written:
        if option != "comparator" and comparator not in _OPTIONS.get(option, ()):
            fitting = ["comparator", *(known for known, users in _OPTIONS.items() if comparator in users)]
            raise ValueError(
                f"{place}: comparator {comparator.value!r} has no option {option!r}; use one of {', '.join(fitting)}"
            )
    tolerance = written.get("tolerance_ms", 0)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < float("inf"):
        raise ValueError(f"{place}.tolerance_ms: expected a number of milliseconds, 0 or more, not {tolerance!r}")
    null_is_missing = written.get("null_is_missing", False)
    if not isinstance(null_is_missing, bool):
        raise ValueError(f"{place}.null_is_missing: expected true or false, not {null_is_missing!r}")
    fields = MappingProxyType(_attributes(f"{place}.fields", written.get("fields", {})))
    return Rule(comparator, tolerance, null_is_missing, fields)


def _comparator(place: str, name: Any) -> Comparator:
    try:
        return Comparator(name)
    except ValueError:
        known = ", ".join(sorted(Comparator))
        raise ValueError(f"{place}: there is no comparator {name!r}; use one of {known}") from None
