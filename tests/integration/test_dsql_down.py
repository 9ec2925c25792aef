"""DSQL gone for a whole run, hung, or killed in the middle: no client notices, and the mirror catches up.

The network's own faults are in `tests.faults`; here the server itself is stopped and started.
"""

import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.scenes import Scene, scene, wait_until
from tests.integration.writers import BILLIO_KEYS, Writers, billio_item
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.postgres import Postgres
from tests.story.chapters import CHAPTERS, Narrator

# A call through the proxy takes a few milliseconds, or seconds on a busy machine; what waits for the mirror takes its
# time limit, or for ever.
AT_MOST_SECONDS = 8.0
ENVIRONMENT = {
    "CROSSFADE_DSQL__TIMEOUT_SECONDS": str(AT_MOST_SECONDS),
    "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": str(AT_MOST_SECONDS),
    "CROSSFADE_MIRROR__BREAKER__RESET_SECONDS": "0.5",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL to stop, to hang and to kill; it is well again when a test begins."""
    with Postgres() as own:
        yield own


@pytest.fixture(autouse=True)
def well_again(server: Postgres) -> Iterator[None]:
    yield
    if server.child.running:
        server.child.signal(signal.SIGCONT)
    else:
        server.restart()


@pytest.fixture
def here(server: Postgres, dynamodb: str) -> Iterator[Scene]:
    billio_table(dynamodb)
    with scene(dynamodb, server.create_database(), environment=ENVIRONMENT) as running:
        yield running


def test_a_run_without_dsql_is_answered_the_same(here: Scene, server: Postgres, ministack: Any) -> None:
    server.child.stop(signal.SIGINT)
    chapters = list(CHAPTERS.values())[:4]
    began = time.monotonic()
    through = Narrator(here.proxy.data, TABLE)
    for chapter in chapters:
        chapter(through)
    elapsed = time.monotonic() - began
    keys = {item[HASH_KEY]["S"] for item in here.direct().scan(TableName=TABLE)["Items"]}
    journal = here.proxy.status()["journal"]
    print(dict(through.calls), f"{elapsed:.1f} s", journal, len(keys))
    assert here.proxy.ready()
    assert journal["keys"] >= len(keys) > 100
    server.restart()
    here.assert_equal()
    ministack.reset()
    billio_table(here.endpoint)
    direct = Narrator(here.endpoint, TABLE)
    for chapter in chapters:
        chapter(direct)
    for (operation, wanted), (_, answer) in zip(direct.answers, through.answers, strict=True):
        assert answer == wanted, operation


def test_the_journal_grows_by_distinct_keys_only(here: Scene, server: Postgres) -> None:
    server.child.stop(signal.SIGINT)
    writers = Writers(here.client, 41, threads=3, calls=60).start()
    writers.join()
    assert writers.slowest < AT_MOST_SECONDS
    assert 0 < here.proxy.status()["journal"]["keys"] <= len(BILLIO_KEYS)
    assert here.proxy.ready()
    assert set(writers.answers) <= {"ok", "ConditionalCheckFailedException", "TransactionCanceledException"}
    here.proxy.restart()  # with DSQL still down
    assert here.proxy.ready()
    here.client().put_item(TableName=TABLE, Item=billio_item(random.Random(41), BILLIO_KEYS[0]))
    server.restart()
    here.assert_equal()
    assert here.proxy.mismatches() == []


@pytest.mark.parametrize("fault", ["hung", "killed"])
def test_dsql_fails_in_the_middle(here: Scene, server: Postgres, fault: str) -> None:
    writers = Writers(here.client, 42, threads=3).start()
    wait_until(lambda: writers.answers["ok"] > 40, 120, "writes to go through")
    if fault == "hung":
        server.child.signal(signal.SIGSTOP)
    else:
        server.kill()
    done = writers.answers["ok"]
    wait_until(lambda: writers.answers["ok"] > done + 300, 120, "writes to go on")
    wait_until(lambda: here.proxy.status()["breaker"]["dsql"] != "closed", 120, "the breaker to open")
    assert here.proxy.ready()
    asked = authority_reads(here)
    began = time.monotonic()
    writers.stop()
    wait_until(lambda: time.monotonic() > began + 1.5, 120, "time to pass")
    # While the mirror is left alone, DynamoDB is not read over and over for keys that cannot converge.
    assert authority_reads(here) - asked < 270 * (time.monotonic() - began)
    if fault == "hung":
        server.child.signal(signal.SIGCONT)
    else:
        server.restart()
    assert writers.slowest < AT_MOST_SECONDS
    here.assert_equal()
    assert here.proxy.mismatches() == []
    assert here.proxy.status()["breaker"]["dsql"] == "closed"


def authority_reads(here: Scene) -> float:
    samples = here.proxy.metrics()["crossfade_store_seconds_count"]
    return sum(v for labels, v in samples if labels["store"] == "dynamodb" and labels["operation"] == "GetItem")
