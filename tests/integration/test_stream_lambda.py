"""The Lambda handler on recorded events, over both stand-ins: what converges, what comes again, and which way."""

import asyncio
import base64
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from proxy.cutover.stage_table import StageRow, StageTable
from proxy.cutover.stages import Scope, Stage, StageMap, StagePlacement
from proxy.settings import load
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stream.lambda_handler import SETTINGS_FILE, Function
from tests.integration.scenes import CONFIG, billio_rows, run_sql
from tests.proxy_process import settings_text
from tests.standins.billio import TABLE, billio_table
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY

EVENTS = Path(__file__).parents[1] / "data" / "events"
ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/{}/stream/2026-11-22T20:00:00.000"
AWS = {
    "CROSSFADE_DYNAMODB__REGION": REGION,
    "CROSSFADE_DYNAMODB__ACCESS_KEY_ID": ACCESS_KEY,
    "CROSSFADE_DYNAMODB__SECRET_ACCESS_KEY": SECRET_KEY,
}
ALL = [f"442158450000000001745043909{n}" for n in (1, 2, 3)]


def recorded() -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / "dynamodb.json").read_text())
    return event


def kinesis(*documents: Any) -> dict[str, Any]:
    """What Lambda makes of records in a Kinesis stream ("Process Amazon Kinesis Data Streams records with Lambda")."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": f"random{number}",
                    "sequenceNumber": f"4959033827149025660855969253836157109592157598913658{number}",
                    "data": base64.b64encode(
                        document if isinstance(document, bytes) else json.dumps(document).encode()
                    ).decode(),
                    "approximateArrivalTimestamp": 1795382401.087,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000006:{number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/dsql-changes",
            }
            for number, document in enumerate(documents)
        ]
    }


def failures(answer: dict[str, Any]) -> list[str]:
    assert answer.keys() == {"batchItemFailures"}
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def book(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": {"S": "Book"},
        "id": {"S": str(number)},
        "type:id": {"S": f"Book:{number}"},
        "shelf": {"S": "Read"},
        "type:shelf": {"S": "Book:Read"},
        "title": {"S": f"Number {number}"},
    } | more


class Clock:
    """A context whose time is nearly up, or not."""

    def __init__(self, milliseconds: int = 120_000) -> None:
        self._left = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._left


@pytest.fixture
def client(dynamodb: str) -> Any:
    return billio_table(dynamodb)


def function(
    endpoint: str, dsn: str, folder: Path, stage: str = "dualwrite", extra: str = "", seconds: float = 30
) -> Function:
    file = folder / "crossfade.toml"
    journal, mappings = folder / "unused.sqlite", [CONFIG / "billio.toml"]
    file.write_text(
        settings_text(dynamodb=endpoint, dsql=dsn, journal=journal, stage=stage, mappings=mappings, extra=extra)
    )
    return Function({SETTINGS_FILE: str(file), "CROSSFADE_DSQL__TIMEOUT_SECONDS": str(seconds)})


@pytest.fixture
def handler(client: Any, dynamodb: str, dsql_database: str, tmp_path: Path) -> Iterator[Function]:
    """DynamoDB is the authority."""
    billio_rows(dsql_database)
    made = function(dynamodb, dsql_database, tmp_path)
    yield made
    made.close()


def titles(dsn: str) -> dict[str, str]:
    rows = asyncio.run(run_sql(dsn, "SELECT id, title FROM items"))
    return {row["id"]: row["title"] for row in rows}


def test_a_batch_converges(handler: Function, client: Any, database: str) -> None:
    client.put_item(TableName=TABLE, Item=book(1))
    client.put_item(TableName=TABLE, Item=book(2))
    assert failures(handler(recorded(), Clock())) == []
    assert titles(database) == {"1": "Number 1", "2": "Number 2"}
    # The next batch finds everything open. A deletion by time to live is one like any other.
    client.put_item(TableName=TABLE, Item=book(3))
    assert failures(handler(recorded(), Clock())) == []
    client.delete_item(TableName=TABLE, Key={"type:id": {"S": "Book:3"}})
    client.put_item(TableName=TABLE, Item=book(1, title={"S": "changed"}))
    assert failures(handler(recorded(), Clock())) == []
    assert titles(database) == {"1": "changed", "2": "Number 2"}


def test_duplicates_and_any_order_are_alike(handler: Function, client: Any, database: str) -> None:
    client.put_item(TableName=TABLE, Item=book(1))
    event = recorded()
    event["Records"] = [*event["Records"][::-1], *deepcopy(event["Records"]), event["Records"][1]]
    assert failures(handler(event, Clock())) == []
    assert titles(database) == {"1": "Number 1"}


def test_only_what_failed_comes_again(handler: Function, client: Any, database: str) -> None:
    client.put_item(TableName=TABLE, Item=book(1))
    event = recorded()
    del event["Records"][1]["dynamodb"]["Keys"]
    assert failures(handler(event, Clock())) == [ALL[1]]
    assert titles(database) == {"1": "Number 1"}


def test_what_cannot_be_held_does_not_stop_the_stream(handler: Function, client: Any, database: str) -> None:
    client.put_item(TableName=TABLE, Item=book(1, **{"type:shelf": {"S": "of no form"}}))
    client.put_item(TableName=TABLE, Item=book(2))
    assert failures(handler(recorded(), Clock())) == []
    assert titles(database) == {"2": "Number 2"}


def test_other_tables_records_are_left_alone(handler: Function, client: Any, database: str) -> None:
    client.put_item(TableName=TABLE, Item=book(1))
    event = recorded()
    for record in event["Records"]:
        record["eventSourceARN"] = ARN.format("unknown")
    assert failures(handler(event, Clock())) == []
    assert titles(database) == {}


def test_without_time_everything_comes_again(handler: Function, client: Any, database: str) -> None:
    client.put_item(TableName=TABLE, Item=book(1))
    assert failures(handler(recorded(), Clock(500))) == ALL
    assert titles(database) == {}
    assert failures(handler({"Records": []}, Clock())) == []


def test_a_mirror_that_is_away_makes_them_come_again(client: Any, dynamodb: str, tmp_path: Path) -> None:
    client.put_item(TableName=TABLE, Item=book(1))
    away = function(dynamodb, "postgresql://nobody@127.0.0.1:1/nothing", tmp_path, seconds=2)
    try:
        assert failures(away(recorded(), Clock())) == ALL
    finally:
        away.close()


def test_a_table_that_is_off_is_left_alone(client: Any, dynamodb: str, dsql_database: str, tmp_path: Path) -> None:
    client.put_item(TableName=TABLE, Item=book(1))
    off = function(dynamodb, dsql_database, tmp_path, stage="off")
    try:
        assert failures(off(recorded(), Clock())) == []
    finally:
        off.close()


@pytest.fixture
def behind(client: Any, dynamodb: str, dsql_database: str, tmp_path: Path) -> Iterator[Function]:
    """DSQL is the authority, DynamoDB its mirror."""
    billio_rows(dsql_database)
    made = function(dynamodb, dsql_database, tmp_path, stage="live")
    yield made
    made.close()


def test_rows_changed_in_dsql_converge_the_other_way(behind: Function, client: Any, database: str) -> None:
    created, deleted, board = json.loads((EVENTS / "dsql.json").read_text())
    insert = "INSERT INTO items (type, id, title, data) VALUES ('Book', '1', 'by SQL', '{\"author\": \"Le Guin\"}')"
    asyncio.run(run_sql(database, insert))
    client.put_item(TableName=TABLE, Item=book(2))
    fragment = {"type": "fragment", "chunk_id": "c", "index": 0, "data": "{"}
    # In any order, twice, with rows of other tables among them.
    assert failures(behind(kinesis(deleted, board, created, deleted, fragment, created), Clock())) == []
    found = {item["type:id"]["S"]: item for item in client.scan(TableName=TABLE)["Items"]}
    assert found.keys() == {"Book:1"}
    assert (found["Book:1"]["title"], found["Book:1"]["author"]) == ({"S": "by SQL"}, {"S": "Le Guin"})


def test_of_a_kinesis_batch_only_what_failed_comes_again(behind: Function, client: Any) -> None:
    client.put_item(TableName=TABLE, Item=book(2))
    created, deleted, _ = json.loads((EVENTS / "dsql.json").read_text())
    chunked = created | {"type": "chunked", "after": None, "chunked": {"after": {"chunk_id": "c"}}}
    event = kinesis(deleted, b"no JSON", chunked, deleted | {"before": {"id": "2"}})
    numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
    assert failures(behind(event, Clock())) == numbers[1:]
    assert client.scan(TableName=TABLE)["Items"] == []


def test_a_stray_write_to_the_old_store_is_undone_after_the_flip(behind: Function, client: Any) -> None:
    """With DSQL the authority, DynamoDB's stream names keys too: who wrote there wrote to a mirror."""
    client.put_item(TableName=TABLE, Item=book(1))
    assert failures(behind(recorded(), Clock())) == []
    assert client.scan(TableName=TABLE)["Items"] == []


