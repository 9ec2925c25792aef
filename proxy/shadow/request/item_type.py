"""The item type that an operation is about: the label of its verdicts, and part of the scope that sets its stage.

Reads the request and the mapping; knows no stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.dynamodb.operations import LISTING, Operation
from proxy.dynamodb.values import Value
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
    hashed = {table.schema.indexes[request["IndexName"]].hashes[0]: request["Hash"]}
    filtered = {each["Attribute"]: each["Equals"] for each in request.get("Where") or () if "Equals" in each}
    return _declared_type(tables, table.name, hashed) or _declared_type(tables, table.name, filtered)


def _type_of_query(operation: Operation, tables: Mapping[str, Table]) -> str:
    """Return the type that a Query's hash values name; "" if they name none. Each of the few values is tried."""
    table = tables[operation.tables[0]]
    index = table.schema.indexes.get(operation.request.get("IndexName") or "")
    hashed = {name: _value_of(name, operation.request) for name in table.schema.index_keys(index)[0]}
    return _declared_type(tables, table.name, {name: value for name, value in hashed.items() if value is not None})


def _value_of(name: str, request: Mapping[str, Any]) -> Value | None:
    """Return what a Query's key condition says that an attribute equals."""
    text = request.get("KeyConditionExpression") or ""
    placeholders = request.get("ExpressionAttributeNames") or {}
    written = {name, *(placeholder for placeholder, other in placeholders.items() if other == name)}
    for placeholder, value in (request.get("ExpressionAttributeValues") or {}).items():
        if any(f"{each} = {placeholder}" in text or f"{each}={placeholder}" in text for each in written):
            found: Value = value
            return found
    return None
