"""The form of requests, row by row: the request, and what DynamoDB says of it. Each row has its page."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.request_form import check_enums, check_form

NAMING = "Supported data types and naming rules"
PUT = "API reference, PutItem"
TRANSACT = "API reference, TransactWriteItems"
ROWS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        NAMING,
        "GetItem",
        {"TableName": ""},
        "Value '' at 'tableName' failed to satisfy constraint: Member must have",
    ),
    (NAMING, "GetItem", {"TableName": "a b*c"}, "Value 'a b*c' at 'tableName' failed to satisfy constraint: Member mu"),
    (NAMING, "PutItem", {"TableName": "x" * 256}, "Member must have length less than or equal to 255"),
    (NAMING, "Scan", {"TableName": "ab"}, "Member must have length greater than or equal to 3"),
    (
        NAMING,
        "Query",
        {"TableName": "abc", "IndexName": "i?"},
        "Value 'i?' at 'indexName' failed to satisfy",
    ),
    (
        PUT,
        "PutItem",
        {},
        "1 validation error detected: Value null at 'tableName' failed to satisfy",
    ),
    (
        PUT,
        "PutItem",
        {"TableName": "abc", "ReturnValues": "OLD"},
        "at 'returnValues' failed to satisfy",
    ),
    (PUT, "PutItem", {"TableName": "abc", "ReturnConsumedCapacity": "ALL"}, "enum value set: [INDEXES, TOTAL, NONE]"),
    (PUT, "PutItem", {"TableName": "a*c", "ReturnValues": "OLD"}, "2 validation errors detected: "),
    (
        PUT,
        "PutItem",
        {"TableName": "abc", "ReturnValuesOnConditionCheckFailure": "ALL"},
        "enum value set: [ALL_OLD, NONE]",
    ),
    (
        "API reference, Query",
        "Query",
        {"TableName": "abc", "Select": "ALL"},
        "at 'select' failed to satisfy",
    ),
    ("API reference, BatchGetItem", "BatchGetItem", {}, "Value null at 'requestItems' failed to satisfy constraint"),
    (
        "API reference, BatchGetItem",
        "BatchGetItem",
        {"RequestItems": {"a*c": {}}},
        "Value 'a*c' at 'requestItems'",
    ),
    (TRANSACT, "TransactWriteItems", {}, "Value null at 'transactItems' failed to satisfy constraint"),
    (
        TRANSACT,
        "TransactWriteItems",
        {"TransactItems": [{"Put": {}}]},
        "null at 'transactItems.1.member.put.tableName'",
    ),
]


@pytest.mark.parametrize(("page", "action", "request_", "said"), ROWS)
def test_a_form_that_no_table_makes_right_is_refused(
    page: str, action: str, request_: dict[str, Any], said: str
) -> None:
    with pytest.raises(DynamoDBError) as raised:
        check_form(action, request_)
    assert raised.value.code == "ValidationException", page
    assert said in raised.value.message


@pytest.mark.parametrize(
    "name", ["abc", "a.b-c_1", "x" * 255, "arn:aws:dynamodb:eu-west-1:123456789012:table/abc", "crossfade_stages"]
)
def test_names_of_tables(name: str) -> None:
    check_form("GetItem", {"TableName": name, "ReturnConsumedCapacity": "TOTAL"})
    check_form("BatchWriteItem", {"RequestItems": {name: []}})


@given(
    st.sampled_from(["GetItem", "BatchGetItem", "TransactWriteItems", "Query"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["TableName", "RequestItems", "TransactItems", "Put", "Select", "x"]), inner, max_size=3
            )
        ),
    ),
)
def test_any_json_is_taken_or_refused(action: str, anything: Any) -> None:
    request = anything if isinstance(anything, dict) else {"TableName": anything, "RequestItems": anything}
    with contextlib.suppress(DynamoDBError):
        check_form(action, request)
    with contextlib.suppress(DynamoDBError):
        check_enums(request)
