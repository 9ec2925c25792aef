"""Rows and guarded writes of them: what one statement takes a row from what is held to what is wanted.

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
    """A statement with its parameters, and what is held once it has changed one row. `creates`: there was no row."""

    statement: str
    parameters: tuple[Any, ...]
    left: StoredItem
    creates: bool = False


def plan(statements: Statements, key: Key, wanted: Item | None, held: StoredItem) -> ConditionalWrite:
    """Raises Unrepresentable for an item that no row can hold without loss."""
    mapping = statements.mapping
    key_values = mapping.key_values(key)
    if wanted is None:
        assert key_values is not None
        return ConditionalWrite(statements.delete, (*key_values, *_others(statements, held.token)), StoredItem(None))
    encoded = encode(mapping, key, wanted)
    if encoded.values is None or key_values is None or (encoded.faults and mapping.on_loss == "park"):
        raise Unrepresentable(key, encoded.faults or (Fault(next(iter(key.attributes)), "no row can have this key"),))
    left = StoredItem(encoded.image, None)
    if held.token is None:
        return ConditionalWrite(statements.insert, encoded.values, left, creates=True)
    parameters = (*key_values, *_others(statements, encoded.values), *_others(statements, held.token))
    return ConditionalWrite(statements.update, parameters, left)


def encode(mapping: TableMapping, key: Key, item: Item) -> Encoded:
    """The item as a row. What DynamoDB itself would refuse (only a stand-in holds it) has none."""
    try:
        return mapping.encode(key, item)
    except DynamoDBError as error:
        return Encoded(None, None, (Fault(next(iter(key.attributes)), f"it is no item of DynamoDB's: {error.code}"),))


def held(mapping: TableMapping, row: asyncpg.Record | None) -> StoredItem:
    """What a row holds; None is no row."""
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
