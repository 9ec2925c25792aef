"""The mappings on any item: the way there and back is the identity, or `encode` says which attribute is the matter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item, Value, canonical_item
from proxy.mapping import json_column
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.composites import Composite
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import SqlValues, TableMapping
from proxy.mapping.load import parse
from tests import strategies
from tests.property.mapping_cases import (
    BILLIO,
    BILLIO_MAPPING,
    PLAN_MAPPING,
    billio_items,
    each_oddity,
    items_of,
    odd_billio_items,
    odd_names,
    odd_texts,
    plain_billio_items,
    schemas,
)

# Every column type, number parts, a literal of two characters that a part's end can complete, a required column.
ORDERS = TableSchema.from_description(
    {
        "TableName": "orders",
        "KeySchema": [{"AttributeName": "key", "KeyType": "HASH"}],
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": tag}
            for name, tag in (
                ("key", "S"),
                ("ref", "S"),
                ("customer", "S"),
                ("digest", "B"),
                ("total", "N"),
                ("n", "N"),
            )
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": name,
                "KeySchema": [
                    {"AttributeName": each, "KeyType": role}
                    for each, role in zip(keys, ("HASH", "RANGE"), strict=False)
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for name, keys in {
                "ref": ("ref",),
                "customer": ("customer", "total"),
                "digest": ("digest", "n"),
                "n": ("n", "customer"),
            }.items()
        ],
    }
)
ORDERS_MAPPING = parse(
    {
        "table": "orders",
        "sql_table": "orders",
        "type_attribute": "kind",
        "composites": {"key": "{kind}::{n}", "ref": "{customer}::{n}"},
        "key": {"composite": "key", "columns": ["kind", "n"]},
        "columns": {
            "kind": {"type": "varchar(20)"},
            "n": {"type": "bigint"},
            "customer": {"type": "text"},
            "account": {"type": "uuid"},
            "digest": {"type": "text", "holds": "B"},
            "photo": {"type": "bytea"},
            "total": {"type": "numeric(12,2)"},
            "small": {"type": "smallint"},
            "paid": {"type": "boolean"},
            "at": {"type": "timestamptz"},
            "who": {"type": "varchar(4)", "required": True},
        },
        "indexes": {
            "ref": {"hash": "ref", "sql_index": "i"},
            "customer": {"hash": "customer", "range": "total", "sql_index": "i"},
            "digest": {"hash": "digest", "range": "n", "sql_index": "i"},
            "n": {"hash": "n", "range": "customer", "sql_index": "i"},
        },
    },
    "orders.toml",
).mapping


@st.composite
def orders(draw: st.DrawFn) -> Item:
    """Mostly whole orders; each attribute may be of any value, or lacking."""
    kind, number = draw(st.sampled_from(("a", "a:", "b::c"))), draw(st.sampled_from(("1", "-7", "05", "9" * 19)))
    customer = draw(st.sampled_from(("c", "c:", "é")))
    item: Item = {
        "key": {"S": f"{kind}::{number}"},
        "kind": {"S": kind},
        "n": {"N": number if number != "05" else "5"},
        "customer": {"S": customer},
        "ref": {"S": f"{customer}::{number}"},
        "who": {"S": draw(st.sampled_from(("me", "them", "everyone")))},
        "digest": {"B": draw(strategies.binaries())},
        "total": {"N": draw(strategies.numbers())},
        "small": {"N": draw(strategies.numbers())},
        "paid": {"BOOL": draw(st.booleans())},
        "account": {"S": draw(odd_texts())},
    }
    for name in draw(st.lists(st.sampled_from(sorted(set(item) - {"key"})), max_size=3, unique=True)):
        if draw(st.booleans()):
            del item[name]
        else:
            item[name] = draw(strategies.values())
    return item


def _as_read(values: SqlValues) -> SqlValues:
    """What PostgreSQL does to the JSON on the way: jsonb puts shorter names first and spells numbers its own way."""
    content = orjson.loads(values[-1])
    if isinstance(content, dict):
        content = dict(sorted(content.items(), key=lambda entry: (len(entry[0].encode()), entry[0])))
    return (*values[:-1], orjson.dumps(content).decode())


class _Never:
    """Holds no item to be ordinary."""

    def values(self, key: Key, item: Item) -> None:
        pass


def _by_all_rules(mapping: ColumnMapping) -> ColumnMapping:
    strict = replace(mapping)
    object.__setattr__(strict, "_ordinary", _Never())
    return strict


def _check_lossless(mapping: TableMapping, key: Key, item: Item) -> None:
    encoded = mapping.encode(key, item)
    if isinstance(mapping, ColumnMapping):
        assert encoded == _by_all_rules(mapping).encode(key, item), "the quick way is another"
    if encoded.faults:
        assert encoded.values is None
        assert encoded.image is None
        for fault in encoded.faults:
            assert fault.field in item or fault.field in mapping.fields, fault
            assert fault.reason
        return
    assert encoded.values is not None
    assert len(encoded.values) == len(mapping.columns)
    assert encoded.image == canonical_item(item)
    assert mapping.decode(_as_read(encoded.values)) == canonical_item(item)
    key_values = mapping.key_values(key)
    assert key_values is not None
    places = [column.name for column in mapping.columns]
    assert key_values == tuple(encoded.values[places.index(name)] for name in mapping.key_columns)


def _row(mapping: TableMapping, values: SqlValues) -> dict[str, Any]:
    return {column.name: value for column, value in zip(mapping.columns, values, strict=True)}


def _check_indexes(mapping: TableMapping, schema: TableSchema, item: Item, other: Value) -> None:
    """A faultless row lies in an index's span exactly if DynamoDB has the item in the index, and where it has it."""
    encoded = mapping.encode(schema.key_of(item), item)
    if encoded.values is None:
        return
    row = _row(mapping, encoded.values)
    for index in (None, *schema.indexes.values()):
        span = mapping.span(index)
        inside = all(row[name] is not None for name in (*span.equal, *span.present))
        hashes, ranges = schema.index_keys(index)
        assert inside == (index is None or schema.in_index(index, item)), index
        if not inside:
            continue
        mine = tuple(row[name] for name in span.equal)
        assert mine in (span.hash_values([item[name] for name in hashes]) or ())
        if mine in (span.hash_values([other] * len(hashes)) or ()):
            assert all(canonical_item({"_": other}) == canonical_item({"_": item[name]}) for name in hashes)
        for sort, name in zip(span.sorts, ranges, strict=True):
            assert sort.operand(item[name]) == row[sort.name]


