"""Any PostgreSQL as the mirror: what a session is made to be, and what is refused with the remedy."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.settings import DSQL
from proxy.stores.dsql.connect import connect_once, open_pool
from proxy.stores.dsql.connect_errors import ConnectError
from tests.standins.postgres import Postgres

C = "LC_COLLATE 'C' LC_CTYPE 'C'"


@pytest.fixture
def name(postgres: Postgres) -> Iterator[str]:
    """The name of a database that the test makes."""
    made = f"any_{uuid.uuid4().hex[:12]}"
    yield made
    postgres.execute(f"DROP DATABASE IF EXISTS {made} WITH (FORCE)")


@pytest.mark.parametrize("isolation", ["read committed", "read uncommitted", "repeatable read", "serializable"])
async def test_a_session_reads_from_one_snapshot_whatever_the_database_begins_with(
    postgres: Postgres, name: str, isolation: str
) -> None:
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {C}")
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    wanted = "serializable" if isolation == "serializable" else "repeatable read"
    settings = DSQL(dsn=postgres.dsn(name), timeout_seconds=60)
    alone = await connect_once(settings)
    try:
        for _ in range(2):
            async with alone.transaction():
                assert await alone.fetchval("SHOW transaction_isolation") == wanted
            assert await alone.fetchval("SHOW transaction_isolation") == wanted
    finally:
        await alone.close()
    pool = open_pool(settings)
    async with pool.connection() as connection:
        await connection.execute("BEGIN READ ONLY")
        assert await connection.fetchval("SHOW transaction_isolation") == wanted
        await connection.execute("ROLLBACK")
    await pool.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (f"ENCODING 'LATIN1' {C}", "ENCODING 'UTF8'"),
        (f"ENCODING 'SQL_ASCII' {C}", "ENCODING 'UTF8'"),
    ],
)
async def test_another_encoding_is_refused_with_the_remedy(
    postgres: Postgres, name: str, options: str, said: str
) -> None:
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
    settings = DSQL(dsn=postgres.dsn(name), timeout_seconds=60)
    with pytest.raises(ConnectError) as caught:
        await connect_once(settings)
    assert caught.value.reason == "setup"
    assert f"create a database with {said}" in str(caught.value)
    pool = open_pool(settings)
    with pytest.raises(ConnectError, match="create a database"):
        await pool.acquire()
    pool.terminate()


class Sorted:
    """A session of a database whose texts are in another order: the stand-in's build knows C's alone."""

    def __init__(self) -> None:
        self.closed = False

    async def fetchrow(self, statement: str, **_: Any) -> tuple[str, str, bool]:
        assert "'B'::text < 'a'::text" in statement
        return ("UTF8", "read committed", False)

    def terminate(self) -> None:
        self.closed = True


async def test_another_order_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Sorted()

    async def connect(*_: Any, **__: Any) -> Sorted:
        return session

    monkeypatch.setattr("proxy.stores.dsql.connect.asyncpg.connect", connect)
    with pytest.raises(ConnectError, match="create a database with LC_COLLATE 'C'") as caught:
        await connect_once(DSQL(dsn="postgresql://a@127.0.0.1/x"))
    assert caught.value.reason == "setup"
    assert session.closed


async def test_the_order_of_the_c_collation_is_taken(postgres: Postgres, name: str) -> None:
    for collation in ("C", "C.UTF-8"):
        postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE '{collation}'")
        connection = await connect_once(DSQL(dsn=postgres.dsn(name), timeout_seconds=60))
        await connection.close()
        postgres.execute(f"DROP DATABASE {name}")
