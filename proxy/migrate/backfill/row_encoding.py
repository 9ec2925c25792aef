"""Items of a table as rows to be inserted, and why some have none. Writes nothing, asks nobody."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import SqlValues, TableMapping


@dataclass(slots=True)
class EncodedRow:
    """An item as a row; `lossy` says that the mapping allows what it loses.

    Nobody changes one. It is not frozen because there is one for every item of a table, and a frozen one takes three
    times as long to make.
    """

    key: Key
    item: Item
    values: SqlValues
    lossy: bool


class RowEncoder:
    """Of one table."""

    def __init__(self, mapping: TableMapping) -> None:
        self._mapping = mapping

    def encode(self, key: Key, item: Item) -> EncodedRow | None:
        """None where the mapping cannot hold the item."""
        try:
            encoded = self._mapping.encode(key, item)
        except DynamoDBError:
            return None
        values = encoded.values
        if values is None or (encoded.faults and self._mapping.on_loss == "park"):
            return None
        return EncodedRow(key, item, values, bool(encoded.faults))

    def loss_reasons(self, key: Key, item: Item) -> list[str]:
        """Why it cannot."""
        try:
            faults = self._mapping.encode(key, item).faults
        except DynamoDBError as error:
            return [f"it is no item of DynamoDB's: {error.code}"]
        return [f"{fault.field}: {fault.reason}" for fault in faults] or ["no row can have this key"]


def no_size(_: EncodedRow) -> int:
    return 0


def rough_size(row: EncodedRow) -> int:
    """Roughly the bytes of a row: texts and JSON make up nearly all of it."""
    return sum(len(value) if isinstance(value, str | bytes) else 16 for value in row.values)