# --- Billio -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(billio_items(), odd_texts())
def test_a_billio_item_comes_back_or_its_attribute_is_named(item: Item, other: str) -> None:
    _check_lossless(BILLIO_MAPPING, BILLIO.key_of(item), item)
    _check_indexes(BILLIO_MAPPING, BILLIO, item, {"S": other})


def _plain_text(value: Value | None) -> str | None:
    text = (value or {}).get("S")
    return text if isinstance(text, str) and "\x00" not in text else None


def _fits_time(value: Value) -> bool:
    number = Decimal(value.get("N", "NaN"))
    if number.is_nan() or not -62135596800000 < number < Decimal("253402300799999.999"):
        return False
    digits = value["N"].partition(".")[2]
    return len(digits) <= 3


def _fits_season(value: Value) -> bool:
    whole, _, decimals = value.get("N", "none").lstrip("-").partition(".")
    return whole.isdigit() and len(whole) <= 16 and len(decimals) <= 4


def _expected_faults(item: Item) -> set[str]:
    """The rules of config/billio.toml in other words: which attributes an index needs and cannot have."""
    kind, colon, identity = item["type:id"]["S"].partition(":")
    if not colon:
        return {"type:id"}
    faults = {name for name, part in (("type", kind), ("id", identity)) if "\x00" in part}
    if item.get("type") != {"S": kind}:
        faults.add("type")
    for name in ("shelf", "title", "category", "externalId", "seriesId"):
        if name in item and _plain_text(item[name]) is None:
            faults.add(name)
    if "seriesId" in item and kind != "TvSeason":
        faults.add("seriesId")
    faults |= {name for name in ("movedAt", "addedAt") if name in item and not _fits_time(item[name])}
    if "seasonNumber" in item and not _fits_season(item["seasonNumber"]):
        faults.add("seasonNumber")
    shelf = _plain_text(item.get("shelf"))
    made = None if shelf is None or "\x00" in kind else {"S": f"{kind}:{shelf}"}
    if item.get("type:shelf") != made:
        faults.add("type:shelf")
    return faults


def _short(item: Item) -> bool:
    """Whether no key of an index can be too long; what happens where one is, the unit tests say."""
    names = ("type:id", "shelf", "title", "externalId", "seriesId", "category")
    return sum(len(str(item.get(name, {}).get("S", "")).encode()) for name in names) < 800


