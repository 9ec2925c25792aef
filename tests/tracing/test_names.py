"""The names in spans are the conventions' own, and what comes from a client is not believed."""

import asyncio

import pytest
from opentelemetry.semconv._incubating.attributes import aws_attributes, cloud_attributes, rpc_attributes
from opentelemetry.semconv.attributes import (
    db_attributes,
    error_attributes,
    http_attributes,
    server_attributes,
)

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import Operation, json_of
from proxy.dynamodb.schema import TableSchema
from proxy.stores.errors import Refused, Unreachable
from proxy.tracing import span_names as names

SCHEMA = TableSchema("items", "id", None, {"id": "S"}, {})


def _known() -> set[str]:
    modules = (
        aws_attributes,
        cloud_attributes,
        rpc_attributes,
        db_attributes,
        error_attributes,
        http_attributes,
        server_attributes,
    )
    return {value for module in modules for name, value in vars(module).items() if name.isupper()}


def test_what_is_not_ours_is_in_the_conventions() -> None:
    ours = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str) and "." in value}
    told = names.asked(
        Operation(
            "Query",
            b"",
            {
                "TableName": "items",
                "ConsistentRead": True,
                "ScanIndexForward": False,
                "Limit": 3,
                "Segment": 0,
                "TotalSegments": 2,
                "Select": "COUNT",
            },
            (),
            {"items": SCHEMA},
        )
    )
    assert len(told) == 7
    foreign = {name for name in {*ours, *told} if not name.startswith("crossfade.")} - {names.DYNAMODB}
    assert foreign - _known() == set()
    assert names.DB_SYSTEM in foreign


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("Limit", "secret"),
        ("Limit", 1 << 70),
        ("Select", "secret"),
        ("Select", {"secret": 1}),
        ("Limit", True),
        ("IndexName", ["secret"]),
        ("ConsistentRead", "secret"),
        ("IndexName", "secret"),
        ("KeyConditionExpression", "secret = :v"),
        ("ExpressionAttributeNames", {"#a": "secret"}),
        ("ExclusiveStartKey", {"id": {"S": "secret"}}),
    ],
)
def test_what_a_client_made_up_is_not_told(parameter: str, value: object) -> None:
    request = {"TableName": "items", parameter: value}
    for action in ("Query", "BatchGetItem"):
        told = names.asked(Operation(action, json_of(request), request, (), {"items": SCHEMA}))
        assert told == {names.TABLE_NAMES: ("items",)}


@pytest.mark.parametrize(
    ("target", "called"),
    [
        ("DynamoDB_20120810.GetItem", "DynamoDB/GetItem"),
        ("DynamoDBStreams_20120810.GetRecords", "DynamoDBStreams/GetRecords"),
        ("DynamoDB_20120810.Secret", "_OTHER"),
        ("secret", "_OTHER"),
        ("", "_OTHER"),
    ],
)
def test_only_operations_that_there_are_have_a_name(target: str, called: str) -> None:
    assert names.remote_method(target) == called


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (Unreachable("timeout", "no answer to a secret"), "timeout"),
        (Refused("23505", "Key (id)=(secret) already exists."), "23505"),
        (Refused("a secret, and more of it"), "_OTHER"),
        (DynamoDBError("ValidationException", "secret"), "ValidationException"),
        (asyncio.CancelledError("secret"), "cancelled"),
        (ValueError("secret"), "ValueError"),
    ],
)
def test_an_error_is_a_word(error: BaseException, word: str) -> None:
    assert names.error_type(error) == word
