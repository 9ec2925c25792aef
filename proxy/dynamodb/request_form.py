"""The form of a request, as far as it can be told without its table: names of tables and indexes, and members that have
one of a few values.

DynamoDB looks at it before it looks for the table ("Error handling with DynamoDB", ValidationException), so that a bad
name is no ResourceNotFoundException. Sources: API reference, each operation's "Request Parameters"; developer guide,
"Supported data types and naming rules". The words are AWS's for a member's constraints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError, validation

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]+")
_ARN: Final = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/[a-zA-Z0-9_.-]+(?:/.*)?", re.DOTALL)
# A name has 3 to 255 characters; an ARN may stand in its place.
_LEAST, _MOST = 3, 255
_ENUMS: Final[Mapping[str, tuple[str, ...]]] = {
    "ConditionalOperator": ("AND", "OR"),
    "ReturnConsumedCapacity": ("INDEXES", "TOTAL", "NONE"),
    "ReturnItemCollectionMetrics": ("SIZE", "NONE"),
    "ReturnValues": ("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"),
    "ReturnValuesOnConditionCheckFailure": ("ALL_OLD", "NONE"),
    "Select": ("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
}


def check_form(action: str, request: Mapping[str, Any]) -> None:
    """Raises ValidationException for a request whose form no table could make right. All faults are named, as AWS does
    ("2 validation errors detected: …")."""
    faults = list(_faults(action, request))
    if faults:
        errors = "1 validation error" if len(faults) == 1 else f"{len(faults)} validation errors"
        raise validation(f"{errors} detected: {'; '.join(faults)}")


def check_enums(request: Mapping[str, Any]) -> None:
    """Raises ValidationException for a member of a request, or of a transaction's part, with a value it cannot have."""
    faults = list(_enum_faults(request, ""))
    if faults:
        raise validation(f"1 validation error detected: {faults[0]}")


def form_fault(action: str, request: Mapping[str, Any]) -> DynamoDBError | None:
    """The error of `check_form`; None for a request of a proper form."""
    try:
        check_form(action, request)
    except DynamoDBError as error:
        return error
    return None


def _faults(action: str, request: Mapping[str, Any]) -> Iterator[str]:
    if action.startswith("Batch"):
        items = request.get("RequestItems")
        if items is None:
            yield _null("requestItems")
        elif isinstance(items, dict):
            for name in items:
                yield from _name_faults(name, "requestItems")
    elif action.startswith("Transact"):
        parts = request.get("TransactItems")
        if parts is None:
            yield _null("transactItems")
        for number, entry in enumerate(parts if isinstance(parts, list) else (), 1):
            for kind, part in entry.items() if isinstance(entry, dict) else ():
                if isinstance(part, dict):
                    where = f"transactItems.{number}.member.{kind[:1].lower()}{kind[1:]}."
                    yield from _name_faults(part.get("TableName"), f"{where}tableName")
                    yield from _enum_faults(part, where)
    else:
        yield from _name_faults(request.get("TableName"), "tableName")
        if request.get("IndexName") is not None:
            yield from _name_faults(request["IndexName"], "indexName")
    yield from _enum_faults(request, "")


def _name_faults(name: Any, where: str) -> Iterator[str]:
    if name is None:
        yield _null(where)
        return
    if not isinstance(name, str) or _ARN.fullmatch(name):
        return
    if not name:
        yield _constraint(name, where, "Member must have length greater than or equal to 1")
    elif _NAME.fullmatch(name) is None:
        yield _constraint(name, where, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
    elif len(name) > _MOST:
        yield _constraint(name, where, f"Member must have length less than or equal to {_MOST}")
    elif len(name) < _LEAST:
        yield _constraint(name, where, f"Member must have length greater than or equal to {_LEAST}")


def _enum_faults(request: Mapping[str, Any], where: str) -> Iterator[str]:
    for member, known in _ENUMS.items():
        value = request.get(member)
        if isinstance(value, str) and value not in known:
            name = f"{where}{member[0].lower()}{member[1:]}"
            yield _constraint(value, name, f"Member must satisfy enum value set: [{', '.join(known)}]")


def _constraint(value: str, where: str, rule: str) -> str:
    return f"Value '{value}' at '{where}' failed to satisfy constraint: {rule}"


def _null(where: str) -> str:
    return f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
