"""Verdicts told apart on the running proxy: what is planted is found, called by its right name, and mended once."""

import asyncio
import functools
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.scenes import CONFIG, Scene, run_sql, scene, wait_until
from tests.standins.billio import HASH_KEY, TABLE, billio_table

ID = "11111111-2222-4333-8444-555555555555"
KEY = {HASH_KEY: {"S": f"Book:{ID}"}}
OTHER = {HASH_KEY: {"S": "Book:99999999-2222-4333-8444-555555555555"}}


def book(**more: dict[str, Any]) -> dict[str, Any]:
    return {
        **KEY,
        "type": {"S": "Book"},
        "id": {"S": ID},
        "shelf": {"S": "Read"},
        "type:shelf": {"S": "Book:Read"},
        "title": {"S": "Solaris"},
        "movedAt": {"N": "1700000000000"},
        "addedAt": {"N": "1600000000000"},
        "rating": {"N": "8.5"},
        "author": {"S": "Lem"},
        **more,
    }


@pytest.fixture
def here(dynamodb: str, database: str, dsql_database: str) -> Iterator[Scene]:
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database) as running:
        yield running


def get(here: Scene) -> None:
    here.client().get_item(TableName=TABLE, Key=KEY)


def query(here: Scene, **more: Any) -> None:
    here.client().query(
        TableName=TABLE,
        IndexName="shelf",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "type:shelf"},
        ExpressionAttributeValues={":s": {"S": "Book:Read"}},
        **more,
    )


def scan(here: Scene, **more: Any) -> None:
    here.client().scan(TableName=TABLE, **more)


def count(here: Scene) -> None:
    query(here, Select="COUNT")


def scan_page(here: Scene) -> None:
    scan(here, Limit=5)


def scan_count(here: Scene) -> None:
    scan(here, Select="COUNT")


READS = {
    "GetItem": get,
    "Query": query,
    "Scan": scan,
    "Query COUNT": count,
    "Scan page": scan_page,
    "Scan COUNT": scan_count,
}


def found(here: Scene, read: str) -> list[dict[str, Any]]:
    """The mismatches that one read finds, which the next one of the same kind must not find again."""
    operation = read.partition(" ")[0]
    known = len(here.proxy.mismatches())
    assert here.compared(operation, lambda: READS[read](here)) == {"mismatch": 1}, read
    news = here.proxy.mismatches()[: len(here.proxy.mismatches()) - known]
    here.assert_equal()
    assert here.compared(operation, lambda: READS[read](here)) == {"agreed": 1}, read
    return news


def test_a_changed_column_and_a_changed_json_attribute_are_found_at_their_fields(here: Scene) -> None:
    here.client().put_item(TableName=TABLE, Item=book())
    here.assert_equal()
    for read in ("GetItem", "Query", "Scan"):
        asyncio.run(run_sql(here.dsn, "UPDATE items SET title = 'Stalker', data = data || '{\"author\": \"Nobody\"}'"))
        news = found(here, read)
        assert {(each["path"], each["kind"]) for each in news} == {("author", "value"), ("title", "value")}, read


def test_a_row_that_is_gone_is_found(here: Scene) -> None:
    here.client().put_item(TableName=TABLE, Item=book())
    here.assert_equal()
    for read in ("Query COUNT", "Scan page", "Scan COUNT"):
        asyncio.run(run_sql(here.dsn, "DELETE FROM items"))
        assert [each["kind"] for each in found(here, read)] == ["missing"], read


def test_a_row_that_should_not_be_is_found(here: Scene) -> None:
    for read in ("Query", "Scan COUNT"):
        here.client().put_item(TableName=TABLE, Item=book())
        here.assert_equal()
        here.direct().delete_item(TableName=TABLE, Key=KEY)
        assert [each["kind"] for each in found(here, read)] == ["extra"], read


