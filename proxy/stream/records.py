"""What a stream's records say, reduced to the key that was changed. Pure: nothing here looks at what it was changed to.

Two streams: DynamoDB's ("Record" and "StreamRecord", DynamoDB Streams API reference; Lambda's events are the same with
`eventSourceARN` beside), and Aurora DSQL's change data capture through Kinesis ("Understanding CDC records", user
guide), whose envelope has the row, or of a deleted row the primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item, Value
from proxy.mapping.codecs import Codec, codec
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.interface import TableMapping

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UnreadableRecordError(Exception):
    """A record that should name a key and does not; the text says why, without its values."""


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A DynamoDB record: its sequence number, when it was made (Unix seconds, whole), and the key, None if the table
    can have no item of that key."""

    sequence_number: str
    created: float
    key: Key | None


def parse_stream_record(schema: TableSchema, record: Mapping[str, Any]) -> ItemChange:
    """Raises Unreadable for what has not the form of a record."""
    try:
        held = record["dynamodb"]
        number, created, keys = held["SequenceNumber"], float(held["ApproximateCreationDateTime"]), held["Keys"]
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableRecordError(f"no record of a DynamoDB stream: {type(error).__name__} {error}") from error
    try:
        return ItemChange(str(number), created, schema.key_of(keys))
    except (DynamoDBError, AttributeError, TypeError):
        return ItemChange(str(number), created, None)


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row of DSQL's that was changed: its schema and table, and columns of it, its primary key's among them."""

    schema: str
    table: str
    row: Mapping[str, Any]


def parse_cdc_record(data: bytes) -> RowChange | None:
    """What a Kinesis record of DSQL's says; None for a fragment, whose main record names the row. Raises Unreadable.

    An image of more than 9 MiB comes in fragments, and is not put together here: DynamoDB's items have 400 KB, so no
    row that a mapping holds can have so large a one.
    """
    try:
        document = orjson.loads(data)
        if document.get("type") == "fragment":
            return None
        source = document["source"]
        schema, table = source["schema"], source["table"]
        row = document.get("after") or document.get("before")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UnreadableRecordError(f"no change record of DSQL's: {type(error).__name__}") from error
    if not isinstance(row, dict) or not isinstance(schema, str) or not isinstance(table, str):
        raise UnreadableRecordError("a change record without the row's columns")
    return RowChange(schema, table, row)


def key_of_row(mapping: TableMapping, schema: TableSchema, row: Mapping[str, Any]) -> Key:
    """The DynamoDB key of the item that a row of the mapping's table stands for. Raises Unreadable."""
    types = {column.name: column.sql_type for column in mapping.columns}
    try:
        codecs = _key_codecs(mapping, schema, types)
        values = [_READ[types[name].partition("(")[0]](row[name]) for name in mapping.key_columns]
        decoded = [each.decode(value) for each, value in zip(codecs, values, strict=True)]
        return schema.key_of(_attributes(mapping, schema, decoded))
    except (KeyError, TypeError, ValueError, ArithmeticError, DynamoDBError) as error:
        raise UnreadableRecordError(
            f"the primary key of {mapping.sql_table} does not make a key: {type(error).__name__}"
        ) from error


def _key_codecs(mapping: TableMapping, schema: TableSchema, types: Mapping[str, str]) -> list[Codec]:
    if isinstance(mapping, ColumnMapping):
        by_name = {column.name: column.codec for column in mapping.attribute_columns}
        return [by_name[name] for name in mapping.key_columns]
    held = zip(mapping.key_columns, schema.key_names, strict=True)
    return [codec(types[column], schema.types[attribute]) for column, attribute in held]


def _attributes(mapping: TableMapping, schema: TableSchema, decoded: list[Value]) -> Item:
    """DynamoDB's key attributes from the key columns' values."""
    if not isinstance(mapping, ColumnMapping):
        return dict(zip(schema.key_names, decoded, strict=True))
    by_name = {column.name: column.path[0] for column in mapping.attribute_columns}
    parts = {by_name[name]: value for name, value in zip(mapping.key_columns, decoded, strict=True)}
    if mapping.key is None:
        return parts
    text = mapping.composites[mapping.key].render(parts)
    if text is None:
        raise ValueError("parts of the key are missing")
    return {mapping.key: {"S": text}}


# "Data type serialization" (Understanding CDC records): numeric as a string, timestamptz as microseconds
# since the epoch. No key has bytea.
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "text": lambda held: _typed(held, str),
    "varchar": lambda held: _typed(held, str),
    "uuid": lambda held: _typed(held, str),
    "smallint": lambda held: _typed(held, int),
    "integer": lambda held: _typed(held, int),
    "bigint": lambda held: _typed(held, int),
    "boolean": lambda held: _typed(held, bool),
    "numeric": lambda held: Decimal(_typed(held, str)),
    "timestamptz": lambda held: _EPOCH + timedelta(microseconds=_typed(held, int)),
}


def _typed(held: Any, kind: type) -> Any:
    if type(held) is not kind:
        raise TypeError(f"{type(held).__name__}, not {kind.__name__}")
    return held
