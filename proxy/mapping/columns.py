"""Attributes as columns, composites from their parts, everything else in one JSON column.

Lossless by construction: an attribute goes to its column only if the column gives it back exactly; otherwise it stays
in the JSON column, under its own name. What an index needs must be in its columns, though, or the index would answer
wrongly: an indexed attribute that does not fit is a `Fault`.

With `literal` a plan is rehearsed as it was written: values are coerced as PostgreSQL would, JSON is what JavaScript
writes, and the image says what came of the item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from proxy.dynamodb.schema import Index, Key
from proxy.dynamodb.values import Item, Value, equal
from proxy.mapping import json_column
from proxy.mapping.codecs import Codec, Misfit
from proxy.mapping.composites import Composite
from proxy.mapping.mapping import Column, Encoded, Fault, Span, SqlValues

MAX_INDEX_KEY_BYTES: Final = 1024
_ABSENT: Final = "$absent"


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """A column and the attribute it holds; `path` has two names for an attribute inside a map (`image`, `url`)."""

    name: str
    path: tuple[str, ...]
    codec: Codec
    required: bool = False


@dataclass(frozen=True, slots=True)
class ServedIndex:
    """What TOML says of a DynamoDB index beyond its key attributes.

    `sort` names another column to order by than the index's sort attribute's; `groups` gives, for a hash value, the
    values of `column` that stand for it (an attribute that the SQL table does not have).
    """

    sql_index: str
    sort: str | None = None
    column: str | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """See the module. Built by `proxy.mapping.load`, which checks what it is given."""

    table: str
    sql_table: str
    key: Composite | None
    attribute_columns: tuple[AttributeColumn, ...]
    key_columns: tuple[str, ...]
    composites: Mapping[str, Composite]
    json_name: str
    type_attribute: str
    indexes: Mapping[str, ServedIndex]
    indexed: frozenset[str]
    derived: Mapping[str, tuple[str, Mapping[str, str]]]
    on_loss: Literal["park", "write"] = "park"
    literal: bool = False
    update_replaces_json: bool = False
    columns: tuple[Column, ...] = field(init=False)
    fields: frozenset[str] = field(init=False)
    _by_attribute: Mapping[str, AttributeColumn] = field(init=False)
    _keys: tuple[AttributeColumn, ...] = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        columns = [Column(c.name, c.codec.sql_type) for c in self.attribute_columns]
        set_(self, "columns", (*columns, Column(self.json_name, "jsonb", as_text=True)))
        known = {c.path[0] for c in self.attribute_columns} | set(self.composites) | set(self.derived)
        set_(self, "fields", frozenset(known))
        set_(self, "_by_attribute", {c.path[0]: c for c in self.attribute_columns if len(c.path) == 1})
        by_name = {c.name: c for c in self.attribute_columns}
        set_(self, "_keys", tuple(by_name[name] for name in self.key_columns))

    def key_values(self, key: Key) -> SqlValues | None:
        parts = self._key_parts(key)
        if parts is None:
            return None
        try:
            if self.literal:
                return tuple(column.codec.coerce(parts[column.path[0]]) for column in self._keys)
            return tuple(column.codec.encode(parts[column.path[0]]) for column in self._keys)
        except Misfit:
            return None

    def encode(self, key: Key, item: Item) -> Encoded:
        return self._encode_literally(item) if self.literal else self._encode(key, item)

    def decode(self, values: SqlValues) -> Item:
        held_json = orjson.loads(values[-1]) if values[-1] else {}
        item: Item = {}
        for column, value in zip(self.attribute_columns, values, strict=False):
            if value is not None:
                self._place(item, column, column.codec.decode(value))
        absent = held_json.pop(_ABSENT, ())
        for name, composite in self.composites.items():
            rendered = composite.render(item)
            if rendered is not None:
                item[name] = {"S": rendered}
        for name, (source, values_of) in self.derived.items():
            derived = values_of.get(item.get(source, {}).get("S", ""))
            if derived is not None:
                item[name] = {"S": derived}
        if held_json:
            if self.literal:
                item.update({name: json_column.unplain(value) for name, value in held_json.items()})
            else:
                item.update(json_column.untagged_map(held_json))
        for name in absent:
            item.pop(name, None)
        return item

    def span(self, index: Index | None) -> Span:
        if index is None:
            return self._table_span()
        served = self.indexes[index.name]
        equal_columns, hash_values = self._hash(index, served)
        sort = self._by_attribute.get(index.range) if index.range is not None else None
        if served.sort is not None:
            return Span(equal_columns, hash_values, served.sort, lambda _: None, (served.sort,), sort_from_row=True)
        if sort is None:
            return Span(equal_columns, hash_values, None, lambda _: None, equal_columns)
        return Span(equal_columns, hash_values, sort.name, _operand(sort.codec), (sort.name,))

    def type_of(self, attributes: Item) -> str:
        value = attributes.get(self.type_attribute)
        if value is None:
            for name, composite in self.composites.items():
                if name in attributes and self.type_attribute in composite.parts:
                    parts = composite.parse(attributes[name].get("S", ""))
                    return "" if parts is None else parts[self.type_attribute]
            return ""
        return str(value.get("S", ""))

    def after_update(self, item: Item, touched: frozenset[str]) -> Item:
        if not self.update_replaces_json:
            return item
        in_json = {n for n in item if n not in self.fields}
        if not in_json & touched:
            return item
        return {name: value for name, value in item.items() if name not in in_json or name in touched}

    def _key_parts(self, key: Key) -> Item | None:
        attributes = key.attributes
        if self.key is None:
            return attributes
        parts = self.key.parse(next(iter(attributes.values())).get("S", ""))
        return None if parts is None else {name: {"S": text} for name, text in parts.items()}

    def _encode(self, key: Key, item: Item) -> Encoded:
        parts = self._key_parts(key)
        if parts is None:
            name = next(iter(key.attributes))
            template = self.key.template if self.key is not None else ""
            return Encoded(
                None, None, (Fault(name, f"it does not have the form {template}: map it to a column of its own"),)
            )
        rest = dict(item)
        held: Item = {}
        absent: list[str] = []
        faults: list[Fault] = []
        values: list[Any] = []
        for column in self.attribute_columns:
            name = column.path[0]
            value = item.get(name)
            if column.name in self.key_columns:
                value = parts[name]
                if name not in item:
                    absent.append(name)
                    self._index_fault(faults, name, "the item lacks it, its key has it")
                elif item[name] == value:
                    del rest[name]
                else:
                    self._index_fault(faults, name, "it differs from the key's part of that name")
            elif value is None:
                values.append(None)
                continue
            try:
                values.append(column.codec.encode(value))
            except Misfit as misfit:
                values.append(None)
                if name in self.indexed or column.name in self.key_columns:
                    faults.append(Fault(name, str(misfit)))
                continue
            held[name] = value
            if column.name not in self.key_columns:
                del rest[name]
        for name, composite in self.composites.items():
            rendered = composite.render(held)
            actual = item.get(name)
            if rendered is None:
                if actual is not None:
                    self._index_fault(faults, name, f"its parts {', '.join(composite.parts)} are not all there")
            elif actual is None:
                absent.append(name)
                self._index_fault(faults, name, "the item lacks it and has its parts")
            elif actual == {"S": rendered}:
                del rest[name]
            else:
                self._index_fault(faults, name, f"it does not have the form {composite.template}")
        if len(item) > len(rest):
            self._check_index_sizes(item, faults)
        if faults:
            return Encoded(None, None, tuple(faults))
        json = json_column.tagged_map(rest)
        if absent:
            json[_ABSENT] = absent
        values.append(orjson.dumps(json).decode())
        return Encoded(tuple(values), item)

    def _encode_literally(self, item: Item) -> Encoded:
        rest = dict(item)
        faults: list[Fault] = []
        values: list[Any] = []
        for column in self.attribute_columns:
            value = self._reach(item, column)
            rest.pop(column.path[0], None)
            try:
                values.append(None if value is None or "NULL" in value else column.codec.coerce(value))
            except Misfit as misfit:
                return Encoded(None, None, (Fault(column.path[0], f"the whole row is refused: {misfit}"),))
            if values[-1] is None and column.required:
                return Encoded(None, None, (Fault(column.path[0], "the whole row is refused: the column is NOT NULL"),))
        for name in (*self.composites, *self.derived):
            rest.pop(name, None)
        values.append(orjson.dumps({name: json_column.plain(value) for name, value in rest.items()}).decode())
        image = self.decode(tuple(values))
        for name in dict.fromkeys((*item, *image)):
            if name not in image:
                faults.append(Fault(name, "the row has no place for it"))
            elif name not in item:
                faults.append(Fault(name, "the row makes it up"))
            elif not equal(item[name], image[name]):
                faults.append(Fault(name, "the row gives it back changed"))
        return Encoded(tuple(values), image, tuple(faults))

    def _index_fault(self, faults: list[Fault], name: str, reason: str) -> None:
        if name in self.indexed:
            faults.append(Fault(name, f"{reason}, and an index needs it"))

    def _check_index_sizes(self, item: Item, faults: list[Fault]) -> None:
        """DSQL holds index keys of up to 1 KiB; the longest here is the key with the longest indexed text."""
        texts = [len(item[n]["S"]) * 4 for n in self.indexed if n in item and "S" in item[n]]
        if sum(texts) <= MAX_INDEX_KEY_BYTES:
            return
        key_bytes = sum(len(item[n]["S"].encode()) for n in self._key_attributes() if "S" in item.get(n, {}))
        for name in sorted(self.indexed - set(self._key_attributes())):
            size = len(item.get(name, {}).get("S", "").encode()) + key_bytes
            if size > MAX_INDEX_KEY_BYTES and name in self._by_attribute:
                faults.append(Fault(name, f"with the key it makes an index key of {size} bytes, DSQL takes 1024"))

    def _key_attributes(self) -> tuple[str, ...]:
        return tuple(column.path[0] for column in self._keys)

    def _table_span(self) -> Span:
        if self.key is not None:
            return Span(self.key_columns, self._from_parts(self.key, self._keys), None, lambda _: None, ())
        first = self._keys[0]
        sort = self._keys[1] if len(self._keys) > 1 else None
        sort_value = (lambda _: None) if sort is None else _operand(sort.codec)
        return Span((first.name,), _only(first), None if sort is None else sort.name, sort_value, ())

    @staticmethod
    def _from_parts(
        composite: Composite, columns: Sequence[AttributeColumn]
    ) -> Callable[[Value], Sequence[SqlValues] | None]:
        def parse(value: Value) -> Sequence[SqlValues] | None:
            parts = composite.parse(value.get("S", ""))
            if parts is None:
                return None
            encoded = tuple(_operand(c.codec)({"S": parts[c.path[0]]}) for c in columns)
            return None if None in encoded else [encoded]

        return parse

    def _hash(
        self, index: Index, served: ServedIndex
    ) -> tuple[tuple[str, ...], Callable[[Value], Sequence[SqlValues] | None]]:
        if served.column is not None:
            groups = served.groups
            return (served.column,), lambda value: [(each,) for each in groups.get(value.get("S", ""), ())] or None
        composite = self.composites.get(index.hash)
        if composite is None:
            column = self._by_attribute[index.hash]
            return (column.name,), _only(column)
        columns = [self._by_attribute[part] for part in composite.parts]
        return tuple(c.name for c in columns), self._from_parts(composite, columns)

    @staticmethod
    def _reach(item: Item, column: AttributeColumn) -> Value | None:
        value = item.get(column.path[0])
        for name in column.path[1:]:
            value = value.get("M", {}).get(name) if value is not None else None
        return value

    @staticmethod
    def _place(item: Item, column: AttributeColumn, value: Value) -> None:
        target = item
        for name in column.path[:-1]:
            target = target.setdefault(name, {"M": {}})["M"]
        target[column.path[-1]] = value


def _operand(codec: Codec) -> Callable[[Value], Any]:
    """Encodes an operand for SQL; None where it has no exact counterpart, so the caller must do without the bound."""

    def encode(value: Value) -> Any:
        try:
            return codec.encode(value)
        except Misfit:
            return None

    return encode


def _only(column: AttributeColumn) -> Callable[[Value], Sequence[SqlValues] | None]:
    """The values of a hash attribute that has a column of its own."""
    encode = _operand(column.codec)

    def one(value: Value) -> Sequence[SqlValues] | None:
        encoded = encode(value)
        return None if encoded is None else [(encoded,)]

    return one
