"""Which store issued a cursor: a Scan, or a Query of an index, continues at the store where it began.

The two stores hold the same items but order them differently: the order of a Scan is unspecified ("Scan": "does not
return items in any particular order"), and so is the order of equal sort keys in an index. If a table is flipped or
ramped while a client pages through it, the client would see some items twice and others never. So DSQL adds one
attribute to the `LastEvaluatedKey` of such a page; a cursor without it is DynamoDB's. A Query of the table itself needs
no mark, because its sort keys are unique. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from proxy.cutover.stages import DSQL, DYNAMODB
from proxy.dynamodb.operations import Operation, json_of
from proxy.dynamodb.outcome import Outcome
from proxy.shadow.call import Call

MARK: Final = "crossfade:begun"
_FROM_DSQL: Final = {"S": DSQL}


def ordered_by_store(operation: Operation) -> bool:
    """Return whether each store has an order of its own for the operation's items."""
    return operation.action == "Scan" or (
        operation.action == "Query" and operation.request.get("IndexName") is not None
    )


def issuer_of(operation: Operation) -> str | None:
    """Return the name of the store that issued the start key; None for a first page."""
    start = operation.request.get("ExclusiveStartKey")
    if start is None:
        return None
    return DSQL if isinstance(start, dict) and start.get(MARK) == _FROM_DSQL else DYNAMODB


def without_origin(call: Call) -> Call:
    """Return the call without the mark, as a store must get it."""
    operation = call.operation
    start = operation.request.get("ExclusiveStartKey")
    if not isinstance(start, dict) or MARK not in start:
        return call
    kept = {name: value for name, value in start.items() if name != MARK}
    request = {**operation.request, "ExclusiveStartKey": kept}
    return replace(call, operation=replace(operation, request=request, body=json_of(request)))


def with_origin(outcome: Outcome) -> Outcome:
    """Return a page of DSQL with the mark in its cursor, as the client must get it."""
    if not outcome.ok or "LastEvaluatedKey" not in outcome.document:
        return outcome
    document = outcome.document
    return Outcome.of({**document, "LastEvaluatedKey": {**document["LastEvaluatedKey"], MARK: _FROM_DSQL}})
