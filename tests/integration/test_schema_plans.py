"""Every read that is served by an index in DynamoDB, and every query of the migration plan, uses its index in SQL.

Asked of PostgreSQL's planner by EXPLAIN, on rows enough and analysed, with the texts in C order as DSQL has them. Both
for the values that are asked with and for any (a generic plan), which is what a prepared statement may come to have.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from proxy.dynamodb.listing import Listing
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.load import load
from proxy.migrate.schema.migration_files import shipped_folder
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.stores.dsql.sql.listing_statements import page_statement
from proxy.stores.dsql.sql.many_keys import select_many
from proxy.stores.dsql.sql.statements import Comparison, Statements
from tests.items.listings import listings
from tests.standins.billio import INDEXES, table_definition
from tests.standins.postgres import Postgres

CONFIG = Path(__file__).parents[2] / "config"
BILLIO = TableSchema.from_description(table_definition())
MAPPING = load(CONFIG / "billio.toml").mapping
STATEMENTS = Statements("public", MAPPING)

# 40,000 items: most of them seasons and books, a third without a rating, titles of a few thousand works.
ROWS = """
INSERT INTO items (type, id, shelf, title, rating, external_id, notes, added_at, moved_at, category, series_id,
                   season_number, data)
SELECT kind, 'id-' || n, (ARRAY['Read', 'Reading', 'Wishlist', 'Upcoming'])[1 + n % 4], 'Work ' || n * 7919 % 5000,
       CASE WHEN n % 3 > 0 THEN (n * 31 % 19 + 2) / 2.0 END, CASE WHEN n % 5 > 0 THEN 'tmdb:' || n END, NULL,
       timestamptz '2015-01-01' + n * 7 % 40000 * interval '2 hours',
       timestamptz '2016-01-01' + n * 13 % 40000 * interval '2 hours',
       CASE WHEN kind IN ('Feature', 'TvSeries') THEN 'watching' END,
       CASE WHEN kind = 'TvSeason' THEN 'id-' || n % 900 END, CASE WHEN kind = 'TvSeason' THEN n % 12 END, '{}'
FROM (SELECT n, (ARRAY['Book', 'Book', 'Book', 'VideoGame', 'Feature', 'Feature', 'TvSeries', 'TvSeason', 'TvSeason',
                       'TvSeason'])[1 + n * 17 % 10] AS kind FROM generate_series(1, 40000) AS n) AS made
