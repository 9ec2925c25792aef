"""The two stores, in memory: DynamoDB as the upstream that `DynamoDBStore` asks, and DSQL as a `Store` of its own.

Both compute DynamoDB's semantics by `proxy.stores.executor`. DynamoDB does an operation at one instant, and answers old
where it may; DSQL reads, decides and writes in steps that others come between, guarded by the row that was read, and
its transactions conflict when they commit. What goes wrong on the way is the `Line`'s business.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

from proxy.dynamodb.operations import TARGET_PREFIX, WRITES, Operation, decode, parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Index, Key, TableSchema
from proxy.dynamodb.values import Item, equal
from proxy.dynamodb.writes import Written, same
from proxy.mapping.document import DocumentMapping
from proxy.mapping.mapping import Fault
from proxy.stores import executor
from proxy.stores.board import Note
from proxy.stores.executor import Conflict, Transaction
from proxy.stores.failures import UnknownOutcome
from proxy.stores.store import Executed, Held, Unrepresentable
from proxy.stores.upstream import Answer
from tests.simulation.line import Line

T = TypeVar("T")

_JSON: Final = (("Content-Type", "application/x-amz-json-1.0"),)


class Memory:
    """The rows of one store and what they were before, so that a read may answer old."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[Key, Item | None], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._past: dict[Key, list[tuple[float, Item | None]]] = {}
        self.rows: dict[Key, Item] = {}
        self.versions: dict[Key, int] = {}

    def put(self, key: Key, item: Item | None) -> None:
        if item is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = item
        self.versions[key] = self.versions.get(key, 0) + 1
        self._past.setdefault(key, []).append((self._clock(), item))
        self._changed(key, item)

    def before(self, key: Key, moment: float) -> Item | None:
        """What the row was at a moment."""
        found = None
        for at, item in self._past.get(key, ()):
            if at > moment:
                break
            found = item
        return found

    @property
    def keys(self) -> Iterable[Key]:
        return self._past


@dataclass(frozen=True, slots=True)
class _View:
    """Rows at one instant: an `executor.Rows` that never waits. `read` says what a key holds."""

    memory: Memory
    schema: TableSchema
    read: Callable[[Key], Item | None]

    async def get(self, key: Key) -> Held:
        return Held(self.read(key))

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        return {key: Held(self.read(key)) for key in keys}

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None:
        self.memory.put(key, wanted)
        return Held(wanted)

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        items = [item for key in list(self.memory.keys) if (item := self.read(key)) is not None]
        # Ties and scans come in an order of DynamoDB's own.
        for item in ordered(request, items, lambda item: zlib.crc32(self.schema.key_of(item).text.encode())):
            yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[Transaction]:
        yield self

    def after_update(self, key: Key, written: Written) -> Item | None:
        return written.item


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
    ) -> Answer:
        """Raises Unreachable or UnknownOutcome, as Upstream does."""
        action = target.removeprefix(TARGET_PREFIX)
        if action == "DescribeTable":
            return Answer(200, _JSON, self.description)
        request = parse_body(body)
        operation = decode(action, body, request, {self._schema.name: self._schema})
        names = tuple(key.text for key in operation.keys)
        try:
            async with asyncio.timeout(timeout):
                outcome = await self._line.ask(lambda: self._do(operation), writes=action in WRITES, keys=names)
        except TimeoutError:
            raise UnknownOutcome("timeout") from None
        return Answer(outcome.status, _JSON, outcome.body)

    def _do(self, operation: Operation) -> Outcome:
        executed = at_once(executor.execute(_View(self._memory, self._schema, self._reader(operation)), operation))
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

    async def execute(self, operation: Operation) -> Executed:
        return await executor.execute(self, operation)

    async def get(self, key: Key) -> Held:
        item = await self._line.ask(lambda: self._memory.rows.get(key), writes=False, keys=(key.text,))
        return Held(item, item)

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None:
        if wanted is None and held.token is None:
            return held if (await self.get(key)).item is None else None
        image = self._held(key, wanted)

        def effect() -> bool:
            if not same(self._memory.rows.get(key), held.token):
                if self._guarded:
                    return False
                self._undone(key)
            self._memory.put(key, image)
            return True

        done = await self._line.ask(effect, writes=True, keys=(key.text,))
        return Held(image) if done else None

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        if item is None:
            return None, ()
        encoded = self._mapping.encode(key, item)
        return encoded.image, encoded.faults

    # -- rows, for the executor ----------------------------------------------------------------------------------------

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        rows = self._memory.rows
        found = await self._line.ask(
            lambda: [rows.get(key) for key in keys], writes=False, keys=tuple(key.text for key in keys)
        )
        return {key: Held(item, item) for key, item in zip(keys, found, strict=True)}

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        items = await self._line.ask(lambda: list(self._memory.rows.values()), writes=False, keys=())
        for item in ordered(request, items, lambda item: self._schema.key_of(item).text):
            yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[Transaction]:
        transaction = _Transaction(self, self._line, self._memory)
        yield transaction
        if not read_only:
            await transaction.commit()

    def after_update(self, key: Key, written: Written) -> Item | None:
        return written.item

    def _held(self, key: Key, wanted: Item | None) -> Item | None:
        image, faults = self.image(key, wanted)
        if faults:
            raise Unrepresentable(key, faults)
        return image


