"""Both stores over stand-ins, with Billio's table: for tests that ask each by itself."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.dynamodb.operations import LISTING, Operation, decode, json_of
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.load import load
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.interface import Store, StoredItem
from tests.standins.billio import TABLE, table_definition
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY
from tests.standins.pools import open_dsn_pool

CONFIG = Path(__file__).parents[2] / "config"
BILLIO = TableSchema.from_description(table_definition())
MAPPING = load(CONFIG / "billio.toml").mapping


@dataclass(frozen=True, slots=True)
class Both:
    """The two stores."""

    dynamodb: DynamoDBStore
    dsql: DSQLStore

    async def put(self, items: Iterable[Item]) -> None:
        for item in items:
            key = BILLIO.key_of(item)
            for store in (self.dynamodb, self.dsql):
                assert await store.put(key, item, await store.get(key)) is not None

    async def clear(self, items: Iterable[Item]) -> None:
        for item in items:
            key = BILLIO.key_of(item)
            for store in (self.dynamodb, self.dsql):
                held = await store.get(key)
                if held != StoredItem(None):
                    await store.put(key, None, held)


@asynccontextmanager
async def both_stores(endpoint: str, dsn: str) -> AsyncIterator[Both]:
    """Over a DynamoDB that has the table and a database that has its rows' table."""
    pool = open_dsn_pool(dsn, maximum=4)
    upstream = DynamoDBClient(endpoint, region=REGION, credentials=Credentials(Credential(ACCESS_KEY, SECRET_KEY)))
    try:
        yield Both(DynamoDBStore(upstream, 20), DSQLStore(pool, {TABLE: MAPPING}.__getitem__))
    finally:
        await upstream.close()
        await pool.close()


def listing(request: Mapping[str, Any]) -> Operation:
    document = {"TableName": TABLE, **request}
    return decode(LISTING, json_of(document), document, {TABLE: BILLIO})


async def answer(store: Store, request: Mapping[str, Any]) -> dict[str, Any]:
    """A store's answer to a listing."""
    outcome = (await store.execute(listing(request))).outcome
    assert outcome.ok, outcome.document
    return outcome.document