"""


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[str]:
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest_asyncio.fixture
async def connection(filled: str) -> AsyncIterator[asyncpg.Connection]:
    made: asyncpg.Connection = await asyncpg.connect(filled)
    if not await made.fetchval("SELECT to_regclass('items')"):
        await migrate(made, read_folder(shipped_folder()))
        await made.execute(ROWS)
        await made.execute("VACUUM ANALYZE items")
        assert await made.fetchval("SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"
    yield made
    await made.close()


class Plan:
    """What EXPLAIN says, in a few words."""

    def __init__(self, explained: str) -> None:
        self.nodes = list(_nodes(json.loads(explained)[0]["Plan"]))

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def kinds(self) -> set[str]:
        return {node["Node Type"] for node in self.nodes}

    def __repr__(self) -> str:
        return " < ".join(f"{node['Node Type']} {node.get('Index Name', '')}".strip() for node in self.nodes)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


async def plans(connection: asyncpg.Connection, sql: str, *values: Any) -> list[Plan]:
    """The plan for these values, and the one for any."""
    found = [Plan(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *values))]
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE asked AS {sql}")
    try:
        listed = f"({', '.join(map(_literal, values))})" if values else ""
        found.append(Plan(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked{listed}")))
    finally:
        await connection.execute("DEALLOCATE asked")
        await connection.execute("RESET plan_cache_mode")
    return found


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int | Decimal) else "'" + str(value).replace("'", "''") + "'"


HASHES = {
    "type": ("Book",),
    "category": ("watching",),
    "type:shelf": ("Book", "Read"),
    "externalId": ("tmdb:77",),
    "seriesId": ("id-5",),
}
SORTS: dict[str, Any] = {
    "movedAt": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    "addedAt": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    "title": "Work 2",
    "seasonNumber": Decimal(3),
}
BOUNDS: tuple[tuple[Comparison, ...], ...] = ((), (">=",), ("<",), (">=", "<="), ("=",))


def test_all_eight_indexes_are_asked() -> None:
    assert len(MAPPING.indexes) == len(INDEXES) == 8
    assert {name for each in BILLIO.indexes.values() for name in each.hashes} == HASHES.keys()


@pytest.mark.parametrize("bounds", BOUNDS, ids=lambda each: " ".join(each) or "all")
@pytest.mark.parametrize("name", sorted(INDEXES))
async def test_a_read_of_a_dynamodb_index_is_one_range_of_its_own(
    connection: asyncpg.Connection, name: str, bounds: tuple[Comparison, ...]
) -> None:
    """In both directions, from the start and from a cursor.

    And in the index's order, so that nothing has to be sorted: of a few rows the planner may rather fetch all by a
    bitmap and sort those, which is taken from it to see that it need not.
    """
    index = BILLIO.indexes[name]
    span = MAPPING.span(index)
    [hash_name], [range_name] = index.hashes, index.ranges
    sort = SORTS[range_name]
    named = tuple((span.sorts[0].name, comparison) for comparison in bounds)
    for cursor in (False, True):
        for descending in (False, True):
            after = (sort, *(("Book",) if "type" not in span.equal else ()), "id-9") if cursor else ()
            values = (*HASHES[hash_name], *[sort] * len(bounds), *after, 100)
            sql = STATEMENTS.range(span, 1, named, cursor=cursor, descending=descending)
            for plan in await plans(connection, sql, *values):
                assert plan.indexes == {MAPPING.indexes[name].sql_index}, (plan, sql)
            await connection.execute("SET enable_bitmapscan = off")
            for plan in await plans(connection, sql, *values):
                assert plan.indexes == {MAPPING.indexes[name].sql_index}, (plan, sql)
                assert plan.kinds <= {"Limit", "Index Scan"}, (plan, sql)
            await connection.execute("RESET enable_bitmapscan")


async def test_a_row_is_found_by_its_key(connection: asyncpg.Connection) -> None:
    for sql in (STATEMENTS.select, select_many(STATEMENTS, 1, lock=True)):
        for plan in await plans(connection, sql, "Book", "id-3"):
            assert plan.indexes == {"items_pkey"}, plan
    for plan in await plans(connection, STATEMENTS.scan(segmented=False, cursor=True), "Book", "id-3", 100):
        assert plan.indexes == {"items_pkey"}, plan
        assert "Sort" not in plan.kinds


# --- the plan's queries -----------------------------------------------------------------------------------------------

_MOVED = "moved_at >= '2010-01-01' AND moved_at <= '2200-01-01'"


@pytest.mark.parametrize("shelf", [False, True], ids=["ofType", "onShelf"])
@pytest.mark.parametrize("sort", ["moved_at", "added_at"])
@pytest.mark.parametrize("search", ["", "title ILIKE '%rk 4%'"], ids=["", "search"])
@pytest.mark.parametrize("rating", ["", "rating >= 4"], ids=["", "rating"])
async def test_of_type_and_on_shelf(
    connection: asyncpg.Connection, shelf: bool, sort: str, search: str, rating: str
) -> None:
    """Newest first, with any of the filters together: the order's own index, and the filters on what it gives."""
    wanted = {"moved_at": "moved", "added_at": "added"}[sort]
    conditions = ["type = $1", *(["shelf = $2"] if shelf else []), _MOVED, search, rating]
    sql = f"SELECT * FROM items WHERE {' AND '.join(filter(None, conditions))} ORDER BY {sort} DESC LIMIT 20"
    for plan in await plans(connection, sql, "Book", *(["Read"] if shelf else [])):
        assert plan.indexes == {f"idx_type_shelf_{wanted}" if shelf else f"idx_type_{wanted}"}, plan
        assert plan.kinds <= {"Limit", "Index Scan"}, plan


@pytest.mark.parametrize("shelf", [False, True])
async def test_the_best_rated_come_from_the_ratings_index(connection: asyncpg.Connection, shelf: bool) -> None:
    """Unrated last, which is the index read backwards; and the other way round, read forwards."""
    conditions = "type = $1" + (" AND shelf = $2" if shelf else "")
    name = "idx_type_shelf_rating" if shelf else "idx_type_rating"
    for least in ("", " AND rating >= 9"):
        for order in ("rating DESC NULLS LAST", "rating DESC NULLS LAST, id DESC", "rating NULLS FIRST"):
            sql = f"SELECT * FROM items WHERE {conditions}{least} ORDER BY {order} LIMIT 20"
            for plan in await plans(connection, sql, "Book", *(["Read"] if shelf else [])):
                assert plan.indexes == {name}, (plan, sql)
                assert plan.kinds <= {"Limit", "Index Scan"}, (plan, sql)


