"""The mappings through a real PostgreSQL and the DSQL store's own statements: what comes back is what `decode` expects.

PostgreSQL spells jsonb, numeric, uuid and timestamptz in its own way, and refuses what it cannot hold. Each example is
many items, on few connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item, canonical_item
from proxy.mapping.codecs import ValueDoesNotFitError, codec
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import Fault, TableMapping
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.execution.coalesced_rows import GuardedPut
from proxy.stores.interface import StoredItem, Unrepresentable
from tests.property.mapping_cases import (
    BILLIO,
    BILLIO_MAPPING,
    CONFIG,
    PLAN_MAPPING,
    UUIDS,
    billio_items,
    items_of,
    odd_billio_items,
    plain_billio_items,
    schemas,
)
from tests.standins.pools import open_dsn_pool

_MANY: Final[dict[str, Any]] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
# The one rule of the plan's schema that a mapping does not know: only a TvSeason has a series_id.
_CHECK: Final = "23514"


class Tables:
    """One database with a store on it, and a loop to run them on."""

    def __init__(self, dsn: str, runner: asyncio.Runner) -> None:
        self.mappings: dict[str, TableMapping] = {}
        self._runner = runner
        self.pool: Pool = open_dsn_pool(dsn, maximum=2)
        self.store = DSQLStore(self.pool, self.mappings.__getitem__)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    async def empty(self, table: str) -> None:
        """Also after an example that failed: the next must not find its rows."""
        async with self.pool.connection() as connection:
            await connection.execute(f"DELETE FROM {table}")

    async def migrate(self, folder: Path) -> None:
        async with self.pool.connection() as connection:
            await migrate(connection, read_folder(folder))


@pytest.fixture
def tables(database: str) -> Iterator[Tables]:
    with asyncio.Runner() as runner:
        found = Tables(database, runner)
        yield found
        runner.run(found.pool.close())


async def _fetch(pool: Pool, statement: str, *parameters: Any) -> list[Any]:
    async with pool.connection() as connection:
        return list(await connection.fetch(statement, *parameters))


async def _there_and_back(store: DSQLStore, mapping: TableMapping, schema: TableSchema, items: list[Item]) -> None:
    """Write each item, over the one before where they share a key, read it, and in the end delete what is held."""
    held: dict[Key, StoredItem] = {}
    for item in items:
        key = schema.key_of(item)
        encoded = mapping.encode(key, item)
        before = held.get(key, StoredItem(None))
        left, refused = await _put(store, key, item, before)
        if refused and mapping is PLAN_MAPPING and _CHECK in refused[0].reason:
            assert "seriesId" in item
            assert item.get("type") != {"S": "TvSeason"}
            continue
        if refused:
            assert encoded.values is None, refused
            assert refused == encoded.faults
            continue
        assert left is not None, "the guard does not recognise the row that was read"
        assert encoded.values is not None
        assert left.item == encoded.image
        read = await store.get(key)
        assert read.item == encoded.image
        assert read.index_consistent, "the row that was just written is not told for the mapping's own"
        if not encoded.faults:
            assert read.item == canonical_item(item)
        assert mapping.decode(read.token) == mapping.decode(encoded.values)
        assert (await store.rows.get_many([key]))[key] == read
        held[key] = read
    for key, row in held.items():
        assert await store.put(key, None, row) is not None
        assert (await store.get(key)).item is None


async def _in_groups(store: DSQLStore, mapping: TableMapping, schema: TableSchema, items: list[Item]) -> None:
    """A group of writes leaves what single writes would: those that are guarded by what the row holds, and no others.

    The group inserts, then updates and deletes; of each kind some writes come too late.
    """
    rows = store.rows
    news = {schema.key_of(item): item for item in items}
    await _expect(store, mapping, [GuardedPut(key, item, StoredItem(None)) for key, item in news.items()])
    read = {key: held for key, held in (await rows.get_many(list(news))).items() if held.item is not None}
    late = StoredItem({}, next(iter(read.values())).token) if read else StoredItem(None)
    others = iter([*items[1:], items[0]] * 2)
    puts = []
    for n, (key, held) in enumerate(read.items()):
        wanted = None if n % 3 == 0 else {**next(others), **key.attributes}
        puts.append(GuardedPut(key, wanted, held if n % 2 == 0 else late))
    await _expect(
        store, mapping, [*puts, *(GuardedPut(key, None, StoredItem(None)) for key in news if key not in read)]
    )


async def _expect(store: DSQLStore, mapping: TableMapping, puts: list[GuardedPut]) -> None:
    """Make a group of writes, and compare its answers and its rows with what each write alone should have left."""
    before = await store.rows.get_many([put.key for put in puts])
    answers = await store.rows.put_many(puts)
    after = await store.rows.get_many([put.key for put in puts])
    for put, answer in zip(puts, answers, strict=True):
        encoded = None if put.wanted is None else mapping.encode(put.key, put.wanted)
        if isinstance(answer, Unrepresentable):
            assert encoded is not None
            assert answer.faults == encoded.faults
            assert after[put.key] == before[put.key]
        elif put.held.token == before[put.key].token:
            assert isinstance(answer, StoredItem), "the guard does not recognise the row that was read"
            assert answer.item == after[put.key].item == (None if encoded is None else encoded.image)
            assert after[put.key].index_consistent
        else:
            assert answer is None, "a write that came too late replaced a row"
            assert after[put.key] == before[put.key]


async def _put(store: DSQLStore, key: Key, item: Item, held: StoredItem) -> tuple[StoredItem | None, tuple[Fault, ...]]:
    try:
        return await store.put(key, item, held), ()
    except Unrepresentable as error:
        return None, error.faults


def _one_per_row(mapping: TableMapping, schema: TableSchema, items: list[Item]) -> list[Item]:
    """Without items that share a row with another key's: the plan's loss, and not what is tested here."""
    owner: dict[Any, Key] = {}
    kept = []
    for item in items:
        key = schema.key_of(item)
        if owner.setdefault(mapping.key_values(key), key) == key:
            kept.append(item)
    return kept


def test_billio_items_come_back_from_postgres(tables: Tables) -> None:
    tables.run(tables.migrate(CONFIG / "migrations"))
    tables.mappings["billio"] = BILLIO_MAPPING
    tables.run(_there_and_back(tables.store, BILLIO_MAPPING, BILLIO, list(odd_billio_items())))

    @settings(max_examples=20, **_MANY)
    @given(st.lists(billio_items(), min_size=8, max_size=16))
    def holds(items: list[Item]) -> None:
        tables.run(tables.empty("items"))
        tables.run(_there_and_back(tables.store, BILLIO_MAPPING, BILLIO, items))
        tables.run(_in_groups(tables.store, BILLIO_MAPPING, BILLIO, items))

    holds()


def test_the_plans_rows_come_back_as_their_images_say(tables: Tables) -> None:
    tables.run(tables.migrate(CONFIG / "migrations-plan"))
    tables.mappings["billio"] = PLAN_MAPPING
    odd = _one_per_row(PLAN_MAPPING, BILLIO, list(odd_billio_items()))
    tables.run(_there_and_back(tables.store, PLAN_MAPPING, BILLIO, odd))

    @settings(max_examples=20, **_MANY)
    @given(st.lists(st.one_of(billio_items(), plain_billio_items()), min_size=8, max_size=16))
    def holds(items: list[Item]) -> None:
        distinct = _one_per_row(PLAN_MAPPING, BILLIO, items)
        tables.run(tables.empty("items"))
        tables.run(_there_and_back(tables.store, PLAN_MAPPING, BILLIO, distinct))

    holds()


def test_documents_come_back_from_postgres(tables: Tables) -> None:
    documents = DocumentTables(tables.pool, "public")

    async def one_table(schema: TableSchema, items: list[Item]) -> None:
        mapping = tables.mappings[schema.name] = DocumentMapping(schema)
        await documents.create(mapping)
        try:
            await _there_and_back(tables.store, mapping, schema, items)
            await _in_groups(tables.store, mapping, schema, items)
        finally:
            await documents.drop(schema.name)

    numbers = iter(range(10_000))

    @settings(max_examples=12, **_MANY)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        # A name of its own each time: the connections keep statements that were prepared for the table before.
        schema = data.draw(schemas(f"made.up-{next(numbers)}"))
        items = data.draw(st.lists(items_of(schema), min_size=6, max_size=10))
        tables.run(one_table(schema, items))

    holds()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("integer", [{"N": text} for text in ("0.5", "-0.5", "8.5", "-8.5", "8.4999", "2147483646.5")]),
        ("numeric(4,2)", [{"N": text} for text in ("1.005", "-1.005", "99.994", "0.0049", "0.005")]),
        ("uuid", [{"S": text} for text in UUIDS[:5]]),
        ("varchar(3)", [{"S": text} for text in ("abc", "abc  ", "a     ", "   ", "日本語")]),
    ],
)
def test_coercion_is_what_postgres_does(tables: Tables, column: str, values: list[dict[str, str]]) -> None:
    held = codec(column)

    async def check() -> None:
        async with tables.pool.connection() as connection:
            await connection.execute(f"CREATE TABLE held (number int, value {column})")
            for number, value in enumerate(values):
                [text] = value.values()
                source = "$2::text::numeric" if held.tag == "N" else "$2::text" + ("::uuid" if column == "uuid" else "")
                await connection.execute(f"INSERT INTO held VALUES ($1, {source})", number, text)
                [row] = await connection.fetch("SELECT value FROM held WHERE number = $1", number)
                assert held.decode(row["value"]) == held.decode(held.coerce(value)), text

    tables.run(check())


@pytest.mark.parametrize(
    "text", ["urn:uuid:3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f-2504e04f8911d39a0c0305e82c3301", "3f2504e0", ""]
)
def test_what_postgres_does_not_read_as_a_uuid_is_refused(tables: Tables, text: str) -> None:
    with pytest.raises(ValueDoesNotFitError):
        codec("uuid").coerce({"S": text})
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        tables.run(_fetch(tables.pool, "SELECT $1::text::uuid", text))
