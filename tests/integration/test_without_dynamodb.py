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
