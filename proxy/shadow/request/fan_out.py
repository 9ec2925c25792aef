"""Fans out an operation whose keys have different authorities, because only some item types of a table have flipped.

A batch is split into one part for each authority, and their answers are joined. Its parts are independent anyway
("BatchGetItem", "BatchWriteItem"), so nothing changes for the client. A transaction is atomic and cannot be split.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.operations import Operation, json_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, table_name
from proxy.shadow.call import Call
from proxy.shadow.instrumentation import Execute
from proxy.shadow.request.placement import Placement
from proxy.stores.error_responses import as_answer
from proxy.stores.errors import StoreError

_UNPROCESSED: Final = {"BatchGetItem": "UnprocessedKeys", "BatchWriteItem": "UnprocessedItems"}


async def fan_out(placement: Placement, call: Call, execute: Execute) -> Outcome:
    """Execute a call whose keys have different authorities: each part by itself, and their answers joined."""
    refusal = cross_authority_error(call)
    if refusal is not None:
        return Outcome.failed(refusal)
    calls = split(call, lambda key: placement.keys[key].authority)
    return join(calls, await asyncio.gather(*(_execute_part(each, execute) for each in calls)))


async def _execute_part(call: Call, execute: Execute) -> Outcome:
    try:
        return await execute(call)
    except StoreError as error:
        return as_answer(error)


def cross_authority_error(call: Call) -> DynamoDBError | None:
    """Return the error for an operation that cannot be split; None for a batch."""
    if call.operation.action in _UNPROCESSED:
        return None
    return validation(
        "Crossfade: one transaction cannot span item types whose authorities differ; move these types to the same stage"
    )


def split(call: Call, authority_of: Callable[[Key], str]) -> list[Call]:
    """Split a batch into one call for each authority."""
    operation = call.operation
    member = "Keys" if operation.action == "BatchGetItem" else None
    by_authority: dict[str, tuple[list[Key], dict[str, Any]]] = {}
    keys = iter(operation.keys)
    for name, requested in operation.request["RequestItems"].items():
        for entry in requested[member] if member else requested:
            key = next(keys)
            taken, request = by_authority.setdefault(authority_of(key), ([], {}))
            taken.append(key)
            if member:
                request.setdefault(name, {**requested, member: []})[member].append(entry)
            else:
                request.setdefault(name, []).append(entry)
    return [_subset(call, tuple(taken), request) for taken, request in by_authority.values()]


def _subset(call: Call, keys: tuple[Key, ...], items: dict[str, Any]) -> Call:
    operation = call.operation
    request = {**operation.request, "RequestItems": items}
    schemas = {name: operation.schemas[name] for name in dict.fromkeys(map(table_name, items))}
    part = Operation(operation.action, json_of(request), request, keys, schemas)
    return replace(call, operation=part, is_part=True)


def join(calls: Sequence[Call], outcomes: Sequence[Outcome]) -> Outcome:
    """Join the answers to the parts of a batch.

    A part that failed counts as unprocessed. If the error is the client's (ValidationException), or every part failed,
    the error is the answer.
    """
    action = calls[0].operation.action
    failed = [outcome for outcome in outcomes if not outcome.ok]
    for outcome in failed:
        if outcome.error_code == "ValidationException" or len(failed) == len(outcomes):
            return outcome
    document: dict[str, Any] = {_UNPROCESSED[action]: {}} | ({"Responses": {}} if action == "BatchGetItem" else {})
    for call, outcome in zip(calls, outcomes, strict=True):
        if not outcome.ok:
            _merge(document[_UNPROCESSED[action]], call.operation.request["RequestItems"])
            continue
        for name, value in outcome.document.items():
            if isinstance(value, list):
                document[name] = [*document.get(name, ()), *value]
            else:
                _merge(document.setdefault(name, {}), value)
    return Outcome.of(document)


def _merge(tables: dict[str, Any], more: dict[str, Any]) -> None:
    for name, entries in more.items():
        present = tables.get(name)
        if present is None:
            tables[name] = entries
        elif isinstance(present, list):
            tables[name] = [*present, *entries]
        else:
            tables[name] = {**present, "Keys": [*present["Keys"], *entries["Keys"]]}
