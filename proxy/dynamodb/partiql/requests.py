"""The parameters of ExecuteStatement, BatchExecuteStatement and ExecuteTransaction, and their answers' small forms.

Sources: API reference, the three operations, BatchStatementError and CancellationReason.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from proxy.dynamodb.errors import DynamoDBError, serialization, validation
from proxy.dynamodb.partiql.parser import parse_statement
from proxy.dynamodb.partiql.statements import Statement
from proxy.dynamodb.partiql.write_plans import DUPLICATE_ITEM
from proxy.dynamodb.values import Item

MOST_IN_BATCH: Final = 25
MOST_IN_TRANSACTION: Final = 100
_MOST_CHARACTERS: Final = 8192
_MAX_TOKEN: Final = 36
_ENUMS: Final = {
    "ReturnConsumedCapacity": ("INDEXES", "TOTAL", "NONE"),
    "ReturnValuesOnConditionCheckFailure": ("ALL_OLD", "NONE"),
}
_SHORT_CODES: Final = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "ItemCollectionSizeLimitExceededException": "ItemCollectionSizeLimitExceeded",
    "RequestLimitExceeded": "RequestLimitExceeded",
    "ValidationException": "ValidationError",
    "ProvisionedThroughputExceededException": "ProvisionedThroughputExceeded",
    "TransactionConflictException": "TransactionConflict",
    "ThrottlingException": "ThrottlingError",
    "ResourceNotFoundException": "ResourceNotFound",
    "AccessDeniedException": "AccessDenied",
    "DuplicateItemException": "DuplicateItem",
}


def read_statement(part: Mapping[str, Any]) -> Statement:
    """One statement with its parameters. Raises DynamoDBError."""
    text, parameters = part.get("Statement"), part.get("Parameters")
    if text is None:
        raise _constraint("null", "statement", "Member must not be null")
    if not isinstance(text, str) or not isinstance(parameters, list | None):
        raise serialization("")
    if not text:
        raise _constraint("''", "statement", "Member must have length greater than or equal to 1")
    if len(text) > _MOST_CHARACTERS:
        raise validation(
            "1 validation error detected: Value at 'statement' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_MOST_CHARACTERS}"
        )
    if parameters == []:
        raise _constraint("'[]'", "parameters", "Member must have length greater than or equal to 1")
    return parse_statement(text, parameters or ())


def check_members(request: Mapping[str, Any]) -> None:
    """Raises ValidationException for a member of the request or of one of its statements outside its constraints."""
    faults = []
    for member, known in _ENUMS.items():
        value = request.get(member)
        if value is not None and value not in known:
            shown = f"{member[0].lower()}{member[1:]}"
            faults.append(
                f"Value '{value}' at '{shown}' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(known)}]"
            )
    limit, token = request.get("Limit"), request.get("ClientRequestToken")
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise serialization("Limit")
        if limit < 1:
            faults.append(
                "Value at 'Limit' failed to satisfy constraint: Member must have value greater than or equal to 1"
            )
    if token is not None and (not isinstance(token, str) or not 1 <= len(token) <= _MAX_TOKEN):
        faults.append(
            "Value at 'ClientRequestToken' failed to satisfy constraint: "
            f"Member must have length between 1 and {_MAX_TOKEN}"
        )
    if faults:
        detected = "1 validation error" if len(faults) == 1 else f"{len(faults)} validation errors"
        raise validation(f"{detected} detected: {'; '.join(faults)}")


def parts_of(request: Mapping[str, Any], member: str, most: int) -> list[Mapping[str, Any]]:
    """The statements of a batch or a transaction. Raises DynamoDBError."""
    shown = f"{member[0].lower()}{member[1:]}"
    parts = request.get(member)
    if parts is None:
        raise _constraint("null", shown, "Member must not be null")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise serialization("")
    if not parts:
        raise _constraint("'[]'", shown, "Member must have length greater than or equal to 1")
    if len(parts) > most:
        raise validation(
            f"1 validation error detected: Value at '{shown}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {most}"
        )
    return parts


def duplicate_item(document: Mapping[str, Any]) -> DynamoDBError:
    """What a Put that found an item is for an INSERT."""
    extra = {"Item": document["Item"]} if "Item" in document else None
    return DynamoDBError("DuplicateItemException", DUPLICATE_ITEM, extra=extra)


def batch_error(document: Mapping[str, Any]) -> dict[str, Any]:
    """A response of a batch for a statement that failed, from the error's document."""
    code = str(document.get("__type", "")).rpartition("#")[2]
    message = document.get("message") or document.get("Message") or ""
    error = {"Code": _SHORT_CODES.get(code, "InternalServerError"), "Message": message}
    return {"Error": error | ({"Item": document["Item"]} if "Item" in document else {})}


def canceled(document: Mapping[str, Any], inserts: Sequence[bool]) -> dict[str, Any]:
    """A cancelled transaction's document, in which an INSERT that found an item says so."""
    reasons = document.get("CancellationReasons")
    if not isinstance(reasons, list):
        return dict(document)
    told = [
        {**reason, "Code": "DuplicateItem", "Message": DUPLICATE_ITEM}
        if insert and reason.get("Code") == "ConditionalCheckFailed"
        else reason
        for reason, insert in zip(reasons, inserts, strict=True)
    ]
    codes = ", ".join(str(reason.get("Code")) for reason in told)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return {**document, "Message": message, "CancellationReasons": told}


def encode_token(part: Mapping[str, Any], number: int, key: Item) -> str:
    """NextToken: where the next page of a statement begins."""
    token = {"s": _digest(part), "n": number, "k": key}
    return urlsafe_b64encode(orjson.dumps(token)).decode()


def decode_token(part: Mapping[str, Any], token: Any) -> tuple[int, Item]:
    """Raises ValidationException for a token that was not given out for this statement and its parameters."""
    if not isinstance(token, str):
        raise serialization("")
    try:
        held = orjson.loads(urlsafe_b64decode(token))
        known = held["s"] == _digest(part)
        number, key = int(held["n"]), dict(held["k"])
    except (ValueError, KeyError, TypeError):
        raise validation("Invalid NextToken") from None
    if not known:
        raise validation("NextToken does not match request")
    return number, key


def add_capacities(capacities: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """ConsumedCapacity of several operations, by table."""
    tables: dict[str, dict[str, Any]] = {}
    for each in capacities:
        name = str(each.get("TableName"))
        tables[name] = _sum(tables[name], each) if name in tables else dict(each)
    return list(tables.values())


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    total = dict(one)
    for name, value in other.items():
        held = total.get(name)
        if isinstance(value, dict):
            total[name] = _sum(held or {}, value)
        elif isinstance(value, int | float):
            total[name] = (held or 0) + value
        else:
            total[name] = value
    return total


def _digest(part: Mapping[str, Any]) -> str:
    said = orjson.dumps([part.get("Statement"), part.get("Parameters")], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(said, digest_size=12).hexdigest()


def _constraint(value: str, member: str, rule: str) -> DynamoDBError:
    return validation(f"1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {rule}")
