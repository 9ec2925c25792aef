"""The authority's answers beside ministack's, member by member: what `test_store_as_dynamodb` leaves out.

Capacity, tokens, and the limits of batches and transactions: the same requests to both, one after the other.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from comparators.difference import Kind
from comparators.errors import code_of
from proxy.dynamodb.values import Item
from tests.property.twins import Twins
from tests.standins.dynamodb import Ministack

TABLE = {
    "TableName": "orders",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "state")],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-state",
            "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
}
KEY = {"pk": {"S": "p"}, "sk": {"S": "1"}}
ONE = {":one": {"N": "1"}}


def order(number: int, size: int = 0, state: str | None = None) -> Item:
    more = {"state": {"S": state}} if state else {}
    return {"pk": {"S": "p"}, "sk": {"S": str(number)}, **more, **({"v": {"S": "x" * size}} if size else {})}


@pytest_asyncio.fixture
async def twins(ministack: Ministack, dsql_database: str) -> AsyncIterator[Twins]:
    ministack.reset()
    made = await Twins.open(ministack.port, dsql_database)
    made.ask_as_authority(True)
    await made.create(TABLE)
    yield made
    await made.close()


def put(number: int, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": "orders", "Item": order(number, **more)}}


def add(number: int) -> dict[str, Any]:
    key = {"pk": {"S": "p"}, "sk": {"S": str(number)}}
    expression = {"UpdateExpression": "ADD c :one", "ExpressionAttributeValues": ONE}
    return {"Update": {"TableName": "orders", "Key": key, **expression}}


QUERY = {
    "TableName": "orders",
    "KeyConditionExpression": "pk = :p",
    "ExpressionAttributeValues": {":p": {"S": "p"}},
}
BY_STATE = {
    "TableName": "orders",
    "IndexName": "by-state",
    "KeyConditionExpression": "#s = :s",
    "ExpressionAttributeNames": {"#s": "state"},
    "ExpressionAttributeValues": {":s": {"S": "open"}},
}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("PutItem", {"TableName": "orders", "Item": order(1, 3000, "open")}),
    ("PutItem", {"TableName": "orders", "Item": order(1, 100, "open")}),
    ("PutItem", {"TableName": "orders", "Item": order(2, 3500)}),
    ("GetItem", {"TableName": "orders", "Key": {**KEY, "sk": {"S": "2"}}}),
    ("GetItem", {"TableName": "orders", "Key": {**KEY, "sk": {"S": "2"}}, "ConsistentRead": True}),
    ("GetItem", {"TableName": "orders", "Key": {**KEY, "sk": {"S": "none"}}}),
    ("UpdateItem", {"TableName": "orders", **add(1)["Update"]}),
    ("DeleteItem", {"TableName": "orders", "Key": {**KEY, "sk": {"S": "none"}}}),
    ("Query", QUERY),
    ("Query", {**QUERY, "ConsistentRead": True}),
    ("Query", BY_STATE),
    ("Scan", {"TableName": "orders"}),
    ("Scan", {"TableName": "orders", "ConsistentRead": True}),
    ("BatchGetItem", {"RequestItems": {"orders": {"Keys": [KEY, {**KEY, "sk": {"S": "2"}}]}}}),
    (
        "BatchWriteItem",
        {"RequestItems": {"orders": [{"PutRequest": {"Item": order(5)}}, {"DeleteRequest": {"Key": KEY}}]}},
    ),
    ("TransactGetItems", {"TransactItems": [{"Get": {"TableName": "orders", "Key": {**KEY, "sk": {"S": "2"}}}}]}),
    ("TransactWriteItems", {"TransactItems": [put(7), add(8)]}),
    ("DeleteItem", {"TableName": "orders", "Key": {**KEY, "sk": {"S": "2"}}}),
]


# ministack counts no reads' sizes (all here are within 4 KB), and of these it tells less than AWS documents:
# API reference, "BatchGetItem" and "TransactWriteItems", ReturnConsumedCapacity; "TransactGetItems" reads no index.
UNTOLD = {
    "TOTAL": {"BatchGetItem"},
    "INDEXES": {"BatchGetItem", "TransactGetItems", "TransactWriteItems"},
    "NONE": set(),
}


@pytest.mark.parametrize("level", ["TOTAL", "INDEXES", "NONE"])
async def test_capacity(twins: Twins, level: str) -> None:
    for action, request in REQUESTS:
        asked = {**request, "ReturnConsumedCapacity": level}
        theirs, ours = twins.ministack.ask(action, asked), await twins.ask_dsql(action, asked)
        assert ours[0] == theirs[0] == 200, (action, request, theirs, ours)
        told = ours[1].get("ConsumedCapacity")
        assert (told is None) is (level == "NONE"), (action, request)
        if action not in UNTOLD[level]:
            assert told == theirs[1].get("ConsumedCapacity"), (action, request)


async def both(twins: Twins, action: str, request: dict[str, Any]) -> Mapping[str, Any]:
    """Ask both: they must answer alike, but for the words of a refusal, and then hold the same. What ours answered."""
    asked = await twins.ask(action, request)
    differences = {found.kind for found in asked.compared.differences}
    assert differences <= {Kind.ERROR_MESSAGE}, asked
    theirs, ours = await twins.items(twins.tables["orders"])
    assert theirs == ours, asked
    return asked.dsql[1]


async def test_tokens(twins: Twins) -> None:
    first = {"TransactItems": [add(1), put(2)], "ClientRequestToken": "t-1"}
    other = {"TransactItems": [add(1), put(3)], "ClientRequestToken": "t-1"}
    for _ in range(2):
        assert "__type" not in await both(twins, "TransactWriteItems", first)
    assert code_of(await both(twins, "TransactWriteItems", other)) == "IdempotentParameterMismatchException"
    assert "__type" not in await both(twins, "TransactWriteItems", {**other, "ClientRequestToken": "t-2"})
    held = (await both(twins, "GetItem", {"TableName": "orders", "Key": KEY}))["Item"]
    assert held["c"] == {"N": "2"}
    # What would be refused now was done then.
    await both(twins, "PutItem", {"TableName": "orders", "Item": {**order(1), "c": {"S": "no number"}}})
    assert "__type" not in await both(twins, "TransactWriteItems", first)
    canceled = {"TransactItems": [add(1)], "ClientRequestToken": "t-3"}
    assert code_of(await both(twins, "TransactWriteItems", canceled)) == "TransactionCanceledException"
    await both(twins, "PutItem", {"TableName": "orders", "Item": order(1)})
    assert "__type" not in await both(twins, "TransactWriteItems", canceled)


@pytest.mark.parametrize("count", [25, 26])
async def test_a_batch_of_writes_has_25(twins: Twins, count: int) -> None:
    entries = [{"PutRequest": {"Item": order(number)}} for number in range(count)]
    await both(twins, "BatchWriteItem", {"RequestItems": {"orders": entries}})


@pytest.mark.parametrize("count", [100, 101])
async def test_a_batch_of_reads_and_a_transaction_have_100(twins: Twins, count: int) -> None:
    await both(twins, "TransactWriteItems", {"TransactItems": [put(number) for number in range(count)]})
    keys = [{"pk": {"S": "p"}, "sk": {"S": str(number)}} for number in range(count)]
    await both(twins, "BatchGetItem", {"RequestItems": {"orders": {"Keys": keys}}})
    gets = [{"Get": {"TableName": "orders", "Key": key}} for key in keys]
    await both(twins, "TransactGetItems", {"TransactItems": gets})


@pytest.mark.parametrize(
    "request_",
    [
        {"Item": {**order(1), "v": {"S": "x" * (400 * 1024)}}},
        {"Item": order(1), "ReturnConsumedCapacity": "ALL"},
        {"Item": order(1), "ReturnItemCollectionMetrics": "ALL"},
    ],
    ids=["over 400 KB", "capacity", "metrics"],
)
async def test_what_is_refused(twins: Twins, request_: dict[str, Any]) -> None:
    answer = await both(twins, "PutItem", {"TableName": "orders", **request_})
    assert code_of(answer) == "ValidationException"


async def test_an_item_of_just_400_kb(twins: Twins) -> None:
    item = order(1, 400 * 1024 - len("pkpsk1v"))
    answer = await both(twins, "PutItem", {"TableName": "orders", "Item": item})
    assert "__type" not in answer
