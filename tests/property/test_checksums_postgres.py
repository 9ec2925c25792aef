"""A row's digest as PostgreSQL tells it and as Python does: one, for every item that a mapping can hold.

Each example is many items on few connections. Rows go in by `Bulk.insert`, the way backfill writes them, and come out
again as `decode` expects them: text arrays and casts must not change a value either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import SqlValues, TableMapping
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.migrate.verify.key_checksums import KeyChecksums
from proxy.stores.dsql.bulk import Bulk
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql import checksums
from proxy.stores.dsql.store import DSQLStore
from tests.property.mapping_cases import (
    BILLIO,
    BILLIO_MAPPING,
    CONFIG,
    PLAN_MAPPING,
    billio_items,
    items_of,
    odd_billio_items,
    plain_billio_items,
    schemas,
)
from tests.standins.pools import open_dsn_pool

_MANY: Final[dict[str, Any]] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
_BUCKETS: Final = 4
_ODD: Final = ("\x01\x1f\x7f", '"\\/\b\f\n\r\t', "\u2028é😀", "1e-5")


class Place:
    """One database, through the DSQL gate, and a loop to ask it on."""

    def __init__(self, dsn: str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.pool: Pool = open_dsn_pool(dsn, maximum=2)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def bulk(self, mapping: TableMapping) -> Bulk:
        return Bulk(self.pool, mapping, schema="public", seconds=120)

    async def migrate(self, folder: Path) -> None:
        async with self.pool.connection() as connection:
            await migrate(connection, read_folder(folder))


@pytest.fixture
def place(dsql_database: str) -> Iterator[Place]:
    with asyncio.Runner() as runner:
        found = Place(dsql_database, runner)
        yield found
        runner.run(found.pool.close())


async def _nothing_first(_: asyncpg.Connection) -> None:
    """The transaction has nothing else to do."""


async def _one_digest(place: Place, mapping: TableMapping, schema: TableSchema, items: list[Item], table: str) -> None:
    """Write all that can be written, ask for every digest there is, and compare; leave the table empty."""
    rows: dict[SqlValues, tuple[Key, SqlValues]] = {}
    for item in items:
        key = schema.key_of(item)
        encoded = mapping.encode(key, item)
        key_values = mapping.key_values(key)
        # Of the plan's rule that only a TvSeason has a series its mapping does not know.
        allowed = mapping is not PLAN_MAPPING or "seriesId" not in item or item.get("type") == {"S": "TvSeason"}
        if encoded.values is not None and key_values is not None and allowed:
            rows.setdefault(key_values, (key, encoded.values))
    keys = list(rows)
    values = [row for _, row in rows.values()]
    bulk = place.bulk(mapping)
    row_text, key_text = bulk.statements.row, bulk.statements.key
    try:
        if rows:
            assert await bulk.insert(values, _nothing_first) == len(values)
            assert await bulk.insert(values, _nothing_first) == 0
        found = await bulk.digests(keys)
        wanted = [row_text.digest(row) for row in values]
        if [found.get(n) for n in range(len(keys))] != wanted:
            await _explain(place, bulk, table, values)
        assert (await bulk.digest_of_all(keys) if keys else (0, b"")) == (
            (len(keys), checksums.of_all(wanted)) if keys else (0, b"")
        )
        sums = KeyChecksums()
        for each in keys:
            sums.add(key_text.whole(each))
        [whole] = [each async for each in bulk.slices()]
        totals = await bulk.sums(whole, _BUCKETS)
        assert sums.differing_buckets(_BUCKETS, totals) == set()
        come = await bulk.in_buckets(whole, _BUCKETS, range(_BUCKETS))
        store = DSQLStore(place.pool, lambda _: mapping)
        held = await store.rows.get_many([key for key, _ in rows.values()])
        assert set(come) == {one.token for one in held.values()}
        assert all(held[key].item == mapping.encode(key, dict(held[key].item or {})).image for key, _ in rows.values())
    finally:
        async with place.pool.connection() as connection:
            await connection.execute(f"DELETE FROM {table}")


async def _explain(place: Place, bulk: Bulk, table: str, values: list[SqlValues]) -> None:
    async with place.pool.connection() as connection:
        texts = {row[0] for row in await connection.fetch(f"SELECT {bulk.statements.row.sql} FROM {table}")}
    assert {bulk.statements.row.text(row) for row in values} == texts


def test_billio_rows_have_one_digest(place: Place) -> None:
    place.run(place.migrate(CONFIG / "migrations"))
    place.run(_one_digest(place, BILLIO_MAPPING, BILLIO, list(odd_billio_items()), "items"))

    @settings(max_examples=10, **_MANY)
    @given(st.lists(billio_items(), min_size=8, max_size=24))
    def holds(items: list[Item]) -> None:
        place.run(_one_digest(place, BILLIO_MAPPING, BILLIO, items, "items"))

    holds()


def test_the_plans_rows_have_one_digest(place: Place) -> None:
    place.run(place.migrate(CONFIG / "migrations-plan"))
    place.run(_one_digest(place, PLAN_MAPPING, BILLIO, list(odd_billio_items()), "items"))

    @settings(max_examples=8, **_MANY)
    @given(st.lists(st.one_of(billio_items(), plain_billio_items()), min_size=8, max_size=24))
    def holds(items: list[Item]) -> None:
        place.run(_one_digest(place, PLAN_MAPPING, BILLIO, items, "items"))

    holds()


def test_documents_have_one_digest(place: Place) -> None:
    documents = DocumentTables(place.pool, "public")

    async def one_table(schema: TableSchema, items: list[Item]) -> None:
        mapping = DocumentMapping(schema)
        await documents.create(mapping)
        try:
            await _one_digest(place, mapping, schema, items, f'"{schema.name}"')
        finally:
            await documents.drop(schema.name)

    numbers = iter(range(10_000))

    @settings(max_examples=8, **_MANY)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        # A name of its own each time: the connections keep statements that were prepared for the table before.
        schema = data.draw(schemas(f"made.up-{next(numbers)}"))
        place.run(one_table(schema, data.draw(st.lists(items_of(schema), min_size=6, max_size=12))))

    holds()


def test_jsonb_is_written_as_postgres_writes_it(place: Place) -> None:
    texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
    numbers = st.one_of(
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from((1e-5, 1e22, 1.5e300, 5e-324, -1e-7, 9007199254740993.0, 0.1)),
    )
    documents = st.recursive(
        st.one_of(st.none(), st.booleans(), numbers, texts, st.sampled_from(_ODD)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=5)),
        max_leaves=12,
    )

    async def printed(written: list[str]) -> list[str]:
        async with place.pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT j::jsonb::text AS text FROM unnest($1::text[]) WITH ORDINALITY AS u(j, n) ORDER BY n", written
            )
            return [row["text"] for row in rows]

    @settings(max_examples=15, **_MANY)
    @given(st.lists(documents, min_size=20, max_size=40))
    def holds(some: list[Any]) -> None:
        written = [orjson.dumps(each, option=orjson.OPT_SORT_KEYS).decode() for each in some]
        found = place.run(printed(written))
        assert [checksums.jsonb_text(text) for text in written] == found

    holds()
