"""DynamoDB's operations on rows: what makes a SQL database answer as DynamoDB would.

Semantics come from `proxy.dynamodb`; rows come from and go to a `Rows`. Writes are optimistic: read, decide, write if
the row is still what was read, else again. No SQL here, and no knowledge of who is authority.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from proxy.dynamodb import errors, evaluate, legacy
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.expressions import bindings, parse_projection
from proxy.dynamodb.operations import Operation, transaction_parts
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import Page, PageRequest, read_query, read_scan
from proxy.dynamodb.schema import Key, table_name
from proxy.dynamodb.values import Item
from proxy.dynamodb.writes import Kind, Write, Written, apply, check_key, read_write
from proxy.stores.failures import Unreachable
from proxy.stores.store import Executed, Held

ATTEMPTS: Final = 10
MAX_BATCH_GET: Final = 100
MAX_BATCH_WRITE: Final = 25
MAX_TRANSACTION: Final = 100
_TRANSACTION_KINDS: Final[Mapping[str, Kind]] = {
    "Put": "Put",
    "Update": "Update",
    "Delete": "Delete",
    "ConditionCheck": "ConditionCheck",
}


class Conflict(Exception):
    """Another writer was faster; nothing has been written."""


class Transaction(Protocol):
    """Reads and writes that take effect together, or not at all, when its context ends. May raise Conflict."""

    async def get(self, key: Key) -> Held: ...

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None: ...


class Rows(Protocol):
    """One store's rows, by key and by range. `put` is `Store.put`."""

    async def get(self, key: Key) -> Held: ...

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, Held]: ...

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None: ...

    def range(self, request: PageRequest) -> AsyncIterator[Item]:
        """Items of a Query's or Scan's range in order, from its start key on. May give more than the range."""

    def transaction(self, *, read_only: bool) -> AbstractAsyncContextManager[Transaction]: ...

    def after_update(self, key: Key, written: Written) -> Item | None:
        """What the mapping's own way of updating leaves of an updated item."""


