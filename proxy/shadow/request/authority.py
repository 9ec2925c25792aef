"""How the authority answers an operation, and what a client is told where it fails. Knows no journal and no mirror."""

from __future__ import annotations

from proxy.cutover.stages import DYNAMODB
from proxy.dynamodb.outcome import Outcome
from proxy.shadow.call import Call
from proxy.shadow.request.routing import Route
from proxy.stores.error_responses import as_answer
from proxy.stores.errors import StoreError


async def ask_authority(route: Route, call: Call) -> Outcome:
    """The authority's. Raises StoreError where that is DynamoDB; of DSQL's failures DynamoDB's errors are made."""
    try:
        return (await route.direction.authority.execute(call.operation)).outcome
    except StoreError as error:
        if route.direction.authority.name == DYNAMODB:
            raise
        return failure_outcome(route, call, error)


def failure_outcome(route: Route, call: Call, error: StoreError) -> Outcome:
    """What a client is told of a failure of DSQL's."""
    route.on_failure(call.table.name, error.reason)
    return as_answer(error)
