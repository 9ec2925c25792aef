"""Small stores in memory for the shadow's own tests: guarded by what was read, and failing when told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.stores.interface import ExecutionResult, StoredItem


@dataclass
class MemoryStore:
    """A `Store`. `before` is awaited before each call and may raise; what a call leaves shows no token, as DSQL's.

    `cannot` are items that it cannot hold: they have no image. `unsound` rows stand where no index finds them.
    """

    name: str = "memory"
    items: dict[Key, Item] = field(default_factory=dict)
    cannot: list[Item] = field(default_factory=list)
    unsound: set[Key] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    before: Callable[[str], Awaitable[None]] | None = None

    async def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.before is not None:
            await self.before(what)

    async def execute(self, operation: Operation) -> ExecutionResult:
        await self._called("execute")
        return ExecutionResult(Outcome.of({}), {})

    async def get(self, key: Key) -> StoredItem:
        await self._called("get")
        item = self.items.get(key)
        return StoredItem(item, None if item is None else ("row", item), key not in self.unsound)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        await self._called("put")
        if wanted is None:
            assert held.token is not None, "nothing can be deleted that was not read"
        if self.items.get(key) != held.item:
            return None
        if wanted is None:
            self.items.pop(key)
        else:
            self.items[key] = wanted
        self.unsound.discard(key)
        return StoredItem(wanted)

    def image(self, key: Key, item: Item | None, /) -> tuple[Item | None, tuple[Fault, ...]]:
        if item is not None and item in self.cannot:
            return None, (Fault("title", "it does not fit"),)
        return item, ()
