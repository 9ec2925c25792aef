"""A store as a mirror: only what it has decided is an outcome that can be compared."""

from __future__ import annotations

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.stores.errors import UnknownOutcome, Unreachable
from proxy.stores.interface import ExecutionResult, Store, StoredItem
from proxy.verdicts import decides


class ConclusiveStore:
    """A `Store`. An answer by which the store decides nothing (it was throttled, it was ill) is a failure of the mirror
    here."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def name(self) -> str:
        return self._store.name

    async def execute(self, operation: Operation) -> ExecutionResult:
        executed = await self._store.execute(operation)
        outcome = executed.outcome
        if decides(outcome) and not (outcome.ok and outcome.document.get("UnprocessedItems")):
            return executed
        reason = outcome.error_code or "unprocessed"
        if operation.writes and (outcome.ok or outcome.status >= 500):
            raise UnknownOutcome(reason)
        raise Unreachable(reason)

    async def get(self, key: Key) -> StoredItem:
        return await self._store.get(key)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        return await self._store.put(key, wanted, held)

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        return self._store.image(key, item)
