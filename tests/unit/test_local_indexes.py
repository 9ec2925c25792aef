"""What is said of tables with local indexes alone: item collections, and what an index fetches from its table."""

from typing import Any

import orjson
import pytest

from proxy.dynamodb.operations import decode, tables_of
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item
from proxy.stores.execution.executor import execute_for_client
from tests.rules.memory_rows import MemoryRows

KEYS = {"pk": "S", "sk": "S", "at": "S"}


def _table(name: str, **more: Any) -> TableSchema:
    used = KEYS if more else {"pk": "S", "sk": "S"}
    definitions = [{"AttributeName": each, "AttributeType": kind} for each, kind in used.items()]
    schema = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    return TableSchema.from_description(
        {"TableName": name, "AttributeDefinitions": definitions, "KeySchema": schema, **more}
    )


LOCAL = _table(
    "local",
    LocalSecondaryIndexes=[
        {
            "IndexName": "by-at",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["held"]},
        }
    ],
)
PLAIN = _table("plain")
SCHEMAS = {"local": LOCAL, "plain": PLAIN}


def item(pk: str, sk: str = "1", size: int = 10) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}, "at": {"S": sk}, "held": {"S": "h"}, "v": {"S": "x" * size}}


async def ask(rows: MemoryRows, action: str, **request: Any) -> dict[str, Any]:
    body = orjson.dumps(request)
    schemas = {name: SCHEMAS[name] for name in tables_of(action, request)}
    outcome = (await execute_for_client(rows, decode(action, body, request, schemas))).outcome
    assert outcome.ok, outcome.document
    return outcome.document


def _collection(pk: str) -> dict[str, Any]:
    return {"ItemCollectionKey": {"pk": {"S": pk}}, "SizeEstimateRangeGB": [0.0, 1.0]}


KEY = {"pk": {"S": "p"}, "sk": {"S": "1"}}
UPDATE = {"UpdateExpression": "SET n = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}


@pytest.mark.parametrize(
    ("action", "request_"),
    [("PutItem", {"Item": item("p")}), ("DeleteItem", {"Key": KEY}), ("UpdateItem", {"Key": KEY, **UPDATE})],
)
async def test_a_write_says_which_item_collection_it_touched(action: str, request_: dict[str, Any]) -> None:
    """API reference, "ItemCollectionMetrics": if the table has no local index, it is not returned."""
    rows = MemoryRows()
    asked = {**request_, "ReturnItemCollectionMetrics": "SIZE"}
    assert (await ask(rows, action, TableName="local", **asked))["ItemCollectionMetrics"] == _collection("p")
    assert "ItemCollectionMetrics" not in await ask(rows, action, TableName="plain", **asked)
    for more in ({}, {"ReturnItemCollectionMetrics": "NONE"}):
        assert "ItemCollectionMetrics" not in await ask(rows, action, TableName="local", **request_, **more)


async def test_a_batch_and_a_transaction_say_it_of_each_table_and_collection_once() -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/local"
    entries = [{"PutRequest": {"Item": item(pk, sk)}} for pk, sk in (("p", "1"), ("p", "2"), ("q", "1"))]
    request = {"RequestItems": {arn: entries, "plain": entries[:1]}, "ReturnItemCollectionMetrics": "SIZE"}
    batch = await ask(MemoryRows(), "BatchWriteItem", **request)
    assert batch["ItemCollectionMetrics"] == {arn: [_collection("p"), _collection("q")]}
    check = {
        "ConditionCheck": {
            "TableName": "local",
            "Key": {**KEY, "pk": {"S": "other"}},
            "ConditionExpression": "attribute_not_exists(pk)",
        }
    }
    parts = [*({"Put": {"TableName": name, "Item": item("p")}} for name in ("local", "plain")), check]
    done = await ask(MemoryRows(), "TransactWriteItems", TransactItems=parts, ReturnItemCollectionMetrics="SIZE")
    assert done["ItemCollectionMetrics"] == {"local": [_collection("p")]}
    none = await ask(MemoryRows(), "TransactWriteItems", TransactItems=parts[1:2], ReturnItemCollectionMetrics="SIZE")
    assert "ItemCollectionMetrics" not in none


@pytest.mark.parametrize(
    ("more", "table"),
    [
        ({}, 0.0),
        ({"Select": "COUNT"}, 0.0),
        ({"ProjectionExpression": "sk, held"}, 0.0),
        ({"ProjectionExpression": "sk, v"}, 4.0),
        ({"Select": "ALL_ATTRIBUTES"}, 4.0),
        ({"Select": "ALL_ATTRIBUTES", "ConsistentRead": True}, 8.0),
        ({"Select": "ALL_ATTRIBUTES", "Limit": 1}, 1.0),
    ],
)
async def test_what_a_local_index_does_not_hold_is_read_from_the_table_item_by_item(
    more: dict[str, Any], table: float
) -> None:
    """Developer guide, "Local Secondary Indexes", Read capacity units: each item fetched is read whole. Here, four of
    5 KB: two units each, half where they may be old."""
    rows = MemoryRows()
    for number in range(4):
        await ask(rows, "PutItem", TableName="local", Item=item("p", str(number), 5000))
    told = (
        await ask(
            rows,
            "Query",
            TableName="local",
            IndexName="by-at",
            KeyConditionExpression="pk = :p",
            ExpressionAttributeValues={":p": {"S": "p"}},
            ReturnConsumedCapacity="INDEXES",
            **more,
        )
    )["ConsumedCapacity"]
    index = 1.0 if "ConsistentRead" in more else 0.5
    assert told["Table"] == {"CapacityUnits": table}
    assert told["LocalSecondaryIndexes"] == {"by-at": {"CapacityUnits": index}}
    assert told["CapacityUnits"] == table + index
