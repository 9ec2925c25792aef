"""Billio's DynamoDB table, as it really is: one hash key, eight indexes, made through any endpoint.

Used against stand-ins and, unchanged, through the proxy. Knows the table's shape and nothing else of Billio.
"""

from typing import Any

import boto3
from botocore.config import Config

from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY

TABLE = "billio"
HASH_KEY = "type:id"

# index → (hash key, range key, DynamoDB type of the range key); every hash key is a string, every index projects all.
INDEXES: dict[str, tuple[str, str, str]] = {
    "type": ("type", "movedAt", "N"),
    "type-addedAt": ("type", "addedAt", "N"),
    "title": ("type", "title", "S"),
    "category": ("category", "movedAt", "N"),
    "shelf": ("type:shelf", "movedAt", "N"),
    "shelf-addedAt": ("type:shelf", "addedAt", "N"),
    "externalId": ("externalId", "movedAt", "N"),
    "seriesId": ("seriesId", "seasonNumber", "N"),
}


def dynamodb_client(endpoint: str, *, attempts: int = 1, seconds: float = 60) -> Any:
    """A boto3 client for an endpoint, which retries nothing unless told: a test must see the first answer."""
    settings = Config(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        connect_timeout=60,
        read_timeout=seconds,
        max_pool_connections=50,
    )
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=settings,
    )


def table_definition(table: str = TABLE) -> dict[str, Any]:
    """The arguments of CreateTable."""
    kinds = {HASH_KEY: "S"}
    for hash_key, range_key, kind in INDEXES.values():
        kinds[hash_key] = "S"
        kinds[range_key] = kind
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()],
        "KeySchema": [{"AttributeName": HASH_KEY, "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": hash_key, "KeyType": "HASH"},
                    {"AttributeName": range_key, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, (hash_key, range_key, _) in INDEXES.items()
        ],
    }


def billio_table(endpoint: str, table: str = TABLE) -> Any:
    """Create the table at an endpoint, wait until it is active, and return a client for it."""
    client = dynamodb_client(endpoint)
    client.create_table(**table_definition(table))
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return client
