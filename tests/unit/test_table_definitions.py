"""Tables as CreateTable and UpdateTable define them, without a DynamoDB."""

from typing import Any

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.tables import definitions
from proxy.settings import DSQL, Settings
from proxy.settings.shadow import StagesSettings

PREFIX = "arn:aws:dynamodb:us-east-1:000000000000"
KEY = [{"AttributeName": "id", "KeyType": "HASH"}]
ID = {"AttributeName": "id", "AttributeType": "S"}
STATE = {"AttributeName": "state", "AttributeType": "S"}
INDEX: dict[str, Any] = {
    "IndexName": "by-state",
    "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
REQUEST: dict[str, Any] = {
    "TableName": "orders",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": KEY,
    "AttributeDefinitions": [ID, STATE],
    "GlobalSecondaryIndexes": [INDEX],
}


def made(**more: Any) -> dict[str, Any]:
    return definitions.create({**REQUEST, **more}, PREFIX, "an-id", 1.0)


def test_a_definition_becomes_a_description() -> None:
    described = made()
    assert described["TableArn"] == f"{PREFIX}:table/orders"
    assert described["BillingModeSummary"] == {"BillingMode": "PAY_PER_REQUEST"}
    [index] = described["GlobalSecondaryIndexes"]
    assert index["IndexArn"] == f"{PREFIX}:table/orders/index/by-state"
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    provisioned = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    assert made(BillingMode="PROVISIONED", ProvisionedThroughput=provisioned)["ProvisionedThroughput"] == provisioned


@pytest.mark.parametrize(
    "more",
    [
        {"TableName": "a"},
        {"TableName": "a b*c"},
        {"TableName": None},
        {"KeySchema": []},
        {"KeySchema": None},
        {"AttributeDefinitions": [ID]},
        {"AttributeDefinitions": [ID, STATE, {"AttributeName": "spare", "AttributeType": "N"}]},
        {"AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "BOOL"}, STATE]},
        {"GlobalSecondaryIndexes": [INDEX, INDEX]},
    ],
)
def test_what_is_no_table_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(DynamoDBError) as refused:
        made(**more)
    assert refused.value.code == "ValidationException"


def test_an_index_comes_and_goes_with_its_attribute() -> None:
    without = definitions.update({"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-state"}}]}, made())
    assert "GlobalSecondaryIndexes" not in without
    assert without["AttributeDefinitions"] == [ID]
    again = definitions.update(
        {"AttributeDefinitions": [ID, STATE], "GlobalSecondaryIndexUpdates": [{"Create": INDEX}]}, without
    )
    assert again["GlobalSecondaryIndexes"] == made()["GlobalSecondaryIndexes"]
    for change, code in (
        ({"Create": INDEX}, "ValidationException"),
        ({"Delete": {"IndexName": "unheard-of"}}, "ResourceNotFoundException"),
        ({"Rename": {"IndexName": "by-state"}}, "SerializationException"),
    ):
        with pytest.raises(DynamoDBError) as refused:
            definitions.update({"GlobalSecondaryIndexUpdates": [change]}, made())
        assert refused.value.code == code


def test_a_protected_table_is_not_deleted_until_it_is_not() -> None:
    protected = made(DeletionProtectionEnabled=True)
    with pytest.raises(DynamoDBError, match="protected against deletion"):
        definitions.refuse_protected(protected)
    definitions.refuse_protected(definitions.update({"DeletionProtectionEnabled": False}, protected))


def test_the_setting_needs_every_table_to_be_complete_and_pinned() -> None:
    dsql = DSQL(dsn="postgresql://nobody@127.0.0.1:1/x")
    assert Settings(stage="complete", dsql=dsql, control_plane="dsql").control_plane == "dsql"
    with pytest.raises(ValueError, match="control_plane"):
        Settings(stage="live", dsql=dsql, control_plane="dsql")
    with pytest.raises(ValueError, match="control_plane"):
        Settings(stage="off", dsql=dsql, control_plane="dsql", stages=StagesSettings(table="crossfade_stages"))
