"""Tables described without DynamoDB: by the catalogue in DSQL, by a mapping file, and to a real SDK's parser."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import botocore.parsers
import botocore.session
import pytest_asyncio

from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.load import load
from proxy.stores.dsql.offline_control_plane import ControlPlane
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.system_tables.table_descriptions import CATALOGUE_TABLE, TableDescriptions
from tests.property.twins import Ministacks
from tests.standins.billio import table_definition
from tests.standins.dynamodb import Ministack
from tests.standins.pools import open_dsn_pool

CONFIG = Path(__file__).parents[2] / "config"
DEFINITION = {
    "TableName": "things",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "B"},
        {"AttributeName": "n", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-n",
            "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["v"]},
        }
    ],
}


@pytest_asyncio.fixture
async def pool(dsql_database: str) -> AsyncIterator[Pool]:
    made = open_dsn_pool(dsql_database, maximum=2)
    yield made
    made.terminate()


def plane(catalogue: TableDescriptions) -> ControlPlane:
    return ControlPlane(catalogue, {"billio": load(CONFIG / "billio.toml").mapping})


async def ask(control: ControlPlane, action: str, request: dict[str, Any]) -> Outcome:
    return await control.answer(action, json.dumps(request).encode())


def parsed(action: str, outcome: Outcome) -> dict[str, Any]:
    """As botocore reads it, by the service's model."""
    model = botocore.session.get_session().get_service_model("dynamodb").operation_model(action)
    parser = botocore.parsers.create_parser("json")
    answer: dict[str, Any] = parser.parse(
        {"status_code": outcome.status, "headers": {}, "body": outcome.body}, model.output_shape
    )
    return answer


async def test_a_table_stays_described_when_dynamodb_is_gone(ministack: Ministack, pool: Pool) -> None:
    ministack.reset()
    ministacks = Ministacks(ministack.port)
    assert ministacks.ask("CreateTable", DEFINITION)[0] == 200
    description = ministacks.ask("DescribeTable", {"TableName": "things"})[1]["Table"]
    ministacks.close()
    first = TableDescriptions(pool)
    assert await plane(first).schema("things") is None
    first.keep(description)
    await first.work()
    another = plane(TableDescriptions(pool))
    assert await another.schema("things") == TableSchema.from_description(description)
    answer = parsed("DescribeTable", await ask(another, "DescribeTable", {"TableName": "things"}))
    assert answer["Table"]["TableStatus"] == "ACTIVE"
    assert answer["Table"]["KeySchema"] == DEFINITION["KeySchema"]
    assert answer["Table"]["TableArn"] == description["TableArn"]
    assert parsed("DescribeTimeToLive", await ask(another, "DescribeTimeToLive", {"TableName": "things"}))[
        "TimeToLiveDescription"
    ] == {"TimeToLiveStatus": "DISABLED"}


async def test_a_mapped_table_is_described_by_its_file_until_dynamodb_has_been_asked(pool: Pool) -> None:
    catalogue = TableDescriptions(pool)
    assert await plane(catalogue).schema("billio") == TableSchema.from_description(table_definition())
    catalogue.keep({**table_definition(), "ItemCount": 7})
    await catalogue.flush()
    answer = (await ask(plane(catalogue), "DescribeTable", {"TableName": "billio"})).document
    assert answer["Table"]["ItemCount"] == 7


async def test_tables_are_listed_in_pages(pool: Pool) -> None:
    catalogue = TableDescriptions(pool)
    for number in range(4):
        catalogue.keep({"TableName": f"t-{number}"})
    catalogue.keep({"TableName": "dropped"})
    catalogue.drop("dropped")
    await catalogue.flush()
    catalogue.drop("t-3")
    await catalogue.flush()
    names: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = parsed("ListTables", await ask(plane(catalogue), "ListTables", {"Limit": 2, **start}))
        names += page["TableNames"]
        if "LastEvaluatedTableName" not in page:
            break
        assert len(page["TableNames"]) == 2
        start = {"ExclusiveStartTableName": page["LastEvaluatedTableName"]}
    assert names == ["billio", "t-0", "t-1", "t-2"]


async def test_the_rest_is_refused_and_no_sdk_tries_it_again(pool: Pool) -> None:
    control = plane(TableDescriptions(pool))
    for action in ("CreateTable", "DeleteTable", "ExecuteStatement", "DescribeContinuousBackups", "NoSuchThing"):
        outcome = await ask(control, action, {"TableName": "billio"})
        assert (outcome.status, outcome.error_code) == (400, "UnknownOperationException")
        assert action in outcome.document["message"]
    missing = await ask(control, "DescribeTable", {"TableName": "missing"})
    assert (missing.status, missing.error_code) == (400, "ResourceNotFoundException")
    assert "AccountMaxReadCapacityUnits" in parsed("DescribeLimits", await ask(control, "DescribeLimits", {}))


async def test_a_description_holds_no_items(pool: Pool) -> None:
    catalogue = TableDescriptions(pool)
    catalogue.keep({**table_definition()})
    await catalogue.flush()
    async with pool.connection() as connection:
        [row] = await connection.fetch(f"SELECT * FROM {CATALOGUE_TABLE}")
    assert set(json.loads(row["description"])) <= {*table_definition(), "TableStatus"}
