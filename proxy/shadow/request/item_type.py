"""The item type that an operation is about: the label of its verdicts, and part of the scope that sets its stage.

Reads the request and the mapping; knows no stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.dynamodb.operations import LISTING, Operation
from proxy.stores.table_registry import Table

ANY_TYPE: Final = "*"
"""The item type of an operation that is about several types, or about none that it names."""


def item_type_of(operation: Operation, tables: Mapping[str, Table]) -> str:
    """Return the one item type that an operation is about, or `ANY_TYPE`.

    Only types that the mapping declares are returned: each is a label of metrics, and clients could make up any number.
    """
    if operation.action == "PutItem":
        types = {_declared_type(tables, operation.tables[0], operation.request["Item"])}
    elif operation.keys:
        types = {_declared_type(tables, key.table, key.attributes) for key in operation.keys}
    elif operation.action == "Query":
        types = {_type_of_query(operation, tables)}
    elif operation.action == LISTING:
        types = {_type_of_listing(operation, tables)}
    else:
        types = set()
    found = types.pop() if len(types) == 1 else ""
    return found or ANY_TYPE


def _declared_type(tables: Mapping[str, Table], name: str, attributes: dict[str, Any]) -> str:
    table = tables[name]
    found = table.mapping.type_of(attributes)
    return found if found in table.rules else ""


def _type_of_listing(operation: Operation, tables: Mapping[str, Table]) -> str:
    """Return the type that a listing's hash value names, or else a filter of it; "" if neither does."""
    table, request = tables[operation.tables[0]], operation.request
    hashed = {table.schema.indexes[request["IndexName"]].hash: request["Hash"]}
    filtered = {each["Attribute"]: each["Equals"] for each in request.get("Where") or () if "Equals" in each}
    return _declared_type(tables, table.name, hashed) or _declared_type(tables, table.name, filtered)


def _type_of_query(operation: Operation, tables: Mapping[str, Table]) -> str:
    """Return the type that a Query's hash value names; "" if it names none. Each of the few values is tried."""
    table = tables[operation.tables[0]]
    index = table.schema.indexes.get(operation.request.get("IndexName") or "")
    hash_name = table.schema.index_keys(index)[0]
    text = operation.request.get("KeyConditionExpression") or ""
    values = operation.request.get("ExpressionAttributeValues") or {}
    names = operation.request.get("ExpressionAttributeNames") or {}
    written = {placeholder for placeholder, name in names.items() if name == hash_name} | {hash_name}
    for placeholder, value in values.items():
        if any(f"{name} = {placeholder}" in text or f"{name}={placeholder}" in text for name in written):
            return _declared_type(tables, table.name, {hash_name: value})
    return ""
