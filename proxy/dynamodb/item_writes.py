"""What one write does to one item: condition, change, and what it answers. Pure.

A write is read from its request once (`read_write`) and may then be applied to any item (`apply`), as often as a
conflict asks for.

Sources: API reference, "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"; developer guide, "Quotas in Amazon
DynamoDB" for sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.dynamodb import errors
from proxy.dynamodb.errors import SchemaMismatch
from proxy.dynamodb.expressions import evaluate
from proxy.dynamodb.expressions.ast import Condition, Literal, Path, Set, Update
from proxy.dynamodb.requests.write_parameters import Kind as Kind
from proxy.dynamodb.requests.write_parameters import read_write_parameters
from proxy.dynamodb.schema import Index, Key, TableSchema
from proxy.dynamodb.sizes import MAX_HASH_KEY_SIZE, MAX_ITEM_SIZE, MAX_RANGE_KEY_SIZE, item_size, value_size
from proxy.dynamodb.values import Item, Value, equal

_ATTEMPTED: Final = "The update expression attempted to update"


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """One write to one key. `item` is a Put's; `update` an Update's; `return_old` asks a failed condition's item."""

    kind: Kind
    schema: TableSchema
    key: Key
    item: Item | None
    update: Update | None
    condition: Condition | None
    return_values: str
    return_old: bool
    in_transaction: bool = False

    @property
    def blind(self) -> bool:
        """Whether what it leaves and answers does not depend on what was there."""
        return self.kind in ("Put", "Delete") and self.condition is None and self.return_values == "NONE"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write leaves (None: no item), what it answers as `Attributes`, and the top-level attributes it touched."""

    item: Item | None
    attributes: Item | None
    touched: frozenset[str]


def read_write(kind: Kind, schema: TableSchema, parameters: Mapping[str, Any], *, action: str) -> ItemWrite:
    """From the parameters of a request, or of a part of `action`. Raises ValidationException."""
    given = read_write_parameters(kind, parameters, action)
    item = given.attributes if kind == "Put" else None
    key = schema.key_of(item) if item is not None else schema.key_parameter(given.attributes)
    schema.check_key(key)
    if item is not None:
        _check_index_keys(schema, item)
    if given.update is not None:
        _check_update(schema, given.update)
    return ItemWrite(
        kind,
        schema,
        key,
        item,
        given.update,
        given.condition,
        given.return_values,
        given.return_old,
        action == "TransactWriteItems",
    )


def apply(write: ItemWrite, current: Item | None) -> WriteResult:
    """Raises ConditionalCheckFailedException (with the item where asked for), or ValidationException."""
    if write.condition is not None and not evaluate.matches(write.condition, current or {}):
        raise errors.conditional_check_failed(current if write.return_old else None)
    if write.kind == "Put":
        return WriteResult(write.item, _old(write, current), frozenset(write.item or ()))
    if write.kind == "Delete":
        return WriteResult(None, _old(write, current), frozenset(current or ()))
    if write.kind == "ConditionCheck":
        return WriteResult(current, None, frozenset())
    return _updated(write, current)


def _updated(write: ItemWrite, current: Item | None) -> WriteResult:
    assert write.update is not None
    if current is None and not evaluate.creates(write.update):
        return WriteResult(None, None, frozenset())
    base = write.key.attributes if current is None else current
    new, touched = evaluate.update(write.update, base, exists=current is not None)
    if write.update.legacy:
        _check_index_keys(write.schema, new)
        if item_size(new) > MAX_ITEM_SIZE:
            raise errors.validation("Item size has exceeded the maximum allowed size")
    else:
        _check_updated(write.schema, new, in_transaction=write.in_transaction)
    return WriteResult(
        new, _update_attributes(write, current, new, touched), frozenset(str(p.parts[0]) for p in touched)
    )


def _update_attributes(write: ItemWrite, current: Item | None, new: Item, touched: tuple[Path, ...]) -> Item | None:
    wanted = write.return_values
    if wanted == "ALL_NEW":
        return new
    if wanted == "ALL_OLD":
        return current
    if wanted == "UPDATED_NEW":
        return evaluate.project(touched, new) or None
    if wanted == "UPDATED_OLD":
        return evaluate.project(touched, current or {}) or None
    return None


def _old(write: ItemWrite, current: Item | None) -> Item | None:
    return current if write.return_values == "ALL_OLD" else None


def _check_update(schema: TableSchema, update: Update) -> None:
    for action in update.actions:
        name = action.path.parts[0]
        if name in schema.key_names:
            raise SchemaMismatch(
                "One or more parameter values were invalid: "
                f"Cannot update attribute {name}. This attribute is part of the key"
            )
    if not update.legacy:
        # What the request itself sets an index's key to needs no item to be refused.
        literals = {
            str(action.path.parts[0]): action.value.value
            for action in update.actions
            if isinstance(action, Set) and len(action.path.parts) == 1 and isinstance(action.value, Literal)
        }
        for _, name, value, _ in _index_keys(schema, literals):
            if schema.types[name] in value:
                _check_set_to_empty(value)


def _check_key_value(name: str, value: Value, limit: int, index: Index | None) -> None:
    empty = _empty(value)
    if empty is not None:
        where = f"Key: {name}"
        detail = ""
        if index is not None:
            where = f"IndexName: {index.name}, IndexKey: {name}"
            detail = "A value specified for a secondary index key is not supported. "
        raise errors.validation(
            f"One or more parameter values are not valid. {detail}"
            f"The AttributeValue for a key attribute cannot contain an empty {empty} value. {where}"
        )
    if value_size(value) > limit:
        role = "hashkey" if limit == MAX_HASH_KEY_SIZE else "rangekey"
        raise errors.validation(
            "One or more parameter values were invalid: "
            f"Size of {role} has exceeded the maximum size limit of{limit} bytes"
        )


def _empty(value: Value) -> str | None:
    """`string` or `binary` where the value is an empty one."""
    if value.get("S") == "":
        return "string"
    return "binary" if value.get("B") == "" else None


def _index_keys(schema: TableSchema, item: Item) -> Iterator[tuple[Index, str, Value, int]]:
    """The index keys an item has beside the table's: index, name, value, and the most bytes it may have."""
    for _, index in sorted(schema.indexes.items()):
        for names, limit in ((index.hashes, MAX_HASH_KEY_SIZE), (index.ranges, MAX_RANGE_KEY_SIZE)):
            for name in names:
                if name in item and name not in schema.key_names:
                    yield index, name, item[name], limit


