"""Following tables, with DSQL in memory: what an application did to a table keeps its order, and faults are told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.shadow.request.follow_tables import TableFollower
from proxy.stores.errors import Refused, StoreError, Unreachable
from proxy.stores.table_registry import Table


def table(kind: str) -> Table:
    schema = TableSchema("t", "id", None, {"id": kind}, {})
    return Table(schema, DocumentMapping(schema))


@dataclass
class Sql:
    """The SQL table: its key's type, its rows, and what making it ends in."""

    kind: str | None = None
    rows: list[str] = field(default_factory=list)
    fails: StoreError | None = None
    slow: asyncio.Event | None = None
    made: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: asyncio.Event = field(default_factory=asyncio.Event)

    async def create(self, mapping: DocumentMapping) -> None:
        if self.slow is not None:
            await self.slow.wait()
        if self.fails is not None:
            raise self.fails
        if self.kind is None:
            self.kind, self.rows = mapping.schema.types["id"], []
        self.made.set()

    async def drop(self, _: str) -> None:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        self.kind = None
        self.dropped.set()


@pytest.fixture
def sql() -> Sql:
    return Sql()


@pytest.fixture
async def follow(sql: Sql) -> AsyncIterator[TableFollower]:
    opened = TableFollower(sql.create, sql.drop)
    yield opened
    await opened.close()


async def test_a_table_is_there_when_it_has_been_waited_for(follow: TableFollower, sql: Sql) -> None:
    await follow.wait(["t"])  # nobody has asked for it: not ours to make
    assert sql.kind is None
    follow.ensure([table("S")])
    await follow.wait(["t"])
    assert sql.kind == "S"


async def test_a_wait_with_a_limit_ends_when_the_table_is_there_or_the_time_is_over(
    follow: TableFollower, sql: Sql
) -> None:
    await follow.finished("t", 60)  # nobody has asked for it
    sql.slow = asyncio.Event()
    follow.ensure([table("S")])
    await follow.finished("t", 0.01)
    assert not follow.is_ready("t")
    asyncio.get_running_loop().call_later(0.01, sql.slow.set)
    await follow.finished("t", 60)
    assert follow.is_ready("t")


async def test_dropped_and_made_again_at_once_is_a_new_table(follow: TableFollower, sql: Sql) -> None:
    follow.ensure([table("S")])
    await follow.wait(["t"])
    for kind in ("N", "B", "S"):
        sql.rows.append("old")
        follow.drop("t")
        follow.ensure([table(kind)])
        await follow.wait(["t"])
        assert (sql.kind, sql.rows) == (kind, [])


async def test_dropped_while_it_is_made(follow: TableFollower, sql: Sql) -> None:
    sql.slow = asyncio.Event()
    follow.ensure([table("S")])
    await asyncio.sleep(0)
    follow.drop("t")
    sql.slow.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert sql.kind is None
    follow.ensure([table("N")])
    await follow.wait(["t"])
    assert sql.kind == "N"


async def test_a_table_that_is_refused_is_told_at_once(follow: TableFollower, sql: Sql) -> None:
    sql.fails = Refused("42701", "a column of this name is the system's")
    follow.ensure([table("S")])
    await asyncio.sleep(0.01)
    with pytest.raises(Refused, match="system's") as caught:
        async with asyncio.timeout(60):
            await follow.wait(["t"])
    assert caught.value.reason == "table_not_followed"


async def test_a_refusal_is_tried_again_until_an_operator_has_acted(follow: TableFollower, sql: Sql) -> None:
    sql.fails = Refused("42501", "permission denied")
    follow.ensure([table("S")])
    await asyncio.sleep(0.01)
    sql.fails = None
    async with asyncio.timeout(60):
        await sql.made.wait()
    await asyncio.sleep(0)
    await follow.wait(["t"])


@pytest.mark.parametrize("failure", [Unreachable("connect"), Refused("42501"), Refused("job")], ids=repr)
async def test_a_drop_that_failed_is_tried_again(follow: TableFollower, sql: Sql, failure: StoreError) -> None:
    follow.ensure([table("S")])
    await follow.wait(["t"])
    sql.rows.append("old")
    sql.fails = failure
    follow.drop("t")
    await asyncio.sleep(0.01)
    assert sql.kind == "S"
    sql.fails = None
    async with asyncio.timeout(60):
        await sql.dropped.wait()


async def test_a_table_made_again_while_its_drop_fails_begins_empty(follow: TableFollower, sql: Sql) -> None:
    follow.ensure([table("S")])
    await follow.wait(["t"])
    sql.rows.append("old")
    sql.fails = Unreachable("connect")
    follow.drop("t")
    follow.ensure([table("N")])
    await asyncio.sleep(0.01)
    with pytest.raises(Unreachable):
        await follow.wait(["t"])
    sql.fails = None
    async with asyncio.timeout(60):
        await sql.dropped.wait()
    await asyncio.sleep(0.01)
    await follow.wait(["t"])
    assert (sql.kind, sql.rows) == ("N", [])


async def test_a_table_that_another_process_dropped_is_made_again(follow: TableFollower, sql: Sql) -> None:
    assert not follow.missing(["t"])  # nobody has asked for it: not ours to make
    follow.ensure([table("S")])
    await follow.wait(["t"])
    sql.kind = None
    sql.made.clear()
    assert follow.missing(["other", "t"])
    await follow.wait(["t"])
    assert sql.made.is_set()
    follow.drop("t")
    assert not follow.missing(["t"])


async def test_a_mirror_that_is_away_is_unreachable_and_tried_again(follow: TableFollower, sql: Sql) -> None:
    sql.fails = Unreachable("connect")
    follow.ensure([table("S")])
    await asyncio.sleep(0.01)
    with pytest.raises(Unreachable) as caught:
        await follow.wait(["t"])
    assert caught.value.reason == "connect"
    sql.fails = None
    async with asyncio.timeout(60):
        await sql.made.wait()
    await asyncio.sleep(0)
    await follow.wait(["t"])
