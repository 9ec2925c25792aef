"""One pair of stores for all of a module's tests: to make Billio's table and its rows' takes seconds."""

from collections.abc import Iterator

import asyncpg
import pytest

from tests.items.stores import CONFIG
from tests.standins.billio import TABLE, billio_table, dynamodb_client
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.story.migrations import apply


@pytest.fixture(scope="module")
def made_once(ministack: Ministack, postgres: Postgres, dsql_gate: Dsql) -> Iterator[tuple[str, str, str]]:
    """Endpoint, DSN through the gate, DSN past it."""
    ministack.reset()
    billio_table(ministack.endpoint)
    dsn = postgres.create_database()
    through_gate = dsql_gate.dsn(dsn.rsplit("/", 1)[1])
    apply(CONFIG / "migrations", through_gate)
    yield ministack.endpoint, through_gate, dsn
    postgres.drop_database(dsn)


@pytest.fixture
async def stores(made_once: tuple[str, str, str]) -> tuple[str, str]:
    """Endpoint and DSN of both stores, empty."""
    endpoint, through_gate, dsn = made_once
    client = dynamodb_client(endpoint)
    for item in client.scan(TableName=TABLE)["Items"]:
        client.delete_item(TableName=TABLE, Key={"type:id": item["type:id"]})
    connection = await asyncpg.connect(dsn)
    await connection.execute("DELETE FROM items")
    await connection.close()
    return endpoint, through_gate
