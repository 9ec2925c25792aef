"""Faults of meaning, planted in the mirror's executor one at a time, and an ordinary story that must come upon each.

A fault twists what the mirror is asked, what its rows give, or what it answers; all else is the real thing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from proxy.dynamodb.expressions import evaluate
from proxy.dynamodb.item_writes import WriteResult
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.stores.execution import executor
from proxy.stores.execution.row_store import RowStore, Transaction
from proxy.stores.interface import ExecutionResult, StoredItem
from proxy.verdicts import JudgedDifference, Verdict
from tests.verdicts import traffic
from tests.verdicts.tables import PAGES
from tests.verdicts.world import World

Execute = Callable[[RowStore, Operation], Awaitable[ExecutionResult]]
Request = dict[str, Any]


# -- ways to twist -----------------------------------------------------------------------------------------------------


def asked(change: Callable[[Request], Request]) -> Execute:
    """It is asked something else."""

    async def execute(rows: RowStore, operation: Operation) -> ExecutionResult:
        request = dict(operation.request)
        if "TransactItems" in request:
            parts = request["TransactItems"]
            request["TransactItems"] = [{kind: change(dict(part)) for kind, part in each.items()} for each in parts]
        return await executor.execute(rows, replace(operation, request=change(request)))

    return execute


def answered(change: Callable[[Operation, dict[str, Any]], dict[str, Any]]) -> Execute:
    """It answers something else where all went well."""

    async def execute(rows: RowStore, operation: Operation) -> ExecutionResult:
        executed = await executor.execute(rows, operation)
        if not executed.outcome.ok:
            return executed
        return replace(executed, outcome=Outcome.of(change(operation, dict(executed.outcome.document))))

    return execute


def over(twist: Callable[[RowStore], RowStore]) -> Execute:
    """Its rows are others."""

    async def execute(rows: RowStore, operation: Operation) -> ExecutionResult:
        return await executor.execute(twist(rows), operation)

    return execute


class Twisted:
    """Rows as they are; what a fault is about is overridden by what it is given."""

    def __init__(
        self,
        rows: RowStore,
        *,
        items: Callable[[PageRequest, list[Item]], list[Item]] = lambda _, items: items,
        after: Callable[[WriteResult], Item | None] | None = None,
        kept: Callable[[Item | None, StoredItem], Item | None] = lambda wanted, _: wanted,
    ) -> None:
        self._rows = rows
        self._items = items
        self._after = after
        self._kept = kept

    async def get(self, key: Key) -> StoredItem:
        return await self._rows.get(key)

    async def get_many(self, keys: Any) -> Mapping[Key, StoredItem]:
        return await self._rows.get_many(keys)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        return await self._rows.put(key, self._kept(wanted, held), held)

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        for item in self._items(request, [item async for item in self._rows.range(request)]):
            yield item

    def transaction(self, *, read_only: bool) -> AbstractAsyncContextManager[Transaction]:
        return self._rows.transaction(read_only=read_only)

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        return self._rows.after_update(key, written) if self._after is None else self._after(written)


# -- the faults --------------------------------------------------------------------------------------------------------


def _without(name: str) -> Callable[[Request], Request]:
    """A parameter is overlooked, and with it the values that only it names."""

    def change(request: Request) -> Request:
        if name not in request:
            return request
        kept = {n: value for n, value in request.items() if n != name}
        text = " ".join(str(value) for n, value in kept.items() if n.endswith("Expression"))
        for parameter in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            used = {n: value for n, value in (kept.pop(parameter, None) or {}).items() if n in text}
            kept |= {parameter: used} if used else {}
        return kept

    return change


def _reworded(parameter: str, old: str, new: str) -> Execute:
    def change(request: Request) -> Request:
        text = request.get(parameter)
        return request if text is None else request | {parameter: text.replace(old, new)}

    return asked(change)


def _one_more(request: Request) -> Request:
    return request | {"Limit": request["Limit"] + 1} if "Limit" in request and "IndexName" in request else request


def _new_for_old(operation: Operation, document: dict[str, Any]) -> dict[str, Any]:
    if operation.action == "PutItem" and "Attributes" in document:
        return {"Attributes": operation.request["Item"]}
    return document


def _cursor_before(operation: Operation, document: dict[str, Any]) -> dict[str, Any]:
    """The cursor of the last item but one."""
    items, cursor = document.get("Items", ()), document.get("LastEvaluatedKey")
    if cursor is None or len(items) < 2 or not all(name in items[-2] for name in cursor):
        return document
    return document | {"LastEvaluatedKey": {name: items[-2][name] for name in cursor}}


def _all_new(operation: Operation, document: dict[str, Any]) -> dict[str, Any]:
    """One attribute more than were updated."""
    if operation.request.get("ReturnValues") == "UPDATED_NEW" and "Attributes" in document:
        return {"Attributes": document["Attributes"] | {"group": {"S": "g"}}}
    return document


def _scanned_as_counted(_: Operation, document: dict[str, Any]) -> dict[str, Any]:
    return document | {"ScannedCount": document["Count"]} if "Count" in document else document


async def _half_done(rows: RowStore, operation: Operation) -> ExecutionResult:
    """A transaction whose parts take effect one by one, until one is refused."""
    if operation.action != "TransactWriteItems":
        return await executor.execute(rows, operation)
    left: dict[Key, StoredItem] = {}
    for part in operation.request["TransactItems"]:
        key = operation.schemas[PAGES.name].key_of(part["Put"]["Item"])
        single = replace(operation, request={"TransactItems": [part]}, keys=(key,))
        executed = await executor.execute(rows, single)
        left |= executed.left
        if not executed.outcome.ok:
            whole = await executor.execute(rows, operation)
            return replace(whole, left={**left, **whole.left}) if not whole.outcome.ok else whole
    return ExecutionResult(Outcome.of({}), left)


async def _last_forgotten(rows: RowStore, operation: Operation) -> ExecutionResult:
    if operation.action != "BatchWriteItem" or len(operation.keys) < 2:
        return await executor.execute(rows, operation)
    entries = operation.request["RequestItems"][PAGES.name][:-1]
    fewer = replace(operation, request={"RequestItems": {PAGES.name: entries}}, keys=operation.keys[:-1])
    return await executor.execute(rows, fewer)


def _filtered_first(request: PageRequest, items: list[Item]) -> list[Item]:
    return [item for item in items if request.filter is None or evaluate.matches(request.filter, item)]


def _without_one(request: PageRequest, items: list[Item]) -> list[Item]:
    return [item for item in items if request.index is None or item["n"] != {"N": "3"}]


def _by_text(request: PageRequest, items: list[Item]) -> list[Item]:
    if request.index is not None or request.condition is None:
        return items
    return sorted(items, key=lambda item: str(item["n"]["N"]), reverse=not request.forward)


def _backwards(request: PageRequest, items: list[Item]) -> list[Item]:
    return items[::-1] if request.condition is not None else items


def _start_again(request: PageRequest, items: list[Item]) -> list[Item]:
    """The page begins with the item after the one it should begin with."""
    return items[1:] if request.start is not None else items


def _not_summed(written: WriteResult) -> Item | None:
    """ADD sets the count to what it should add."""
    item = written.item
    return item if item is None or "count" not in written.touched else item | {"count": {"N": "1"}}


# More digits than a double has. Every item of the story holds it, so that no fault goes out of play.
EXACT: Final = {"exact": {"N": "0.1234567890123456789012345678901234567"}}


def _as_doubles(item: Item | None, _: StoredItem) -> Item | None:
    if item is None:
        return None
    return {name: {"N": repr(float(v["N"]))} if "N" in v and name == "exact" else v for name, v in item.items()}


def _never_gone(wanted: Item | None, held: StoredItem) -> Item | None:
    return held.item if wanted is None else wanted


@dataclass(frozen=True, slots=True)
class Bug:
    name: str
    execute: Execute


BUGS: Final = (
    Bug("conditions are overlooked", asked(_without("ConditionExpression"))),
    Bug("`Expected` is overlooked", asked(lambda r: {n: v for n, v in r.items() if n != "Expected"})),
    Bug(
        "attribute_not_exists is taken for attribute_exists", _reworded("ConditionExpression", "_not_exists", "_exists")
    ),
    Bug("equality in a condition is turned round", _reworded("ConditionExpression", "title = ", "title <> ")),
    Bug("ADD sets", over(lambda rows: Twisted(rows, after=_not_summed))),
    Bug("subtraction adds", _reworded("UpdateExpression", "#c - ", "#c + ")),
    Bug("if_not_exists overwrites", _reworded("UpdateExpression", "if_not_exists(#c, :one)", ":one")),
    Bug("REMOVE is overlooked", _reworded("UpdateExpression", " REMOVE title", "")),
    Bug("DELETE from a set adds to it", _reworded("UpdateExpression", "DELETE tags", "ADD tags")),
    Bug("numbers become doubles", over(lambda rows: Twisted(rows, kept=_as_doubles))),
    Bug("a delete leaves the row", over(lambda rows: Twisted(rows, kept=_never_gone))),
    Bug("a failed transaction is half done", _half_done),
    Bug("the last of a batch is forgotten", _last_forgotten),
    Bug("ALL_OLD gives the new item", answered(_new_for_old)),
    Bug("UPDATED_NEW gives too much", answered(_all_new)),
    Bug("the filter comes before the limit", over(lambda rows: Twisted(rows, items=_filtered_first))),
    Bug("the filter is overlooked", asked(_without("FilterExpression"))),
    Bug("the order is reversed", over(lambda rows: Twisted(rows, items=_backwards))),
    Bug("ScanIndexForward is overlooked", asked(lambda r: {n: v for n, v in r.items() if n != "ScanIndexForward"})),
    Bug("numbers are sorted as text", over(lambda rows: Twisted(rows, items=_by_text))),
    Bug("the cursor is one item back", answered(_cursor_before)),
    Bug("a page begins one item late", over(lambda rows: Twisted(rows, items=_start_again))),
    Bug("an index gives one item more than the limit", asked(_one_more)),
    Bug("ScannedCount is Count", answered(_scanned_as_counted)),
    Bug("a row is missing in the index", over(lambda rows: Twisted(rows, items=_without_one))),
)


@dataclass(frozen=True, slots=True)
class Caught:
    """After how many calls, and where, a fault was first called a mismatch."""

    calls: int
    action: str
    judged: JudgedDifference

    @property
    def where(self) -> str:
        difference = self.judged.difference
        return f"{difference.kind} {difference.path or 'of the whole item'}".strip()


def story(bug: Bug | None, folder: Path, seed: int = 1, calls: int = 2000) -> Caught | None:
    """Two processes, eight items, a call every few tenths of a second: what is first called a mismatch."""
    world = World(seed, folder, processes=2)
    if bug is not None:
        world.mirror.executing = bug.execute
    chance, names = world.chance, [str(n) for n in range(4, 12)]
    names[0] = "3"
    world.fill((PAGES.name, traffic.item(chance, PAGES, name) | EXACT) for name in names)

    async def tell() -> Caught | None:
        count = 0
        while count < calls and not world.false:
            world.chance.choice(world.processes).call(*_call(chance, names))
            await asyncio.sleep(0.6 * chance.random())
            count += 1
        await asyncio.sleep(5)
        if not world.false:
            return None
        first = world.false[0]
        judged = next(each for each in first.judged if each.verdict is Verdict.MISMATCH)
        return Caught(count, first.action, judged)

    return world.run(tell())


def _call(chance: random.Random, names: list[str]) -> traffic.Asked:
    if chance.random() < 0.5:
        action, request = traffic.write(chance, PAGES, names if chance.random() < 0.5 else names[:4])
        for put in _puts(request):
            put["Item"] |= EXACT
        return action, request
    action, request = traffic.read(chance, PAGES, names)
    if action == "Query" and chance.random() < 0.3:
        at = {"N": str(chance.randint(0, 2))}
        number = chance.choice(names)
        start = {"book": {"S": "b"}, "n": {"N": number}}
        if "IndexName" in request:
            start |= {"group": {"S": "g"}, "at": at}
        request["ExclusiveStartKey"] = start
    return action, request


def _puts(request: Request) -> list[Request]:
    """The parts of a write that hold a whole item."""
    entries = request.get("RequestItems", {}).get(PAGES.name, ())
    parts = [entry["PutRequest"] for entry in entries] + [part["Put"] for part in request.get("TransactItems", ())]
    return [*parts, request] if "Item" in request else parts