async def execute(rows: Rows, operation: Operation) -> Executed:
    """DynamoDB's errors come as outcomes; StoreError and Unrepresentable come from the rows."""
    try:
        return await _EXECUTE[operation.action](rows, operation)
    except DynamoDBError as error:
        return Executed(Outcome.failed(error), {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A request of the wrong form: DynamoDB's deserialiser refuses it before anything is looked at.
        return Executed(Outcome.failed(errors.serialization(type(error).__name__)), {})


async def _get_item(rows: Rows, operation: Operation) -> Executed:
    projection = _Projected(operation.request)
    _check_keys(operation)
    held = await rows.get(operation.keys[0])
    if held.item is None:
        return Executed(Outcome.of({}), {})
    return Executed(Outcome.of({"Item": projection(held.item)}), {})


async def _write_item(rows: Rows, operation: Operation) -> Executed:
    kind: Kind = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}[operation.action]  # type: ignore[assignment]
    write = read_write(kind, operation.schema, operation.request, in_transaction=False)
    written, held = await _write(rows, write)
    document = {} if written.attributes is None else {"Attributes": written.attributes}
    return Executed(Outcome.of(document), {write.key: held})


async def _write(rows: Rows, write: Write) -> tuple[Written, Held]:
    for attempt in range(ATTEMPTS):
        held = await rows.get(write.key)
        written = apply(write, held.item)
        wanted = written.item if write.kind != "Update" else rows.after_update(write.key, written)
        if wanted is None and held.item is None:
            return written, held
        left = await rows.put(write.key, wanted, held)
        if left is not None:
            return written, left
        await _pause(attempt)
    raise Unreachable("occ", f"the row went on changing through {ATTEMPTS} attempts")


async def _batch_get(rows: Rows, operation: Operation) -> Executed:
    _refuse_empty(operation.request["RequestItems"], "requestItems")
    if len(operation.keys) > MAX_BATCH_GET:
        raise errors.validation("Too many items requested for the BatchGetItem call")
    _refuse_duplicates(operation.keys)
    requests = operation.request["RequestItems"]
    projections = {table_name(name): _Projected(part) for name, part in requests.items()}
    _check_keys(operation)
    held = await rows.get_many(operation.keys)
    responses: dict[str, list[Item]] = {name: [] for name in requests}
    asked = {table_name(name): name for name in requests}
    for key in operation.keys:
        item = held[key].item
        if item is not None:
            responses[asked[key.table]].append(projections[key.table](item))
    return Executed(Outcome.of({"Responses": responses, "UnprocessedKeys": {}}), {})


async def _batch_write(rows: Rows, operation: Operation) -> Executed:
    _refuse_empty(operation.request["RequestItems"], "requestItems")
    if len(operation.keys) > MAX_BATCH_WRITE:
        raise errors.validation("Too many items requested for the BatchWriteItem call")
    _refuse_duplicates(operation.keys)
    writes = []
    for name, entries in operation.request["RequestItems"].items():
        schema = operation.schemas[table_name(name)]
        for entry in entries:
            # Of what else may stand in an entry, conditions among it, DynamoDB takes no notice.
            put = entry.get("PutRequest")
            writes.append(
                read_write("Put", schema, {"Item": put["Item"]}, in_transaction=False)
                if put is not None
                else read_write("Delete", schema, {"Key": entry["DeleteRequest"]["Key"]}, in_transaction=False)
            )
    left: dict[Key, Held] = {}
    for write in writes:
        _, left[write.key] = await _write(rows, write)
    return Executed(Outcome.of({"UnprocessedItems": {}}), left)


async def _transact_get(rows: Rows, operation: Operation) -> Executed:
    _check_parts(operation)
    projections = [_Projected(part, in_transaction=True) for _, part in transaction_parts(operation.request)]
    _check_keys(operation)
    responses: list[dict[str, Item]] = []
    async with rows.transaction(read_only=True) as transaction:
        for key, projection in zip(operation.keys, projections, strict=True):
            item = (await transaction.get(key)).item
            responses.append({} if item is None else {"Item": projection(item)})
    return Executed(Outcome.of({"Responses": responses}), {})


async def _transact_write(rows: Rows, operation: Operation) -> Executed:
    _check_parts(operation)
    writes = [
        read_write(
            _TRANSACTION_KINDS[kind], operation.schemas[table_name(part["TableName"])], part, in_transaction=True
        )
        for kind, part in transaction_parts(operation.request)
    ]
    for attempt in range(ATTEMPTS):
        try:
            left = await _transact_once(rows, writes)
        except Conflict:
            await _pause(attempt)
            continue
        return Executed(Outcome.of({}), left)
    raise Unreachable("occ", f"the transaction was overtaken {ATTEMPTS} times")


async def _transact_once(rows: Rows, writes: Sequence[Write]) -> dict[Key, Held]:
    left: dict[Key, Held] = {}
    async with rows.transaction(read_only=False) as transaction:
        reasons: list[DynamoDBError | None] = []
        planned: list[tuple[Write, Item | None, Held]] = []
        for write in writes:
            held = await transaction.get(write.key)
            try:
                written = apply(write, held.item)
            except DynamoDBError as error:
                reasons.append(error)
                continue
            reasons.append(None)
            wanted = written.item if write.kind != "Update" else rows.after_update(write.key, written)
            planned.append((write, wanted, held))
        if any(reasons):
            raise errors.transaction_canceled([errors.cancellation_reason(reason) for reason in reasons])
        for write, wanted, held in planned:
            if write.kind == "ConditionCheck" or (wanted is None and held.item is None):
                left[write.key] = held
                continue
            now = await transaction.put(write.key, wanted, held)
            if now is None:
                raise Conflict
            left[write.key] = now
    return left


async def _page(rows: Rows, operation: Operation) -> Executed:
    read = read_query if operation.action == "Query" else read_scan
    request = read(operation.schema, operation.request)
    page = Page(request)
    async for item in rows.range(request):
        if request.admits(item):
            page.add(item)
            if page.full:
                break
    return Executed(Outcome.of(page.document()), {})


class _Projected:
    """Applies the projection of a GetItem, or of a part of its like, to items."""

    __slots__ = ("_paths",)

    def __init__(self, parameters: Mapping[str, Any], *, in_transaction: bool = False) -> None:
        older = () if in_transaction else ("AttributesToGet",)
        members = ("ProjectionExpression", "ExpressionAttributeNames", *older)
        request = {name: parameters[name] for name in members if parameters.get(name) is not None}
        self._paths = None
        if not request:
            return
        text = request.get("ProjectionExpression")
        legacy.refuse_mixture(request, () if text is None else ("ProjectionExpression",))
        legacy.refuse_idle_bindings(request, ("ProjectionExpression",))
        given = bindings(request.get("ExpressionAttributeNames"))
        if text is not None:
            self._paths = parse_projection(text, given).paths
        elif request.get("AttributesToGet") is not None:
            self._paths = legacy.paths_from_attributes_to_get(request["AttributesToGet"])
        given.check_all_used()

    def __call__(self, item: Item) -> Item:
        return item if self._paths is None else evaluate.project(self._paths, item)


def _check_keys(operation: Operation) -> None:
    for key in operation.keys:
        check_key(operation.schemas[key.table], key)


def _check_parts(operation: Operation) -> None:
    """What TransactGetItems and TransactWriteItems ask of their parts: 1 to 100, no two about one item."""
    _refuse_empty(operation.request["TransactItems"], "transactItems")
    if len(operation.keys) > MAX_TRANSACTION:
        raise errors.validation(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_TRANSACTION}"
        )
    if len(set(operation.keys)) != len(operation.keys):
        raise errors.validation("Transaction request cannot include multiple operations on one item")


def _refuse_empty(found: Mapping[str, Any] | Sequence[Any], where: str) -> None:
    if not found:
        shown = "[]" if isinstance(found, list) else "{}"
        raise errors.validation(
            f"1 validation error detected: Value '{shown}' at '{where}' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        )


def _refuse_duplicates(keys: Sequence[Key]) -> None:
    if len(set(keys)) != len(keys):
        raise errors.validation("Provided list of item keys contains duplicates")


async def _pause(attempt: int) -> None:
    """Full jitter, as AWS's architecture blog advises for optimistic concurrency."""
    await asyncio.sleep(random.uniform(0, min(0.5, 0.005 * 2**attempt)))  # noqa: S311


_EXECUTE: Final = {
    "GetItem": _get_item,
    "PutItem": _write_item,
    "UpdateItem": _write_item,
    "DeleteItem": _write_item,
    "BatchGetItem": _batch_get,
    "BatchWriteItem": _batch_write,
    "TransactGetItems": _transact_get,
    "TransactWriteItems": _transact_write,
    "Query": _page,
    "Scan": _page,
}
