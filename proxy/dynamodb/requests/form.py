"""Everything that DynamoDB refuses in a request before it looks for the request's table, in DynamoDB's order.

An operation that is carried out makes the same checks on its way; this module makes them alone, for a request whose
table is unknown, or which was refused for another reason: the form comes first ("Error handling with DynamoDB",
ValidationException). So it may cost what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.dynamodb.errors import DynamoDBError, serialization
from proxy.dynamodb.requests.batches import transaction_parts
from proxy.dynamodb.requests.constraints import check_constraints
from proxy.dynamodb.requests.item_projection import ItemProjection
from proxy.dynamodb.requests.page_parameters import read_page_parameters
from proxy.dynamodb.requests.wording import worded
from proxy.dynamodb.requests.write_parameters import KINDS, TRANSACTED, read_write_parameters
from proxy.dynamodb.values import Item, canonical_item


def check_form(action: str, request: Mapping[str, Any]) -> None:
    """Raises DynamoDBError for a request that no table could make valid. Operations that are Crossfade's own pass."""
    try:
        check_constraints(action, request)
        _check_parts(action, request)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise serialization(type(error).__name__) from error
    except DynamoDBError as error:
        raise worded(error, action) from error


def form_fault(action: str, request: Mapping[str, Any]) -> DynamoDBError | None:
    """The error of `check_form`; None for a request of a proper form."""
    try:
        check_form(action, request)
    except DynamoDBError as error:
        return error
    return None


def _check_parts(action: str, request: Mapping[str, Any]) -> None:
    if action in KINDS:
        read_write_parameters(KINDS[action], request, action)
    elif action in ("Query", "Scan"):
        read_page_parameters(action, request)
    elif action == "GetItem":
        _check_get(request, [request["Key"]])
    elif action == "BatchGetItem":
        for part in request["RequestItems"].values():
            _check_get(part, part["Keys"])
    elif action == "TransactGetItems":
        for _, part in transaction_parts(request):
            _check_get(part, [part["Key"]], in_transaction=True)
    elif action == "BatchWriteItem":
        for entries in request["RequestItems"].values():
            for entry in entries:
                put, delete = entry.get("PutRequest"), entry.get("DeleteRequest")
                read_write_parameters("Delete" if put is None else "Put", delete if put is None else put, action)
    elif action == "TransactWriteItems":
        for kind, part in transaction_parts(request):
            read_write_parameters(TRANSACTED[kind], part, action)


def _check_get(part: Mapping[str, Any], keys: Sequence[Item], *, in_transaction: bool = False) -> None:
    if in_transaction:
        ItemProjection(part, in_transaction=True)
    for key in keys:
        canonical_item(key)
    if not in_transaction:
        ItemProjection(part)
