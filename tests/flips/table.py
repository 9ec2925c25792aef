"""The table that clients write while stages are moved, and what it holds in the end."""

from __future__ import annotations

from typing import Any

from tests.flips.clients import TABLE
from tests.standins.billio import dynamodb_client


def make_table(endpoint: str) -> None:
    dynamodb_client(endpoint).create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def final_items(endpoint: str) -> dict[str, dict[str, Any]]:
    """Every item by its id, as plain values."""
    items = dynamodb_client(endpoint).scan(TableName=TABLE, ConsistentRead=True)["Items"]
    return {
        item["id"]["S"]: {
            name: (value["N"] if "N" in value else value.get("SS", value.get("S"))) for name, value in item.items()
        }
        for item in items
    }
