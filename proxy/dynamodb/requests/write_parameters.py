"""What a write asks for, read from its parameters: an item or a key, a change, a condition, and what to answer.

Sources: API reference, "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"; developer guide, "Quotas in Amazon
DynamoDB" for sizes. The order of the checks is DynamoDB's (dynalite's validations; dynamodb-conformance, tier 3,
validation-ordering).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.expressions import legacy_parameters as legacy
from proxy.dynamodb.expressions.ast import Condition, Update
from proxy.dynamodb.expressions.parse import parse_condition, parse_update
from proxy.dynamodb.expressions.placeholders import bindings
from proxy.dynamodb.requests.wording import worded
from proxy.dynamodb.sizes import MAX_ITEM_SIZE, item_size
from proxy.dynamodb.values import Item, canonical_item

Kind = Literal["Put", "Update", "Delete", "ConditionCheck"]
KINDS: Final[Mapping[str, Kind]] = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}
"""The kind of write that each operation on one item is."""
TRANSACTED: Final[Mapping[str, Kind]] = {
    "Put": "Put",
    "Update": "Update",
    "Delete": "Delete",
    "ConditionCheck": "ConditionCheck",
}
"""The kinds of write that a transaction's parts are, by the members that hold them."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteParameters:
    """The parameters of one write, valid as far as that can be told without its table."""

    kind: Kind
    attributes: Item
    """The item of a Put, the key of all others; canonical."""
    update: Update | None
    condition: Condition | None
    return_values: str
    return_old: bool
    """Whether a failed condition is to be answered with the item."""


def read_write_parameters(kind: Kind, parameters: Mapping[str, Any], action: str) -> WriteParameters:
    """Read the parameters of a request, or those of a part of `action`. Raises ValidationException in its words."""
    try:
        if action in KINDS:
            return _of_request(kind, parameters)
        return _of_part(kind, parameters)
    except DynamoDBError as error:
        raise worded(error, action) from error


def _of_request(kind: Kind, parameters: Mapping[str, Any]) -> WriteParameters:
    """An operation on one item looks at the item's or key's values before its expressions."""
    more = (*_OLDER, "AttributeUpdates") if kind == "Update" else _OLDER
    request = _given(kind, parameters, more)
    _check_together(kind, request)
    attributes = _attributes(kind, request)
    return_values = request.get("ReturnValues") or "NONE"
    if kind != "Update" and return_values not in ("NONE", "ALL_OLD"):
        raise validation("ReturnValues can only be ALL_OLD or NONE")
    _check_size(kind, attributes)
    older: Update | None = None
    if "AttributeUpdates" in request:
        older = legacy.update_from_attribute_updates(request["AttributeUpdates"])
    expected = legacy.condition_from_expected(request.get("Expected"), request.get("ConditionalOperator"))
    update, condition = _expressions(kind, request)
    if kind == "Update" and update is None:
        update = older or Update(())
    return WriteParameters(
        kind=kind,
        attributes=attributes,
        update=update,
        condition=condition or expected,
        return_values=return_values,
        return_old=request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD",
    )


def _of_part(kind: Kind, parameters: Mapping[str, Any]) -> WriteParameters:
    """A batch's or transaction's part looks at its expressions first."""
    request = _given(kind, parameters, ())
    _check_together(kind, request)
    update, condition = _expressions(kind, request)
    attributes = _attributes(kind, request)
    _check_size(kind, attributes)
    return WriteParameters(
        kind=kind,
        attributes=attributes,
        update=update,
        condition=condition,
        return_values="NONE",
        return_old=request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD",
    )


def _given(kind: Kind, parameters: Mapping[str, Any], more: tuple[str, ...]) -> dict[str, Any]:
    return {name: parameters[name] for name in (*_MEMBERS[kind], *more) if parameters.get(name) is not None}


def _accepted(kind: Kind) -> tuple[str, ...]:
    return ("UpdateExpression", "ConditionExpression") if kind == "Update" else ("ConditionExpression",)


def _check_together(kind: Kind, request: Mapping[str, Any]) -> None:
    accepted = _accepted(kind)
    legacy.refuse_mixture(request, [name for name in accepted if name in request])
    legacy.refuse_idle_bindings(request, accepted)


def _attributes(kind: Kind, request: Mapping[str, Any]) -> Item:
    return canonical_item(request["Item" if kind == "Put" else "Key"])


def _check_size(kind: Kind, attributes: Item) -> None:
    if kind == "Put" and item_size(attributes) > MAX_ITEM_SIZE:
        raise validation("Item size has exceeded the maximum allowed size")


def _expressions(kind: Kind, request: Mapping[str, Any]) -> tuple[Update | None, Condition | None]:
    given = bindings(request.get("ExpressionAttributeNames"), request.get("ExpressionAttributeValues"))
    update: Update | None = None
    condition: Condition | None = None
    if kind == "Update" and "UpdateExpression" in request:
        update = parse_update(request["UpdateExpression"], given)
    if "ConditionExpression" in request:
        condition = parse_condition(request["ConditionExpression"], given)
    given.check_all_used()
    return update, condition