def _check_index_keys(schema: TableSchema, item: Item) -> None:
    for index, name, value, limit in _index_keys(schema, item):
        expected = schema.types[name]
        if expected not in value:
            raise _index_mismatch(index, name, expected, value)
        _check_key_value(name, value, limit, index)


def _index_mismatch(index: Index, name: str, expected: str, value: Value) -> SchemaMismatch:
    return SchemaMismatch(
        f"One or more parameter values were invalid: Type mismatch for Index Key {name} "
        f"Expected: {expected} Actual: {next(iter(value))} IndexName: {index.name}"
    )


def _check_updated(schema: TableSchema, item: Item, *, in_transaction: bool) -> None:
    """As `_check_index_keys`, in the words for what an update has made of an item ("TransactWriteItems" lists them). A
    transaction has a put's words for a type (dynamodb-conformance, tier 3, transactIndexKeys)."""
    for index, name, value, limit in _index_keys(schema, item):
        expected = schema.types[name]
        if expected not in value:
            if in_transaction:
                raise _index_mismatch(index, name, expected, value)
            raise errors.validation(f"{_ATTEMPTED} the secondary index key to unsupported type")
        _check_set_to_empty(value)
        if value_size(value) > limit:
            raise errors.validation(f"{_ATTEMPTED} the secondary index key beyond allowed size limits")
    if item_size(item) > MAX_ITEM_SIZE:
        raise errors.validation("Item size to update has exceeded the maximum allowed size")


def _check_set_to_empty(value: Value) -> None:
    empty = _empty(value)
    if empty is not None:
        raise errors.validation(
            f"One or more parameter values are not valid. {_ATTEMPTED} a secondary index key to a value that is "
            f"not supported. The AttributeValue for a key attribute cannot contain an empty {empty} value."
        )


def items_equal(one: Item | None, other: Item | None) -> bool:
    """Whether two items, or their absence, are equal by DynamoDB's values."""
    if one is None or other is None:
        return one is other
    return one == other or equal({"M": one}, {"M": other})
