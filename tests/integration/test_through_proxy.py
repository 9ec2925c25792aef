"""Through the running proxy, in stage shadow, every client gets the very answers it gets without it.

The same stand-in is asked directly and through the proxy (never one stand-in against another), and afterwards plain
SQL and plain boto3 must find the same in both stores. One proxy and one stand-in behind it are for all the tests.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.scenes import billio_rows, run_sql
from tests.integration.test_dynamoose import play, smoke
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, billio_table
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.story import independent
from tests.story.chapters import CHAPTERS, Narrator

CONFIG = Path(__file__).parents[2] / "config"
OPERATIONS = {
    "put_item",
    "get_item",
    "update_item",
    "delete_item",
    "query",
    "scan",
    "batch_get_item",
    "batch_write_item",
    "transact_get_items",
    "transact_write_items",
}
ERRORS = {
    "ConditionalCheckFailedException",
    "TransactionCanceledException",
    "ResourceNotFoundException",
    "ValidationException",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A proxy in shadow before a stand-in of its own, and where its rows can be read."""

    proxy: ProxyProcess
    store: Ministack
    rows: str


@pytest.fixture(scope="module")
def running(postgres: Postgres, dsql_gate: Dsql) -> Iterator[Pair]:
    rows = postgres.create_database()
    through_gate = dsql_gate.dsn(rows.rsplit("/", 1)[1])
    billio_rows(through_gate)
    with (
        Ministack() as store,
        ProxyProcess(dynamodb=store.endpoint, dsql=through_gate, mappings=[CONFIG / "billio.toml"]) as proxy,
    ):
        yield Pair(proxy, store, rows)
    postgres.drop_database(rows)


@pytest.fixture
def pair(running: Pair) -> Pair:
    """The same with nothing in it."""
    running.proxy.settle()
    running.store.reset()
    asyncio.run(run_sql(running.rows, "DELETE FROM items"))
    return running


def assert_equal_stores(pair: Pair) -> None:
    pair.proxy.settle()
    assert pair.proxy.mismatches() == []
    held = asyncio.run(independent.rows(pair.rows))
    items = independent.scan(pair.store.endpoint, TABLE)
    assert items
    assert independent.disagreements(items, held) == []


def test_the_story_is_answered_the_same(pair: Pair, dynamodb: str) -> None:
    told: list[Narrator] = []
    for table_at, endpoint in ((dynamodb, dynamodb), (pair.store.endpoint, pair.proxy.data)):
        billio_table(table_at)
        story = Narrator(endpoint, TABLE)
        for chapter in CHAPTERS.values():
            chapter(story)
        told.append(story)
    # All of the API, and every kind of error: otherwise the rest would show little.
    assert set(told[0].calls) == OPERATIONS
    assert sum(told[0].calls.values()) > 1000
    assert {answer["error"] for _, answer in told[0].answers if "error" in answer} == ERRORS
    for (operation, wanted), (_, answer) in zip(told[0].answers, told[1].answers, strict=True):
        assert answer == wanted, operation
    assert_equal_stores(pair)


def test_dynamoose_is_answered_the_same(pair: Pair, dynamodb: str) -> None:
    assert play(pair.proxy.data) == play(dynamodb)
    assert_equal_stores(pair)


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_the_sdks_are_answered_the_same(pair: Pair, dynamodb: str, version: str) -> None:
    assert smoke(pair.proxy.data, version) == smoke(dynamodb, version)
    assert_equal_stores(pair)