def test_the_stage_table_says_which_way_and_when_not(
    client: Any, dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    billio_rows(dsql_database)
    settings = load(None, {"CROSSFADE_DYNAMODB__ENDPOINT_URL": dynamodb} | AWS)

    async def write(stage: Stage, flip: dict[str, Any] | None = None) -> None:
        """A stage table that says so, and is paired with no database yet; DSQL's record agrees with it."""
        async with open_upstream(settings, {}) as upstream:
            table = StageTable(DynamoDBStore(upstream, 60.0), "crossfade_stages")
            await table.ensure()
            version = (await table.state()).version + 1
            moved = StageMap(epoch=version - 1).with_move(Scope(TABLE), StagePlacement(stage))
            assert await table.write_state(StageRow(version, version, moved.document(), flip))
        if version > 1:
            agreed = "UPDATE crossfade_authority SET installation = '', authority = $1 WHERE scope = $2"
            for scope, authority in (("", ""), (TABLE, stage.authority)):
                await run_sql(database, agreed, authority, scope)

    asyncio.run(write(Stage.DUALWRITE))
    staged = function(dynamodb, dsql_database, tmp_path, extra='[stages]\ntable = "crossfade_stages"\n')
    try:
        client.put_item(TableName=TABLE, Item=book(1))
        assert failures(staged(recorded(), Clock())) == []
        assert titles(database) == {"1": "Number 1"}
        # While a stage is being moved nobody can say which store is the truth: the batch comes again.
        asyncio.run(write(Stage.DUALWRITE, {"id": "f", "phase": "holding"}))
        client.put_item(TableName=TABLE, Item=book(1, title={"S": "changed"}))
        assert failures(staged(recorded(), Clock())) == ALL
        assert titles(database) == {"1": "Number 1"}
        asyncio.run(write(Stage.LIVE))
        assert failures(staged(recorded(), Clock())) == []
        assert client.get_item(TableName=TABLE, Key={"type:id": {"S": "Book:1"}})["Item"]["title"] == {"S": "Number 1"}
    finally:
        staged.close()
