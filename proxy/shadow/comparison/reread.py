"""Rewrites a read so that it can be repeated: strongly consistent, and without what hides items of its page. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from proxy.dynamodb.errors import serialization
from proxy.dynamodb.listing import MOST, Listing
from proxy.dynamodb.operations import LISTING, Operation, json_of
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import TableSchema
from proxy.shadow.call import Call

P = TypeVar("P", bound=PageRequest | Listing)

_PLACEHOLDER: Final = re.compile(r"[#:][A-Za-z0-9_]+")
# The parameters of a Query or Scan that hide items, or parts of them, from a comparison.
_HIDING: Final = (
    "FilterExpression",
    "QueryFilter",
    "ScanFilter",
    "ConditionalOperator",
    "ProjectionExpression",
    "AttributesToGet",
    "Select",
)


def read_page(read: Callable[[TableSchema, Mapping[str, Any]], P], call: Call) -> P:
    """Return what a page is to hold. Raises DynamoDBError if the mirror refuses what the authority has answered."""
    try:
        return read(call.table.schema, call.operation.request)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise serialization(type(error).__name__) from error


def with_strong_consistency(operation: Operation) -> Operation:
    """Return the same read, strongly consistent where the API allows it."""
    request = dict(operation.request)
    if operation.action == "BatchGetItem":
        request["RequestItems"] = {t: {**part, "ConsistentRead": True} for t, part in request["RequestItems"].items()}
    elif operation.action in ("GetItem", "Query", "Scan") and request.get("IndexName") is None:
        request["ConsistentRead"] = True
    request.pop("ReturnConsumedCapacity", None)
    return replace(operation, request=request, body=json_of(request))


def without_filters(operation: Operation) -> Operation:
    """Return the same read with all items of its page shown; the operation itself if it hides none."""
    request = {name: value for name, value in operation.request.items() if name not in _HIDING}
    if len(request) == len(operation.request):
        return operation
    if operation.action == LISTING:
        request["Limit"] = MOST  # show the first of the items that were only counted
    used = set(_PLACEHOLDER.findall(request.get("KeyConditionExpression") or ""))
    for parameter in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        kept = {name: value for name, value in (request.pop(parameter, None) or {}).items() if name in used}
        request |= {parameter: kept} if kept else {}
    return replace(operation, request=request, body=json_of(request))
