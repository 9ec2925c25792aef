"""Attributes as columns, composites from their parts, everything else in one JSON column.

Lossless by construction: an attribute goes to its column only if the column gives it back exactly; otherwise it stays
in the JSON column, under its own name. What an index needs must be in its columns, though, or the index would answer
wrongly: an indexed attribute that does not fit is a `Fault`.

With `literal` a plan is rehearsed as it was written: values are coerced as PostgreSQL would, JSON is what JavaScript
writes, and the image says what came of the item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Index, Key
from proxy.dynamodb.values import Item, Value, canonical_item, canonical_number
from proxy.mapping import json_column
from proxy.mapping import literal_encoding as literal
from proxy.mapping.attribute_columns import AttributeColumn, ServedIndex
from proxy.mapping.codecs import ValueDoesNotFitError, operand
from proxy.mapping.composites import Composite
from proxy.mapping.fast_encoder import FastEncoder
from proxy.mapping.foreign_rows import UnreadableRow, parse_object, same_json
from proxy.mapping.index_key_limits import SAFE_KEY_BYTES, IndexKeys
from proxy.mapping.interface import Cause, Column, Encoded, Fault, HashEncoder, IndexRange, SortColumn, SqlValues

# No attribute is called so in the column: a name that begins with `$` gets another one in front.
_ABSENT: Final = "$absent"


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """See the module. Built by `proxy.mapping.load`, which checks what it is given."""

    table: str
    sql_table: str
    key: str | None
    """The composite that is the table's hash key; None where the key's attributes have columns of their own."""
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
    max_key_bytes: int = SAFE_KEY_BYTES
    columns: tuple[Column, ...] = field(init=False)
    fields: frozenset[str] = field(init=False)
    _by_attribute: Mapping[str, AttributeColumn] = field(init=False)
    _keys: tuple[AttributeColumn, ...] = field(init=False)
    _decoders: tuple[tuple[str | None, Callable[[Any], Value], AttributeColumn], ...] = field(init=False)
    """Of each column its attribute, None where that is inside a map, and how its value is decoded."""
    _encoders: tuple[tuple[str, bool, AttributeColumn, Callable[[Value], Any]], ...] = field(init=False)
    """Of each column its attribute, whether it is the key's, and how its value is encoded."""
    _index_keys: IndexKeys = field(init=False)
    _ordinary: FastEncoder = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        columns = [Column(c.name, c.codec.sql_type) for c in self.attribute_columns]
        set_(self, "columns", (*columns, Column(self.json_name, "jsonb", as_text=True)))
        known = {c.path[0] for c in self.attribute_columns} | set(self.composites) | set(self.derived)
        set_(self, "fields", frozenset(known))
        set_(self, "_by_attribute", {c.path[0]: c for c in self.attribute_columns if len(c.path) == 1})
        decoders = [(c.path[0] if len(c.path) == 1 else None, c.codec.decode, c) for c in self.attribute_columns]
        set_(self, "_decoders", tuple(decoders))
        encoders = [(c.path[0], c.name in self.key_columns, c, c.codec.encode) for c in self.attribute_columns]
        set_(self, "_encoders", tuple(encoders))
        by_name = {c.name: c for c in self.attribute_columns}
        set_(self, "_keys", tuple(by_name[name] for name in self.key_columns))
        spans = [self._index_span(each) for each in self.indexes.values()]
        keys = [self.key_columns, *((*span.own_columns, *self.key_columns) for span in spans)]
        set_(self, "_index_keys", IndexKeys.of([c.name for c in self.attribute_columns], keys, self.max_key_bytes))
        needed = [c.required or c.name in self.key_columns for c in self.attribute_columns]
        ordinary = FastEncoder(
            [(c.path[0], c.codec.encode, need) for c, need in zip(self.attribute_columns, needed, strict=True)],
            [(place, c.only) for place, c in enumerate(self.attribute_columns) if c.only],
            self.composites,
            self.key_attributes,
            self.type_attribute,
            self._index_keys,
        )
        set_(self, "_ordinary", ordinary)

    def key_values(self, key: Key) -> SqlValues | None:
        parts = self._key_parts(key)
        if parts is None:
            return None
        try:
            return tuple([self._into(column)(parts[column.path[0]]) for column in self._keys])
        except ValueDoesNotFitError:
            return None

    def encode(self, key: Key, item: Item) -> Encoded:
        canonical = canonical_item(item)
        values = None if self.literal else self._ordinary.values(key, canonical)
        if values is not None:
            return Encoded(values, canonical)
        parts = self._key_parts(key)
        if parts is None:
            return Encoded(None, None, (self._foreign(key),))
        return literal.encode(self, parts, canonical) if self.literal else self._encode(parts, canonical)

    def decode(self, values: SqlValues) -> Item:
        place = -1
        try:
            held_json = parse_object(self.json_name, values[-1]) if values[-1] is not None else {}
            item: Item = {}
            for place, (name, decode, column) in enumerate(self._decoders):
                value = values[place]
                if value is None:
                    continue
                if name is not None:
                    item[name] = decode(value)
                else:
                    literal.place(item, column, decode(value))
            place = -1
            self._add_json(item, held_json)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError, DynamoDBError) as error:
            raise UnreadableRow(self.columns[place].name, "it holds no value that this mapping writes") from error
        return item

    def _add_json(self, item: Item, held_json: dict[str, Any]) -> None:
        """What a row's columns do not hold: composites, derived attributes, and what stands in the JSON column."""
        absent = () if self.literal else held_json.pop(_ABSENT, ())
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

    def index_consistent(self, values: SqlValues, item: Item) -> bool:
        """Whether these are the very values that this mapping would write for the item. An older mapping may have left
        in the JSON what has a column now, and an index on the column then misses the row."""
        if self.literal:
            return True
        try:
            key = Key(self.table, orjson.dumps({name: item[name] for name in self.key_attributes}).decode())
            wanted = self.encode(key, item).values
        except (KeyError, DynamoDBError):
            return False  # nothing that DynamoDB could hold
        if wanted is None or any(map(_unlike, wanted[:-1], values[:-1])):
            return False
        return values[-1] is not None and same_json(wanted[-1], values[-1])

    def held_in(self, attribute: str) -> tuple[str, Callable[[Value], Any]] | None:
        column = self._by_attribute.get(attribute)
        return None if column is None else (column.name, operand(column.codec))

    def span(self, index: Index | None) -> IndexRange:
        if index is None:
            return self._table_span()
        served = self.indexes.get(index.name)
        if served is None or (served.hashes, served.ranges) != (index.hashes, index.ranges):
            raise KeyError(index.name)
        return self._index_span(served)

    def type_of(self, attributes: Item) -> str:
        value = attributes.get(self.type_attribute)
        if value is None:
            for name, composite in self.composites.items():
                if name in attributes and self.type_attribute in composite.parts:
                    parts = composite.parse(attributes[name].get("S", ""))
                    return "" if parts is None else parts[self.type_attribute]
            return ""
        return str(value.get("S", ""))

    def tells_type(self, names: Iterable[str]) -> bool:
        return any(
            name == self.type_attribute
            or (name in self.composites and self.type_attribute in self.composites[name].parts)
            for name in names
        )

    def after_update(self, item: Item, touched: frozenset[str]) -> Item:
        if not self.update_replaces_json:
            return item
        in_json = {n for n in item if n not in self.fields}
        if not in_json & touched:
            return item
        return {name: value for name, value in item.items() if name not in in_json or name in touched}

    @property
    def index_columns(self) -> Sequence[tuple[str, ...]]:
        return [self._index_span(each).own_columns for each in self.indexes.values()]

    @property
    def key_attributes(self) -> tuple[str, ...]:
        """The attributes of DynamoDB's key."""
        return (self.key,) if self.key is not None else tuple(column.path[0] for column in self._keys)

    def _key_parts(self, key: Key) -> Item | None:
        """The attributes that the key columns hold; None for a key that is not of the mapping's form."""
        attributes = key.attributes
        if self.key is None:
            return attributes if attributes.keys() == {column.path[0] for column in self._keys} else None
        if attributes.keys() != {self.key}:
            return None
        return self._parsed(self.composites[self.key], attributes[self.key])

    def _parsed(self, composite: Composite, value: Value) -> Item | None:
        """A composite's parts as values of their columns, such that they render as the same text again."""
        texts = composite.parse(value.get("S", ""))
        if texts is None:
            return None
        parts: Item = {}
        for name, text in texts.items():
            tag = self._by_attribute[name].codec.tag
            if tag == "N" and not _is_canonical(text):
                return None
            parts[name] = {tag: text}
        return parts

    def _foreign(self, key: Key) -> Fault:
        names = tuple(key.attributes)
        if self.key is None or names != (self.key,):
            wanted = ", ".join(self.key_attributes)
            return Fault(names[0], f"the mapping is for a table whose key is {wanted}: name this one's under [key]")
        template = self.composites[self.key].template
        return Fault(names[0], f"it does not have the form {template}: map it to a column of its own")

    def _encode(self, parts: Item, item: Item) -> Encoded:
        rest = dict(item)
        held: Item = {}
        absent: list[str] = []
        faults: list[Fault] = []
        values: list[Any] = []
        for name, is_key, column, encode in self._encoders:
            value = item.get(name)
            if is_key:
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
                if column.required:
                    lacking = "its column is NOT NULL, and the item lacks it: let the column be NULL"
                    faults.append(Fault(name, lacking, Cause.MISSING))
                continue
            try:
                if column.only:
                    self._check(column, parts, item)
                values.append(encode(value))
            except ValueDoesNotFitError as misfit:
                values.append(None)
                if name in self.indexed or column.required or is_key:
                    faults.append(Fault(name, str(misfit), misfit.cause))
                continue
            held[name] = value
            if not is_key:
                del rest[name]
        for name, composite in self.composites.items():
            rendered = composite.render(held)
            actual = item.get(name)
            if rendered is None:
                if actual is not None:
                    self._index_fault(faults, name, f"its parts {', '.join(composite.parts)} are not all there")
                elif all(part in held for part in composite.parts):
                    # Its columns would put the row into an index that DynamoDB has the item not in.
                    reason = f"the item lacks it, and its parts do not make {composite.template}"
                    self._index_fault(faults, name, reason)
            elif actual is None:
                absent.append(name)
                self._index_fault(faults, name, "the item lacks it and has its parts")
            elif actual == {"S": rendered}:
                del rest[name]
            else:
                self._index_fault(faults, name, f"it does not have the form {composite.template}")
        faults.extend(self.too_long(values))
        if faults:
            return Encoded(None, None, tuple(faults))
        json = json_column.tagged_map(rest)
        if absent:
            json[_ABSENT] = absent
        values.append(orjson.dumps(json, option=orjson.OPT_SORT_KEYS).decode())
        return Encoded(tuple(values), item)

    def _check(self, column: AttributeColumn, parts: Item, item: Item) -> None:
        """Raises Misfit for an item of a type that the table's CHECK keeps out of the column."""
        kind = parts.get(self.type_attribute) or item.get(self.type_attribute, {})
        if kind.get("S") not in column.only:
            types = ", ".join(sorted(column.only))
            remedy = "mend the item, or drop the CHECK and `only`"
            raise ValueDoesNotFitError(f"a CHECK keeps {column.name} for items of type {types}: {remedy}", Cause.FORM)

    def _index_fault(self, faults: list[Fault], name: str, reason: str) -> None:
        if name in self.indexed:
            faults.append(Fault(name, f"{reason}, and an index needs it"))

    def too_long(self, values: Sequence[Any]) -> list[Fault]:
        columns = self.attribute_columns
        long = self._index_keys.too_long(values)
        return [Fault(columns[each.place].path[0], each.reason, Cause.KEY_BYTES) for each in long]

    def _into(self, column: AttributeColumn) -> Callable[[Value], Any]:
        """How a value of a key comes to be a parameter: PostgreSQL casts it, where the plan leaves that to it."""
        return column.codec.coerce if self.literal else column.codec.encode

    def _table_span(self) -> IndexRange:
        if self.key is not None:
            return IndexRange(self.key_columns, (self._from_parts(self.composites[self.key], self._keys),), (), ())
        first, *others = self._keys
        sorts = tuple(SortColumn(column.name, operand(column.codec)) for column in others)
        return IndexRange((first.name,), (self._only(first),), sorts, ())

    def _index_span(self, served: ServedIndex) -> IndexRange:
        hashed = [self._hash(served, name) for name in served.hashes]
        equal_columns = tuple(column for columns, _ in hashed for column in columns)
        encoders = tuple(encoder for _, encoder in hashed)
        if served.sort is not None:
            replaced = SortColumn(served.sort, lambda _: None)
            return IndexRange(equal_columns, encoders, (replaced,), (served.sort,), sort_from_row=True)
        columns = [self._by_attribute[name] for name in served.ranges]
        sorts = tuple(SortColumn(column.name, operand(column.codec)) for column in columns)
        present = tuple(sort.name for sort in sorts) or equal_columns
        return IndexRange(equal_columns, encoders, sorts, present)

    def _from_parts(self, composite: Composite, columns: Sequence[AttributeColumn]) -> HashEncoder:
        def alternatives(value: Value) -> Sequence[SqlValues] | None:
            parts = self._parsed(composite, value)
            if parts is None:
                return None
            try:
                return [tuple([self._into(column)(parts[column.path[0]]) for column in columns])]
            except ValueDoesNotFitError:
                return None

        return alternatives

    def _only(self, column: AttributeColumn) -> HashEncoder:
        """The values of a hash attribute that has a column of its own."""

        def alternatives(value: Value) -> Sequence[SqlValues] | None:
            try:
                return [(self._into(column)(value),)]
            except ValueDoesNotFitError:
                return None

        return alternatives

    def _hash(self, served: ServedIndex, name: str) -> tuple[tuple[str, ...], HashEncoder]:
        """The columns that hold a hash attribute of an index, and what a value of it is in them."""
        if served.column is not None:
            groups = served.groups
            return (served.column,), lambda value: [(each,) for each in groups.get(value.get("S", ""), ())] or None
        composite = self.composites.get(name)
        if composite is None:
            column = self._by_attribute[name]
            return (column.name,), self._only(column)
        columns = [self._by_attribute[part] for part in composite.parts]
        return tuple(c.name for c in columns), self._from_parts(composite, columns)


def _unlike(wanted: Any, held: Any) -> bool:
    """Whether a column holds something else than the parameter makes of it; asyncpg reads a uuid as an object."""
    return bool(wanted != held and (not isinstance(held, UUID) or wanted != str(held)))


def _is_canonical(text: str) -> bool:
    try:
        return canonical_number(text) == text
    except DynamoDBError:
        return False
