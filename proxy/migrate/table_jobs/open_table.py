"""Opens DynamoDB and finds the table, for commands that read DynamoDB directly."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.load import LoadedMapping, load_mappings
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.store import DynamoDBStore


@asynccontextmanager
async def open_dynamodb(settings: Settings) -> AsyncIterator[DynamoDBStore]:
    """Open the DynamoDB store that the settings name, until the end of the block.

    Raises SettingsError and CredentialsError.
    """
    async with open_upstream(settings, os.environ) as upstream:
        yield DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)


def choose_table(settings: Settings, name: str | None) -> tuple[str, LoadedMapping | None]:
    """Return the named table, or the only table with a mapping if `name` is None; and its mapping, if it has one.

    Raises SettingsError if no name is given and there is not exactly one mapping.
    """
    mapped = load_mappings(settings)
    if name is None:
        if len(mapped) != 1:
            known = f"mappings has {', '.join(mapped)}" if mapped else "mappings names no file"
            raise SettingsError([f"which table? {known}: give --table"])
        name = next(iter(mapped))
    return name, mapped.get(name)


async def describe_table(store: DynamoDBStore, name: str) -> TableSchema:
    """Return the schema that DescribeTable reports. Raises SettingsError if there is no such table, and StoreError."""
    schema = await store.describe(name)
    if schema is None:
        raise SettingsError([f"DynamoDB has no table {name!r}: see --table, and endpoint_url and region in [dynamodb]"])
    return schema
