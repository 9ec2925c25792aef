"""Two processes that want the same SQL objects at once: whoever is first makes them, and the other finds them made.

`CREATE … IF NOT EXISTS` looks before it makes, and PostgreSQL does not lock between the two: the loser is told of a
duplicate row of the catalogue (23505), of a type or relation of that name, or of a tuple that somebody else updates.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.schema.index_jobs import find_running_job, submit_ddl
from proxy.migrate.schema.ledger import LEDGER_TABLES, Ledger
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.system_tables.checkpoints import CHECKPOINTS_TABLE, Checkpoints
from proxy.stores.dsql.system_tables.sweep_records import EQUAL, SWEEPS_TABLE, SweepRecord, SweepRecords
from proxy.stores.dsql.system_tables.system_table import SystemTable
from tests.integration.scenes import Scene, run_sql, scene
from tests.standins.dsql import Dsql
from tests.standins.dsql.settings import GateSettings

PROCESSES = 3
ROUNDS = 40

Pools = list[Pool]


@pytest.fixture
async def pools(dsql_database: str) -> AsyncIterator[Pools]:
    """A pool of connections for each process."""
    made = [Pool(lambda: asyncpg.connect(dsql_database, ssl=False), 2) for _ in range(PROCESSES)]
    yield made
    for pool in made:
        await pool.close()


async def at_once(pools: Pools, work: Callable[[Pool], Awaitable[Any]]) -> None:
    """The same work in every process at the same time; raises what one of them raises."""
    async with asyncio.TaskGroup() as group:
        for pool in pools:
            group.create_task(_connected(pool, work))


async def _connected(pool: Pool, work: Callable[[Pool], Awaitable[Any]]) -> None:
    async with pool.connection():
        pass  # to connect takes longer than what is raced for
    await work(pool)


def grown(table: str, indexes: int) -> DocumentMapping:
    """A table with so many indexes, each over attributes of its own."""
    index_names = [f"g{n}" for n in range(indexes)]
    return DocumentMapping(
        TableSchema.from_description(
            {
                "TableName": table,
                "AttributeDefinitions": [
                    {"AttributeName": name, "AttributeType": "S"} for name in ("id", *index_names)
                ],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "GlobalSecondaryIndexes": [
                    {
                        "IndexName": f"by-{name}",
                        "KeySchema": [{"AttributeName": name, "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                    for name in index_names
                ],
            }
        )
    )


async def test_a_followed_table_is_made_widened_and_dropped_once(pools: Pools, database: str) -> None:
    for number in range(ROUNDS):
        table = f"t{number}"
        for indexes in (0, 2):
            mapping = grown(table, indexes)
            await at_once(pools, lambda pool, mapping=mapping: DocumentTables(pool, "public").create(mapping))  # type: ignore[misc]
        columns = "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
        assert {row[0] for row in await run_sql(database, columns, table)} >= {"id", "g0", "g1"}
        indexed = await run_sql(database, "SELECT indexname FROM pg_indexes WHERE tablename = $1", table)
        assert {row[0] for row in indexed} >= {f"{table}.by-g0", f"{table}.by-g1"}
        await at_once(pools, lambda pool, table=table: DocumentTables(pool, "public").drop(table))  # type: ignore[misc]
        assert await run_sql(database, columns, table) == []


async def test_a_system_table_is_made_once(pools: Pools) -> None:
    for number in range(ROUNDS):
        name = f"crossfade_raced_{number}"
        create = f"CREATE TABLE IF NOT EXISTS {name} (id integer PRIMARY KEY, at timestamptz)"
        note = f"INSERT INTO {name} VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
        await at_once(pools, lambda pool, note=note, of=(name, create): SystemTable(pool, *of).execute(note))  # type: ignore[misc]
        assert len(await SystemTable(pools[0], name, create).fetch(f"SELECT * FROM {name}")) == 1


async def test_the_jobs_tables_are_made_once(pools: Pools, database: str) -> None:
    async def work(pool: Pool) -> None:
        sweeps = SweepRecords(pool, "public", seconds=30)
        await sweeps.add(SweepRecord("t", 1.0, 2.0, "dynamodb", EQUAL, {}))
        await Checkpoints(pool, "public", seconds=30).claim("job", "part")
        assert await sweeps.newest("t") is not None

    for _ in range(ROUNDS):
        await at_once(pools, work)
        for table in (SWEEPS_TABLE, CHECKPOINTS_TABLE):
            await run_sql(database, f"DROP TABLE {table}")


async def test_the_job_of_an_index_is_found_whose_name_has_a_dot(dsql_gate: Dsql, dsql_database: str) -> None:
    """As a followed table's has: whoever did not find it would drop the index under the session that waits for it."""
    connection = await asyncpg.connect(dsql_database, ssl=False)
    try:
        await connection.execute("CREATE TABLE t1 (id text PRIMARY KEY, g0 text)")
        statement = 'CREATE INDEX ASYNC "t1.by-g0" ON public.t1 (g0)'
        await asyncio.to_thread(dsql_gate.change, job_seconds=30)
        job = await submit_ddl(connection, statement)
        assert job is not None
        assert await find_running_job(connection, statement) == job
        assert await find_running_job(connection, 'CREATE INDEX ASYNC "by-g0" ON public.t1 (g0)') is None
    finally:
        await asyncio.to_thread(dsql_gate.change, job_seconds=GateSettings().job_seconds)
        await connection.close()


async def test_the_ledger_of_migrations_is_made_once(pools: Pools, database: str) -> None:
    async def work(pool: Pool) -> None:
        async with pool.connection() as connection:
            ledger = Ledger(connection)
            await ledger.create()
            assert await ledger.applied() == {}

    for _ in range(ROUNDS):
        await at_once(pools, work)
        for table in LEDGER_TABLES:
            await run_sql(database, f"DROP TABLE {table}")


def _failures(here: Scene) -> set[str]:
    """The reasons for which tables were not followed at a first try."""
    lines = here.proxy.log_file.read_text("utf-8").splitlines()
    return {json.loads(line)["reason"] for line in lines if '"table_not_followed"' in line}


def test_two_proxies_follow_every_table_that_either_is_asked_to_make(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    """CreateTable through one of them, and writes through both at once, so that each makes the SQL table."""
    follow = {"CROSSFADE_FOLLOW_TABLES": "true"}
    with (
        scene(dynamodb, dsql_database, rows=database, billio=False, environment=follow) as one,
        scene(dynamodb, dsql_database, rows=database, billio=False, environment=follow) as other,
    ):
        tables = [f"raced-{number}" for number in range(ROUNDS)]
        clients = [each.client() for each in (one, other)]
        for number, table in enumerate(tables):
            clients[number % 2].create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "g")],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                GlobalSecondaryIndexes=[
                    {
                        "IndexName": "by-g",
                        "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                ],
            )
            for client in (*clients, *clients):
                client.put_item(TableName=table, Item={"id": {"S": str(id(client))}, "g": {"S": "x"}})
        for each in (one, other):
            each.proxy.settle()
            assert _failures(each) <= {"occ"}, "whoever is slower tries again; nothing else goes wrong"
            assert "mirror_error" not in each.verdicts()
        for table in tables:
            one.assert_equal(table)
