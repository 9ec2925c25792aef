"""Which errors say that another session was faster at DDL, and what becomes of work whose table is missing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.sqlstates import is_ddl_race
from proxy.stores.errors import Refused, Unreachable

CREATE = "CREATE TABLE IF NOT EXISTS t (id integer PRIMARY KEY)"


def said(state: str, message: str = "", constraint: str | None = None) -> asyncpg.PostgresError:
    """An error as asyncpg makes it of the server's fields."""
    fields = {"S": "ERROR", "C": state, "M": message} | ({"n": constraint} if constraint else {})
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(fields)
    return error


LOST = (
    said("23505", 'duplicate key value violates unique constraint "x"', "pg_type_typname_nsp_index"),
    said("23505", 'duplicate key value violates unique constraint "x"', "pg_class_relname_nsp_index"),
    said("23505"),  # a server that names no constraint
    said("42P07", 'relation "t" already exists'),
    said("42710", 'type "t" already exists'),
    said("42701", 'column "g" of relation "t" already exists'),
    said("40001", "change conflicts with another transaction, please retry: (OC001)"),
    said("40001", "could not serialize access due to concurrent update"),
    said("40P01", "deadlock detected"),
    said("XX000", "tuple concurrently updated"),
    said("XX000", "tuple concurrently deleted"),
    said("XX000", "cache lookup failed for relation 16385"),
    said("XX000", "could not open relation with OID 16385"),
)
NOT_LOST = (
    said("23505", 'could not create unique index "mine"', "mine"),
    said("XX000", "unable to accept connection"),
    said("42501", "permission denied for schema public"),
    said("42P01", 'relation "t" does not exist'),
    said("42601", "syntax error"),
    said("53300", "too many connections"),
    said("57014", "canceling statement due to user request"),
)


@pytest.mark.parametrize("error", LOST, ids=str)
def test_another_session_was_faster(error: asyncpg.PostgresError) -> None:
    assert is_ddl_race(error)


@pytest.mark.parametrize("error", NOT_LOST, ids=str)
def test_no_other_session_is_the_cause(error: asyncpg.PostgresError) -> None:
    assert not is_ddl_race(error)


@pytest.mark.parametrize(
    "error", [OSError(), TimeoutError(), asyncpg.InterfaceError("closed"), KeyError("sqlstate")], ids=repr
)
def test_what_the_server_did_not_say_is_no_race(error: Exception) -> None:
    assert not is_ddl_race(error)


@dataclass
class Catalog:
    """A database of one table, as one connection sees it. `creating` and `reading` are asked at each statement for the
    error that comes of it."""

    creating: Callable[[], Exception | None] = lambda: None
    reading: Callable[[], Exception | None] = lambda: None
    there: bool = False
    creates: int = 0
    terminated: bool = False

    async def execute(self, _: str, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.creates += 1
        error = self.creating()
        if error is not None:
            raise error
        self.there = True

    async def fetch(self) -> str:
        error = self.reading() or (None if self.there else said("42P01"))
        if error is not None:
            raise error
        return "read"

    def terminate(self) -> None:
        self.terminated = True


@dataclass
class OnePool:
    """A pool of that one connection."""

    catalog: Catalog
    out: int = 0
    taken: list[Catalog] = field(default_factory=list)

    async def acquire(self) -> Catalog:
        self.out += 1
        return self.catalog

    def release(self, _: Catalog) -> None:
        self.out -= 1


async def work(catalog: Catalog) -> str:
    pool: Any = OnePool(catalog)
    try:
        return await run_with_retry(pool, lambda c: c.fetch(), create=CREATE)
    finally:
        assert pool.out == 0


@given(st.lists(st.sampled_from(LOST), max_size=3), st.booleans())
async def test_however_often_the_race_is_lost_the_work_is_done(lost: list[asyncpg.PostgresError], made: bool) -> None:
    """The loser finds the table made, or not yet: the other session may have been the one that gave up."""
    catalog = Catalog()
    left: list[Exception] = list(lost)

    def creating() -> Exception | None:
        if not left:
            return None
        if len(left) == 1 and made:
            catalog.there = True
        return left.pop()

    catalog.creating = creating
    assert await work(catalog) == "read"
    assert catalog.creates <= len(lost) + 1


async def test_a_table_that_is_never_there_is_refused() -> None:
    catalog = Catalog(creating=lambda: said("42P07"))
    with pytest.raises(Refused) as caught:
        await work(catalog)
    assert caught.value.reason == "42P01"


async def test_a_table_that_may_not_be_made_is_refused_at_once() -> None:
    catalog = Catalog(creating=lambda: said("42501"))
    with pytest.raises(Refused) as caught:
        await work(catalog)
    assert (caught.value.reason, catalog.creates) == ("42501", 1)


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), asyncpg.InterfaceError("closed")], ids=repr)
async def test_a_connection_that_is_lost_while_the_table_is_made_is_dropped(error: Exception) -> None:
    catalog = Catalog(creating=lambda: error)
    with pytest.raises(Unreachable):
        await work(catalog)
    assert catalog.terminated
