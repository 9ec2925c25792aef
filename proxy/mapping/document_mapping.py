"""The mapping of a table that nobody has written a mapping for: keys and index keys as columns, the item as JSON.

The whole item stands in one `json` column as DynamoDB's own JSON, in canonical form, so nothing is lost and equal items
have equal text. Columns are named after their attributes, but for the few names that are taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Index, Key, TableSchema
from proxy.dynamodb.values import Item, Value, canonical_item
from proxy.mapping.codecs import Codec, ValueDoesNotFitError, codec
from proxy.mapping.foreign_rows import UnreadableRow, parse_object
from proxy.mapping.index_key_limits import SAFE_KEY_BYTES, IndexKeys
from proxy.mapping.interface import Cause, Column, Encoded, Fault, HashEncoder, IndexRange, SortColumn, SqlValues

# A DynamoDB Number has magnitudes from 1E-130 to 9.9…E+125 with 38 digits, so its last digit is at 1E-167 at the lowest
# ("Supported data types and naming rules", Number). DSQL takes no bytea in a key: binary is `to_ordered_text`'s text.
_SQL_TYPES: Final = {"S": "text", "N": "numeric(294,168)", "B": "text"}
_MAX_IDENTIFIER: Final = 63
ITEM_COLUMN: Final = "item"
# Names that a column of the table has already: the item's, and those of every PostgreSQL table ("System columns").
_TAKEN: Final = frozenset({ITEM_COLUMN, "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


def identifier(name: str) -> str:
    """A PostgreSQL identifier for any DynamoDB name: itself where it fits in 63 bytes, else shortened with a hash."""
    if len(name.encode()) <= _MAX_IDENTIFIER and "\x00" not in name:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return name.replace("\x00", "").encode()[: _MAX_IDENTIFIER - 17].decode(errors="ignore") + "_" + digest


@dataclass(frozen=True, slots=True)
class DocumentMapping:
    """See the module; made from what DescribeTable says."""

    schema: TableSchema
    max_key_bytes: int = SAFE_KEY_BYTES
    sql_table: str = field(init=False)
    columns: tuple[Column, ...] = field(init=False)
    key_columns: tuple[str, ...] = field(init=False)
    fields: frozenset[str] = field(init=False)
    on_loss: Literal["park", "write"] = field(default="park", init=False)
    _codecs: tuple[tuple[str, str, Codec], ...] = field(init=False)
    _index_keys: IndexKeys = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        names = dict.fromkeys(self.schema.key_names)
        for index in self.schema.indexes.values():
            names.update(dict.fromkeys(index.key_names))
        codecs = tuple((name, self._column_name(name), self._codec_of(name)) for name in names)
        set_(self, "sql_table", identifier(self.schema.name))
        set_(self, "_codecs", codecs)
        columns = [Column(column, each.sql_type) for _, column, each in codecs]
        set_(self, "columns", (*columns, Column(ITEM_COLUMN, "json", as_text=True)))
        set_(self, "key_columns", tuple(self._column_name(n) for n in self.schema.key_names))
        set_(self, "fields", frozenset(names))
        keys = [self.key_columns]
        for index in self.schema.indexes.values():
            span = self.span(index)
            keys.append((*span.own_columns, *self.key_columns))
        set_(self, "_index_keys", IndexKeys.of([column for _, column, _ in codecs], keys, self.max_key_bytes))

    @property
    def index_columns(self) -> Sequence[tuple[str, ...]]:
        return [self.span(index).own_columns for index in self.schema.indexes.values()]

    @property
    def table(self) -> str:
        return self.schema.name

    @staticmethod
    def _column_name(attribute: str) -> str:
        # One more underscore each, so that no two attributes meet: `item` is `item_`, `item_` is `item__`.
        return identifier(attribute + "_" if attribute.rstrip("_") in _TAKEN else attribute)

    def _codec_of(self, attribute: str) -> Codec:
        tag = self.schema.types[attribute]
        return codec(_SQL_TYPES[tag], tag)

    def key_values(self, key: Key) -> SqlValues | None:
        attributes = key.attributes
        try:
            return tuple(each.encode(attributes[n]) for n, _, each in self._codecs[: len(self.key_columns)])
        except ValueDoesNotFitError:
            return None

    def encode(self, key: Key, item: Item) -> Encoded:  # noqa: ARG002  (the item holds its key, as it came)
        values: list[Any] = []
        faults: list[Fault] = []
        item = canonical_item(item)
        for name, _, each in self._codecs:
            value = item.get(name)
            if value is None or each.tag not in value:
                values.append(None)
                continue
            try:
                values.append(each.encode(value))
            except ValueDoesNotFitError as misfit:
                values.append(None)
                faults.append(Fault(name, f"it is a key of the table or of an index, and {misfit}", misfit.cause))
        long = self._index_keys.too_long(values)
        faults.extend(Fault(self._codecs[each.place][0], each.reason, Cause.KEY_BYTES) for each in long)
        if faults:
            return Encoded(None, None, tuple(faults))
        values.append(orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode())
        return Encoded(tuple(values), item)

    def decode(self, values: SqlValues) -> Item:
        item: Item = parse_object(ITEM_COLUMN, values[-1] or "null")
        try:
            item = canonical_item(item)
            self.schema.key_of(item)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError, DynamoDBError) as error:
            raise UnreadableRow(ITEM_COLUMN, "its JSON is no item of this table") from error
        return item

    def index_consistent(self, values: SqlValues, item: Item) -> bool:
        """The index columns repeat what the JSON says. Somebody's SQL may have changed the one without the other."""
        for (name, _, each), held in zip(self._codecs, values, strict=False):
            value = item.get(name)
            try:
                wanted = each.encode(value) if value is not None and each.tag in value else None
            except ValueDoesNotFitError:
                return False
            if wanted != held:
                return False
        return True

    def held_in(self, _: str) -> None:
        """An index's columns hold what orders as an attribute does, and not the attribute."""

    def span(self, index: Index | None) -> IndexRange:
        hashes, ranges = self.schema.index_keys(index)
        equal_columns = tuple(self._column_name(name) for name in hashes)
        encoders = tuple(self._hash_encoder(name) for name in hashes)
        sorts = tuple(self._sort_column(name) for name in ranges)
        return IndexRange(equal_columns, encoders, sorts, (*equal_columns, *(sort.name for sort in sorts)))

    def _hash_encoder(self, name: str) -> HashEncoder:
        hash_codec = self._codec_of(name)

        def alternatives(value: Value) -> Sequence[SqlValues] | None:
            try:
                return [(hash_codec.encode(value),)]
            except ValueDoesNotFitError:
                return None

        return alternatives

    def _sort_column(self, name: str) -> SortColumn:
        range_codec = self._codec_of(name)

        def operand(value: Value) -> Any:
            try:
                return range_codec.encode(value)
            except ValueDoesNotFitError:
                return None

        return SortColumn(self._column_name(name), operand)

    def type_of(self, attributes: Item) -> str:  # noqa: ARG002  (tables without a mapping have no item types)
        return ""

    def tells_type(self, names: Iterable[str]) -> bool:  # noqa: ARG002
        return False

    def after_update(self, item: Item, touched: frozenset[str]) -> Item:  # noqa: ARG002
        return item
