"""Who gave a cursor: a Scan, or a Query of an index, goes on at the store where it began.

The two stores hold the same items and show them in orders of their own: a Scan's order is nobody's business
("Scan": "does not return items in any particular order"), nor is that of equal sort keys in an index. A client halfway
through its pages when a table is flipped, or ramped, would be shown some items twice and others never. So what DSQL
gives as `LastEvaluatedKey` of such a page carries one attribute more, and what has none is DynamoDB's. A Query of the
table itself needs none: its sort keys differ. Pure.
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
    """Whether the order of the pages is the store's own."""
    return operation.action == "Scan" or (
        operation.action == "Query" and operation.request.get("IndexName") is not None
    )


def issuer_of(operation: Operation) -> str | None:
    """The store that gave the start key; None at the beginning."""
    start = operation.request.get("ExclusiveStartKey")
    if start is None:
        return None
    return DSQL if isinstance(start, dict) and start.get(MARK) == _FROM_DSQL else DYNAMODB


def without_origin(call: Call) -> Call:
    """The call as the store is asked it."""
    operation = call.operation
    start = operation.request.get("ExclusiveStartKey")
    if not isinstance(start, dict) or MARK not in start:
        return call
    kept = {name: value for name, value in start.items() if name != MARK}
    request = {**operation.request, "ExclusiveStartKey": kept}
    return replace(call, operation=replace(operation, request=request, body=json_of(request)))


def with_origin(outcome: Outcome) -> Outcome:
    """A page of DSQL's, as the client gets it."""
    if not outcome.ok or "LastEvaluatedKey" not in outcome.document:
        return outcome
    document = outcome.document
    return Outcome.of({**document, "LastEvaluatedKey": {**document["LastEvaluatedKey"], MARK: _FROM_DSQL}})
