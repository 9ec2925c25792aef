"""Calls the authority, and turns DSQL's failures into DynamoDB's errors. Knows no journal and no mirror."""

from __future__ import annotations

from proxy.cutover.stages import DYNAMODB
from proxy.dynamodb.outcome import Outcome
from proxy.shadow.call import Call
from proxy.shadow.request.routing import Route
from proxy.stores.error_responses import as_answer
from proxy.stores.errors import StoreError


async def ask_authority(route: Route, call: Call) -> Outcome:
    """Return the authority's outcome; a failure of DSQL becomes a DynamoDB error. Raises StoreError if DynamoDB
    fails."""
    try:
        return (await route.direction.authority.execute(call.operation)).outcome
    except StoreError as error:
        if route.direction.authority.name == DYNAMODB:
            raise
        return failure_outcome(route, call, error)


def failure_outcome(route: Route, call: Call, error: StoreError) -> Outcome:
    """Return the error that a client gets for a failure of DSQL, and report the failure."""
    route.on_failure(call.table.name, error.reason)
    return as_answer(error)
