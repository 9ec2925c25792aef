"""A store's rows in memory, and what the stores that are made of them share: views, transactions, notes, orders.

Nothing here fails or waits by itself: what goes wrong on the way is the `Line`'s business, or the store's.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from proxy.dynamodb.item_writes import WriteResult
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Index, Key
from proxy.dynamodb.values import Item, equal
from proxy.stores.dsql.system_tables.peer_messages import PeerMessage
from proxy.stores.execution.row_store import Conflict, Transaction
from proxy.stores.interface import StoredItem
from tests.simulation.line import Line

T = TypeVar("T")


class Ask(Protocol):
    """The way to a store: there, the effect, and back. Raises StoreError."""

    async def __call__(self, effect: Callable[[], Any], *, writes: bool, keys: Sequence[Key]) -> Any: ...


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
class View:
    """Rows at one instant: a `Rows` that never waits. `read` says what a key holds."""

    memory: Memory
    read: Callable[[Key], Item | None]

    async def get(self, key: Key) -> StoredItem:
        return StoredItem(self.read(key))

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        return {key: StoredItem(self.read(key)) for key in keys}

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        self.memory.put(key, wanted)
        return StoredItem(wanted)

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        schema = request.schema
        keys = [key for key in self.memory.keys if key.table == schema.name]
        items = [item for key in keys if (item := self.read(key)) is not None]
        # Ties and scans come in an order of DynamoDB's own.
        for item in ordered(request, items, lambda item: zlib.crc32(schema.key_of(item).text.encode())):
            yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[Transaction]:
        yield self

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        return written.item


class Optimistic:
    """A transaction: a snapshot taken at the first read, writes kept until the commit, which finds conflicts.

    `ask` is the way to the store; `held` says what a row would hold of an item, and raises if it cannot.
    """

    def __init__(self, memory: Memory, ask: Ask, held: Callable[[Key, Item | None], Item | None]) -> None:
        self._memory = memory
        self._ask = ask
        self._held = held
        self._snapshot: dict[Key, Item] | None = None
        self._versions: dict[Key, int] = {}
        self._read: set[Key] = set()
        self._wanted: dict[Key, Item | None] = {}

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        items = await self._ask(lambda: [self._look(key) for key in keys], writes=False, keys=keys)
        return {key: StoredItem(item, item) for key, item in zip(keys, items, strict=True)}

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        self._wanted[key] = self._held(key, wanted)
        return StoredItem(self._wanted[key])

    async def commit(self) -> None:
        if not await self._ask(self._commit, writes=True, keys=tuple(self._wanted)):
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


class Board:
    """`proxy.stores.dsql.system_tables.peer_messages` in memory: notes, each of one process on one subject."""

    def __init__(self, line: Line, clock: Callable[[], float]) -> None:
        self._line = line
        self._clock = clock
        self._notes: dict[tuple[str, str], tuple[str, float]] = {}
        self._since: dict[tuple[str, str], float] = {}

    async def read(self) -> Sequence[PeerMessage]:
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

    def _read(self) -> list[PeerMessage]:
        now = self._clock()
        return [PeerMessage(about, whose, text, now - at) for (about, whose), (text, at) in self._notes.items()]


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
    hashes, ranges = schema.index_keys(index)

    def place(item: Item) -> tuple[Any, ...]:
        sorts = () if request.condition is None else (_sortable(item[name]) for name in ranges)
        return (*sorts, tie(item))

    chosen = [item for item in items if _in_range(request, index, hashes, item)]
    chosen.sort(key=place, reverse=not request.forward)
    if request.start is None:
        return chosen
    start = place(request.start)
    return [item for item in chosen if (place(item) > start if request.forward else place(item) < start)]


def _in_range(request: PageRequest, index: Index | None, hashes: tuple[str, ...], item: Item) -> bool:
    if index is not None and not request.schema.in_index(index, item):
        return False
    if request.condition is None:
        return True
    wanted = zip(hashes, request.condition.hash_values, strict=True)
    return all(name in item and equal(item[name], value) for name, value in wanted)


def _sortable(value: dict[str, Any]) -> Any:
    return Decimal(value["N"]) if "N" in value else value["S"]
