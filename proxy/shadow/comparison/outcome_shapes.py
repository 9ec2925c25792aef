"""Describes an operation's outcome to the comparators: whose items it shows, in which order, from where on.

Translates between the two packages; compares nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from comparators.shapes import ItemShape, ListShape, PageShape, Shape, TablesShape
from proxy.dynamodb.operations import LISTING, Operation, transaction_parts
from proxy.dynamodb.schema import table_name
from proxy.stores.table_registry import Table


def item_shape(table: Table) -> ItemShape:
    """Return the shape of a table's items."""
    return ItemShape(table.schema.key_names, table.pick)


def shape_of(operation: Operation, tables: Mapping[str, Table]) -> Shape:
    """Return the shape of an operation's outcome. `tables` are the operation's tables, by name."""
    request = operation.request
    if operation.action.startswith("Batch"):
        return TablesShape({name: item_shape(tables[table_name(name)]) for name in request["RequestItems"]})
    if operation.action.startswith("Transact"):
        parts = transaction_parts(request)
        return ListShape(tuple(item_shape(tables[table_name(part["TableName"])]) for _, part in parts))
    table = tables[table_name(request["TableName"])]
    if operation.action == "Scan":
        start, segmented = request.get("ExclusiveStartKey"), request.get("Segment") is not None
        return PageShape(item_shape(table), (), start=start, segment=segmented, limit=request.get("Limit"))
    if operation.action == LISTING:
        return PageShape(
            item_shape(table),
            (request["Sort"],),
            ties=False,
            forward=request.get("ScanIndexForward", True) is not False,
            start=request.get("ExclusiveStartKey"),
            limit=request.get("Limit"),
            then=table.schema.key_names,
        )
    if operation.action == "Query":
        index = table.schema.indexes.get(request.get("IndexName") or "")
        return PageShape(
            item_shape(table),
            table.schema.index_keys(index)[1],
            ties=index is not None,
            forward=request.get("ScanIndexForward", True) is not False,
            start=request.get("ExclusiveStartKey"),
            limit=request.get("Limit"),
        )
    return item_shape(table)
