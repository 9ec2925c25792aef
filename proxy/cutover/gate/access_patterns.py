"""Access patterns: the action of a request, its index, and the parameters that it uses.

Comparisons of one pattern say little about another: a Query backwards over an index is different work for a store than
one forwards. Names only, never a client's value: the set is small and can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.dynamodb.operations import Operation

OTHER: Final = "other"

# Parameters that change what a store has to do ("GetItem", "Query" and so on, API reference).
_PRESENT: Final = frozenset(
    {
        "AttributeUpdates",
        "AttributesToGet",
        "ConditionExpression",
        "ConditionalOperator",
        "ExclusiveStartKey",
        "Expected",
        "FilterExpression",
        "KeyConditions",
        "Limit",
        "ProjectionExpression",
        "QueryFilter",
        "ReturnValuesOnConditionCheckFailure",
        "ScanFilter",
        "Segment",
    }
)
_VALUES: Final = {
    "Select": frozenset({"COUNT", "SPECIFIC_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"}),
    "ReturnValues": frozenset({"ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"}),
}
_FLAGS: Final = (("ConsistentRead", True), ("ScanIndexForward", False))
_SORTS: Final = re.compile(r"(?i)\b(begins_with|between)\b|(<=|>=|<|>)")
_CLAUSES: Final = re.compile(r"(?i)(?<![#:\w.])(set|add|remove|delete)\b(?=\s)")


def form_of(operation: Operation) -> tuple[object, ...]:
    """The form of a request, from which its pattern follows, and which an application repeats. Not always hashable.

    Parts of batches and transactions are not in it: they are read each time.
    """
    get = operation.request.get
    return (
        operation.action,
        *operation.request,
        get("IndexName"),
        get("KeyConditionExpression"),
        get("UpdateExpression"),
        get("ConsistentRead"),
        get("ScanIndexForward"),
        get("Select"),
        get("ReturnValues"),
    )


def pattern_of(operation: Operation) -> str:
    """As in `type-addedAt Limit ScanIndexForward=false`; "" for an operation with nothing special."""
    if has_parts(operation):
        return " ".join(sorted(_parts(operation.action, operation.request)))
    try:
        return " ".join(_words(operation))
    except TypeError:  # a list, say, where a text belongs: DynamoDB refuses it
        return OTHER


def has_parts(operation: Operation) -> bool:
    """Whether it is a batch or a transaction."""
    return operation.action.startswith(("Batch", "Transact"))


def _words(operation: Operation) -> Iterator[str]:
    request = operation.request
    index = request.get("IndexName")
    if index is not None:
        yield index if index in operation.schema.indexes else OTHER
    yield from sorted(_shown(request))


def _shown(part: Mapping[str, Any]) -> Iterator[str]:
    """The words for the parameters of one request, or of one part of a batch or transaction."""
    yield from (name for name in part if name in _PRESENT and part[name] is not None)
    yield from (f"{name}={str(value).lower()}" for name, value in _FLAGS if part.get(name) is value)
    for name, values in _VALUES.items():
        value = part.get(name)
        if isinstance(value, str) and value in values:
            yield f"{name}={value}"
    condition, update = part.get("KeyConditionExpression"), part.get("UpdateExpression")
    if isinstance(condition, str):
        found = _SORTS.search(condition)
        yield f"sort:{found[0].lower()}" if found else "sort:=" if condition.count("=") > 1 else "sort:none"
    if isinstance(update, str):
        yield from {f"update:{clause.upper()}" for clause in _CLAUSES.findall(update)}


def _parts(action: str, request: Mapping[str, Any]) -> set[str]:
    """Of a batch or transaction: the kinds of its parts, and each part's words."""
    words: set[str] = set()
    entries = request.get("TransactItems" if action.startswith("Transact") else "RequestItems")
    if isinstance(entries, list):
        for entry in entries:
            for kind, part in entry.items() if isinstance(entry, dict) else ():
                if kind in _KINDS and isinstance(part, dict):
                    words.add(kind)
                    words.update(f"{kind}.{word}" for word in _shown(part))
    elif isinstance(entries, dict):
        for part in entries.values():
            if isinstance(part, dict):
                words.update(_shown(part))
            for entry in part if isinstance(part, list) else ():
                words.update(kind for kind in entry if kind in _KINDS)
    return words


_KINDS: Final = frozenset({"ConditionCheck", "Delete", "DeleteRequest", "Get", "Put", "PutRequest", "Update"})
