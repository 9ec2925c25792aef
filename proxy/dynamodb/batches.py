"""The form of requests that have many parts: how many there may be, and what each must be. Looked at before any key.

Sources: API reference, "BatchGetItem", "BatchWriteItem", "WriteRequest", "TransactGetItems", "TransactWriteItems". AWS
words empty lists and long ones as constraints of a member ("1 validation error detected: …").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError, validation

MAX_BATCH_GET: Final = 100
MAX_BATCH_WRITE: Final = 25
MAX_TRANSACTION: Final = 100


def check_gets(requests: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValidationException for a BatchGetItem of no keys, or of more than 100."""
    for name, part in requests.items():
        if not part["Keys"]:
            raise _too_short("[]", f"requestItems.{name}.member.keys")
    if sum(len(part["Keys"]) for part in requests.values()) > MAX_BATCH_GET:
        raise validation("Too many items requested for the BatchGetItem call")


def check_writes(requests: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raises ValidationException for a BatchWriteItem of no requests, of more than 25, or with one that is not either a
    put or a delete."""
    for name, entries in requests.items():
        if not entries:
            raise _too_short("[]", f"requestItems.{name}.member")
    if sum(map(len, requests.values())) > MAX_BATCH_WRITE:
        raise validation("Too many items requested for the BatchWriteItem call")
    for entries in requests.values():
        for entry in entries:
            if sum(entry.get(kind) is not None for kind in ("PutRequest", "DeleteRequest")) != 1:
                raise validation("Supplied WriteRequest must contain exactly one of PutRequest and DeleteRequest")


def check_transaction(parts: Sequence[Any]) -> None:
    """Raises ValidationException for a transaction of more than 100 parts, or of none."""
    if not parts:
        raise _too_short("[]", "transactItems")
    if len(parts) > MAX_TRANSACTION:
        raise _too_long("transactItems", MAX_TRANSACTION)


def _too_short(shown: str, where: str) -> DynamoDBError:
    return validation(
        f"1 validation error detected: Value '{shown}' at '{where}' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )


def _too_long(where: str, most: int) -> DynamoDBError:
    return validation(
        f"1 validation error detected: Value at '{where}' failed to satisfy constraint: "
        f"Member must have length less than or equal to {most}"
    )
