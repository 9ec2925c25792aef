"""Past the flip: DSQL answers, DynamoDB is the mirror, and the same mechanism runs the other way round."""

import random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.boto3_session import make_table
from tests.integration.scenes import Scene, insist, scene
from tests.integration.writers import BILLIO_KEYS, Writers, billio_item
from tests.standins.billio import HASH_KEY, TABLE, billio_table, dynamodb_client
from tests.standins.processes import free_port
from tests.story.independent import comparable

BOOKS = [key for key in BILLIO_KEYS if key[HASH_KEY]["S"].startswith("Book:")]
GAMES = [key for key in BILLIO_KEYS if key[HASH_KEY]["S"].startswith("VideoGame:")]


def assert_same(held: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Numbers by value: DynamoDB gives `1E+40` back in full."""
    assert comparable(held) == comparable(wanted)


def by_key(item: dict[str, Any]) -> str:
    return str(item[HASH_KEY]["S"])


def book(seed: int, key: dict[str, Any] = BOOKS[0], **more: Any) -> dict[str, Any]:
    return billio_item(random.Random(seed), key) | more


def pinned(here: Scene, stage: str) -> None:
    """Stages that the settings pin are moved by all processes' end, and their start with other settings."""
    assert here.verdicts().get("mismatch", 0) == 0
    here.proxy.settle()
    here.proxy.restart({"CROSSFADE_STAGE": stage})


@pytest.mark.parametrize("stage", ["live", "rampdown"])
def test_dsql_answers_and_dynamodb_is_kept_true(dynamodb: str, database: str, dsql_database: str, stage: str) -> None:
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage=stage) as here:
        Writers(here.client, 7, threads=4, calls=60).start().join()
        client = here.client()
        client.put_item(TableName=TABLE, Item=book(1))
        held = client.get_item(TableName=TABLE, Key=BOOKS[0], ConsistentRead=True)["Item"]
        assert_same(held, book(1))
        here.assert_equal()
        assert_same(dynamodb_client(dynamodb).get_item(TableName=TABLE, Key=BOOKS[0])["Item"], book(1))
        verdicts = here.verdicts()
        assert verdicts.get("mismatch", 0) == 0
        assert ("agreed" in verdicts) == (stage == "live")


def test_a_read_in_live_does_not_come_from_dynamodb(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="live") as here:
        client = here.client()
        client.put_item(TableName=TABLE, Item=book(1))
        here.proxy.settle()

        def read_after_a_write_past_it() -> dict[str, int]:
            here.direct().put_item(TableName=TABLE, Item=book(2, title={"S": "written past the proxy"}))
            return here.compared(
                "GetItem",
                lambda: assert_same(client.get_item(TableName=TABLE, Key=BOOKS[0])["Item"], book(1)),
            )

        # Where the board of the proxies is slow to read, it may be somebody's write, and is no mismatch yet.
        assert "mismatch" in insist(read_after_a_write_past_it, lambda counts: "mismatch" in counts)
        here.assert_equal()
        assert_same(here.direct().get_item(TableName=TABLE, Key=BOOKS[0])["Item"], book(1))


def test_dynamodb_may_be_gone_and_the_client_does_not_notice(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="live") as here:
        client = here.client()
        client.put_item(TableName=TABLE, Item=book(1))  # its table is known from now on
        here.direct().delete_table(TableName=TABLE)
        for seed in range(30):
            client.put_item(TableName=TABLE, Item=book(seed))
            assert_same(client.get_item(TableName=TABLE, Key=BOOKS[0])["Item"], book(seed))


def test_an_item_that_dsql_cannot_hold_is_the_clients_error(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="live") as here:
        item = book(1) | {"title": {"S": "a\0b"}}
        with pytest.raises(ClientError) as refused:
            here.client().put_item(TableName=TABLE, Item=item)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
        assert "title" in refused.value.response["Error"]["Message"]
        assert "Item" not in here.client().get_item(TableName=TABLE, Key=BOOKS[0])
        assert "Item" not in here.direct().get_item(TableName=TABLE, Key=BOOKS[0])
        here.assert_equal()


