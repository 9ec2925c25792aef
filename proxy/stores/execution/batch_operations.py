"""BatchGetItem and BatchWriteItem on rows.

Sources: API reference, "BatchGetItem" (100 keys, 16 MB) and "BatchWriteItem" (25 requests; each by itself). The wire
takes no body over 16 MB, so that a batch of writes cannot be larger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from proxy.dynamodb import errors
from proxy.dynamodb.capacity import Meter
from proxy.dynamodb.item_writes import ItemWrite, read_write
from proxy.dynamodb.large_json import SMALL
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.requests.item_projection import ItemProjection
from proxy.dynamodb.schema import Key, table_name
from proxy.dynamodb.sizes import item_size
from proxy.dynamodb.values import Item
from proxy.stores.errors import Unreachable
from proxy.stores.execution.row_store import AuthorityRows, RowStore
from proxy.stores.execution.single_item import check_keys, write_row
from proxy.stores.interface import ExecutionResult, StoredItem, Unrepresentable

MAX_GET_SIZE: Final = 16 * 1024 * 1024
_MAX_ITEM: Final = 400 * 1024
# A batch of the authority's holds no more connections than this: others wait for them too.
_AT_ONCE: Final = 4

Entry: TypeAlias = tuple[str, Mapping[str, Any], ItemWrite]
"""The table as the client wrote it, the request as it stood there, and what it comes to."""


async def batch_get(rows: RowStore, operation: Operation, meter: Meter) -> ExecutionResult:
    requests = operation.request["RequestItems"]
    _refuse_duplicates(operation.keys)
    projections = {table_name(name): ItemProjection(part) for name, part in requests.items()}
    check_keys(operation)
    held = await rows.get_many(operation.keys)
    responses: dict[str, list[Item]] = {name: [] for name in requests}
    asked = {table_name(name): name for name in requests}
    # A row that cannot be read is given back as not processed: the others are answered all the same.
    readable = [key for key in operation.keys if held[key].unreadable is None]
    read, beyond = _within(readable, held)
    unread = [*beyond, *(key for key in operation.keys if held[key].unreadable is not None)]
    for key in read:
        item = held[key].item
        name = asked[key.table]
        if meter.on:
            consistent = bool(requests[name].get("ConsistentRead"))
            meter.read(key.table, item_size(item or {}), consistent=consistent)
        if item is not None:
            responses[name].append(projections[key.table](item))
    left: dict[str, Any] = {}
    for key in unread:
        name = asked[key.table]
        left.setdefault(name, {**requests[name], "Keys": []})["Keys"].append(key.attributes)
    document = {"Responses": responses, "UnprocessedKeys": left}
    return ExecutionResult(Outcome.of(document | meter.several(asked)), {})


async def batch_write(rows: RowStore, operation: Operation, meter: Meter) -> ExecutionResult:
    """One after the other. What fails fails the whole: a rehearsal tells of nothing else."""
    left: dict[Key, StoredItem] = {}
    for _, _, write in await _read_entries(operation):
        _, left[write.key] = await write_row(rows, write, meter)
    return ExecutionResult(Outcome.of({"UnprocessedItems": {}}), left)


async def batch_write_answered(rows: AuthorityRows, operation: Operation, meter: Meter) -> ExecutionResult:
    """A few at a time. What certainly was not written is given back in `UnprocessedItems`, unless it is all of them.

    A write with an unknown outcome fails the whole: its key must settle, which only an error says.
    """
    entries = await _read_entries(operation)
    for _, _, write in entries:
        faults = rows.image(write.key, write.item)[1]
        if faults:
            raise Unrepresentable(write.key, faults)
    room = asyncio.Semaphore(_AT_ONCE)

    async def attempt(write: ItemWrite) -> StoredItem | Unreachable:
        async with room:
            try:
                return (await write_row(rows, write, meter))[1]
            except Unreachable as error:
                return error

    tasks = [asyncio.ensure_future(attempt(write)) for _, _, write in entries]
    try:
        results = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    left: dict[Key, StoredItem] = {}
    unprocessed: dict[str, list[Mapping[str, Any]]] = {}
    for (name, entry, write), result in zip(entries, results, strict=True):
        if isinstance(result, Unreachable):
            unprocessed.setdefault(name, []).append(entry)
        else:
            left[write.key] = result
    if not left:
        raise next(result for result in results if isinstance(result, Unreachable))
    names = {table_name(name): name for name, _, _ in entries}
    return ExecutionResult(Outcome.of({"UnprocessedItems": unprocessed} | meter.several(names)), left)


async def _read_entries(operation: Operation) -> list[Entry]:
    """Raises ValidationException before any of them is carried out."""
    entries = []
    for each in _entries(operation):
        entries.append(each)
        if len(operation.body) > SMALL:
            await asyncio.sleep(0)  # each may have 400 KB of small attributes, and others wait for the loop
    return entries


def _entries(operation: Operation) -> Iterator[Entry]:
    requests = operation.request["RequestItems"]
    _refuse_duplicates(operation.keys)
    for name, entries in requests.items():
        schema = operation.schemas[table_name(name)]
        for entry in entries:
            # Of what else may stand in an entry, conditions among it, DynamoDB takes no notice.
            put = entry.get("PutRequest")
            write = (
                read_write("Put", schema, {"Item": put["Item"]}, action=operation.action)
                if put is not None
                else read_write("Delete", schema, {"Key": entry["DeleteRequest"]["Key"]}, action=operation.action)
            )
            yield name, entry, write


def _within(keys: Sequence[Key], held: Mapping[Key, StoredItem]) -> tuple[Sequence[Key], Sequence[Key]]:
    """The keys whose items one answer holds, in their order, and those beyond its 16 MB."""
    if len(keys) * _MAX_ITEM <= MAX_GET_SIZE:
        return keys, ()
    size = 0
    for number, key in enumerate(keys):
        size += item_size(held[key].item or {})
        if size > MAX_GET_SIZE:
            return keys[:number], keys[number:]
    return keys, ()


def _refuse_duplicates(keys: Sequence[Key]) -> None:
    if len(set(keys)) != len(keys):
        raise errors.validation("Provided list of item keys contains duplicates")