@settings(max_examples=250, deadline=None)
@given(billio_items())
def test_the_faults_of_a_billio_item_are_exactly_what_the_indexes_cannot_have(item: Item) -> None:
    assume(_short(item))

    found = BILLIO_MAPPING.encode(BILLIO.key_of(item), item).faults

    assert {fault.field for fault in found} == _expected_faults(item)


def test_each_oddity_of_a_billio_item_comes_back_or_is_named() -> None:
    """One at a time and every one of them, where Hypothesis mixes and draws."""
    for item in odd_billio_items():
        key = BILLIO.key_of(item)
        _check_lossless(BILLIO_MAPPING, key, item)
        _check_indexes(BILLIO_MAPPING, BILLIO, item, {"S": "Book:Read"})
        _check_plan(item)
        if _short(item):
            assert {fault.field for fault in BILLIO_MAPPING.encode(key, item).faults} == _expected_faults(item), item


@given(plain_billio_items())
def test_what_billio_writes_fits(item: Item) -> None:
    assert BILLIO_MAPPING.encode(BILLIO.key_of(item), item).faults == ()


@given(plain_billio_items())
def test_what_billio_writes_goes_the_quick_way_and_not_under_another_key(item: Item) -> None:
    if len(item["title"]["S"]) < 100:  # else it might be too long for an index, which takes more than a glance
        assert BILLIO_MAPPING._ordinary.values(BILLIO.key_of(item), item) is not None
    assert BILLIO_MAPPING._ordinary.values(BILLIO.key_of({"type:id": {"S": "Book:of-another"}}), item) is None


def _check_plan(item: Item) -> None:
    """The faults are what the image lacks; and what a row gives back, written again, is the same row."""
    key = BILLIO.key_of(item)
    encoded = PLAN_MAPPING.encode(key, item)
    if encoded.values is None:
        assert encoded.faults
        assert encoded.image is None
        return
    image = PLAN_MAPPING.decode(_as_read(encoded.values))
    canonical = canonical_item(item)
    changed = {n for n in (*canonical, *image) if canonical.get(n) != image.get(n)}
    assert encoded.image == image
    assert {fault.field for fault in encoded.faults} == changed
    assert PLAN_MAPPING.encode(key, {**image, **key.attributes}).image == image


@settings(max_examples=200, deadline=None)
@given(billio_items())
def test_the_plan_says_exactly_what_it_loses_and_loses_it_once(item: Item) -> None:
    """Once: converging on the plan's table ends."""
    _check_plan(item)


# --- other mappings ---------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(orders(), odd_texts())
def test_an_order_comes_back_and_is_where_its_indexes_look(item: Item, other: str) -> None:
    _check_lossless(ORDERS_MAPPING, ORDERS.key_of(item), item)
    for name, tag in ORDERS.types.items():
        assume(name not in item or tag in item[name])  # DynamoDB refuses the item otherwise
    _check_indexes(ORDERS_MAPPING, ORDERS, item, {"S": other})


