"""TransactGetItems and TransactWriteItems on rows.

A transaction reads all its items, decides, and writes what it decided if nothing has changed; else it begins again.
Sources: API reference, "TransactWriteItems" (100 parts, 4 MB, ClientRequestToken, CancellationReasons) and
"TransactGetItems".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from proxy.dynamodb import errors
from proxy.dynamodb.capacity import Meter
from proxy.dynamodb.errors import DynamoDBError, SchemaMismatch
from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.item_writes import ItemWrite, apply, read_write
from proxy.dynamodb.operations import Operation, transaction_parts
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.requests.item_projection import ItemProjection
from proxy.dynamodb.requests.write_parameters import TRANSACTED
from proxy.dynamodb.schema import Key, table_name
from proxy.dynamodb.sizes import MAX_ITEM_SIZE, item_size
from proxy.dynamodb.values import Item
from proxy.stores.attempts import ATTEMPTS, Attempts
from proxy.stores.errors import TooMuchContention
from proxy.stores.execution.row_store import AuthorityRows, Conflict, RowStore, Transaction
from proxy.stores.execution.single_item import check_keys, refuse_unreadable
from proxy.stores.interface import ExecutionResult, StoredItem

MAX_SIZE: Final = 4 * 1024 * 1024
_TOO_LARGE: Final = "The aggregate size of the items in the transaction exceeds 4 MB"


async def transact_get(rows: RowStore, operation: Operation, meter: Meter) -> ExecutionResult:
    _check_parts(operation)
    projections = [ItemProjection(part, in_transaction=True) for _, part in transaction_parts(operation.request)]
    check_keys(operation)
    items = await _read_all(rows, operation)
    _refuse_large_items(items)
    if meter.on:
        for key, item in zip(operation.keys, items, strict=True):
            meter.read(key.table, item_size(item or {}), consistent=True, transactional=True)
    responses = [
        {} if item is None else {"Item": projection(item)} for item, projection in zip(items, projections, strict=True)
    ]
    return ExecutionResult(Outcome.of({"Responses": responses} | meter.several(_names(operation))), {})


async def _read_all(rows: RowStore, operation: Operation) -> list[Item | None]:
    async for _ in Attempts():
        try:
            async with rows.transaction(read_only=True) as transaction:
                held = await transaction.get_many(operation.keys)
                for key in operation.keys:
                    refuse_unreadable(held[key])
                return [held[key].item for key in operation.keys]
        except Conflict:  # of the catalog: a table was changed just then
            continue
    raise _overtaken(len(operation.keys))


async def transact_write(rows: RowStore, operation: Operation, meter: Meter) -> ExecutionResult:
    """Tokens are for the authority to remember: a request that it would not carry out again is not rehearsed."""
    writes = _writes(operation)
    async for _ in Attempts():
        try:
            async with rows.transaction(read_only=False) as transaction:
                left = await _write(rows, transaction, writes, meter)
        except Conflict:
            continue
        return ExecutionResult(Outcome.of({}), left)
    raise _overtaken(len(writes))


async def transact_write_answered(rows: AuthorityRows, operation: Operation, meter: Meter) -> ExecutionResult:
    """With a token that was carried out in the last ten minutes: success, and nothing is done."""
    token = IdempotencyToken.of(operation.request)
    writes = _writes(operation)
    async for _ in Attempts():
        try:
            async with rows.transaction(read_only=False) as transaction:
                if token is not None and await transaction.claim_token(token):
                    replayed = meter.replayed()
                    left = await _read(transaction, writes, replayed)
                    return ExecutionResult(Outcome.of(replayed.several(_names(operation))), left)
                left = await _write(rows, transaction, writes, meter)
        except Conflict:
            meter = Meter.of(operation.action, operation.request)
            continue
        return ExecutionResult(Outcome.of(meter.several(_names(operation))), left)
    raise _overtaken(len(writes))


def _overtaken(parts: int) -> TooMuchContention:
    return TooMuchContention(f"the transaction was overtaken {ATTEMPTS} times", parts)


async def _write(
    rows: RowStore, transaction: Transaction, writes: Sequence[ItemWrite], meter: Meter
) -> dict[Key, StoredItem]:
    left: dict[Key, StoredItem] = {}
    reasons: list[DynamoDBError | None] = []
    planned: list[tuple[ItemWrite, Item | None, StoredItem]] = []
    stored = await transaction.get_many([write.key for write in writes])
    for write in writes:
        held = stored[write.key]
        refuse_unreadable(held, write)
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
        meter.wrote(write.schema, held.item, wanted, transactional=True)
        nothing = wanted is None and held.item is None and held.unreadable is None
        if write.kind == "ConditionCheck" or nothing:
            left[write.key] = held
            continue
        now = await transaction.put(write.key, wanted, held)
        if now is None:
            raise Conflict
        left[write.key] = now
    return left


async def _read(transaction: Transaction, writes: Sequence[ItemWrite], meter: Meter) -> dict[Key, StoredItem]:
    """What the items are now, for the capacity that reading them consumes; nothing, where nobody asks for that."""
    if not meter.on:
        return {}
    left = dict(await transaction.get_many([write.key for write in writes]))
    for key, held in left.items():
        meter.read(key.table, item_size(held.item or {}), consistent=True, transactional=True)
    return left


def _writes(operation: Operation) -> list[ItemWrite]:
    """A fault that takes the table's schema to see cancels at its member; every other refuses the request."""
    _check_parts(operation)
    writes: list[ItemWrite] = []
    faults: list[DynamoDBError | None] = []
    for kind, part in transaction_parts(operation.request):
        schema = operation.schemas[table_name(part["TableName"])]
        try:
            writes.append(read_write(TRANSACTED[kind], schema, part, action=operation.action))
        except SchemaMismatch as error:
            faults.append(error)
        else:
            faults.append(None)
    _refuse_large_payload(operation)
    if any(faults):
        raise errors.transaction_canceled([errors.cancellation_reason(fault) for fault in faults])
    return writes


def _names(operation: Operation) -> dict[str, Any]:
    """The tables as the client wrote them, which may be by their ARNs."""
    parts = [part["TableName"] for _, part in transaction_parts(operation.request)]
    return {table_name(name): name for name in parts}


def _check_parts(operation: Operation) -> None:
    """What TransactGetItems and TransactWriteItems ask of their parts: 1 to 100, no two about one item."""
    if len(set(operation.keys)) != len(operation.keys):
        raise errors.validation("Transaction request cannot include multiple operations on one item")


def _refuse_large_payload(operation: Operation) -> None:
    """What the request carries counts, not what it touches: 50 deletions of large items are taken. JSON is longer than
    what is counted of it."""
    if len(operation.body) <= MAX_SIZE:
        return
    parts = [part for _, part in transaction_parts(operation.request)]
    carried = [part.get(name) or {} for part in parts for name in ("Item", "Key", "ExpressionAttributeValues")]
    if sum(map(item_size, carried)) > MAX_SIZE:
        raise errors.validation(_TOO_LARGE)


def _refuse_large_items(items: Sequence[Item | None]) -> None:
    """Items of at most 400 KB are only counted where there are enough of them to come to 4 MB."""
    if len(items) * MAX_ITEM_SIZE > MAX_SIZE and sum(item_size(item or {}) for item in items) > MAX_SIZE:
        raise errors.validation(_TOO_LARGE)
