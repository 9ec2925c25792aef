"""Both stores in memory, each with what the verdicts must be told apart from: old answers, other ties, failures.

`Authority` stands where `Upstream` stands and speaks DynamoDB's bytes; `Mirror` is a `Store`. Both compute DynamoDB's
semantics by `proxy.stores.execution.executor`, so that they agree unless somebody means them not to. What a request met
on its way is noted in the `Met` of the task that it belongs to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from proxy.dynamodb.item_writes import WriteResult, items_equal
from proxy.dynamodb.operations import TARGET_PREFIX, Operation, decode, parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault, TableMapping
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.errors import StoreError, UnknownOutcome
from proxy.stores.execution import executor
from proxy.stores.execution.row_store import RowStore, Transaction
from proxy.stores.interface import ExecutionResult, StoredItem, Unrepresentable
from tests.simulation.line import Line
from tests.simulation.memory import Memory, Optimistic, View, at_once, ordered
from tests.verdicts.tables import DEFINITIONS, SCHEMAS

_JSON: Final = (("Content-Type", "application/x-amz-json-1.0"),)

Execute = Callable[[RowStore, Operation], Any]


@dataclass(slots=True)
class Met:
    """What a client's request met: an old answer of the authority, a store that failed, and how each answered first."""

    stale: bool = False
    failed: bool = False
    answers: dict[str, Any] = field(default_factory=dict)


MET: ContextVar[Met | None] = ContextVar("MET", default=None)


class Authority:
    """`eventual` and `index` are how old, in seconds, an eventually consistent read and an index are."""

    def __init__(self, line: Line, memory: Memory, clock: Callable[[], float]) -> None:
        self._line = line
        self._clock = clock
        self.memory = memory
        self.eventual = 0.0
        self.index = 0.0

    async def request(
        self,
        target: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,  # noqa: ASYNC109
    ) -> HTTPResponse:
        """As `Upstream.request`."""
        action = target.removeprefix(TARGET_PREFIX)
        if action == "DescribeTable":
            return HTTPResponse(200, _JSON, orjson.dumps({"Table": DEFINITIONS[parse_body(body)["TableName"]]}))
        operation = decode(action, body, parse_body(body), SCHEMAS)
        met = MET.get()
        names = tuple(key.text for key in operation.keys)
        try:
            outcome = await self._line.ask(lambda: self._do(operation, met), writes=operation.writes, keys=names)
        except StoreError:
            if met is not None:
                met.failed = True
            raise
        return HTTPResponse(outcome.status, _JSON, outcome.body)

    def _do(self, operation: Operation, met: Met | None) -> Outcome:
        delay = 0.0 if operation.writes else self._delay(operation)
        answer = self._ask(operation, self._clock() - delay if delay else None)
        if delay and met is not None and answer.document != self._ask(operation, None).document:
            met.stale = True
        if met is not None:
            met.answers.setdefault("authority", answer.document)
        return Outcome(answer.status, _JSON, answer.body)

    def _ask(self, operation: Operation, moment: float | None) -> Outcome:
        memory = self.memory
        read = memory.rows.get if moment is None else lambda key: memory.before(key, moment)
        return at_once(executor.execute(View(memory, read), operation)).outcome

    def _delay(self, operation: Operation) -> float:
        request = operation.request
        if request.get("IndexName") is not None:
            return max(self.index, self.eventual)
        parts = request["RequestItems"].values() if operation.action == "BatchGetItem" else (request,)
        strong = operation.action == "TransactGetItems" or all(part.get("ConsistentRead") for part in parts)
        return 0.0 if strong else self.eventual


class Mirror:
    """A `Store`. `execute` may be replaced by one that has a fault; `failing` says which calls fail, and how."""

    name = "dsql"

    def __init__(self, line: Line, memory: Memory, mapping_of: Callable[[str], TableMapping]) -> None:
        self._line = line
        self._mapping_of = mapping_of
        self.memory = memory
        self.executing: Execute = executor.execute
        self.failing: Callable[[str], StoreError | None] = lambda _: None
        self.lag = 0.0

    async def execute(self, operation: Operation) -> ExecutionResult:
        executed: ExecutionResult = await self.executing(self, operation)
        met = MET.get()
        if met is not None:
            met.answers.setdefault("mirror", executed.outcome.document)
        return executed

    async def get(self, key: Key) -> StoredItem:
        item = await self._ask(lambda: self.memory.rows.get(key), writes=False, keys=(key,))
        return StoredItem(item, item)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        if wanted is None and held.token is None:
            return held if (await self.get(key)).item is None else None
        image = self._held(key, wanted)

        def effect() -> bool:
            if not items_equal(self.memory.rows.get(key), held.token):
                return False
            self.memory.put(key, image)
            return True

        return StoredItem(image, image) if await self._ask(effect, writes=True, keys=(key,)) else None

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        if item is None:
            return None, ()
        encoded = self._mapping_of(key.table).encode(key, item)
        return encoded.image, encoded.faults

    def plant(self, key: Key, item: Item | None) -> None:
        """Make the mirror hold something, past everything."""
        self.memory.put(key, item)

    # -- rows, for the executor ----------------------------------------------------------------------------------------

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        found = await self._ask(lambda: [self.memory.rows.get(key) for key in keys], writes=False, keys=keys)
        return {key: StoredItem(item, item) for key, item in zip(keys, found, strict=True)}

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        schema = request.schema

        def look() -> list[Item]:
            items = [item for key, item in self.memory.rows.items() if key.table == schema.name]
            return ordered(request, items, lambda item: schema.key_of(item).text)

        for item in await self._ask(look, writes=False, keys=()):
            yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[Transaction]:
        transaction = Optimistic(self.memory, self._ask, self._held)
        yield transaction
        if not read_only:
            await transaction.commit()

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        return None if written.item is None else self._mapping_of(key.table).after_update(written.item, written.touched)

    async def _ask(self, effect: Callable[[], Any], *, writes: bool, keys: Sequence[Key]) -> Any:
        failure = self.failing("write" if writes else "read")
        met = MET.get()
        if failure is not None and met is not None:
            met.failed = True
        if failure is not None and not isinstance(failure, UnknownOutcome):
            raise failure
        names = tuple(key.text for key in keys)
        try:
            result = await self._line.ask(effect, writes=writes, keys=names)
        except StoreError:
            if met is not None:
                met.failed = True
            raise
        if failure is not None:
            raise failure
        return result

    def _held(self, key: Key, wanted: Item | None) -> Item | None:
        image, faults = self.image(key, wanted)
        if faults:
            raise Unrepresentable(key, faults)
        return image
