"""What was made and changed through a running proxy is there when DynamoDB is gone (decision 005)."""

import asyncio
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.integration.scenes import Scene, run_sql, scene, wait_until
from tests.standins.processes import free_port

ORDERS: Final[dict[str, Any]] = {
    "TableName": "orders",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
}
BY_STATE: Final[dict[str, Any]] = {
    "IndexName": "by-state",
    "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}
FOLLOW: Final = {"CROSSFADE_FOLLOW_TABLES": "true"}


def known(here: Scene, statement: str, count: int) -> None:
    """Wait until what was heard is written, which is behind the answer."""
    wait_until(lambda: len(asyncio.run(run_sql(here.dsn, statement))) == count, 60, "the catalogue to be written")


@pytest.mark.parametrize("stage", ["dualwrite", "shadow", "live", "rampdown"])
def test_tables_indexes_and_time_to_live_made_through_the_proxy_outlive_dynamodb(
    stage: str, dynamodb: str, database: str, dsql_database: str
) -> None:
    with scene(dynamodb, dsql_database, rows=database, stage=stage, billio=False, environment=FOLLOW) as here:
        client = here.client(attempts=10)
        client.create_table(**ORDERS)
        client.create_table(**{**ORDERS, "TableName": "deleted"})
        client.update_table(
            TableName="orders",
            AttributeDefinitions=[*ORDERS["AttributeDefinitions"], {"AttributeName": "state", "AttributeType": "S"}],
            GlobalSecondaryIndexUpdates=[{"Create": BY_STATE}],
        )
        specification = {"Enabled": True, "AttributeName": "expires"}
        client.update_time_to_live(TableName="orders", TimeToLiveSpecification=specification)
        client.delete_table(TableName="deleted")
        client.put_item(TableName="orders", Item={"id": {"S": "1"}, "state": {"S": "open"}})
        here.proxy.settle()
        known(here, "SELECT 1 FROM crossfade_tables WHERE description LIKE '%by-state%'", 1)
        known(here, "SELECT 1 FROM crossfade_table_properties WHERE document LIKE '%expires%'", 1)
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=FOLLOW) as alone:
        client = alone.client()
        assert client.list_tables()["TableNames"] == ["orders"]
        described = client.describe_table(TableName="orders")["Table"]
        assert [(each["IndexName"], each["IndexStatus"]) for each in described["GlobalSecondaryIndexes"]] == [
            ("by-state", "ACTIVE")
        ]
        assert described["ItemCount"] == 1
        found = client.query(
            TableName="orders",
            IndexName="by-state",
            KeyConditionExpression="#s = :s",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={":s": {"S": "open"}},
        )
        assert [item["id"]["S"] for item in found["Items"]] == ["1"]
        with pytest.raises(ClientError) as refused:
            client.create_table(**ORDERS)
        assert refused.value.response["Error"]["Code"] == "ResourceInUseException"
        told = client.describe_time_to_live(TableName="orders")["TimeToLiveDescription"]
        assert told == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
        off = {"Enabled": False, "AttributeName": "expires"}
        assert (
            client.update_time_to_live(TableName="orders", TimeToLiveSpecification=off)["TimeToLiveSpecification"]
            == off
        )
        assert client.describe_endpoints()["Endpoints"][0]["Address"] == alone.proxy.data.removeprefix("http://")


def test_clients_make_change_and_delete_tables_where_they_may(database: str, dsql_database: str) -> None:
    """With boto3's own waiters, through two proxies, and with an index over items that are there already."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    may = {"CROSSFADE_CONTROL_PLANE": "dsql"}
    with (
        scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=may) as one,
        scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=may) as two,
    ):
        client, other = one.client(attempts=10), two.client(attempts=10)
        made = client.create_table(**ORDERS)["TableDescription"]
        assert (made["TableStatus"], made["TableArn"].rpartition("/")[2]) == ("CREATING", "orders")
        wait = {"Delay": 1, "MaxAttempts": 60}
        client.get_waiter("table_exists").wait(TableName="orders", WaiterConfig=wait)
        for again in (client, other):
            with pytest.raises(ClientError) as refused:
                again.create_table(**ORDERS)
            assert refused.value.response["Error"]["Code"] == "ResourceInUseException"
        for number in range(30):
            state = "open" if number % 3 else "done"
            item = {"id": {"S": f"{number:02}"}, "state": {"S": state}}
            (client if number % 2 else other).put_item(TableName="orders", Item=item)
        client.update_table(
            TableName="orders",
            AttributeDefinitions=[*ORDERS["AttributeDefinitions"], {"AttributeName": "state", "AttributeType": "S"}],
            GlobalSecondaryIndexUpdates=[{"Create": BY_STATE}],
        )

        def active() -> bool:
            table = client.describe_table(TableName="orders")["Table"]
            statuses = {table["TableStatus"], *(each["IndexStatus"] for each in table["GlobalSecondaryIndexes"])}
            return statuses == {"ACTIVE"}

        wait_until(active, 60, "the index to be made")
        found = client.query(
            TableName="orders",
            IndexName="by-state",
            KeyConditionExpression="#s = :s",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={":s": {"S": "done"}},
        )
        assert found["Count"] == 10
        assert client.describe_table(TableName="orders")["Table"]["ItemCount"] == 30
        for wrong in (
            {**ORDERS, "TableName": "no"},
            {**ORDERS, "TableName": "wrong", "AttributeDefinitions": []},
            {**ORDERS, "TableName": "wrong", "KeySchema": [{"AttributeName": "x", "KeyType": "HASH"}]},
            {
                **ORDERS,
                "TableName": "wrong",
                "AttributeDefinitions": [
                    *ORDERS["AttributeDefinitions"],
                    {"AttributeName": "spare", "AttributeType": "S"},
                ],
            },
            {**ORDERS, "TableName": "wrong", "GlobalSecondaryIndexes": [BY_STATE]},
        ):
            with pytest.raises(ClientError) as refused:
                client.create_table(**wrong)
            assert refused.value.response["Error"]["Code"] == "ValidationException", wrong
        assert client.list_tables()["TableNames"] == ["orders"]
        other.delete_table(TableName="orders")
        other.get_waiter("table_not_exists").wait(TableName="orders", WaiterConfig=wait)

        def gone() -> bool:
            try:
                client.get_item(TableName="orders", Key={"id": {"S": "01"}})
            except ClientError as error:
                return bool(error.response["Error"]["Code"] == "ResourceNotFoundException")
            return False

        wait_until(gone, 60, "the other proxy to see that it is gone")
        with pytest.raises(ClientError) as refused:
            client.delete_table(TableName="orders")
        assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
        # A new table of that name begins empty.
        client.create_table(**ORDERS)
        client.get_waiter("table_exists").wait(TableName="orders", WaiterConfig=wait)
        wait_until(lambda: client.scan(TableName="orders")["Count"] == 0, 60, "the new table")


def test_clients_may_make_no_tables_unless_it_is_allowed(database: str, dsql_database: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=FOLLOW) as alone:
        with pytest.raises(ClientError) as refused:
            alone.client().create_table(**ORDERS)
        assert refused.value.response["Error"]["Code"] == "UnknownOperationException"
