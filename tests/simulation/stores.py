"""The two stores, in memory: DynamoDB as the upstream that `DynamoDBStore` asks, and DSQL as a `Store` of its own.

Both compute DynamoDB's semantics by `proxy.stores.execution.executor`. DynamoDB does an operation at one instant, and
answers old where it may; DSQL reads, decides and writes in steps that others come between, guarded by the row that was
read, and its transactions conflict when they commit. What goes wrong on the way is the `Line`'s business."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from proxy.dynamodb.item_writes import WriteResult, items_equal
from proxy.dynamodb.operations import TARGET_PREFIX, WRITES, Operation, decode, parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import Fault
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.errors import StoreError, UnknownOutcome
from proxy.stores.execution import executor
from proxy.stores.execution.coalesced_rows import GuardedPut
from proxy.stores.execution.executor import Transaction
from proxy.stores.interface import ExecutionResult, StoredItem, Unrepresentable
from tests.simulation.line import Line
from tests.simulation.memory import Memory, Optimistic, View, at_once, ordered

_JSON: Final = (("Content-Type", "application/x-amz-json-1.0"),)


class Dynamo:
    """What `Upstream` is to a `DynamoDBStore`: bytes in, bytes out. `lag` is how old an eventual read may be, in s."""

    def __init__(self, line: Line, memory: Memory, schema: TableSchema, chance: random.Random, lag: float) -> None:
        self._line = line
        self._memory = memory
        self._schema = schema
        self._chance = chance
        self.lag = lag
        self.description = b""

    async def request(
        self,
        target: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,  # noqa: ASYNC109
    ) -> HTTPResponse:
        """Raises Unreachable or UnknownOutcome, as Upstream does."""
        action = target.removeprefix(TARGET_PREFIX)
        if action == "DescribeTable":
            return HTTPResponse(200, _JSON, self.description)
        request = parse_body(body)
        operation = decode(action, body, request, {self._schema.name: self._schema})
        names = tuple(key.text for key in operation.keys)
        try:
            async with asyncio.timeout(timeout):
                outcome = await self._line.ask(lambda: self._do(operation), writes=action in WRITES, keys=names)
        except TimeoutError:
            raise UnknownOutcome("timeout") from None
        return HTTPResponse(outcome.status, _JSON, outcome.body)

    def _do(self, operation: Operation) -> Outcome:
        executed = at_once(executor.execute(View(self._memory, self._reader(operation)), operation))
        return Outcome(executed.outcome.status, _JSON, executed.outcome.body)

    def _reader(self, operation: Operation) -> Callable[[Key], Item | None]:
        request = operation.request
        parts = request.get("RequestItems", {}).values() if operation.action == "BatchGetItem" else (request,)
        strong = all(part.get("ConsistentRead") for part in parts) or operation.action == "TransactGetItems"
        if operation.writes or strong or not self.lag:
            return self._memory.rows.get
        now, chance = self._memory._clock(), self._chance
        return lambda key: self._memory.before(key, now - self.lag * chance.random() ** 2)


class Dsql:
    """A `Store`. `guarded` says that a write checks that the row is what was read, when it takes effect; `undone` is
    told of each write that does not, and replaces what came after its reading."""

    name = "dsql"

    def __init__(
        self, line: Line, memory: Memory, schema: TableSchema, *, guarded: bool, undone: Callable[[Key], None]
    ) -> None:
        self._line = line
        self._memory = memory
        self._schema = schema
        self._mapping = DocumentMapping(schema)
        self._guarded = guarded
        self._undone = undone

    async def execute(self, operation: Operation) -> ExecutionResult:
        return await executor.execute(self, operation)

    async def get(self, key: Key) -> StoredItem:
        item = await self._ask(lambda: self._memory.rows.get(key), writes=False, keys=(key,))
        return StoredItem(item, item)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        if wanted is None and held.token is None:
            return held if (await self.get(key)).item is None else None
        image = self._held(key, wanted)

        def effect() -> bool:
            if not items_equal(self._memory.rows.get(key), held.token):
                if self._guarded:
                    return False
                self._undone(key)
            self._memory.put(key, image)
            return True

        return StoredItem(image) if await self._ask(effect, writes=True, keys=(key,)) else None

    async def put_many(self, puts: Sequence[GuardedPut]) -> list[StoredItem | StoreError | None]:
        """As `proxy.stores.dsql.group_writer`: a statement for each kind of write, with nothing between its rows."""
        answers: list[StoredItem | StoreError | None] = [None] * len(puts)
        kinds: dict[tuple[bool, bool], list[int]] = {}
        images: dict[int, Item | None] = {}
        for place, put in enumerate(puts):
            if put.wanted is None and put.held.token is None:
                answers[place] = await self.put(*put)
                continue
            try:
                images[place] = self._held(put.key, put.wanted)
            except Unrepresentable as error:
                answers[place] = error
            else:
                kinds.setdefault((put.wanted is None, put.held.token is None), []).append(place)

        def effect(places: list[int]) -> list[int]:
            done = []
            for place in places:
                key, _, held = puts[place]
                if not items_equal(self._memory.rows.get(key), held.token):
                    if self._guarded:
                        continue
                    self._undone(key)
                self._memory.put(key, images[place])
                done.append(place)
            return done

        for places in kinds.values():
            keys = [puts[place].key for place in places]
            for place in await self._ask(lambda p=places: effect(p), writes=True, keys=keys):  # type: ignore[misc]
                answers[place] = StoredItem(images[place])
        return answers

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        if item is None:
            return None, ()
        encoded = self._mapping.encode(key, item)
        return encoded.image, encoded.faults

    # -- rows, for the executor ----------------------------------------------------------------------------------------

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        rows = self._memory.rows
        found = await self._ask(lambda: [rows.get(key) for key in keys], writes=False, keys=keys)
        return {key: StoredItem(item, item) for key, item in zip(keys, found, strict=True)}

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        items = await self._ask(lambda: list(self._memory.rows.values()), writes=False, keys=())
        for item in ordered(request, items, lambda item: self._schema.key_of(item).text):
            yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[Transaction]:
        transaction = Optimistic(self._memory, self._ask, self._held)
        yield transaction
        if not read_only:
            await transaction.commit()

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        return written.item

    async def _ask(self, effect: Callable[[], Any], *, writes: bool, keys: Sequence[Key]) -> Any:
        return await self._line.ask(effect, writes=writes, keys=tuple(key.text for key in keys))

    def _held(self, key: Key, wanted: Item | None) -> Item | None:
        image, faults = self.image(key, wanted)
        if faults:
            raise Unrepresentable(key, faults)
        return image
