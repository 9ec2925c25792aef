"""What reads and writes have in common: where a key stands, how the authority answers, and what becomes of an operation
whose keys have different authorities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy.cutover.stages import DYNAMODB, StagePlacement, Stages
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.shadow.call import Call
from proxy.shadow.request import fan_out as split
from proxy.shadow.request.routing import Route
from proxy.stores.error_responses import as_answer
from proxy.stores.errors import StoreError


def type_of(call: Call, key: Key) -> str:
    """The item type that a key tells; "" where it tells none."""
    return call.tables[key.table].mapping.type_of(key.attributes)


def placement_of(stages: Stages, call: Call, key: Key) -> StagePlacement:
    return stages.placed(key.table, type_of(call, key))


async def answer(way: Route, call: Call) -> Outcome:
    """The authority's. Raises StoreError where that is DynamoDB; of DSQL's failures DynamoDB's errors are made."""
    try:
        return (await way.direction.authority.execute(call.operation)).outcome
    except StoreError as error:
        if way.direction.authority.name == DYNAMODB:
            raise
        return failure(way, call, error)


def failure(way: Route, call: Call, error: StoreError) -> Outcome:
    """What a client is told of a failure of DSQL's."""
    way.failed(call.table.name, error.reason)
    return as_answer(error)


async def fan_out(stages: Stages, call: Call, carry_out: Callable[[Call], Awaitable[Outcome]]) -> Outcome:
    """The keys have different authorities: each part by itself, and the answers put together."""
    refusal = split.refuse_across(call)
    if refusal is not None:
        return Outcome.failed(refusal)
    asked = split.parts(call, lambda key: placement_of(stages, call, key).stage.authority)
    return split.joined(asked, await asyncio.gather(*(_part(each, carry_out) for each in asked)))


async def _part(call: Call, carry_out: Callable[[Call], Awaitable[Outcome]]) -> Outcome:
    try:
        return await carry_out(call)
    except StoreError as error:
        return as_answer(error)
