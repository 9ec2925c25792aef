"""The control plane without DynamoDB, as documents: paging, what stays of a description, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.tables import control_plane as control
from proxy.mapping.describe_table import describe
from proxy.mapping.load import load
from tests.standins.billio import table_definition

CONFIG = Path(__file__).parents[2] / "config"


def test_a_mapping_file_describes_the_table_as_dynamodb_does() -> None:
    """The real table's definition, but for the order of attributes: what a proxy without DynamoDB works with."""
    ours = TableSchema.from_description(describe(load(CONFIG / "billio.toml").mapping))
    assert ours == TableSchema.from_description(table_definition())


def test_what_dynamodb_did_beside_the_table_is_gone_with_it() -> None:
    description = {
        "TableName": "t",
        "TableStatus": "UPDATING",
        "LatestStreamArn": "arn:aws:dynamodb:::table/t/stream/1",
        "StreamSpecification": {"StreamEnabled": True},
        "Replicas": [{"RegionName": "eu-west-1"}],
        "TableArn": "arn:aws:dynamodb:::table/t",
        "GlobalSecondaryIndexes": [{"IndexName": "i", "IndexStatus": "CREATING"}],
    }
    before = json.dumps(description)
    assert control.stable_description(description) == {
        "TableName": "t",
        "TableStatus": "ACTIVE",
        "TableArn": "arn:aws:dynamodb:::table/t",
        "GlobalSecondaryIndexes": [{"IndexName": "i", "IndexStatus": "ACTIVE"}],
    }
    assert json.dumps(description) == before


def test_names_come_in_pages() -> None:
    assert control.asked_names({}) == ("", 100)
    assert control.asked_names({"Limit": 2, "ExclusiveStartTableName": "abc"}) == ("abc", 2)
    assert control.list_response(["a1", "a2", "a3"], 2) == {"TableNames": ["a1", "a2"], "LastEvaluatedTableName": "a2"}
    assert control.list_response(["a1", "a2"], 2) == {"TableNames": ["a1", "a2"]}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"Limit": 0}, "ValidationException"),
        ({"Limit": 101}, "ValidationException"),
        ({"Limit": "2"}, "SerializationException"),
        ({"ExclusiveStartTableName": "ab"}, "ValidationException"),
        ({"ExclusiveStartTableName": 5}, "SerializationException"),
    ],
)
def test_pages_that_cannot_be(request_: dict[str, Any], code: str) -> None:
    with pytest.raises(DynamoDBError) as raised:
        control.asked_names(request_)
    assert raised.value.code == code


def test_a_table_that_is_none() -> None:
    with pytest.raises(DynamoDBError, match="missing") as raised:
        control.describe_response("missing", None)
    assert raised.value.code == "ResourceNotFoundException"
    with pytest.raises(DynamoDBError, match="missing") as raised:
        control.time_to_live("missing", None, None)
    assert raised.value.code == "ResourceNotFoundException"
    with pytest.raises(DynamoDBError, match="tableName"):
        control.asked_table({})
    assert control.asked_table({"TableName": "arn:aws:dynamodb:eu-west-1:1:table/billio"}) == "billio"
