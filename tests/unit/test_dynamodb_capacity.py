"""Capacity units by AWS's own examples: "DynamoDB read and write operations" and "Using Global Secondary Indexes"."""

from typing import Any

import pytest

from proxy.dynamodb.capacity import Meter, read_units, write_units
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item

KB = 1024
SCHEMA = TableSchema.from_description(
    {
        "TableName": "t",
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [
            {"AttributeName": "k", "AttributeType": "S"},
            {"AttributeName": "h", "AttributeType": "S"},
        ],
        "GlobalSecondaryIndexes": [
            {"IndexName": "all", "KeySchema": [{"AttributeName": "h", "KeyType": "HASH"}], "Projection": {}},
            {
                "IndexName": "keys",
                "KeySchema": [{"AttributeName": "h", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
        ],
    }
)


def thing(h: str | None = None, v: str = "") -> Item:
    return {"k": {"S": "1"}} | ({} if h is None else {"h": {"S": h}}) | ({"v": {"S": v}} if v else {})


@pytest.mark.parametrize(
    ("size", "strong", "eventual", "transactional"),
    [
        (0, 1.0, 0.5, 2.0),
        (3500, 1.0, 0.5, 2.0),
        (4 * KB, 1.0, 0.5, 2.0),
        (8 * KB, 2.0, 1.0, 4.0),
        (10 * KB, 3.0, 1.5, 6.0),
    ],
)
def test_reads_go_by_4_kb(size: int, strong: float, eventual: float, transactional: float) -> None:
    assert read_units(size, consistent=True) == strong
    assert read_units(size, consistent=False) == eventual
    assert read_units(size, consistent=True, transactional=True) == transactional


@pytest.mark.parametrize(
    ("size", "alone", "transactional"), [(0, 1.0, 2.0), (512, 1.0, 2.0), (2 * KB, 2.0, 4.0), (1025, 2.0, 4.0)]
)
def test_writes_go_by_1_kb(size: int, alone: float, transactional: float) -> None:
    assert write_units(size) == alone
    assert write_units(size, transactional=True) == transactional


def test_a_batch_of_reads_rounds_each_item_and_a_page_their_sum() -> None:
    """1.5 KB and 6.5 KB: 12 KB for BatchGetItem, 8 KB for a Query, in the guide's own numbers."""
    batch, page = Meter("TOTAL"), Meter("TOTAL")
    batch.read("t", 1536, consistent=True)
    batch.read("t", 6656, consistent=True)
    page.paged("t", None, 1536 + 6656, consistent=True)
    assert batch.several({}) == {"ConsumedCapacity": [{"TableName": "t", "CapacityUnits": 3.0}]}
    assert page.one("t") == {"ConsumedCapacity": {"TableName": "t", "CapacityUnits": 2.0}}


@pytest.mark.parametrize(
    ("before", "after", "table", "indexes"),
    [
        (None, thing(), 1.0, {}),
        (None, thing("x"), 1.0, {"all": 1.0, "keys": 1.0}),
        (thing("x"), None, 1.0, {"all": 1.0, "keys": 1.0}),
        (thing("x"), thing("y"), 1.0, {"all": 2.0, "keys": 2.0}),
        (thing("x"), thing("x", "new"), 1.0, {"all": 1.0}),
        (thing("x"), thing("x"), 1.0, {}),
        (thing("x", "v" * 3000), thing("x"), 3.0, {"all": 3.0}),
        (None, None, 1.0, {}),
    ],
    ids=[
        "not in an index",
        "put",
        "delete",
        "another key",
        "another attribute",
        "the same",
        "larger before",
        "nothing",
    ],
)
def test_a_write_goes_to_the_indexes_that_it_changes(
    before: Item | None, after: Item | None, table: float, indexes: dict[str, float]
) -> None:
    meter = Meter("INDEXES")
    meter.wrote(SCHEMA, before, after, transactional=False)
    shown: dict[str, Any] = {
        "TableName": "t",
        "CapacityUnits": table + sum(indexes.values()),
        "Table": {"CapacityUnits": table},
    }
    if indexes:
        shown["GlobalSecondaryIndexes"] = {name: {"CapacityUnits": units} for name, units in indexes.items()}
    assert meter.one("t") == {"ConsumedCapacity": shown}


def test_a_transaction_names_its_units_by_what_it_does() -> None:
    meter = Meter.of("TransactWriteItems", {"ReturnConsumedCapacity": "INDEXES"})
    meter.wrote(SCHEMA, None, thing(), transactional=True)
    units = {"CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}
    assert meter.several({"t": "arn:t"}) == {"ConsumedCapacity": [{"TableName": "arn:t", **units, "Table": units}]}


def test_nobody_asked() -> None:
    meter = Meter.of("GetItem", {})
    meter.read("t", 1, consistent=True)
    assert (meter.one("t"), meter.several({})) == ({}, {})
