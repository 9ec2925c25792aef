"""The script that one would write instead of `crossfade backfill`: boto3's paginated Scan, executemany for each page.

`python -m benchmarks.script ENDPOINT DSN`. It maps Billio's items by hand, asks nobody again, and goes on from nowhere
if it is stopped. asyncpg's executemany pipelines the rows of a page on one connection, faster than psycopg2's does.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import boto3
from boto3.dynamodb.types import TypeDeserializer

from tests.standins.billio import TABLE
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "type",
    "id",
    "shelf",
    "title",
    "rating",
    "externalId",
    "notes",
    "addedAt",
    "movedAt",
    "category",
    "seriesId",
    "seasonNumber",
)
_INSERT = (
    "INSERT INTO items (type, id, shelf, title, rating, external_id, notes, added_at, moved_at, category, series_id, "
    "season_number, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "
    "ON CONFLICT (type, id) DO NOTHING"
)


async def main(endpoint: str, dsn: str) -> int:
    """The number of items brought over."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    deserialize = TypeDeserializer().deserialize
    connection = await asyncpg.connect(dsn)
    count = 0
    for page in client.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True):
        rows = [_row({name: deserialize(value) for name, value in item.items()}) for item in page["Items"]]
        await connection.executemany(_INSERT, rows)
        count += len(rows)
    await connection.close()
    return count


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    for name in ("movedAt", "addedAt"):
        item[name] = _EPOCH + timedelta(milliseconds=int(item[name]))
    values = [item.pop(name, None) for name in _COLUMNS]
    for name in ("type:id", "type:shelf"):
        item.pop(name, None)
    return (*values, json.dumps(item, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return sorted(value) if isinstance(value, set) else str(value)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2])))