def test_a_batch_across_the_flip_is_carried_out_in_parts_and_a_transaction_is_not(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    books_first = f'[tables.{TABLE}.types.Book]\nstage = "live"\n'
    with scene(dynamodb, dsql_database, rows=database, stage="shadow", extra=books_first) as here:
        client = here.client()
        items = [book(1, BOOKS[0]), book(2, GAMES[0]), book(3, BOOKS[1])]
        client.batch_write_item(RequestItems={TABLE: [{"PutRequest": {"Item": item}} for item in items]})
        keys = [BOOKS[0], GAMES[0], BOOKS[1]]
        found = client.batch_get_item(RequestItems={TABLE: {"Keys": keys, "ConsistentRead": True}})
        for one, two in zip(*(sorted(each, key=by_key) for each in (found["Responses"][TABLE], items)), strict=True):
            assert_same(one, two)
        assert found["UnprocessedKeys"] == {}
        with pytest.raises(ClientError, match="cannot span item types"):
            client.transact_write_items(
                TransactItems=[{"Put": {"TableName": TABLE, "Item": item}} for item in items[:2]]
            )
        client.transact_write_items(TransactItems=[{"Delete": {"TableName": TABLE, "Key": key}} for key in keys[::2]])
        assert "Item" not in client.get_item(TableName=TABLE, Key=BOOKS[0])
        here.assert_equal()
        assert here.verdicts().get("mismatch", 0) == 0


@pytest.mark.parametrize("index", [None, "type"])
def test_a_reader_halfway_through_its_pages_does_not_notice_the_flip(
    dynamodb: str, database: str, dsql_database: str, index: str | None
) -> None:
    """A Scan's order is the store's own, and so is that of equal sort keys in an index: each item is shown once."""
    billio_table(dynamodb)
    asked: dict[str, Any] = {"TableName": TABLE, "Limit": 7}
    if index is not None:
        asked |= {
            "IndexName": index,
            "KeyConditionExpression": "#t = :t",
            "ExpressionAttributeNames": {"#t": "type"},
            "ExpressionAttributeValues": {":t": {"S": "Book"}},
        }
    with scene(dynamodb, dsql_database, rows=database, stage="shadow") as before:
        client = before.client()
        keys = [{HASH_KEY: {"S": f"Book:{number:02}"}} for number in range(40)]
        for number, key in enumerate(keys):
            client.put_item(TableName=TABLE, Item=book(number, key, movedAt={"N": str(number // 20)}))
        before.proxy.settle()
        seen = []
        answer = client.query(**asked) if index else client.scan(**asked)
        pages = 0
        while True:
            seen += [item[HASH_KEY]["S"] for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            pages += 1
            # Through the flip, and through it again the other way.
            if pages in (1, 3):
                pinned(before, "live" if pages == 1 else "shadow")
                client = before.client()
            more = {**asked, "ExclusiveStartKey": answer["LastEvaluatedKey"]}
            answer = client.query(**more) if index else client.scan(**more)
        assert sorted(seen) == [key[HASH_KEY]["S"] for key in keys]
        seen.clear()
        # And one that begins past the flip.
        pinned(before, "live")
        client = before.client()
        first = client.query(**asked) if index else client.scan(**asked)
        assert set(first["LastEvaluatedKey"]) <= {HASH_KEY, "type", "movedAt"}
        more = {**asked, "ExclusiveStartKey": first["LastEvaluatedKey"], "Limit": 100}
        pinned(before, "shadow")
        client = before.client()
        rest = client.query(**more) if index else client.scan(**more)
        seen = [item[HASH_KEY]["S"] for item in (*first["Items"], *rest["Items"])]
        assert sorted(seen) == [key[HASH_KEY]["S"] for key in keys]
        before.proxy.settle()
        assert before.verdicts().get("mismatch", 0) == 0


def test_with_every_table_complete_and_pinned_there_need_be_no_dynamodb(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    """Billio's table is described by its mapping file, the other one by what a proxy was told while there was one."""
    billio_table(dynamodb)
    make_table(dynamodb)
    follow = {"CROSSFADE_FOLLOW_TABLES": "true"}
    with scene(dynamodb, dsql_database, rows=database, stage="shadow", environment=follow) as before:
        before.client().put_item(TableName=TABLE, Item=book(1))
        before.client().put_item(TableName="orders", Item={"who": {"S": "ann"}, "at": {"N": "1"}})
        before.proxy.settle()
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scene(nowhere, dsql_database, rows=database, stage="complete", environment=follow) as alone:
        client = alone.client()
        assert client.list_tables()["TableNames"] == [TABLE, "orders"]
        described = client.describe_table(TableName="orders")["Table"]
        assert described["TableStatus"] == "ACTIVE"
        assert described["KeySchema"][1] == {"AttributeName": "at", "KeyType": "RANGE"}
        assert client.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED"
        with pytest.raises(ClientError, match="UnknownOperation"):
            client.create_backup(TableName=TABLE, BackupName="never")
        assert_same(client.get_item(TableName=TABLE, Key=BOOKS[0])["Item"], book(1))
        client.put_item(TableName="orders", Item={"who": {"S": "ann"}, "at": {"N": "2"}})
        found = client.query(
            TableName="orders", KeyConditionExpression="who = :w", ExpressionAttributeValues={":w": {"S": "ann"}}
        )
        assert [item["at"]["N"] for item in found["Items"]] == ["1", "2"]
        with pytest.raises(ClientError) as refused:
            client.get_item(TableName="nowhere", Key=BOOKS[0])
        assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_transaction_that_is_tried_again_after_the_flip_is_not_done_twice(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    request: dict[str, Any] = {
        "ClientRequestToken": "once and no more",
        "TransactItems": [
            {
                "Update": {
                    "TableName": TABLE,
                    "Key": BOOKS[0],
                    "UpdateExpression": "ADD hits :one",
                    "ExpressionAttributeValues": {":one": {"N": "1"}},
                }
            }
        ],
    }
    with scene(dynamodb, dsql_database, rows=database, stage="shadow") as before:
        before.client().put_item(TableName=TABLE, Item=book(1))
        before.proxy.settle()
        before.client().transact_write_items(**request)
        before.proxy.settle()
        pinned(before, "live")
        before.client().transact_write_items(**request)
        before.proxy.settle()
        item = before.client().get_item(TableName=TABLE, Key=BOOKS[0])["Item"]
        assert item["hits"] == {"N": "1"}
