"""The item collections that a write touched, as `ReturnItemCollectionMetrics` asks for them. Pure.

An item collection is all items of one partition key, in a table with local secondary indexes; of other tables nothing
is returned. Source: API reference, "ItemCollectionMetrics". The size is an estimate there too: here, that of a
collection of less than 1 GB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.requests.batches import transaction_parts
from proxy.dynamodb.schema import Key, TableSchema, table_name

_SIZE_GB: Final = (0.0, 1.0)


def collection_metrics(operation: Operation, document: dict[str, Any]) -> dict[str, Any]:
    """Return the member of the answer to a write, or nothing where none was asked for. `document` is the answer without
    it."""
    request = operation.request
    if request.get("ReturnItemCollectionMetrics") != "SIZE":
        return {}
    if operation.action not in ("BatchWriteItem", "TransactWriteItems"):
        [key] = operation.keys
        touched = _collection(operation.schemas[key.table], key)
        return {} if touched is None else {"ItemCollectionMetrics": touched}
    metrics: dict[str, dict[bytes, Any]] = {}
    for name, key in _written(operation, document):
        touched = _collection(operation.schemas[key.table], key)
        if touched is not None:
            metrics.setdefault(name, {})[orjson.dumps(touched)] = touched
    return {"ItemCollectionMetrics": {name: list(each.values()) for name, each in metrics.items()}} if metrics else {}


def _collection(schema: TableSchema, key: Key) -> dict[str, Any] | None:
    if not any(index.local for index in schema.indexes.values()):
        return None
    return {"ItemCollectionKey": {schema.hash: key.attributes[schema.hash]}, "SizeEstimateRangeGB": list(_SIZE_GB)}


def _written(operation: Operation, document: dict[str, Any]) -> Iterator[tuple[str, Key]]:
    """The keys that were written, each with its table as the client named it."""
    if operation.action == "TransactWriteItems":
        for (kind, part), key in zip(transaction_parts(operation.request), operation.keys, strict=True):
            if kind != "ConditionCheck":
                yield part["TableName"], key
        return
    keys = iter(operation.keys)
    for name, entries in operation.request["RequestItems"].items():
        left = document.get("UnprocessedItems", {}).get(name, ())
        schema = operation.schemas[table_name(name)]
        unprocessed = {_entry_key(schema, entry) for entry in left}
        for key in (next(keys) for _ in entries):
            if key not in unprocessed:
                yield name, key


def _entry_key(schema: TableSchema, entry: dict[str, Any]) -> Key:
    put = entry.get("PutRequest")
    return schema.key_of(put["Item"]) if put is not None else schema.key_of(entry["DeleteRequest"]["Key"])
