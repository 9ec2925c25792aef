"""Rows that the mapping did not write: each is unreadable or inconsistent, never an error of its own, never equal."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item, canonical_item
from proxy.mapping.foreign_rows import UnreadableRow, parse_object, same_json
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import load
from tests.standins.billio import table_definition
from tests.unit.test_mapping_columns import book
from tests.unit.test_mapping_sound import ITEM as READING
from tests.unit.test_mapping_sound import MAPPING as DOCUMENT
from tests.unit.test_mapping_sound import SCHEMA

BILLIO = TableSchema.from_description(table_definition("billio"))
COLUMNS = load(Path(__file__).resolve().parents[2] / "config" / "billio.toml").mapping
BOTH: list[tuple[TableMapping, TableSchema, Item]] = [(COLUMNS, BILLIO, book()), (DOCUMENT, SCHEMA, READING)]


def row(mapping: TableMapping, schema: TableSchema, item: Item) -> tuple[Any, ...]:
    values = mapping.encode(schema.key_of(item), item).values
    assert values is not None
    return values


def own(mapping: TableMapping, values: tuple[Any, ...]) -> bool:
    """Whether the row reads as an item that stands as the mapping writes it."""
    try:
        return mapping.index_consistent(values, mapping.decode(values))
    except UnreadableRow:
        return False


@pytest.mark.parametrize(("mapping", "schema", "item"), BOTH)
def test_a_row_that_the_mapping_wrote_is_its_own(mapping: TableMapping, schema: TableSchema, item: Item) -> None:
    values = row(mapping, schema, item)
    assert own(mapping, values)
    # As PostgreSQL prints jsonb: other blanks, another order of names.
    printed = json.dumps(dict(reversed(json.loads(values[-1]).items())))
    if mapping is COLUMNS:
        assert own(mapping, (*values[:-1], printed))


@pytest.mark.parametrize(("mapping", "schema", "item"), BOTH)
@pytest.mark.parametrize(
    "text",
    [
        '"a string"', "[]", "[1]", "null", "true", "7", "1e999", "{", "", "\\", "[" * 5000 + "]" * 5000,
        '{"a": ' * 3000 + "1" + "}" * 3000, '{"a": ' * 900 + "1" + "}" * 900,
    ],
)  # fmt: skip
def test_json_that_is_no_object(mapping: TableMapping, schema: TableSchema, item: Item, text: str) -> None:
    values = (*row(mapping, schema, item)[:-1], text)
    with pytest.raises(UnreadableRow) as raised:
        mapping.decode(values)
    assert raised.value.column == mapping.columns[-1].name
    assert "a string" not in str(raised.value) or text == '"a string"'


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": {"$B": 7}}, {"x": {"$B": "no base64"}}, {"x": {"$N": "twelve"}}, {"x": {"$N": 12}}, {"x": {"$SS": "a"}},
        {"x": {"$SS": []}}, {"x": {"$NS": ["a"]}}, {"x": {"$BS": [1]}}, {"x": {"$S": "%"}}, {"$absent": 5},
        {"$K%": 1}, {"x": [{"$SS": [1]}]},
    ],
)  # fmt: skip
def test_tags_that_hold_what_no_tag_holds(wrong: dict[str, Any]) -> None:
    values = row(COLUMNS, BILLIO, book())
    assert not own(COLUMNS, (*values[:-1], json.dumps(json.loads(values[-1]) | wrong)))


@pytest.mark.parametrize(
    "document",
    [
        {}, {"device": "d1"}, {"device": {"S": 1}}, {"device": {"S": "d1"}, "at": {"S": "7"}}, {"device": {"N": "1"}},
        {**READING, "value": {"N": "x"}}, {**READING, "value": {"Q": "x"}}, {**READING, "value": {}},
    ],
)  # fmt: skip
def test_documents_that_are_no_items(document: dict[str, Any]) -> None:
    values = row(DOCUMENT, SCHEMA, READING)
    assert not own(DOCUMENT, (*values[:-1], json.dumps(document)))


@pytest.mark.parametrize(("column", "held"), [("rating", Decimal("NaN")), ("moved_at", datetime.max), ("title", None)])  # noqa: DTZ901
def test_columns_that_somebody_wrote(column: str, held: Any) -> None:
    values = list(row(COLUMNS, BILLIO, book()))
    values[[each.name for each in COLUMNS.columns].index(column)] = held
    if column == "title":
        assert COLUMNS.decode(tuple(values)) == canonical_item(book(title=None))
        return
    if column == "moved_at":
        assert COLUMNS.decode(tuple(values))["movedAt"] != book()["movedAt"]
        return
    with pytest.raises(UnreadableRow) as raised:
        COLUMNS.decode(tuple(values))
    assert raised.value.column == column


def test_what_an_older_mapping_left_in_the_json_reads_alike_and_is_not_consistent() -> None:
    values = list(row(COLUMNS, BILLIO, book()))
    title = [each.name for each in COLUMNS.columns].index("title")
    older = json.loads(values[-1]) | {"title": values[title]}
    values[title], values[-1] = None, json.dumps(older)
    assert COLUMNS.decode(tuple(values)) == canonical_item(book())
    assert not own(COLUMNS, tuple(values))


def test_a_number_longer_than_a_double_is_read_to_its_last_digit() -> None:
    values = row(COLUMNS, BILLIO, book())
    for digits in ("0.12345678901234567890123", "12345678901234567890123.5", "123456789012345678"):
        text = values[-1][:-1] + (", " if values[-1] != "{}" else "") + f'"x": {digits}' + "}"
        assert COLUMNS.decode((*values[:-1], text))["x"] == {"N": digits}
        if len(digits) > 18:
            assert not own(COLUMNS, (*values[:-1], text)), "this mapping writes such a number as text"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), _nested := (
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
), max_leaves=8))  # fmt: skip
def test_any_json_at_all_is_read_or_unreadable(anything: Any) -> None:
    for mapping, schema, item in BOTH:
        values = row(mapping, schema, item)
        own(mapping, (*values[:-1], json.dumps(anything)))
        own(mapping, (*values[:-1], json.dumps({"x": anything})))
        own(mapping, (*values[:-1], json.dumps({**json.loads(values[-1]), "x": anything})))


def spell(numbers: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {digits}" for name, digits in numbers.items()) + "}"


@given(
    st.dictionaries(st.text(max_size=3), st.integers() | st.decimals(-(10**30), 10**30, places=12).map("{:f}".format))
)
def test_the_same_json_is_the_same_to_the_last_digit(numbers: dict[str, Any]) -> None:
    text = spell(numbers)
    assert same_json(text, spell(dict(reversed(numbers.items()))))
    for name in numbers:
        longer = {**numbers, name: f"{numbers[name]}{'' if '.' in str(numbers[name]) else '.'}000000001"}
        assert not same_json(text, spell(longer))
    assert parse_object("data", text).keys() == numbers.keys()
