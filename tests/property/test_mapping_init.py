"""A drafted mapping holds every item of the sample it was drafted from, whatever the table."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item, canonical_number
from proxy.mapping.load import LoadedMapping, load, parse
from proxy.migrate.mapping_draft.draft import Draft, draft_mapping, snake_case
from proxy.migrate.mapping_draft.profile import find_discriminator, profile_attributes
from proxy.migrate.mapping_draft.render import render_migrations, render_toml
from proxy.migrate.preflight.cross_item_checks import CrossItemChecks
from proxy.migrate.preflight.index_checks import check_indexes
from proxy.migrate.preflight.preflight import Preflight, PreflightReport
from tests.data import catalogue
from tests.standins.billio import table_definition

CONFIG = Path(__file__).resolve().parents[2] / "config"
NAMES = st.sampled_from(
    (
        "type",
        "id",
        "user",
        "Order",
        "movedAt",
        "moved_at",
        "a.b",
        "type:id",
        'q"uote',
        "über",
        "data",
        "ctid",
        "1st",
        "#",
    )
)
TEXTS = st.text("ab:#_-é", max_size=6)
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.integers(1_500_000_000_000, 1_700_000_000_000).map(str),
    st.decimals(-(10**6), 10**6, places=3, allow_nan=False).map(lambda each: canonical_number(str(each))),
    st.sampled_from(("1E-100", "9.9E+120", "0", "-0.00000001")).map(canonical_number),
)
VALUES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "S": st.builds(lambda text: {"S": text}, TEXTS),
    "N": st.builds(lambda text: {"N": text}, NUMBERS),
    "B": st.sampled_from(({"B": "AAE="}, {"B": "/w=="}, {"B": "YWI="})),
}
ANY_VALUE = st.one_of(*VALUES.values(), st.sampled_from(({"BOOL": True}, {"NULL": True}, {"SS": ["a"]}, {"L": []})))


@st.composite
def tables(draw: st.DrawFn) -> tuple[TableSchema, list[Item]]:
    """A table with any keys and indexes, and items that DynamoDB would take: index keys have their types."""
    names = draw(st.lists(NAMES, min_size=3, max_size=8, unique=True))
    types = {name: draw(st.sampled_from(("S", "S", "N", "B"))) for name in names}
    ranged = draw(st.booleans())
    keys = names[: 1 + ranged]
    indexes = {}
    for number in range(draw(st.integers(0, 3))):
        chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        indexes[f"index.{number}"] = chosen
    indexed = {*keys, *(name for each in indexes.values() for name in each)}

    def schema_of(parts: list[str]) -> list[dict[str, str]]:
        return [{"AttributeName": n, "KeyType": t} for n, t in zip(parts, ("HASH", "RANGE"), strict=False)]

    schema = TableSchema.from_description(
        {
            "TableName": draw(st.sampled_from(("things", "My.Table-2", "select"))),
            "KeySchema": schema_of(keys),
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": types[n]} for n in indexed],
            "GlobalSecondaryIndexes": [
                {"IndexName": name, "KeySchema": schema_of(parts), "Projection": {"ProjectionType": "ALL"}}
                for name, parts in indexes.items()
            ],
        }
    )
    items: dict[str, Item] = {}
    for _ in range(draw(st.integers(0, 12))):
        item: Item = {name: draw(VALUES[types[name]]) for name in keys}
        for name in names[len(keys) :]:
            if draw(st.booleans()):
                item[name] = draw(VALUES[types[name]] if name in indexed or draw(st.booleans()) else ANY_VALUE)
        items[schema.key_of(item).text] = item
    return schema, list(items.values())


@st.composite
def tables_with_composites(draw: st.DrawFn) -> tuple[TableSchema, list[Item]]:
    """One-table designs: key and index attributes made of others, which hardly any item contradicts."""
    separator = draw(st.sampled_from(("#", ":", "::")))
    schema = TableSchema.from_description(
        {
            "TableName": "things",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "gsi", "name")],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "by-state",
                    "KeySchema": [
                        {"AttributeName": "gsi", "KeyType": "HASH"},
                        {"AttributeName": "name", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        }
    )
    items: dict[str, Item] = {}
    for number in range(draw(st.integers(1, 10))):
        kind, state, name = draw(st.sampled_from("ab")), draw(st.sampled_from(("x", "y", "x:", "#"))), draw(TEXTS)
        item: Item = {"kind": {"S": kind}, "id": {"N": str(number)}, "state": {"S": state}, "name": {"S": name}}
        item["pk"] = {"S": f"{kind}{separator}{number}"}
        item["gsi"] = {"S": f"{kind}{separator}{state}"}
        odd = draw(st.sampled_from(("", "", "", "no index", "no state", "another index", "another key", "no kind")))
        if odd in ("no index", "no state"):
            del item["gsi"]
        if odd in ("no state", "no kind"):
            del item["state" if odd == "no state" else "kind"]
        if odd == "another index":
            item["gsi"] = {"S": f"{state}{separator}{kind}"}
        if odd == "another key":
            item["pk"] = {"S": f"{number}"}
        event(odd or "as the others")
        items[item["pk"]["S"]] = item
    return schema, list(items.values())


def examined(mapped: LoadedMapping, schema: TableSchema, items: list[Item]) -> PreflightReport:
    with CrossItemChecks() as census:
        preflight = Preflight(mapped.mapping, schema, census, mapped.references)
        preflight.check_items(items)
        return preflight.report(values=True)


def read(drafted: Draft) -> LoadedMapping:
    return parse(tomllib.loads(render_toml(drafted)), "drafted.toml")


@settings(max_examples=250, deadline=None)
@given(st.one_of(tables(), tables_with_composites()))
def test_every_item_of_the_sample_goes_in_and_out(table: tuple[TableSchema, list[Item]]) -> None:
    schema, items = table
    drafted = draft_mapping(schema, items)
    mapped = read(drafted)
    assert examined(mapped, schema, items).losses == ()
    for item in items:
        key = schema.key_of(item)
        encoded = mapped.mapping.encode(key, item)
        assert encoded.values is not None
        assert mapped.mapping.key_values(key) is not None
    statements = list(render_migrations(drafted).values())
    assert list(check_indexes(mapped.mapping, statements)) == []
    assert set(mapped.mapping.indexes) == set(schema.indexes)


BILLIO = TableSchema.from_description(table_definition())


def test_billio_s_draft_is_much_like_its_mapping() -> None:
    drafted = draft_mapping(BILLIO, catalogue(), "items")
    ours, mapped = load(CONFIG / "billio.toml"), read(drafted)
    assert {n: c.template for n, c in mapped.mapping.composites.items()} == {
        n: c.template for n, c in ours.mapping.composites.items()
    }
    assert (mapped.mapping.key, mapped.mapping.key_columns) == (ours.mapping.key, ours.mapping.key_columns)
    assert mapped.mapping.type_attribute == ours.mapping.type_attribute
    assert mapped.references == ours.references
    assert set(mapped.mapping.indexes) == set(ours.mapping.indexes)
    for name, served in ours.mapping.indexes.items():
        drafted_index = mapped.mapping.indexes[name]
        assert (drafted_index.hashes, drafted_index.ranges) == (served.hashes, served.ranges)
    types = {c.path[0]: (c.name, c.codec.sql_type) for c in mapped.mapping.attribute_columns}
    hand_made = {c.path[0]: (c.name, c.codec.sql_type) for c in ours.mapping.attribute_columns}
    # Notes are in too few items to get a column by themselves; a rating's column is wider than it needs to be.
    assert types == {n: t for n, t in hand_made.items() if n != "notes"} | {
        "rating": ("rating", "numeric(20,4)"),
        "releaseYear": ("release_year", "text"),
    }
    for item_type in ("Book", "VideoGame", "Feature", "TvSeason"):
        named = {name for name, rule in ours.rules[item_type].attributes.items()} - {"releaseYear"}
        assert named <= set(mapped.rules[item_type].attributes)
    assert examined(mapped, BILLIO, catalogue()).losses == ()


def test_an_empty_table_gets_the_columns_of_its_keys() -> None:
    drafted = draft_mapping(BILLIO, [])
    assert {c.attribute for c in drafted.columns} == set(BILLIO.types)
    assert (drafted.key, drafted.key_columns, drafted.type_attribute) == (None, ("type_id",), None)
    assert examined(read(drafted), BILLIO, []).findings == ()


def test_a_composite_that_one_item_breaks_is_none() -> None:
    odd = {"type:id": {"S": "Book/7"}, "type": {"S": "Book"}, "id": {"S": "7"}, "title": {"S": "odd"}}
    drafted = draft_mapping(BILLIO, [*catalogue(), odd])
    assert "type:id" not in drafted.composites
    assert examined(read(drafted), BILLIO, [*catalogue(), odd]).losses == ()


def test_an_id_is_no_type_though_some_owners_have_more_attributes() -> None:
    orders: list[Item] = []
    for number in range(600):
        customer = number % 40
        order: Item = {"customer": {"S": f"c{customer}"}, "kind": {"S": ("web", "store")[number // 40 % 2]}}
        if customer % 3 == 0:
            order["discount"] = {"N": "5"}
        if number % 50 == 0:
            order["note"] = {"S": ""}
        orders.append(order)
    assert find_discriminator(orders, frozenset(), ()) is None
    assert find_discriminator(orders, frozenset({"customer"}), ()) is None
    assert find_discriminator(orders, frozenset({"kind"}), ()) == "kind"
    paid: list[Item] = [
        {**order, **({"till": {"S": "7"}} if order["kind"]["S"] == "store" else {})} for order in orders
    ]
    assert find_discriminator(paid, frozenset({"customer"}), ()) == "kind"


def test_names_are_names_of_sql() -> None:
    assert [snake_case(name) for name in ("movedAt", "type:shelf", "ISBNNumber", "1st", "é", "a" * 80)] == [
        "moved_at",
        "type_shelf",
        "isbnnumber",
        "_1st",
        "column",
        "a" * 46 + "_" + snake_case("a" * 80)[-16:],
    ]


def test_a_profile_measures_numbers_about_the_point() -> None:
    digits = {
        text: profile_attributes([{"n": {"N": text}}])["n"] for text in ("0", "12.5", "1E+20", "0.001", "1600000000000")
    }
    assert {text: (each.before, each.after) for text, each in digits.items()} == {
        "0": (0, 0),
        "12.5": (2, 1),
        "1E+20": (21, 0),
        "0.001": (0, 3),
        "1600000000000": (13, 0),
    }
    assert [text for text, each in digits.items() if each.timestamp] == ["1600000000000"]