def test_a_write_past_the_proxy_is_found_by_the_next_write(here: Scene) -> None:
    here.client().put_item(TableName=TABLE, Item=book(count={"N": "1"}))
    here.assert_equal()
    here.direct().put_item(TableName=TABLE, Item=book(count={"N": "5"}))

    def add() -> None:
        here.client().update_item(
            TableName=TABLE,
            Key=KEY,
            UpdateExpression="ADD #c :one",
            ExpressionAttributeNames={"#c": "count"},
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    assert here.compared("UpdateItem", add) == {"mismatch": 1}
    assert [(each["path"], each["kind"]) for each in here.proxy.mismatches()] == [("count", "value")]
    here.assert_equal()
    assert here.compared("UpdateItem", add) == {"agreed": 1}
    here.assert_equal()


def test_an_item_that_the_mapping_cannot_hold_is_parked_until_a_good_one_comes(here: Scene) -> None:
    client = here.client()

    def put(title: str) -> None:
        client.put_item(TableName=TABLE, Item=book(title={"S": title}))

    assert here.compared("PutItem", lambda: put("a\x00b")) == {"unrepresentable": 1}
    here.proxy.settle()
    assert here.proxy.status()["journal"]["parked"] == 1
    assert [(each["path"], each["verdict"]) for each in here.proxy.mismatches()] == [("title", "unrepresentable")]
    assert here.compared("GetItem", lambda: get(here)) == {"unrepresentable": 1}
    assert here.compared("Query", lambda: query(here)) == {"unrepresentable": 1}
    # It is not tried again and again: nothing is asked of the stores while nobody comes.
    here.proxy.settle()
    before = store_calls(here)
    with pytest.raises(AssertionError):
        wait_until(lambda: store_calls(here) != before, 1.5, "a call that must not come")
    put("ab")
    here.assert_equal()
    assert here.proxy.status()["journal"]["parked"] == 0
    assert here.compared("GetItem", lambda: get(here)) == {"agreed": 1}
    put("c\x00d")
    wait_until(lambda: here.proxy.status()["journal"]["parked"] == 1, 120, "the key to be parked again")
    client.delete_item(TableName=TABLE, Key=KEY)
    here.assert_equal()
    assert here.proxy.status()["journal"]["parked"] == 0


def store_calls(here: Scene) -> float:
    return sum(value for _, value in here.proxy.metrics()["crossfade_store_seconds_count"])


def test_a_parked_key_is_tried_again_by_the_next_process(here: Scene) -> None:
    here.client().put_item(TableName=TABLE, Item=book(title={"S": "a\x00b"}))
    wait_until(lambda: here.proxy.status()["journal"]["parked"] == 1, 120, "the key to be parked")
    here.direct().put_item(TableName=TABLE, Item=book())
    here.proxy.restart()
    here.assert_equal()
    assert here.proxy.status()["journal"]["parked"] == 0


def test_a_declared_difference_is_expected(dynamodb: str, database: str, dsql_database: str, tmp_path: Path) -> None:
    billio_table(dynamodb)
    mapping = tmp_path / "billio.toml"
    declared = '\n[[expected]]\nfield = "notes"\nbecause = "the mirror of the test has notes of its own"\n'
    mapping.write_text((CONFIG / "billio.toml").read_text("utf-8") + declared, "utf-8")
    with scene(dynamodb, dsql_database, rows=database, mapping=mapping) as here:
        here.client().put_item(TableName=TABLE, Item=book(notes={"S": "fine"}))
        here.assert_equal()
        asyncio.run(run_sql(database, "UPDATE items SET notes = 'other'"))
        assert here.compared("GetItem", lambda: get(here)) == {"expected": 1}
        assert here.compared("GetItem", lambda: get(here)) == {"expected": 1}
        asyncio.run(run_sql(database, "UPDATE items SET title = 'Stalker'"))
        assert here.compared("Query", lambda: query(here)) == {"mismatch": 1}
        assert [(each["path"], each["verdict"]) for each in here.proxy.mismatches()] == [("title", "mismatch")]
        here.assert_equal()


SECRET = "Sekret"


def test_no_value_leaves_the_proxy_unless_values_are_on(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    with scene(
        dynamodb,
        dsql_database,
        rows=database,
        environment={"CROSSFADE_ADMIN__VALUES": "false", "CROSSFADE_LOG__LEVEL": "debug"},
    ) as quiet:
        key = {HASH_KEY: {"S": f"Book:{SECRET}-id"}}
        item = {name: {"S": f"{SECRET}-{name}"} for name in ("title", "author", "notes", "externalId")}
        item |= {**key, "type": {"S": "Book"}, "id": {"S": f"{SECRET}-id"}, "movedAt": {"N": "1700000000000"}}
        nested = {"M": {"inner": {"L": [{"S": f"{SECRET}-deep"}]}}}
        client = quiet.client()
        client.put_item(TableName=TABLE, Item=item | {"nested": nested})
        quiet.assert_equal()
        asyncio.run(run_sql(database, "UPDATE items SET title = 'Sekret-other', notes = NULL, data = '{}'"))
        assert quiet.compared("GetItem", lambda: client.get_item(TableName=TABLE, Key=key)) == {"mismatch": 1}
        quiet.assert_equal()
        asyncio.run(run_sql(database, "DELETE FROM items"))
        assert quiet.compared("Scan", lambda: client.scan(TableName=TABLE)) == {"mismatch": 1}
        parked = item | {"title": {"S": f"{SECRET}\x00"}, "shelf": {"S": SECRET}}
        assert quiet.compared("PutItem", lambda: client.put_item(TableName=TABLE, Item=parked)) == {
            "unrepresentable": 1
        }
        with pytest.raises(client.exceptions.ConditionalCheckFailedException):
            client.put_item(TableName=TABLE, Item=item, ConditionExpression="attribute_not_exists(title)")
        quiet.proxy.settle()
        assert len(quiet.proxy.mismatches()) >= 5
        for path in ("/metrics", "/v1/status", "/v1/mismatches"):
            with urllib.request.urlopen(quiet.proxy.admin + path, timeout=60) as answer:
                assert SECRET not in answer.read().decode(), path
        assert SECRET not in quiet.proxy.log_file.read_text("utf-8")
        assert "verdict" in quiet.proxy.log_file.read_text("utf-8")


def test_a_verdict_names_the_request_as_its_client_does(here: Scene) -> None:
    """In shadow the id is DynamoDB's; `RequestId` is the answer's x-amzn-RequestId."""
    client = here.client()
    client.put_item(TableName=TABLE, Item=book())
    here.assert_equal()
    reads: dict[str, Callable[[], Any]] = {
        "GetItem": lambda: client.get_item(TableName=TABLE, Key=KEY),
        "BatchGetItem": lambda: client.batch_get_item(RequestItems={TABLE: {"Keys": [KEY, OTHER]}}),
        "Scan": lambda: client.scan(TableName=TABLE),
    }
    for operation, read in reads.items():
        asyncio.run(run_sql(here.dsn, "UPDATE items SET title = 'Stalker'"))
        answers: list[Any] = []
        assert here.compared(operation, lambda: answers.append(read())) == {"mismatch": 1}, operation  # noqa: B023
        assert here.proxy.mismatches()[0]["request_id"] == answers[0]["ResponseMetadata"]["RequestId"], operation
        here.assert_equal()
    asyncio.run(run_sql(here.dsn, "UPDATE items SET title = 'Stalker'"))
    answers = []

    def update() -> None:
        answers.append(
            client.update_item(
                TableName=TABLE,
                Key=KEY,
                UpdateExpression="SET author = :a",
                ExpressionAttributeValues={":a": {"S": "Stanisław Lem"}},
                ReturnValues="ALL_OLD",
            )
        )

    assert here.compared("UpdateItem", update) == {"mismatch": 1}
    assert here.proxy.mismatches()[0]["request_id"] == answers[0]["ResponseMetadata"]["RequestId"]


def test_a_verdict_on_what_dsql_answered_names_the_request_too(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    """In live, and on the ramp, the id is the proxy's own."""
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="live") as live:
        client = live.client()
        client.put_item(TableName=TABLE, Item=book())
        live.assert_equal()
        for consistent in (False, True):
            live.direct().put_item(TableName=TABLE, Item=book(title={"S": "Stalker"}))
            answers: list[Any] = []
            read = functools.partial(client.get_item, TableName=TABLE, Key=KEY, ConsistentRead=consistent)
            assert live.compared("GetItem", lambda: answers.append(read())) == {"mismatch": 1}  # noqa: B023
            assert live.proxy.mismatches()[0]["request_id"] == answers[0]["ResponseMetadata"]["RequestId"]
            live.assert_equal()
