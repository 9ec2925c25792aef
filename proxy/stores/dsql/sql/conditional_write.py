"""One row as an item, and the one guarded statement that changes it from what was read to what is wanted.

Knows mappings and statements; sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.foreign_rows import UnreadableRow
from proxy.mapping.interface import Encoded, Fault, TableMapping
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.interface import StoredItem, Unrepresentable


@dataclass(frozen=True, slots=True)
class ConditionalWrite:
    """A guarded statement with its parameters, and the `result`: what the store holds once it has changed one row.

    `creates` means that there was no row before.
    """

    statement: str
    parameters: tuple[Any, ...]
    result: StoredItem
    creates: bool = False


def plan_write(statements: Statements, key: Key, wanted: Item | None, stored: StoredItem) -> ConditionalWrite:
    """The statement that writes `wanted` (None: deletes) while the row is as `stored`. Raises Unrepresentable."""
    mapping = statements.mapping
    key_values = mapping.key_values(key)
    if wanted is None:
        assert key_values is not None
        return ConditionalWrite(statements.delete, (*key_values, *_others(statements, stored.token)), StoredItem(None))
    encoded = encode_row(mapping, key, wanted)
    if encoded.values is None or key_values is None or (encoded.faults and mapping.on_loss == "park"):
        raise Unrepresentable(key, encoded.faults or (Fault(next(iter(key.attributes)), "no row can have this key"),))
    result = StoredItem(encoded.image, None)
    if stored.token is None:
        return ConditionalWrite(statements.insert, encoded.values, result, creates=True)
    parameters = (*key_values, *_others(statements, encoded.values), *_others(statements, stored.token))
    return ConditionalWrite(statements.update, parameters, result)


def encode_row(mapping: TableMapping, key: Key, item: Item) -> Encoded:
    """The item as a row. An item that DynamoDB itself would refuse, and only a stand-in holds, has none."""
    try:
        return mapping.encode(key, item)
    except DynamoDBError as error:
        return Encoded(None, None, (Fault(next(iter(key.attributes)), f"it is no item of DynamoDB's: {error.code}"),))


def stored_item(mapping: TableMapping, row: asyncpg.Record | None) -> StoredItem:
    """What a row holds. None is no row."""
    if row is None:
        return StoredItem(None)
    values = tuple(row)
    try:
        item = mapping.decode(values)
    except UnreadableRow as error:
        return StoredItem(None, values, index_consistent=False, unreadable=f"column {error.column}: {error}")
    return StoredItem(item, values, mapping.index_consistent(values, item))


def _others(statements: Statements, values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(values[n] for n in statements.other_columns)
