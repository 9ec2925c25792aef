"""A plan taken at its word: values coerced as PostgreSQL coerces them, JSON as JavaScript writes it.

Says what would be lost if the plan were carried out as it was written. No item is stored this way otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import orjson

from proxy.dynamodb.values import Item, Value, equal
from proxy.mapping import json_column
from proxy.mapping.attribute_columns import AttributeColumn
from proxy.mapping.codecs import ValueDoesNotFitError
from proxy.mapping.interface import Cause, Encoded, Fault, SqlValues

# The character NUL in JSON's text: its escape, unless the backslash is itself escaped.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class LiteralMapping(Protocol):
    """What is asked of a column mapping that is `literal`."""

    @property
    def attribute_columns(self) -> tuple[AttributeColumn, ...]: ...

    @property
    def key_columns(self) -> tuple[str, ...]: ...

    @property
    def composites(self) -> Mapping[str, Any]: ...

    @property
    def derived(self) -> Mapping[str, Any]: ...

    def decode(self, values: SqlValues) -> Item: ...

    def too_long(self, values: Sequence[Any]) -> list[Fault]: ...


def encode(mapping: LiteralMapping, parts: Item, item: Item) -> Encoded:
    """The row that the plan's code would write, and the item that it would read back, with its losses as faults."""
    rest = dict(item)
    refused: list[Fault] = []
    values: list[Any] = []
    for column in mapping.attribute_columns:
        name = column.path[0]
        value = reach(item, column)
        rest.pop(name, None)
        values.append(None)
        try:
            if value is not None and "NULL" not in value:
                values[-1] = column.codec.coerce(value)
            if column.name in mapping.key_columns and values[-1] != column.codec.coerce(parts[name]):
                refused.append(Fault(name, "it differs from the key's part of that name, which finds the row"))
            elif values[-1] is None and column.required:
                refused.append(Fault(name, "the column is NOT NULL", Cause.MISSING))
        except ValueDoesNotFitError as misfit:
            refused.append(Fault(name, str(misfit), misfit.cause))
    for name in (*mapping.composites, *mapping.derived):
        rest.pop(name, None)
    for name, value in rest.items():
        if "\x00" in name or _NUL.search(orjson.dumps(json_column.plain(value)).decode()):
            refused.append(Fault(name, "jsonb cannot hold the character NUL", Cause.NUL))
    refused.extend(mapping.too_long(values))
    if refused:
        whole = [Fault(f.field, f"the whole row is refused: {f.reason}", f.cause) for f in refused]
        return Encoded(None, None, tuple(whole))
    json = {name: json_column.plain(value) for name, value in rest.items()}
    values.append(orjson.dumps(json, option=orjson.OPT_SORT_KEYS).decode())
    image = mapping.decode(tuple(values))
    faults: list[Fault] = []
    for name in dict.fromkeys((*item, *image)):
        if name not in image:
            faults.append(Fault(name, "the row has no place for it", Cause.CHANGED))
        elif name not in item:
            faults.append(Fault(name, "the row makes it up", Cause.CHANGED))
        elif not equal(item[name], image[name]):
            faults.append(Fault(name, "the row gives it back changed", Cause.CHANGED))
    return Encoded(tuple(values), image, tuple(faults))


def reach(item: Item, column: AttributeColumn) -> Value | None:
    """The value of a column's attribute, which may stand inside a map."""
    value = item.get(column.path[0])
    for name in column.path[1:]:
        value = value.get("M", {}).get(name) if value is not None else None
    return value


def place(item: Item, column: AttributeColumn, value: Value) -> None:
    """Put a column's value where its attribute stands."""
    target = item
    for name in column.path[:-1]:
        target = target.setdefault(name, {"M": {}})["M"]
    target[column.path[-1]] = value