def test_each_oddity_of_an_order_comes_back_and_is_where_its_indexes_look() -> None:
    order: Item = {
        "key": {"S": "a::5"},
        "kind": {"S": "a"},
        "n": {"N": "5"},
        "customer": {"S": "c"},
        "ref": {"S": "c::5"},
        "who": {"S": "me"},
        "digest": {"B": "AAE="},
        "total": {"N": "9.5"},
    }
    more = ("account", "small", "paid", "at")
    keys = ("a:::5", "a::05", "a::5.0", "a::+5", "a::", "::5", "a::5::5", "a::1e1", "a::x", "a5")
    items = [*each_oddity(order, (*list(order)[1:], *more)), *({**order, "key": {"S": key}} for key in keys)]
    for item in items:
        _check_lossless(ORDERS_MAPPING, ORDERS.key_of(item), item)
        if all(name not in item or tag in item[name] for name, tag in ORDERS.types.items()):
            _check_indexes(ORDERS_MAPPING, ORDERS, item, {"S": "c::5"})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_item_of_a_table_without_a_mapping_comes_back(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    mapping = DocumentMapping(schema)
    item = data.draw(items_of(schema))
    _check_lossless(mapping, schema.key_of(item), item)
    _check_indexes(mapping, schema, item, data.draw(strategies.scalars()))


@given(st.data())
def test_columns_of_a_document_have_names_of_their_own(data: st.DataObject) -> None:
    mapping = DocumentMapping(data.draw(schemas()))
    names = [column.name for column in mapping.columns]
    assert len(set(names)) == len(names)
    assert all(0 < len(name.encode()) <= 63 for name in names)


def _document(data: st.DataObject) -> tuple[TableSchema, TableMapping, st.SearchStrategy[Item]]:
    schema = data.draw(schemas())
    return schema, DocumentMapping(schema), items_of(schema)


_KINDS: dict[str, Callable[[st.DataObject], tuple[TableSchema, TableMapping, st.SearchStrategy[Item]]]] = {
    "billio": lambda _: (BILLIO, BILLIO_MAPPING, billio_items()),
    "orders": lambda _: (ORDERS, ORDERS_MAPPING, orders()),
    "document": _document,
}


@pytest.mark.parametrize("table", sorted(_KINDS))
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_equal_items_give_equal_rows(table: str, data: st.DataObject) -> None:
    schema, mapping, items = _KINDS[table](data)
    item = data.draw(items)
    respelt = {name: data.draw(strategies.respelt(value)) for name, value in item.items()}
    names = list(respelt)
    random.Random(data.draw(st.integers(0, 9))).shuffle(names)
    respelt = {name: respelt[name] for name in names}
    assert mapping.encode(schema.key_of(item), item).values == mapping.encode(schema.key_of(respelt), respelt).values


@given(st.sampled_from((BILLIO_MAPPING, PLAN_MAPPING, ORDERS_MAPPING)), strategies.values(), st.sampled_from("SN"))
def test_no_operand_makes_a_span_fail(mapping: ColumnMapping, value: Value, tag: str) -> None:
    schema = ORDERS if mapping is ORDERS_MAPPING else BILLIO
    for index in (None, *schema.indexes.values()):
        span = mapping.span(index)
        for sort in span.sorts:
            sort.operand(value)
        found = span.hash_values([value] * len(schema.index_keys(index)[0]))
        assert all(len(each) == len(span.equal) for each in found or ())


# --- the JSON column --------------------------------------------------------------------------------------------------


@settings(max_examples=250)
@given(strategies.values())
@example({"M": {"$S": {"S": "QQ=="}}})
@example({"M": {"$absent": {"L": []}, "$$": {"NULL": True}, "$K": {"N": "0"}, "": {"SS": ["\x00", "$S"]}}})
@example({"N": "0.000000000000001"})
@example({"L": [{"N": "999999999999999"}, {"N": "1000000000000000"}, {"N": "-0.1"}]})
def test_tagged_json_gives_the_value_back(value: Value) -> None:
    text = orjson.dumps(json_column.tagged(value)).decode()
    assert json_column.untagged(orjson.loads(text)) == value
    assert "\\u0000" not in text.replace("\\\\", "")


@given(st.dictionaries(odd_names(), strategies.values(), max_size=4))
def test_tagged_names_come_back_and_never_meet_the_columns_own_mark(attributes: Item) -> None:
    json = json_column.tagged_map(attributes)
    assert json_column.untagged_map(json) == attributes
    assert "$absent" not in json


# --- composites -------------------------------------------------------------------------------------------------------

_LITERALS = st.sampled_from((":", "::", "#", "a", "aba", "--"))
_PARTS = st.text(st.sampled_from("ab:#-x"), max_size=6)


@st.composite
def _composites(draw: st.DrawFn) -> Composite:
    literals = draw(st.lists(_LITERALS, max_size=3))
    names = ["p0", *(f"p{n}" for n in range(1, len(literals) + 1))]
    tail = "".join(f"{literal}{{{name}}}" for literal, name in zip(literals, names[1:], strict=True))
    return Composite.from_template("{p0}" + tail)


@settings(max_examples=200)
@given(_composites(), st.data())
def test_what_a_composite_renders_it_parses_to_the_same_parts(composite: Composite, data: st.DataObject) -> None:
    parts = {name: data.draw(_PARTS) for name in composite.parts}
    rendered = composite.render({name: {"S": text} for name, text in parts.items()})
    if rendered is not None:
        assert composite.parse(rendered) == parts


@settings(max_examples=200)
@given(_composites(), st.text(st.sampled_from("ab:#-x"), max_size=12))
def test_what_a_composite_parses_it_renders_to_the_same_text(composite: Composite, text: str) -> None:
    parts = composite.parse(text)
    if parts is not None:
        assert composite.render({name: {"S": part} for name, part in parts.items()}) == text
