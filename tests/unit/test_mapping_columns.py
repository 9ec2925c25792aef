"""Billio's mapping and the migration plan taken literally, by example: where each thing goes, and what is lost."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Index, Key, TableSchema
from proxy.dynamodb.values import Item, Value
from proxy.mapping.compatibility import misfits
from proxy.mapping.document_mapping import DocumentMapping, identifier
from proxy.mapping.interface import Encoded, IndexRange
from proxy.mapping.load import load, parse
from tests.standins.billio import table_definition

CONFIG = Path(__file__).resolve().parents[2] / "config"
BILLIO = TableSchema.from_description(table_definition("billio"))
MAPPING = load(CONFIG / "billio.toml").mapping
PLAN = load(CONFIG / "billio-plan.toml").mapping
ID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


def book(**changes: Value | None) -> Item:
    """A whole book with some attributes changed, or taken away (None)."""
    item: Item = {
        "type:id": {"S": f"Book:{ID}"},
        "type": {"S": "Book"},
        "id": {"S": ID},
        "shelf": {"S": "Read"},
        "type:shelf": {"S": "Book:Read"},
        "title": {"S": "The Dispossessed"},
        "movedAt": {"N": "1700000000123"},
        "addedAt": {"N": "1600000000000"},
        "rating": {"N": "9"},
        "author": {"S": "Ursula K. Le Guin"},
    }
    for name, value in changes.items():
        if value is None:
            del item[name]
        else:
            item[name] = value
    return item


def encode(item: Item) -> Encoded:
    return MAPPING.encode(BILLIO.key_of(item), item)


def plan(item: Item) -> Encoded:
    return PLAN.encode(BILLIO.key_of(item), item)


def row(encoded: Encoded, mapping: Any = MAPPING) -> dict[str, Any]:
    assert encoded.values is not None, encoded.faults
    found = {column.name: value for column, value in zip(mapping.columns, encoded.values, strict=True)}
    return {**found, "data": orjson.loads(found["data"])}


def faults(encoded: Encoded) -> dict[str, str]:
    return {fault.field: fault.reason for fault in encoded.faults}


# --- Billio's mapping -------------------------------------------------------------------------------------------------


def test_a_book_in_its_row() -> None:
    assert row(encode(book())) == {
        "type": "Book",
        "id": ID,
        "shelf": "Read",
        "title": "The Dispossessed",
        "rating": Decimal(9),
        "external_id": None,
        "notes": None,
        "added_at": datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC),
        "moved_at": datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC),
        "category": None,
        "series_id": None,
        "season_number": None,
        "data": {"author": "Ursula K. Le Guin"},
    }


def test_what_does_not_fit_its_column_stays_in_the_json_under_its_own_name() -> None:
    item = book(rating={"S": "nine"}, notes={"S": "a\x00b"}, id={"S": "another"})
    found = row(encode(item))
    assert found["rating"] is None
    assert found["id"] == ID
    assert found["data"]["rating"] == "nine"
    assert found["data"]["id"] == "another"
    assert found["data"]["notes"] == {"$S": "YQBi"}


def test_what_an_item_lacks_is_not_made_up() -> None:
    item = book(id=None, **{"type:shelf": None, "shelf": None})
    encoded = encode(item)
    assert row(encoded)["data"]["$absent"] == ["id"]
    assert encoded.values is not None
    assert MAPPING.decode(encoded.values) == item


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"type": None}, "type", "the item lacks it, its key has it"),
        ({"type": {"S": "Film"}}, "type", "differs from the key's part"),
        ({"movedAt": {"N": "0.0001"}}, "movedAt", "finer than a microsecond"),
        ({"title": {"S": "a\x00"}}, "title", "NUL"),
        ({"title": {"S": "é" * 500}}, "title", "at most 1024 are written"),
        ({"externalId": {"N": "5"}}, "externalId", "of type N"),
        ({"seasonNumber": {"N": "1.00001"}}, "seasonNumber", "decimal places"),
        ({"type:shelf": None}, "type:shelf", "the item lacks it and has its parts"),
        ({"type:shelf": {"S": "Film:Read"}}, "type:shelf", "does not have the form {type}:{shelf}"),
        ({"shelf": None}, "type:shelf", "its parts type, shelf are not all there"),
    ],
)
def test_what_an_index_needs_and_cannot_have_is_a_fault(
    changes: dict[str, Value | None], field: str, reason: str
) -> None:
    encoded = encode(book(**changes))
    assert (encoded.values, encoded.image) == (None, None)
    assert reason in faults(encoded)[field]


def test_a_key_that_is_too_long_is_a_fault_though_no_index_names_it() -> None:
    long = "i" * 1021
    encoded = encode(book(id={"S": long}, **{"type:id": {"S": f"Book:{long}"}}))
    assert "1025 bytes" in faults(encoded)["id"]
    short = "i" * 1000
    assert encode(book(id={"S": short}, title=None, **{"type:id": {"S": f"Book:{short}"}})).faults == ()


def test_a_key_of_another_form_is_a_fault_and_has_no_row() -> None:
    item = book(**{"type:id": {"S": "no colon"}})
    assert MAPPING.key_values(BILLIO.key_of(item)) is None
    assert "form {type}:{id}" in faults(encode(item))["type:id"]


def test_a_key_of_another_table_is_a_fault_and_not_a_crash() -> None:
    for text in ('{"pk":{"S":"Book:1"}}', '{"type:id":{"S":"Book:1"},"range":{"S":"x"}}'):
        key = Key("billio", text)
        assert MAPPING.key_values(key) is None
        assert "the mapping is for a table whose key is type:id" in MAPPING.encode(key, book()).faults[0].reason


def test_what_is_no_item_is_refused_in_dynamodbs_words() -> None:
    with pytest.raises(DynamoDBError):
        encode(book(rating={"N": "nine"}))


def test_a_row_that_others_wrote_reads_as_what_it_holds() -> None:
    values: list[Any] = [None] * len(MAPPING.columns)
    assert MAPPING.decode((*values[:-1], None)) == {}
    values[0], values[4], values[-1] = "Book", Decimal("8.500"), '{"n": 1.50, "big": 12345678901234567, "deep": [null]}'
    assert MAPPING.decode(tuple(values)) == {
        "type": {"S": "Book"},
        "rating": {"N": "8.5"},
        "n": {"N": "1.5"},
        "big": {"N": "12345678901234567"},
        "deep": {"L": [{"NULL": True}]},
    }


def test_a_series_id_is_for_seasons_only_as_the_table_s_check_has_it() -> None:
    season = {"type:id": {"S": f"TvSeason:{ID}"}, "type": {"S": "TvSeason"}, "id": {"S": ID}, "seriesId": {"S": "s"}}
    assert row(encode(season))["series_id"] == "s"
    found = encode(book(seriesId={"S": "s"}))
    assert found.values is None
    (fault,) = found.faults
    assert fault.field == "seriesId"
    assert "a CHECK keeps series_id for items of type TvSeason: mend the item, or drop" in fault.reason


def test_what_a_check_keeps_out_of_a_column_stays_in_the_json_where_no_index_needs_it() -> None:
    content = tomllib.loads((CONFIG / "billio.toml").read_text())
    content["columns"]["notes"]["only"] = ["Feature"]
    mapping = parse(content, "billio.toml").mapping
    item = book(notes={"S": "good"})
    encoded = mapping.encode(BILLIO.key_of(item), item)
    assert encoded.values is not None
    assert row(encoded, mapping)["notes"] is None
    assert mapping.decode(encoded.values) == item


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"type:id": {"S": f"Book:{ID}"}}, "Book"),
        ({"type:shelf": {"S": "Film:Read"}}, "Film"),
        ({"type": {"S": "TvSeason"}, "type:id": {"S": "Book:1"}}, "TvSeason"),
        ({"type:id": {"S": "no colon"}}, ""),
        ({"type": {"N": "1"}}, ""),
        ({"seriesId": {"S": ID}}, ""),
        ({}, ""),
    ],
)
def test_type_of(attributes: Item, expected: str) -> None:
    assert MAPPING.type_of(attributes) == expected


def sort_columns(span: IndexRange) -> tuple[str, ...]:
    return tuple(sort.name for sort in span.sorts)


def test_spans_of_the_eight_indexes_and_the_table() -> None:
    found = {name: MAPPING.span(index) for name, index in BILLIO.indexes.items()}
    assert {name: (span.equal, sort_columns(span), span.present) for name, span in found.items()} == {
        "type": (("type",), ("moved_at",), ("moved_at",)),
        "type-addedAt": (("type",), ("added_at",), ("added_at",)),
        "title": (("type",), ("title",), ("title",)),
        "category": (("category",), ("moved_at",), ("moved_at",)),
        "shelf": (("type", "shelf"), ("moved_at",), ("moved_at",)),
        "shelf-addedAt": (("type", "shelf"), ("added_at",), ("added_at",)),
        "externalId": (("external_id",), ("moved_at",), ("moved_at",)),
        "seriesId": (("series_id",), ("season_number",), ("season_number",)),
    }
    assert not any(span.sort_from_row for span in found.values())
    assert found["shelf"].hash_values([{"S": "Book:Read"}]) == [("Book", "Read")]
    assert found["shelf"].hash_values([{"S": "Book"}]) is None
    assert found["category"].hash_values([{"S": "a\x00"}]) is None
    assert found["type"].sorts[0].operand({"N": "0.0001"}) is None
    assert found["seriesId"].sorts[0].operand({"N": "3"}) == 3
    table = MAPPING.span(None)
    assert (table.equal, sort_columns(table)) == (("type", "id"), ())
    assert table.hash_values([{"S": "Book:1:2"}]) == [("Book", "1:2")]


def test_an_index_that_is_not_as_the_mapping_says_is_not_served() -> None:
    for index in (
        Index("unknown", ("type",), ("movedAt",), None, local=False),
        Index("type", ("type",), ("addedAt",), None, local=False),
        Index("type", ("shelf",), ("movedAt",), None, local=False),
        Index("type", ("type",), (), None, local=False),
    ):
        with pytest.raises(KeyError):
            MAPPING.span(index)


def test_the_mappings_fit_billios_table() -> None:
    assert misfits(MAPPING, BILLIO) == ()
    assert misfits(PLAN, BILLIO) == ()


def test_what_does_not_fit_a_table_is_said_with_place_and_remedy() -> None:
    table = table_definition("billio")
    table["KeySchema"] = [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "movedAt", "KeyType": "RANGE"}]
    for attribute in table["AttributeDefinitions"]:
        if attribute["AttributeName"] in ("movedAt", "seriesId"):
            attribute["AttributeType"] = "S" if attribute["AttributeName"] == "movedAt" else "N"
    table["AttributeDefinitions"].append({"AttributeName": "id", "AttributeType": "S"})
    indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    indexes["title"]["KeySchema"] = [
        {"AttributeName": "title", "KeyType": "HASH"},
        {"AttributeName": "type", "KeyType": "RANGE"},
    ]
    indexes["type"]["IndexName"] = "other"
    said = "\n".join(misfits(MAPPING, TableSchema.from_description(table)))
    assert "key: it is for type:id; the table has id, movedAt: name these, in this order" in said
    assert "key: movedAt is of type S, its column moved_at is timestamptz" in said
    assert "indexes.title: the table's index is on hash title, range type; give these as hash and range" in said
    assert "indexes.other: missing" in said
    assert "indexes.type: the table has no such index; leave it out" in said
    assert "indexes.seriesId: seriesId is of type N, its column series_id is text" in said


def test_only_a_literal_mapping_changes_what_an_update_leaves() -> None:
    item = book(notes={"S": "x"})
    assert MAPPING.after_update(item, frozenset({"author"})) == item


# --- keys without a composite -----------------------------------------------------------------------------------------


def test_hash_and_range_with_columns_of_their_own() -> None:
    schema = TableSchema(
        "events", "device", "at", {"device": "B", "at": "N"}, {"by-at": Index("by-at", ("at",), (), None, local=False)}
    )
    mapping = parse(
        {
            "table": "events",
            "sql_table": "events",
            "key": {"columns": ["device", "at"]},
            "columns": {"device": {"type": "text", "holds": "B"}, "at": {"type": "bigint"}},
            "indexes": {"by-at": {"hash": "at", "sql_index": "i"}},
        },
        "events.toml",
    ).mapping
    item: Item = {"device": {"B": "AAE="}, "at": {"N": "5"}, "x": {"NULL": True}}
    key = schema.key_of(item)
    assert misfits(mapping, schema) == ()
    assert mapping.key_values(key) == ("--3", 5)
    encoded = mapping.encode(key, item)
    assert encoded.values == ("--3", 5, '{"x":null}')
    assert mapping.decode(encoded.values) == item
    table = mapping.span(None)
    assert (table.equal, sort_columns(table), table.sorts[0].operand({"N": "7"})) == (("device",), ("at",), 7)
    by_at = mapping.span(schema.indexes["by-at"])
    assert (by_at.equal, sort_columns(by_at), by_at.present) == (("at",), (), ("at",))
    assert mapping.key_values(Key("events", '{"device":{"B":"AAE="},"at":{"N":"5.5"}}')) is None
    assert mapping.key_values(Key("events", '{"device":{"B":"AAE="}}')) is None


# --- documents --------------------------------------------------------------------------------------------------------


def test_a_document_holds_the_item_as_it_is_and_its_keys_as_columns() -> None:
    schema = TableSchema("t", "item", "n", {"item": "S", "n": "N"}, {})
    mapping = DocumentMapping(schema)
    item: Item = {"n": {"N": "05.0"}, "item": {"S": "a"}, "set": {"NS": ["2", "1"]}}
    assert mapping.key_columns == ("item_", "n")
    assert mapping.encode(schema.key_of(item), item).values == (
        "a",
        Decimal(5),
        '{"item":{"S":"a"},"n":{"N":"5"},"set":{"NS":["1","2"]}}',
    )


def test_a_documents_key_that_is_too_long_is_a_fault_of_its_longest_part() -> None:
    schema = TableSchema(
        "t",
        "hash",
        None,
        {"hash": "S", "bytes": "B", "text": "S"},
        {"by": Index("by", ("bytes",), ("text",), None, local=False)},
    )
    mapping = DocumentMapping(schema)

    def found(item: Item) -> dict[str, str]:
        return faults(mapping.encode(schema.key_of(item), item))

    assert found({"hash": {"S": "😀" * 256}}) == {}
    assert "1028 bytes" in found({"hash": {"S": "😀" * 257}})["hash"]
    # 384 bytes are 512 characters of the column's text.
    assert found({"hash": {"S": "h"}, "bytes": {"B": "AAAA" * 128}, "text": {"S": "t" * 511}}) == {}
    assert list(found({"hash": {"S": "h"}, "bytes": {"B": "AAAA" * 128}, "text": {"S": "t" * 512}})) == ["bytes"]
    assert list(found({"hash": {"S": "h"}, "bytes": {"B": "AAAA" * 128}, "text": {"S": "t" * 513}})) == ["text"]
    assert list(found({"hash": {"S": "h\x00"}})) == ["hash"]


def test_identifiers_fit_and_stay_apart() -> None:
    assert identifier("Any name: \"'") == "Any name: \"'"
    assert identifier("é" * 31) == "é" * 31
    one, two = identifier("é" * 40 + "1"), identifier("é" * 40 + "2")
    assert one != two
    assert len(one.encode()) <= 63
    assert identifier("a\x00b") not in ("a\x00b", "ab")


# --- the plan, taken literally ----------------------------------------------------------------------------------------


def test_the_plan_keeps_a_plain_book() -> None:
    encoded = plan(book())
    assert encoded.faults == ()
    assert encoded.image == book()


@pytest.mark.parametrize(
    ("changes", "field", "reason", "given_back"),
    [
        ({"rating": {"N": "8.5"}}, "rating", "changed", {"N": "9"}),
        ({"id": {"S": ID.upper()}, "type:id": {"S": f"Book:{ID.upper()}"}}, "id", "changed", {"S": ID}),
        (
            {"image": {"M": {"url": {"S": "u"}, "width": {"N": "1"}, "height": {"N": "2"}, "alt": {"S": "a"}}}},
            "image",
            "changed",
            {"M": {"url": {"S": "u"}, "width": {"N": "1"}, "height": {"N": "2"}}},
        ),
        ({"image": {"M": {}}}, "image", "no place", None),
        ({"image": {"S": "u"}}, "image", "no place", None),
        ({"notes": {"NULL": True}}, "notes", "no place", None),
        ({"platforms": {"SS": ["PC", "PS5"]}}, "platforms", "changed", {"L": [{"S": "PC"}, {"S": "PS5"}]}),
        ({"scores": {"NS": ["1", "2.5"]}}, "scores", "changed", {"L": [{"N": "1"}, {"N": "2.5"}]}),
        ({"cover": {"B": "AAE="}}, "cover", "changed", {"S": "AAE="}),
        ({"hoursPlayed": {"N": "12345678901234567890"}}, "hoursPlayed", "changed", {"N": "12345678901234567000"}),
        ({"movedAt": {"N": "1700000000000.5"}}, "movedAt", "changed", {"N": "1700000000000"}),
        ({"category": {"S": "watching"}}, "category", "no place", None),
        ({"type:shelf": None}, "type:shelf", "makes it up", {"S": "Book:Read"}),
        ({"type:shelf": {"S": "Film:Read"}}, "type:shelf", "changed", {"S": "Book:Read"}),
    ],
)
def test_what_the_plan_loses_is_named_and_seen_in_the_image(
    changes: dict[str, Value | None], field: str, reason: str, given_back: Value | None
) -> None:
    encoded = plan(book(**changes))
    assert encoded.values is not None
    assert encoded.image is not None
    assert reason in faults(encoded)[field]
    assert encoded.image.get(field) == given_back
    untouched = {n: value for n, value in encoded.image.items() if n not in faults(encoded)}
    assert untouched == {n: value for n, value in book(**changes).items() if n not in faults(encoded)}


@pytest.mark.parametrize(("kind", "derived"), [("Feature", "watching"), ("TvSeries", "watching"), ("TvSeason", None)])
def test_the_plan_derives_the_category_from_the_type(kind: str, derived: str | None) -> None:
    item = book(
        type={"S": kind},
        category={"S": "someday"},
        **{"type:id": {"S": f"{kind}:{ID}"}, "type:shelf": {"S": f"{kind}:Read"}},
    )
    encoded = plan(item)
    assert encoded.image is not None
    assert encoded.image.get("category", {}).get("S") == derived
    assert list(faults(encoded)) == ["category"]


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"title": None}, "title", "NOT NULL"),
        ({"shelf": {"NULL": True}}, "shelf", "NOT NULL"),
        ({"addedAt": None}, "addedAt", "NOT NULL"),
        ({"title": {"S": "x" * 501}}, "title", "501 characters, the column holds 500"),
        ({"title": {"S": "é" * 500}}, "title", "at most 1024 are written"),
        ({"externalId": {"S": "x" * 256}}, "externalId", "256 characters"),
        ({"rating": {"S": "nine"}}, "rating", "of type S"),
        ({"rating": {"N": "2147483648"}}, "rating", "out of range"),
        ({"movedAt": {"N": "1" + "0" * 40}}, "movedAt", "years 1 to 9999"),
        ({"seriesId": {"S": "the-wire"}}, "seriesId", "not a UUID"),
        ({"id": {"S": "book-1"}, "type:id": {"S": "Book:book-1"}}, "id", "not a UUID"),
        ({"id": None}, "id", "key's part"),
        ({"id": {"S": ID.replace("3", "4")}}, "id", "key's part"),
        ({"author": {"S": "a\x00"}}, "author", "NUL"),
        ({"tags": {"M": {"a\x00": {"L": []}}}}, "tags", "NUL"),
        ({"a\x00": {"N": "1"}}, "a\x00", "NUL"),
    ],
)
def test_what_the_plans_table_refuses_as_a_whole(changes: dict[str, Value | None], field: str, reason: str) -> None:
    encoded = plan(book(**changes))
    assert (encoded.values, encoded.image) == (None, None)
    assert faults(encoded)[field].startswith("the whole row is refused")
    assert reason in faults(encoded)[field]


def test_a_backslash_and_digits_are_no_nul() -> None:
    assert plan(book(author={"S": "\\u0000"})).faults == ()


def test_every_reason_to_refuse_a_row_is_given_at_once() -> None:
    assert set(faults(plan(book(title=None, rating={"S": "x"}, author={"S": "\x00"})))) == {"title", "rating", "author"}


def test_an_attribute_called_as_the_other_mappings_mark_is_data_to_the_plan() -> None:
    encoded = plan(book(**{"$absent": {"N": "5"}}))
    assert encoded.faults == ()
    assert encoded.image is not None
    assert encoded.image["$absent"] == {"N": "5"}


def test_by_id_alone_two_items_share_a_row() -> None:
    one, other = (Key("billio", orjson.dumps({"type:id": {"S": f"{kind}:{ID}"}}).decode()) for kind in ("Book", "Film"))
    assert PLAN.key_values(one) == PLAN.key_values(other)
    assert MAPPING.key_values(one) != MAPPING.key_values(other)
    upper = Key("billio", orjson.dumps({"type:id": {"S": f"Book:{ID.upper()}"}}).decode())
    assert PLAN.key_values(upper) == PLAN.key_values(one)
    assert PLAN.span(None).hash_values([{"S": f"Book:{ID.upper()}"}]) == [PLAN.key_values(one)]


def test_the_plan_sorts_seasons_by_when_they_were_moved_and_groups_types_as_categories() -> None:
    seasons = PLAN.span(BILLIO.indexes["seriesId"])
    assert (seasons.equal, sort_columns(seasons), seasons.present, seasons.sort_from_row) == (
        ("series_id",),
        ("moved_at",),
        ("moved_at",),
        True,
    )
    assert seasons.hash_values([{"S": ID.upper()}]) == [(ID,)]
    assert seasons.hash_values([{"S": "the-wire"}]) is None
    assert seasons.sorts[0].operand({"N": "3"}) is None
    watching = PLAN.span(BILLIO.indexes["category"])
    assert watching.equal == ("type",)
    assert watching.hash_values([{"S": "watching"}]) == [("Feature",), ("TvSeries",)]
    assert watching.hash_values([{"S": "reading"}]) is None


def test_a_bound_is_never_rounded_even_by_the_plan() -> None:
    """`movedAt < 1700000000000.5` must not become `< 1700000000000`: the bound is left to the page."""
    span = PLAN.span(BILLIO.indexes["type"])
    assert span.sorts[0].operand({"N": "1700000000000.0001"}) is None
    assert span.sorts[0].operand({"N": "1700000000000"}) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_partial_update_replaces_what_the_plan_keeps_in_data() -> None:
    item = book(reread={"BOOL": True}, year={"S": "1974"}, notes={"S": "n"})
    after = PLAN.after_update(item, frozenset({"reread", "notes"}))
    assert after == {n: v for n, v in item.items() if n not in ("author", "year")}
    assert PLAN.after_update(item, frozenset({"notes", "title"})) == item
