"""Why `series_id` has no foreign key (docs/decisions/020-no-foreign-key.md): what becomes of convergence where it has.

With the plan's table, whose key is the id alone: Billio's own, (type, id), has nothing that a series_id could refer to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.load import load
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.interface import Unrepresentable
from tests.standins.billio import table_definition

CONFIG = Path(__file__).parents[2] / "config"
BILLIO = TableSchema.from_description(table_definition())
PLAN = load(CONFIG / "billio-plan.toml").mapping
SERIES_ID, SEASON_ID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3302"
# As DSQL takes it for a table that is there: unproven, and then proven by a job.
REFERENCE = "ALTER TABLE items ADD CONSTRAINT fk_series FOREIGN KEY (series_id) REFERENCES items (id) NOT VALID"
PROOF = "ALTER TABLE items VALIDATE CONSTRAINT fk_series"


def item(kind: str, identity: str, **more: str) -> Item:
    made: Item = {
        "type:id": {"S": f"{kind}:{identity}"},
        "type": {"S": kind},
        "id": {"S": identity},
        "shelf": {"S": "Watching"},
        "type:shelf": {"S": f"{kind}:Watching"},
        "title": {"S": "The Wire"},
        "movedAt": {"N": "1700000000000"},
        "addedAt": {"N": "1700000000000"},
    }
    return made | {name: {"S": value} for name, value in more.items()}


SERIES = item("TvSeries", SERIES_ID, category="watching")
SEASON = item("TvSeason", SEASON_ID, seriesId=SERIES_ID)


def key_of(of: Item) -> Key:
    return BILLIO.key_of(of)


@pytest_asyncio.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(database)

    made = Pool(connect, 4)
    async with made.connection() as connection:
        await migrate(connection, read_folder(CONFIG / "migrations-plan"))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def store(pool: Pool) -> DSQLStore:
    return DSQLStore(pool, {"billio": PLAN}.__getitem__)


@pytest_asyncio.fixture
async def referring(pool: Pool, store: DSQLStore) -> DSQLStore:
    async with pool.connection() as connection:
        await connection.execute(REFERENCE)
        await connection.execute(PROOF)
    return store


async def converge(store: DSQLStore, wanted: Item) -> bool:
    """Whether the mirror takes the item, as a convergence of its key would write it."""
    return await _put(store, key_of(wanted), wanted)


async def remove(store: DSQLStore, gone: Item) -> bool:
    return await _put(store, key_of(gone), None)


async def _put(store: DSQLStore, key: Key, wanted: Item | None) -> bool:
    try:
        return await store.put(key, wanted, await store.get(key)) is not None
    except Unrepresentable as error:
        refusals = [fault.reason for fault in error.faults]
    assert any("23503" in reason for reason in refusals)
    return False


async def test_without_it_keys_converge_in_any_order(store: DSQLStore) -> None:
    assert await converge(store, SEASON)
    assert await converge(store, SERIES)
    assert await remove(store, SERIES)
    assert await remove(store, SEASON)


async def test_with_it_a_season_that_converges_before_its_series_is_refused(referring: DSQLStore) -> None:
    """Two keys, written in order and converged each by itself: nothing orders the second before the first."""
    assert not await converge(referring, SEASON)
    assert await converge(referring, SERIES)
    assert await converge(referring, SEASON)


async def test_with_it_a_series_that_is_deleted_first_stays(referring: DSQLStore) -> None:
    """DynamoDB deletes it, with its seasons or without; the mirror would hold what the authority does not."""
    await converge(referring, SERIES)
    await converge(referring, SEASON)
    assert not await remove(referring, SERIES)
    assert (await referring.get(key_of(SERIES))).item is not None


async def test_with_it_what_dynamodb_holds_for_good_could_not_be_held(referring: DSQLStore) -> None:
    """A season whose series was never there is an item like any other, and no order of writes brings it over."""
    for _ in range(3):
        assert not await converge(referring, SEASON)


async def test_with_it_writers_of_different_keys_meet(referring: DSQLStore, pool: Pool) -> None:
    """A season comes while its series goes: one of the two fails, whose keys have nothing to do with each other."""
    await converge(referring, SERIES)
    season = PLAN.encode(key_of(SEASON), SEASON).values
    assert season is not None
    columns = ", ".join(column.name for column in PLAN.columns)
    marks = ", ".join(
        f"${n}::text::{column.sql_type}" if column.as_text else f"${n}" for n, column in enumerate(PLAN.columns, 1)
    )
    async with pool.connection() as one, pool.connection() as other:
        await one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await one.execute(f"INSERT INTO items ({columns}) VALUES ({marks})", *season)
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        deleting = other.execute("DELETE FROM items WHERE id = $1", SERIES_ID, timeout=0.3)
        # A PostgreSQL has the second wait for the first, and then refuses it; DSQL fails it at COMMIT.
        with pytest.raises(TimeoutError):
            await deleting
        await one.execute("COMMIT")
    assert not await remove(referring, SERIES)
    assert (await referring.get(key_of(SEASON))).item is not None
