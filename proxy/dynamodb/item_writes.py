"""What one write does to one item: condition, change, and what it answers. Pure.

A write is read from its request once (`read_write`) and may then be applied to any item (`apply`), as often as a
conflict asks for.

Sources: API reference, "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"; developer guide, "Quotas in Amazon
DynamoDB" for sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from proxy.dynamodb import errors
from proxy.dynamodb.expressions import evaluate
from proxy.dynamodb.expressions import legacy_parameters as legacy
from proxy.dynamodb.expressions.ast import Condition, Path, Update
from proxy.dynamodb.expressions.parse import parse_condition, parse_update
from proxy.dynamodb.expressions.placeholders import bindings
from proxy.dynamodb.request_form import check_enums
from proxy.dynamodb.schema import Index, Key, TableSchema
from proxy.dynamodb.sizes import MAX_HASH_KEY_SIZE, MAX_ITEM_SIZE, MAX_RANGE_KEY_SIZE, item_size, value_size
from proxy.dynamodb.values import Item, Value, canonical_item, equal

Kind = Literal["Put", "Update", "Delete", "ConditionCheck"]

_RETURN_VALUES: Final[Mapping[Kind, frozenset[str]]] = {
    "Put": frozenset({"NONE", "ALL_OLD"}),
    "Delete": frozenset({"NONE", "ALL_OLD"}),
    "Update": frozenset({"NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"}),
    "ConditionCheck": frozenset({"NONE"}),
}
_CONDITION: Final = (
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
)
_OLDER: Final = ("Expected", "ConditionalOperator", "ReturnValues")
# What a request, or a transaction's part, may have of its own. DynamoDB takes no notice of anything else in it.
_MEMBERS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "Put": ("Item", *_CONDITION),
    "Update": ("Key", "UpdateExpression", *_CONDITION),
    "Delete": ("Key", *_CONDITION),
    "ConditionCheck": ("Key", *_CONDITION),
}
_ALL_RETURN_VALUES: Final = "[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"


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


def read_write(kind: Kind, schema: TableSchema, parameters: Mapping[str, Any], *, in_transaction: bool) -> ItemWrite:
    """From a request's parameters, or those of a transaction's part (`Put`). Raises ValidationException."""
    check_enums(parameters)
    members = _MEMBERS[kind]
    if not in_transaction:
        members += (*_OLDER, "AttributeUpdates") if kind == "Update" else _OLDER
    request = {name: parameters[name] for name in members if parameters.get(name) is not None}
    condition: Condition | None = None
    update: Update | None = None
    item: Item | None = None
    taken = [name for name in ("ConditionExpression", "UpdateExpression") if name in members]
    expressions = [name for name in taken if name in request]
    legacy.refuse_mixture(request, expressions)
    legacy.refuse_idle_bindings(request, taken)
    given = bindings(request.get("ExpressionAttributeNames"), request.get("ExpressionAttributeValues"))
    if "UpdateExpression" in expressions:
        update = parse_update(request["UpdateExpression"], given)
    if "ConditionExpression" in expressions:
        condition = parse_condition(request["ConditionExpression"], given)
    elif "Expected" in request:
        condition = legacy.condition_from_expected(request["Expected"], request.get("ConditionalOperator"))
    if "AttributeUpdates" in request:
        update = legacy.update_from_attribute_updates(request["AttributeUpdates"])
    given.check_all_used()
    if kind == "Put":
        item = canonical_item(request["Item"])
        key = schema.key_of(item)
        _check_item(schema, item)
    else:
        key = schema.key_parameter(request["Key"])
    schema.check_key(key)
    if update is not None:
        _check_update(schema, update)
    if kind == "ConditionCheck" and condition is None:
        raise errors.validation(
            "1 validation error detected: Value null at 'transactItems.1.member.conditionCheck.conditionExpression' "
            "failed to satisfy constraint: Member must not be null"
        )
    if kind == "Update" and update is None:
        update = Update(())
    return_values = request.get("ReturnValues") or "NONE"
    _check_return_values(kind, return_values)
    return_old = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return ItemWrite(kind, schema, key, item, update, condition, return_values, return_old)


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
        _check_item(write.schema, new)
    else:
        _check_updated(write.schema, new)
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


def _check_return_values(kind: Kind, wanted: str) -> None:
    if wanted in _RETURN_VALUES[kind]:
        return
    if wanted not in _RETURN_VALUES["Update"]:
        raise errors.validation(
            f"1 validation error detected: Value '{wanted}' at 'returnValues' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {_ALL_RETURN_VALUES}"
        )
    raise errors.validation("ReturnValues can only be ALL_OLD or NONE")


def _check_update(schema: TableSchema, update: Update) -> None:
    for action in update.actions:
        name = action.path.parts[0]
        if name in schema.key_names:
            raise errors.validation(
                "One or more parameter values were invalid: "
                f"Cannot update attribute {name}. This attribute is part of the key"
            )


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
    for index in schema.indexes.values():
        for name, limit in ((index.hash, MAX_HASH_KEY_SIZE), (index.range, MAX_RANGE_KEY_SIZE)):
            if name is not None and name in item and name not in schema.key_names:
                yield index, name, item[name], limit


def _check_item(schema: TableSchema, item: Item) -> None:
    for index, name, value, limit in _index_keys(schema, item):
        expected = schema.types[name]
        if expected not in value:
            raise errors.validation(
                f"One or more parameter values were invalid: Type mismatch for Index Key {name} "
                f"Expected: {expected} Actual: {next(iter(value))} IndexName: {index.name}"
            )
        _check_key_value(name, value, limit, index)
    if item_size(item) > MAX_ITEM_SIZE:
        raise errors.validation("Item size has exceeded the maximum allowed size")


def _check_updated(schema: TableSchema, item: Item) -> None:
    """As `_check_item`, in the words for what an update has made of an item ("TransactWriteItems" lists them)."""
    attempted = "The update expression attempted to update"
    for _, name, value, limit in _index_keys(schema, item):
        if schema.types[name] not in value:
            raise errors.validation(f"{attempted} the secondary index key to unsupported type")
        empty = _empty(value)
        if empty is not None:
            raise errors.validation(
                f"One or more parameter values are not valid. {attempted} a secondary index key to a value that is "
                f"not supported. The AttributeValue for a key attribute cannot contain an empty {empty} value."
            )
        if value_size(value) > limit:
            raise errors.validation(f"{attempted} the secondary index key beyond allowed size limits")
    if item_size(item) > MAX_ITEM_SIZE:
        raise errors.validation("Item size to update has exceeded the maximum allowed size")


def items_equal(one: Item | None, other: Item | None) -> bool:
    """Whether two items, or their absence, are equal by DynamoDB's values."""
    if one is None or other is None:
        return one is other
    return one == other or equal({"M": one}, {"M": other})
