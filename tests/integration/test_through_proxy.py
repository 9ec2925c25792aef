"""Through the running proxy, in stage shadow, every client gets the very answers it gets without it.

The same stand-in is asked directly and through the proxy (never one stand-in against another), and afterwards plain
SQL and plain boto3 must find the same in both stores.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.scenes import billio_rows
from tests.integration.test_dynamoose import play, smoke
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, billio_table
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.story import independent
from tests.story.chapters import CHAPTERS, Narrator

CONFIG = Path(__file__).parents[2] / "config"


@dataclass(frozen=True, slots=True)
class Pair:
    """A proxy in shadow before a stand-in of its own, and where its rows can be read."""

    proxy: ProxyProcess
    store: Ministack
    rows: str


@pytest.fixture
def pair(postgres: Postgres, dsql_gate: Dsql) -> Iterator[Pair]:
    rows = postgres.create_database()
    through_gate = dsql_gate.dsn(rows.rsplit("/", 1)[1])
    billio_rows(through_gate)
    with (
        Ministack() as store,
        ProxyProcess(dynamodb=store.endpoint, dsql=through_gate, mappings=[CONFIG / "billio.toml"]) as proxy,
    ):
        yield Pair(proxy, store, rows)
    postgres.drop_database(rows)


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
