"""Both stores in memory, each with what the verdicts must be told apart from: old answers, other ties, failures.

`Authority` stands where `Upstream` stands and speaks DynamoDB's bytes; `Mirror` is a `Store`. Both compute DynamoDB's
semantics by `proxy.stores.executor`, so that they agree unless somebody means them not to. What a request met on its
way is noted in the `Met` of the task that it belongs to.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from proxy.dynamodb.operations import TARGET_PREFIX, Operation, decode, parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.dynamodb.writes import Written, same
from proxy.mapping.mapping import Fault
from proxy.mapping.mapping import Mapping as TableMapping
from proxy.stores import executor
from proxy.stores.board import Note
from proxy.stores.failures import StoreError, UnknownOutcome
from proxy.stores.rows import Conflict, Rows, Transaction
from proxy.stores.store import Executed, Held, Unrepresentable
from proxy.stores.upstream import Answer
from tests.simulation.line import Line
from tests.simulation.stores import Memory, at_once, ordered
from tests.verdicts.tables import DEFINITIONS, SCHEMAS

_JSON: Final = (("Content-Type", "application/x-amz-json-1.0"),)

Execute = Callable[[Rows, Operation], Any]


@dataclass(slots=True)
class Met:
    """What a client's request met: an old answer of the authority, a store that failed, and how each answered first."""

    stale: bool = False
    failed: bool = False
    answers: dict[str, Any] = field(default_factory=dict)


MET: ContextVar[Met | None] = ContextVar("MET", default=None)


@dataclass(frozen=True, slots=True)
class _View:
    """Rows at one instant, an `Rows` that never waits."""

    memory: Memory
    read: Callable[[Key], Item | None]

    async def get(self, key: Key) -> Held:
        return Held(self.read(key))

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        return {key: Held(self.read(key)) for key in keys}

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None:
        self.memory.put(key, wanted)
        return Held(wanted)

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        table = request.schema.name
        items = [item for key in list(self.memory.keys) if key.table == table and (item := self.read(key)) is not None]
        for item in ordered(request, items, lambda item: zlib.crc32(request.schema.key_of(item).text.encode())):
            yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[Transaction]:
        yield self

    def after_update(self, key: Key, written: Written) -> Item | None:
        return written.item


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
    ) -> Answer:
        """As `Upstream.request`."""
        action = target.removeprefix(TARGET_PREFIX)
        if action == "DescribeTable":
            return Answer(200, _JSON, orjson.dumps({"Table": DEFINITIONS[parse_body(body)["TableName"]]}))
        operation = decode(action, body, parse_body(body), SCHEMAS)
        met = MET.get()
        names = tuple(key.text for key in operation.keys)
        try:
            outcome = await self._line.ask(lambda: self._do(operation, met), writes=operation.writes, keys=names)
        except StoreError:
            if met is not None:
                met.failed = True
            raise
        return Answer(outcome.status, _JSON, outcome.body)

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
        return at_once(executor.execute(_View(memory, read), operation)).outcome

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

    async def execute(self, operation: Operation) -> Executed:
        executed: Executed = await self.executing(self, operation)
        met = MET.get()
        if met is not None:
            met.answers.setdefault("mirror", executed.outcome.document)
        return executed

    async def get(self, key: Key) -> Held:
        item = await self._ask("read", lambda: self.memory.rows.get(key), (key,))
        return Held(item, item)

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None:
        if wanted is None and held.token is None:
            return held if (await self.get(key)).item is None else None
        image = self._held(key, wanted)

        def effect() -> bool:
            if not same(self.memory.rows.get(key), held.token):
                return False
            self.memory.put(key, image)
            return True

        return Held(image, image) if await self._ask("write", effect, (key,)) else None

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        if item is None:
            return None, ()
        encoded = self._mapping_of(key.table).encode(key, item)
        return encoded.image, encoded.faults

    def plant(self, key: Key, item: Item | None) -> None:
        """Make the mirror hold something, past everything."""
        self.memory.put(key, item)

    # -- rows, for the executor ----------------------------------------------------------------------------------------

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        found = await self._ask("read", lambda: [self.memory.rows.get(key) for key in keys], keys)
        return {key: Held(item, item) for key, item in zip(keys, found, strict=True)}

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        schema = request.schema

        def look() -> list[Item]:
            items = [item for key, item in self.memory.rows.items() if key.table == schema.name]
            return ordered(request, items, lambda item: schema.key_of(item).text)

        for item in await self._ask("read", look, ()):
            yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[Transaction]:
        transaction = _Transaction(self)
        yield transaction
        if not read_only:
            await transaction.commit()

    def after_update(self, key: Key, written: Written) -> Item | None:
        return None if written.item is None else self._mapping_of(key.table).after_update(written.item, written.touched)

    async def _ask(self, kind: str, effect: Callable[[], Any], keys: Sequence[Key]) -> Any:
        failure = self.failing(kind)
        met = MET.get()
        if failure is not None and met is not None:
            met.failed = True
        if failure is not None and not isinstance(failure, UnknownOutcome):
            raise failure
        names = tuple(key.text for key in keys)
        try:
            result = await self._line.ask(effect, writes=kind == "write", keys=names)
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


class _Transaction:
    """Optimistic: one snapshot, writes kept until the commit, which finds what has changed meanwhile."""

    def __init__(self, store: Mirror) -> None:
        self._store = store
        self._snapshot: dict[Key, Item] | None = None
        self._versions: dict[Key, int] = {}
        self._read: set[Key] = set()
        self._wanted: dict[Key, Item | None] = {}

    async def get(self, key: Key) -> Held:
        item = await self._store._ask("read", lambda: self._look(key), (key,))
        return Held(item, item)

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None:
        self._wanted[key] = self._store._held(key, wanted)
        return Held(self._wanted[key], self._wanted[key])

    async def commit(self) -> None:
        if not await self._store._ask("write", self._commit, tuple(self._wanted)):
            raise Conflict

    def _look(self, key: Key) -> Item | None:
        memory = self._store.memory
        if self._snapshot is None:
            self._snapshot, self._versions = dict(memory.rows), dict(memory.versions)
        self._read.add(key)
        return self._snapshot.get(key)

    def _commit(self) -> bool:
        memory = self._store.memory
        if any(memory.versions.get(key, 0) != self._versions.get(key, 0) for key in self._read):
            return False
        for key, item in self._wanted.items():
            memory.put(key, item)
        return True


class MemoryBoard:
    """`proxy.stores.board.Board` in memory, behind the mirror's line."""

    def __init__(self, line: Line, clock: Callable[[], float]) -> None:
        self._line = line
        self._clock = clock
        self._notes: dict[tuple[str, str], tuple[str, float]] = {}

    async def read(self) -> Sequence[Note]:
        return await self._line.ask(self._look, writes=False, keys=())

    async def post(self, subject: str, process: str, text: str) -> None:
        def effect() -> None:
            self._notes[subject, process] = text, self._clock()

        await self._line.ask(effect, writes=True, keys=())

    async def clear(self, subject: str, process: str | None = None) -> None:
        def effect() -> None:
            for place in [p for p in self._notes if p[0] == subject and process in (None, p[1])]:
                del self._notes[place]

        await self._line.ask(effect, writes=True, keys=())

    def _look(self) -> list[Note]:
        now = self._clock()
        return [Note(subject, who, text, now - at) for (subject, who), (text, at) in self._notes.items()]