async def test_a_directionless_index_would_not_serve_the_ratings(connection: asyncpg.Connection) -> None:
    """Why the nulls stand first in it: with them last, the plan's order has to be sorted."""
    await connection.execute("BEGIN")
    try:
        await connection.execute("DROP INDEX idx_type_rating, idx_type_shelf_rating")
        await connection.execute("CREATE INDEX plain ON items (type, rating, id)")
        sql = "SELECT * FROM items WHERE type = $1 ORDER BY rating DESC NULLS LAST LIMIT 20"
        for plan in await plans(connection, sql, "Book"):
            assert plan.kinds & {"Sort", "Incremental Sort"}, plan
    finally:
        await connection.execute("ROLLBACK")


async def test_with_series_id_gives_seasons_in_their_order(connection: asyncpg.Connection) -> None:
    sql = "SELECT * FROM items WHERE series_id = $1 ORDER BY season_number"
    for plan in await plans(connection, sql, "id-5"):
        assert plan.indexes == {"idx_series_season"}, plan
        assert "Seq Scan" not in plan.kinds


async def test_with_external_id(connection: asyncpg.Connection) -> None:
    for plan in await plans(connection, "SELECT * FROM items WHERE external_id = $1", "tmdb:77"):
        assert plan.indexes == {"idx_external_id"}, plan


async def test_for_watching_by_the_category_and_by_the_plan_s_list_of_types(connection: asyncpg.Connection) -> None:
    by_category = "SELECT * FROM items WHERE category = $1 ORDER BY moved_at DESC LIMIT 20"
    for plan in await plans(connection, by_category, "watching"):
        assert plan.indexes == {"idx_category_moved"}, plan
        assert plan.kinds <= {"Limit", "Index Scan"}, plan
    # The plan's own form has no index that gives its order. In two halves it has.
    half = "(SELECT * FROM items WHERE type = '{}' ORDER BY moved_at DESC LIMIT 20)"
    halves = f"{half.format('Feature')} UNION ALL {half.format('TvSeries')} ORDER BY moved_at DESC LIMIT 20"
    for plan in await plans(connection, halves):
        assert plan.indexes == {"idx_type_moved"}, plan
        assert "Seq Scan" not in plan.kinds


# --- listings: the items API's pages ----------------------------------------------------------------------------------

_ORDERS = {"movedAt": "moved", "addedAt": "added", "title": "title", "rating": "rating"}


def own_index(listing: Listing, *, shelf: bool) -> str:
    if listing.index.name in ("seriesId", "externalId"):
        return MAPPING.indexes[listing.index.name].sql_index or ""
    # Titles have no index within a shelf: DynamoDB has none either, and one of the type serves.
    of = "shelf_" if shelf and listing.sort != "title" else ""
    return f"idx_type_{of}{_ORDERS[listing.sort]}"


async def test_a_listing_is_a_range_of_the_index_of_its_order(connection: asyncpg.Connection) -> None:
    """Every order with every combination of filters, from the beginning and from a place on: nothing is sorted, and
    what stands before the place is not read. Of a few rows the planner may choose to sort; that is taken from it."""
    asked = 0
    await connection.execute("SET enable_sort = off")
    await connection.execute("SET enable_bitmapscan = off")
    for listing in listings():
        if listing.limit is None or any(each.contains for each in listing.filters):
            continue  # a count needs no order, and a search changes no range
        statement = page_statement(STATEMENTS, listing, 21)
        assert statement is not None
        shelf = listing.index.name.startswith("shelf") or any(each.attribute == "shelf" for each in listing.filters)
        for plan in await plans(connection, statement.sql, *statement.parameters):
            assert plan.indexes == {own_index(listing, shelf=shelf)}, (plan, statement.sql)
            assert plan.kinds <= {"Limit", "Index Scan", "Merge Append"}, (plan, statement.sql)
            scans = [node for node in plan.nodes if node["Node Type"] == "Index Scan"]
            if listing.start is not None:
                # The place, or that there is no value to sort by, bounds the range itself.
                assert all("ROW(" in each["Index Cond"] or "IS NULL" in each["Index Cond"] for each in scans), plan
                assert "OR" not in str([each.get("Filter") for each in scans]).split(), plan
        asked += 1
    assert asked > 200
