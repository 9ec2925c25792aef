"""The quick way of encoding: nearly every item fits its columns, and its composites are what its parts make.

Gives a row's values, or None where anything at all is out of the ordinary: then `columns` encodes by all its rules, and
says what is wrong. It must never give other values than those rules would (`tests/property`). Backfill and verify
encode every item of a table, and spend most of their time here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item, Value
from proxy.mapping import json_column
from proxy.mapping.codecs import ValueDoesNotFitError
from proxy.mapping.composites import Composite
from proxy.mapping.index_key_limits import IndexKeys
from proxy.mapping.interface import SqlValues


@dataclass(frozen=True, slots=True)
class FastEncoder:
    """Of one mapping.

    `columns` are, in their order, the attribute of each, how its value is encoded, and whether an ordinary item has it;
    `only` the places of those that a CHECK keeps for some item types, with these.
    """

    columns: Sequence[tuple[str, Callable[[Value], Any], bool]]
    only: Sequence[tuple[int, frozenset[str]]]
    composites: Mapping[str, Composite]
    key: tuple[str, ...]
    """The attributes of DynamoDB's key."""
    type_attribute: str
    index_keys: IndexKeys

    def values(self, key: Key, item: Item) -> SqlValues | None:
        """`item` in canonical form."""
        rest = item.copy()
        take = rest.pop
        values: list[Any] = []
        add = values.append
        try:
            for name, encode, needed in self.columns:
                value = take(name, None)
                if value is not None:
                    add(encode(value))
                elif needed:
                    return None
                else:
                    add(None)
        except ValueDoesNotFitError:
            return None
        for place, types in self.only:
            if values[place] is not None and item.get(self.type_attribute, {}).get("S") not in types:
                return None
        for name, composite in self.composites.items():
            # All parts that the item has are in their columns by now.
            rendered = composite.render(item)
            actual = take(name, None)
            if rendered is not None:
                if actual is None or actual.get("S") != rendered:
                    return None
            elif actual is not None or all(part in item for part in composite.parts):
                return None
        # What renders as the key's text has the key's parts. But is it this key's item?
        if orjson.dumps({name: item.get(name) for name in self.key}).decode() != key.text:
            return None
        if not self.index_keys.surely_fit(values):
            return None
        add(orjson.dumps(json_column.tagged_map(rest), option=orjson.OPT_SORT_KEYS).decode())
        return tuple(values)