class Board:
    """`proxy.stores.board` in memory: notes, each of one process on one subject."""

    def __init__(self, line: Line, clock: Callable[[], float]) -> None:
        self._line = line
        self._clock = clock
        self._notes: dict[tuple[str, str], tuple[str, float]] = {}
        self._since: dict[tuple[str, str], float] = {}

    async def read(self) -> Sequence[Note]:
        return await self._line.ask(self._read, writes=False, keys=())

    async def post(self, subject: str, process: str, text: str) -> None:
        def effect() -> None:
            self._notes[subject, process] = (text, self._clock())
            self._since.setdefault((subject, process), self._clock())

        await self._line.ask(effect, writes=True, keys=())

    async def clear(self, subject: str, process: str | None = None) -> None:
        def effect() -> None:
            for about, whose in list(self._notes):
                if about == subject and process in (None, whose):
                    del self._notes[about, whose], self._since[about, whose]

        await self._line.ask(effect, writes=True, keys=())

    def shows(self, process: str, before: float) -> bool:
        """Whether the process has been on the board since before that moment."""
        return self._since.get(("present", process), before) < before

    def _read(self) -> list[Note]:
        now = self._clock()
        return [Note(about, whose, text, now - at) for (about, whose), (text, at) in self._notes.items()]


class _Transaction:
    """Optimistic: a snapshot taken at the first read, writes kept until the commit, which finds conflicts."""

    def __init__(self, store: Dsql, line: Line, memory: Memory) -> None:
        self._store = store
        self._line = line
        self._memory = memory
        self._snapshot: dict[Key, Item] | None = None
        self._versions: dict[Key, int] = {}
        self._read: set[Key] = set()
        self._wanted: dict[Key, Item | None] = {}

    async def get(self, key: Key) -> Held:
        item = await self._line.ask(lambda: self._look(key), writes=False, keys=(key.text,))
        return Held(item, item)

    async def put(self, key: Key, wanted: Item | None, held: Held) -> Held | None:
        self._wanted[key] = self._store._held(key, wanted)
        return Held(self._wanted[key])

    async def commit(self) -> None:
        if not await self._line.ask(self._commit, writes=True, keys=tuple(key.text for key in self._wanted)):
            raise Conflict

    def _look(self, key: Key) -> Item | None:
        if self._snapshot is None:
            self._snapshot, self._versions = dict(self._memory.rows), dict(self._memory.versions)
        self._read.add(key)
        return self._snapshot.get(key)

    def _commit(self) -> bool:
        if any(self._memory.versions.get(key, 0) != self._versions.get(key, 0) for key in self._read):
            return False
        for key, item in self._wanted.items():
            self._memory.put(key, item)
        return True


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("it waited")


def ordered(request: PageRequest, items: Iterable[Item], tie: Callable[[Item], Any]) -> list[Item]:
    """The items of a Query's or Scan's range in order, from after its start key on."""
    schema, index = request.schema, request.index
    hash_name, range_name = schema.index_keys(index)

    def place(item: Item) -> tuple[Any, ...]:
        sort = () if request.condition is None or range_name is None else (_sortable(item[range_name]),)
        return (*sort, tie(item))

    chosen = [item for item in items if _in_range(request, index, hash_name, item)]
    chosen.sort(key=place, reverse=not request.forward)
    if request.start is None:
        return chosen
    start = place(request.start)
    return [item for item in chosen if (place(item) > start if request.forward else place(item) < start)]


def _in_range(request: PageRequest, index: Index | None, hash_name: str, item: Item) -> bool:
    if index is not None and not request.schema.in_index(index, item):
        return False
    return request.condition is None or (hash_name in item and equal(item[hash_name], request.condition.hash_value))


def _sortable(value: dict[str, Any]) -> Any:
    return Decimal(value["N"]) if "N" in value else value["S"]
