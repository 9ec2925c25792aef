"""DynamoDB's operations on one item, on rows: read, decide, write if the row is still what was read, else again.

Semantics come from `proxy.dynamodb`. No SQL here, and no knowledge of who is authority.
"""

from __future__ import annotations

from proxy.dynamodb import errors
from proxy.dynamodb.capacity import Meter
from proxy.dynamodb.item_writes import ItemWrite, WriteResult, apply, read_write
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.requests.item_projection import ItemProjection
from proxy.dynamodb.requests.write_parameters import KINDS
from proxy.dynamodb.sizes import item_size
from proxy.stores.attempts import ATTEMPTS, Attempts
from proxy.stores.errors import TooMuchContention
from proxy.stores.execution.row_store import RowStore
from proxy.stores.interface import ExecutionResult, StoredItem


async def get_item(rows: RowStore, operation: Operation, meter: Meter) -> ExecutionResult:
    projection = ItemProjection(operation.request)
    check_keys(operation)
    [key] = operation.keys
    held = await rows.get(key)
    refuse_unreadable(held)
    item = held.item
    if meter.on:
        meter.read(key.table, item_size(item or {}), consistent=bool(operation.request.get("ConsistentRead")))
    document = {} if item is None else {"Item": projection(item)}
    return ExecutionResult(Outcome.of(document | meter.one(operation.request["TableName"])), {})


async def write_item(rows: RowStore, operation: Operation, meter: Meter) -> ExecutionResult:
    write = read_write(KINDS[operation.action], operation.schema, operation.request, action=operation.action)
    written, held = await write_row(rows, write, meter)
    document = {} if written.attributes is None else {"Attributes": written.attributes}
    return ExecutionResult(Outcome.of(document | meter.one(operation.request["TableName"])), {write.key: held})


async def write_row(rows: RowStore, write: ItemWrite, meter: Meter) -> tuple[WriteResult, StoredItem]:
    """What was written, and what that left. Raises Overtaken when the row goes on changing."""
    async for _ in Attempts():
        held = await rows.get(write.key)
        refuse_unreadable(held, write)
        written = apply(write, held.item)
        wanted = written.item if write.kind != "Update" else rows.after_update(write.key, written)
        left: StoredItem | None = held
        if wanted is not None or held.item is not None or held.unreadable is not None:
            left = await rows.put(write.key, wanted, held)
        if left is not None:
            meter.wrote(write.schema, held.item, wanted, transactional=False)
            return written, left
    raise TooMuchContention(f"the row went on changing through {ATTEMPTS} attempts")


def refuse_unreadable(held: StoredItem, write: ItemWrite | None = None) -> None:
    """Raises InternalServerError for a row that is no item, but for a write that asks nothing of it and replaces it."""
    if held.unreadable is not None and (write is None or not write.blind):
        raise errors.internal_server_error(
            f"The item's row cannot be read ({held.unreadable}): mend it with SQL, or put the whole item"
        )


def check_keys(operation: Operation) -> None:
    """Raises ValidationException for a key that no item can have."""
    for key in operation.keys:
        operation.schemas[key.table].check_key(key)
