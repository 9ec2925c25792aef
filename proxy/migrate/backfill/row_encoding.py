"""Encodes a table's items as rows to insert, and says why some items have no row. Does no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import SqlValues, TableMapping


@dataclass(slots=True)
class EncodedRow:
    """An item as a row. `lossy` says that the row loses something, and that the mapping allows it.

    Instances are never changed. The class is not frozen because there is one instance for every item of a table, and a
    frozen one takes three times as long to create.
    """

    key: Key
    item: Item
    values: SqlValues
    lossy: bool


class RowEncoder:
    """An encoder of items as rows, for one table."""

    def __init__(self, mapping: TableMapping) -> None:
        self._mapping = mapping

    def encode(self, key: Key, item: Item) -> EncodedRow | None:
        """Return the item as a row; None if the mapping cannot hold it."""
        try:
            encoded = self._mapping.encode(key, item)
        except DynamoDBError:
            return None
        values = encoded.values
        if values is None or (encoded.faults and self._mapping.on_loss == "park"):
            return None
        return EncodedRow(key, item, values, bool(encoded.faults))

    def loss_reasons(self, key: Key, item: Item) -> list[str]:
        """Return why the mapping cannot hold the item."""
        try:
            faults = self._mapping.encode(key, item).faults
        except DynamoDBError as error:
            return [f"it is not a DynamoDB item: {error.code}"]
        return [f"{fault.field}: {fault.reason}" for fault in faults] or ["no row can have this key"]
