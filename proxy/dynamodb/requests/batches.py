"""Requests that have many parts: how many there may be, and what each must be.

Sources: API reference, "BatchGetItem", "BatchWriteItem", "WriteRequest", "TransactGetItems", "TransactWriteItems"; the
words are AWS's of October 2026 (dynamodb-conformance, tier 3, batchGetItem, batchWriteItem, transactWriteItems).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError, validation

MAX_BATCH_GET: Final = 100
MAX_BATCH_WRITE: Final = 25
MAX_TRANSACTION: Final = 100
_WRITES: Final = ("ConditionCheck", "Put", "Delete", "Update")


def check_gets(requests: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValidationException for a BatchGetItem of no keys, or of more than 100."""
    _check_any(requests)
    for name, part in requests.items():
        _check_length(part["Keys"], f"RequestItems.{name}.member.Keys", MAX_BATCH_GET)
    if sum(len(part["Keys"]) for part in requests.values()) > MAX_BATCH_GET:
        raise validation("Too many items requested for the BatchGetItem call")
    given = {
        member: None for part in requests.values() for member in ("AttributesToGet", "ProjectionExpression")
        if part.get(member) is not None
    }  # fmt: skip
    if len(given) > 1:
        raise validation(
            "Can not use both expression and non-expression parameters in the same request: "
            "Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"
        )


def check_writes(requests: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raises ValidationException for a BatchWriteItem of no requests, of more than 25, or with one that is not either a
    put or a delete."""
    _check_any(requests)
    for name, entries in requests.items():
        if not entries:
            raise _constraint(
                f"Value '{{{name}=[]}}' at 'requestItems'",
                f"Map value must satisfy constraint: [Member must have length less than or equal to {MAX_BATCH_WRITE}, "
                "Member must have length greater than or equal to 1]",
            )
        _check_length(entries, f"RequestItems.{name}.member", MAX_BATCH_WRITE)
    if sum(map(len, requests.values())) > MAX_BATCH_WRITE:
        raise validation("Too many items requested for the BatchWriteItem call")
    for entries in requests.values():
        for entry in entries:
            if sum(entry.get(kind) is not None for kind in ("PutRequest", "DeleteRequest")) != 1:
                # DynamoDB's words for a union with no member, or more than one: WriteRequest is one to it.
                raise validation(
                    "Supplied AttributeValue has more than one datatypes set, "
                    "must contain exactly one of the supported datatypes"
                )


def check_transaction(parts: Sequence[Any]) -> None:
    """Raises ValidationException for a transaction of more than 100 parts, or of none."""
    _check_length(parts, "TransactItems", MAX_TRANSACTION)


def transaction_parts(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(`Put`, its parameters) and so on, of a TransactWriteItems or TransactGetItems request.

    Raises DynamoDBError for an entry that does not hold exactly one ("TransactWriteItem", API reference).
    """
    for entry in request["TransactItems"]:
        parts = [(kind, entry[kind]) for kind in ("Get", *_WRITES) if entry.get(kind) is not None]
        if not parts:
            raise validation("Invalid Request: TransactWriteRequest should contain Delete or Put or Update request")
        if len(parts) > 1:
            raise validation("TransactItems can only contain one of Check, Put, Update or Delete")
        yield parts[0]


def _check_any(requests: Mapping[str, Any]) -> None:
    if not requests:
        raise _constraint("Value at 'RequestItems'", "Member must have length greater than or equal to 1")


def _check_length(found: Sequence[Any], where: str, most: int) -> None:
    if not found:
        raise _constraint(f"Value at '{where}'", "Member must have length greater than or equal to 1")
    if len(found) > most:
        raise _constraint(f"Value at '{where}'", f"Member must have length less than or equal to {most}")


def _constraint(what: str, rule: str) -> DynamoDBError:
    return validation(f"1 validation error detected: {what} failed to satisfy constraint: {rule}")
