"""Tables described without DynamoDB: by the catalogue in DSQL, by a mapping file, and to a real SDK's parser."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.parsers
import botocore.session
import pytest
import pytest_asyncio

from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.tables.time_to_live import enabled
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import load
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.stores.dsql.offline_control_plane import ControlPlane
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.dsql.system_tables.table_descriptions import CATALOGUE_TABLE, TableDescriptions
from proxy.stores.dsql.system_tables.table_properties import TableProperties
from proxy.stores.dsql.table_statistics import TableCounts, TableStatistics
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


def plane(pool: Pool, catalogue: TableDescriptions | None = None) -> ControlPlane:
    return ControlPlane(
        catalogue=catalogue or TableDescriptions(pool),
        properties=TableProperties(pool),
        mapped={"billio": load(CONFIG / "billio.toml").mapping},
        count=TableStatistics(pool, "public").count,
    )


async def ask(control: ControlPlane, action: str, request: dict[str, Any]) -> Outcome:
    return await control.answer(action, json.dumps(request).encode(), "proxy.example:8000")


async def document(control: ControlPlane, action: str, **request: Any) -> dict[str, Any]:
    """An answer as botocore reads it."""
    outcome = await ask(control, action, request)
    assert outcome.ok, outcome.document
    return parsed(action, outcome)


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
    assert await plane(pool, first).schema("things") is None
    first.keep(description)
    await first.work()
    another = plane(pool)
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
    assert await plane(pool, catalogue).schema("billio") == TableSchema.from_description(table_definition())
    catalogue.keep({**table_definition(), "ItemCount": 7})
    await catalogue.flush()
    answer = (await ask(plane(pool, catalogue), "DescribeTable", {"TableName": "billio"})).document
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
        page = parsed("ListTables", await ask(plane(pool, catalogue), "ListTables", {"Limit": 2, **start}))
        names += page["TableNames"]
        if "LastEvaluatedTableName" not in page:
            break
        assert len(page["TableNames"]) == 2
        start = {"ExclusiveStartTableName": page["LastEvaluatedTableName"]}
    assert names == ["billio", "t-0", "t-1", "t-2"]


async def test_the_rest_is_refused_and_no_sdk_tries_it_again(pool: Pool) -> None:
    control = plane(pool)
    for action in ("CreateTable", "DeleteTable", "CreateBackup", "NoSuchThing"):
        outcome = await ask(control, action, {"TableName": "unheard-of"})
        assert (outcome.status, outcome.error_code) == (400, "UnknownOperationException")
        assert action in outcome.document["message"]
    missing = await ask(control, "DescribeTable", {"TableName": "missing"})
    assert (missing.status, missing.error_code) == (400, "ResourceNotFoundException")
    assert "AccountMaxReadCapacityUnits" in parsed("DescribeLimits", await ask(control, "DescribeLimits", {}))


async def test_what_sdks_and_tools_ask_when_they_start(pool: Pool) -> None:
    control = plane(pool)
    exists = await ask(control, "CreateTable", table_definition())
    assert (exists.status, exists.error_code) == (400, "ResourceInUseException")
    assert exists.document["message"] == "Table already exists: billio"
    backups = (await document(control, "DescribeContinuousBackups", TableName="billio"))["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"] == {"PointInTimeRecoveryStatus": "DISABLED"}
    [endpoint] = (await document(control, "DescribeEndpoints"))["Endpoints"]
    assert endpoint["Address"] == "proxy.example:8000"
    assert (await document(control, "ListBackups"))["BackupSummaries"] == []
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/billio"
    assert (await document(control, "ListTagsOfResource", ResourceArn=arn))["Tags"] == []
    pairs = [{"Key": "team", "Value": "a"}, {"Key": "cost", "Value": "1"}]
    await document(control, "TagResource", ResourceArn=arn, Tags=pairs)
    await document(control, "TagResource", ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}])
    await document(control, "UntagResource", ResourceArn=arn, TagKeys=["cost", "unheard-of"])
    assert (await document(plane(pool), "ListTagsOfResource", ResourceArn=arn))["Tags"] == [
        {"Key": "team", "Value": "b"}
    ]
    many = [{"Key": f"tag-{n:02}", "Value": "v"} for n in range(21)]
    await document(control, "UntagResource", ResourceArn=arn, TagKeys=["team"])
    await document(control, "TagResource", ResourceArn=arn, Tags=many)
    pages: list[Any] = []
    token: dict[str, str] = {}
    while not pages or token:
        answer = await document(control, "ListTagsOfResource", ResourceArn=arn, **token)
        pages.append(answer["Tags"])
        token = {"NextToken": answer["NextToken"]} if "NextToken" in answer else {}
    assert [len(page) for page in pages] == [10, 10, 1]
    assert [each for page in pages for each in page] == many
    no_arn = await ask(control, "TagResource", {"ResourceArn": "billio", "Tags": []})
    assert (no_arn.error_code, "Invalid ResourceArn" in no_arn.document["message"]) == ("ValidationException", True)


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("DescribeTable", "ResourceNotFoundException"),
        ("DescribeTimeToLive", "ResourceNotFoundException"),
        ("UpdateTimeToLive", "ResourceNotFoundException"),
        ("ListTagsOfResource", "ResourceNotFoundException"),
        ("TagResource", "ResourceNotFoundException"),
        ("DescribeContinuousBackups", "TableNotFoundException"),
    ],
)
async def test_a_table_that_is_not_there(pool: Pool, action: str, code: str) -> None:
    specification = {"Enabled": True, "AttributeName": "expires"}
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/missing"
    request = {"TableName": "missing", "ResourceArn": arn, "Tags": [], "TimeToLiveSpecification": specification}
    outcome = await ask(plane(pool), action, request)
    assert (outcome.status, outcome.error_code) == (400, code)
    nameless = await ask(plane(pool), action, {})
    assert (nameless.status, nameless.error_code) == (400, "ValidationException")


async def test_time_to_live_is_as_it_was_and_can_be_changed(pool: Pool) -> None:
    async def told() -> dict[str, Any]:
        found: dict[str, Any] = await document(plane(pool), "DescribeTimeToLive", TableName="billio")
        return dict(found["TimeToLiveDescription"])

    async def update(enabled: Any, name: Any) -> Outcome:
        specification = {"Enabled": enabled, "AttributeName": name}
        request = {"TableName": "billio", "TimeToLiveSpecification": specification}
        return await ask(plane(pool), "UpdateTimeToLive", request)

    assert await told() == {"TimeToLiveStatus": "DISABLED"}
    await TableProperties(pool).keep_time_to_live("billio", enabled("expires"))
    assert await told() == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    for wanted, name, said in (
        (True, "expires", "TimeToLive is already enabled"),
        (True, "other", "current AttributeName is expires"),
        (False, "other", "current AttributeName is expires"),
        (True, "", "length greater than or equal to 1"),
        (None, "expires", "Value null at 'timeToLiveSpecification.enabled'"),
    ):
        refused = await update(wanted, name)
        assert refused.error_code == "ValidationException"
        assert said in refused.document["message"]
    assert (await update(False, "expires")).document == {
        "TimeToLiveSpecification": {"Enabled": False, "AttributeName": "expires"}
    }
    assert await told() == {"TimeToLiveStatus": "DISABLED"}
    assert (await update(False, "expires")).document["message"] == "TimeToLive is already disabled"
    assert (await update(True, "expires")).ok
    assert (await told())["AttributeName"] == "expires"


async def test_a_table_is_described_with_the_items_that_it_has(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = TableDescriptions(pool)
    definition = {**DEFINITION, "ItemCount": 7, "TableSizeBytes": 70}
    catalogue.keep(definition)
    await catalogue.flush()

    async def told() -> tuple[int, int]:
        table = (await document(plane(pool), "DescribeTable", TableName="things"))["Table"]
        return table["ItemCount"], table["TableSizeBytes"]

    assert await told() == (7, 70)  # as it was, where there is no SQL table to count
    mapping = DocumentMapping(TableSchema.from_description(definition))
    await DocumentTables(pool, "public").create(mapping)
    assert await told() == (0, 0)
    async with pool.connection() as connection:
        statement = Statements("public", mapping).insert
        for number in range(12):
            item = {"pk": {"S": "p"}, "sk": {"B": base64.b64encode(bytes([number])).decode()}, "v": {"S": "x" * 95}}
            encoded = mapping.encode(mapping.schema.key_of(item), item)
            assert encoded.values is not None
            await connection.execute(statement, *encoded.values)
    assert await told() == (12, 12 * (3 + 3 + 96))
    # Of many, the database's estimate; never less than what was counted.
    monkeypatch.setattr("proxy.stores.dsql.table_statistics._EXACT", 10)
    assert (await told())[0] == 11
    async with pool.connection() as connection:
        await connection.execute("ANALYZE things")
    assert (await told())[0] == 12


async def test_many_items_are_counted_once_a_minute_and_few_each_time(pool: Pool) -> None:
    asked: list[str] = []
    items = 1_001

    async def count(mapping: TableMapping) -> TableCounts:
        asked.append(mapping.sql_table)
        return TableCounts(items, 0)

    control = replace(plane(pool), count=count)
    for _ in range(3):
        assert (await document(control, "DescribeTable", TableName="billio"))["Table"]["ItemCount"] == 1_001
    assert asked == ["items"]
    control, items = replace(control, _counted={}), 1
    for items in (1, 2):
        assert (await document(control, "DescribeTable", TableName="billio"))["Table"]["ItemCount"] == items


async def test_a_description_holds_no_items(pool: Pool) -> None:
    catalogue = TableDescriptions(pool)
    catalogue.keep({**table_definition()})
    await catalogue.flush()
    async with pool.connection() as connection:
        [row] = await connection.fetch(f"SELECT * FROM {CATALOGUE_TABLE}")
    assert set(json.loads(row["description"])) <= {*table_definition(), "TableStatus"}


class _SlowMaker:
    """A maker whose tables are there once they have been waited for."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def make(self, schema: TableSchema, /) -> None:
        self.made.discard(schema.name)

    def drop(self, name: str, /) -> None:
        self.made.discard(name)

    async def finished(self, name: str, seconds: float, /) -> None:
        assert seconds <= 1
        self.made.add(name)

    def status(self, name: str, /) -> str:
        return "ACTIVE" if name in self.made else "CREATING"

    def usable_indexes(self, name: str, /) -> frozenset[str]:
        return frozenset()


async def test_a_new_table_is_there_at_the_first_look_after_its_creation(pool: Pool) -> None:
    """An SDK's waiter that meets CREATING looks again after 20 s."""
    control = replace(plane(pool), maker=_SlowMaker(), count=_nothing)
    request = {**DEFINITION, "BillingMode": "PAY_PER_REQUEST", "Tags": [{"Key": "team", "Value": "a"}]}
    made = (await document(control, "CreateTable", **request))["TableDescription"]
    assert made["TableStatus"] == "CREATING"
    assert (await document(control, "DescribeTable", TableName="things"))["Table"]["TableStatus"] == "ACTIVE"
    tags = await document(control, "ListTagsOfResource", ResourceArn=made["TableArn"])
    assert tags["Tags"] == [{"Key": "team", "Value": "a"}]
    changed = {"TableName": "things", "DeletionProtectionEnabled": True}
    assert (await document(control, "UpdateTable", **changed))["TableDescription"]["TableStatus"] == "UPDATING"
    assert (await document(control, "DescribeTable", TableName="things"))["Table"]["TableStatus"] == "ACTIVE"


async def _nothing(_: TableMapping) -> TableCounts:
    return TableCounts(0, 0)
