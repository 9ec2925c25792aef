"""DynamoDB fails, throttles, is slow, or does what it said to have failed: the client hears of it in time, and the
mirror converges on what DynamoDB holds in the end."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.scenes import Scene, scene, wait_until
from tests.integration.writers import Writers
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.unruly import Manner, Unruly

WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}
TIMEOUT_SECONDS = 2.0
# Nothing may linger when a key has settled: longer than DynamoDB takes here to do what it has failed to answer, with
# seconds to spare for a busy machine.
SETTLE_SECONDS = 0.3
LATE_SECONDS = 0.2
LONG_SETTLE_SECONDS = 6.0
LONG_SECONDS = 60.0
KEY = {HASH_KEY: {"S": "Book:1"}}


@pytest.fixture
def between(dynamodb: str) -> Iterator[Unruly]:
    billio_table(dynamodb)
    with Unruly(dynamodb, LATE_SECONDS) as unruly:
        yield unruly


@pytest.fixture
def timeout() -> float:
    """How long the proxy waits for DynamoDB: long, unless that is what a test is about."""
    return LONG_SECONDS


@pytest.fixture
def settle() -> float:
    return SETTLE_SECONDS


@pytest.fixture
def here(
    between: Unruly, dynamodb: str, database: str, dsql_database: str, timeout: float, settle: float
) -> Iterator[Scene]:
    environment = {
        "CROSSFADE_DYNAMODB__TIMEOUT_SECONDS": str(timeout),
        "CROSSFADE_DYNAMODB__SETTLE_SECONDS": str(settle),
    }
    with scene(between.endpoint, dsql_database, rows=database, environment=environment) as running:
        yield Scene(running.proxy, dynamodb, running.dsn)


def failed(call: Any, **arguments: Any) -> tuple[int, str, float]:
    """Status, code and seconds of a call that fails."""
    began = time.monotonic()
    with pytest.raises(call.__self__.exceptions.ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], time.monotonic() - began


def item(**more: dict[str, Any]) -> dict[str, Any]:
    return KEY | {"type": {"S": "Book"}, "id": {"S": "1"}, "n": {"N": "1"}} | more


@pytest.mark.parametrize(
    ("manner", "settle"),
    [
        (Manner.DONE_AND_500, SETTLE_SECONDS),
        (Manner.LOST, SETTLE_SECONDS),
        (Manner.LATE, LONG_SETTLE_SECONDS),
    ],
)
def test_a_write_that_failed_and_was_done_converges(here: Scene, between: Unruly, manner: Manner) -> None:
    client = here.client()
    client.put_item(TableName=TABLE, Item=item())
    here.assert_equal()
    between.rule = lambda action, body: manner if action in WRITES else Manner.GOOD
    status, code, seconds = failed(client.put_item, TableName=TABLE, Item=item(n={"N": "2"}))
    assert (status, code) == (500, "InternalServerError")
    assert seconds < LONG_SECONDS, "it waited for its time limit"
    between.rule = lambda action, body: Manner.GOOD
    wait_until(lambda: here.direct().get_item(TableName=TABLE, Key=KEY)["Item"]["n"] == {"N": "2"}, 120, "the write")
    here.assert_equal()
    assert set(here.verdicts("PutItem")) == {"agreed"}


def test_a_write_that_failed_and_was_not_done_leaves_nothing(here: Scene, between: Unruly) -> None:
    client = here.client()
    for manner, expected in (
        (Manner.REFUSED, (500, "InternalServerError")),
        (Manner.THROTTLED, (400, "ThrottlingException")),
        (Manner.SILENT, (500, "InternalServerError")),
    ):
        between.rule = lambda action, body, manner=manner: manner if action in WRITES else Manner.GOOD  # type: ignore[misc]
        status, code, seconds = failed(client.put_item, TableName=TABLE, Item=item())
        assert (status, code) == expected
        assert seconds < LONG_SECONDS
    here.assert_equal()
    assert here.direct().scan(TableName=TABLE)["Count"] == 0
    assert here.verdicts() == {}


@pytest.mark.parametrize("timeout", [TIMEOUT_SECONDS])
def test_a_dynamodb_that_does_not_answer_is_told_in_time(here: Scene, between: Unruly) -> None:
    between.late = LONG_SECONDS
    here.client(attempts=10).put_item(TableName=TABLE, Item=item())  # on a busy machine it may itself be too slow
    between.rule = lambda action, body: Manner.SILENT
    for call, arguments in ((here.client().get_item, {"Key": KEY}), (here.client().put_item, {"Item": item()})):
        status, code, seconds = failed(call, TableName=TABLE, **arguments)
        assert (status, code) == (500, "InternalServerError")
        assert TIMEOUT_SECONDS <= seconds < LONG_SECONDS
    between.rule = lambda action, body: Manner.GOOD
    here.assert_equal()


@pytest.mark.parametrize("settle", [LONG_SETTLE_SECONDS])
def test_writes_while_dynamodb_has_every_bad_manner(here: Scene, between: Unruly) -> None:
    dice = random.Random(31)
    manners = [*[Manner.GOOD] * 12, Manner.REFUSED, Manner.THROTTLED, Manner.DONE_AND_500, Manner.LOST, Manner.LATE]

    def rule(action: str, body: bytes) -> Manner:
        if action == "DescribeTable":
            return Manner.GOOD
        return dice.choice(manners)

    between.rule = rule
    writers = Writers(here.client, 32, threads=3, calls=80).start()
    writers.join()
    between.rule = lambda action, body: Manner.GOOD
    here.assert_equal()
    assert here.proxy.mismatches() == []
    assert {"ok", "InternalServerError", "ThrottlingException"} <= set(writers.answers)
    assert here.proxy.status()["journal"]["keys"] == 0
