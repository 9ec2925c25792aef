"""Records of both streams, in the shapes that AWS documents, reduced to keys."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import load, parse
from proxy.stream.records import (
    ItemChange,
    RowChange,
    UnreadableRecordError,
    key_of_row,
    parse_cdc_record,
    parse_stream_record,
)
from tests.standins.billio import table_definition

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "tests" / "data" / "events"
BILLIO = TableSchema.from_description(table_definition())
MAPPING = load(ROOT / "config" / "billio.toml").mapping
RECORDS = json.loads((EVENTS / "dynamodb.json").read_text())["Records"]
ROWS = json.loads((EVENTS / "dsql.json").read_text())


def schema_of(**types: str) -> TableSchema:
    return TableSchema.from_description(
        {
            "TableName": "things",
            "KeySchema": [
                {"AttributeName": name, "KeyType": role} for name, role in zip(types, ("HASH", "RANGE"), strict=False)
            ],
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in types.items()],
        }
    )


def test_records_of_dynamodb_name_their_keys() -> None:
    read = [parse_stream_record(BILLIO, record) for record in RECORDS]
    assert [each.sequence_number[-2:] for each in read] == ["91", "92", "93"]
    assert [each.created for each in read] == [1795382401, 1795382402, 1795382403]
    keys = [each.key for each in read]
    assert [key.attributes for key in keys if key is not None] == [{"type:id": {"S": f"Book:{n}"}} for n in (1, 2, 3)]


def test_a_key_of_another_table_is_none_and_what_is_no_record_is_told() -> None:
    assert parse_stream_record(schema_of(pk="S"), RECORDS[0]) == ItemChange(
        RECORDS[0]["dynamodb"]["SequenceNumber"], 1795382401, None
    )
    broken_ones: list[dict[str, Any]] = [
        {},
        {"dynamodb": {}},
        {"dynamodb": None},
        RECORDS[0] | {"dynamodb": {"Keys": {}}},
    ]
    for broken in broken_ones:
        with pytest.raises(UnreadableRecordError, match="no record of a DynamoDB stream"):
            parse_stream_record(BILLIO, broken)


def test_rows_of_dsql_name_their_keys() -> None:
    created, deleted, other = (parse_cdc_record(json.dumps(row).encode()) for row in ROWS)
    assert created is not None
    assert deleted is not None
    assert other is not None
    assert (created.schema, created.table, other.table) == ("public", "items", "crossfade_board")
    assert deleted == RowChange("public", "items", {"type": "Book", "id": "2"})
    for row, number in ((created, 1), (deleted, 2)):
        assert key_of_row(MAPPING, BILLIO, row.row).attributes == {"type:id": {"S": f"Book:{number}"}}


def test_of_an_image_in_pieces_the_main_record_is_told() -> None:
    fragment = {"type": "fragment", "chunk_id": "c", "index": 0, "data": '{"type": "Boo'}
    assert parse_cdc_record(json.dumps(fragment).encode()) is None
    chunked = ROWS[0] | {"type": "chunked", "after": None, "chunked": {"after": {"chunk_id": "c"}}}
    with pytest.raises(UnreadableRecordError, match="without the row's columns"):
        parse_cdc_record(json.dumps(chunked).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{}", b'{"source": {}}', b'{"source": {"schema": 1, "table": 2}}'])
def test_what_is_no_change_record_is_told(data: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        parse_cdc_record(data)


@pytest.mark.parametrize(
    ("row", "attributes"),
    [
        ({"h": "--3", "r": "12.500000"}, {"h": {"B": "AAE="}, "r": {"N": "12.5"}}),
        ({"h": "", "r": "-0.0001"}, {"h": {"B": ""}, "r": {"N": "-0.0001"}}),
    ],
)
def test_keys_of_documents_come_from_their_columns(row: dict[str, Any], attributes: dict[str, Any]) -> None:
    schema = schema_of(h="B", r="N")
    assert key_of_row(DocumentMapping(schema), schema, row | {"item": "{}"}).attributes == attributes


def test_every_type_that_a_key_column_can_have_is_read() -> None:
    columns = {
        "h": ({"type": "uuid"}, "550e8400-e29b-41d4-a716-446655440000", {"S": "550e8400-e29b-41d4-a716-446655440000"}),
        "r": ({"type": "timestamptz"}, 1710510600123456, {"N": "1710510600123.456"}),
    }
    more = {"r": ({"type": "bigint"}, 9007199254740993, {"N": "9007199254740993"})}
    for chosen in (columns, columns | more):
        content = {
            "table": "things",
            "sql_table": "things",
            "key": {"columns": ["h", "r"]},
            "columns": {name: column for name, (column, _, _) in chosen.items()},
        }
        schema = schema_of(h="S", r="N")
        key = key_of_row(parse(content, "x").mapping, schema, {name: held for name, (_, held, _) in chosen.items()})
        assert key.attributes == {name: value for name, (_, _, value) in chosen.items()}


@pytest.mark.parametrize("row", [{}, {"type": "Book"}, {"type": "Book", "id": None}, {"type": 7, "id": "1"}])
def test_a_row_without_its_key_is_told(row: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRecordError, match="the primary key of items does not make a key"):
        key_of_row(MAPPING, BILLIO, row)


def as_cdc(held: Any) -> Any:
    """A column's value as "Data type serialization" has it."""
    if isinstance(held, Decimal):
        return format(held, "f")
    if isinstance(held, datetime):
        return (held - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return b64encode(held).decode() if isinstance(held, bytes) else held


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_key_comes_back_from_its_row(data: st.DataObject) -> None:
    values = {
        "S": st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=20),
        "N": st.integers(-(10**30), 10**30).map(str),
        "B": st.binary(max_size=9).map(lambda held: b64encode(held).decode()),
    }
    types = {name: data.draw(st.sampled_from("SNB")) for name in ("h", "r")}
    documents = schema_of(**types)
    parts = data.draw(st.tuples(values["S"].filter(lambda text: ":" not in text), values["S"]))
    keys: list[tuple[TableSchema, TableMapping, dict[str, Any]]] = [
        (documents, DocumentMapping(documents), {name: {tag: data.draw(values[tag])} for name, tag in types.items()}),
        (BILLIO, MAPPING, {"type:id": {"S": ":".join(parts)}}),
    ]
    for schema, mapping, attributes in keys:
        key = schema.key_of(attributes)
        held = mapping.key_values(key)
        assert held is not None
        row = {name: as_cdc(value) for name, value in zip(mapping.key_columns, held, strict=True)}
        assert key_of_row(mapping, schema, json.loads(json.dumps(row))) == key
