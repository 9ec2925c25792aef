"""A store behind a time limit and, for the mirror, a breaker: so that no call waits for ever and a dead mirror is left
alone. Says what a time-out means: a read has done nothing, of a write nobody knows. And a mirror is written only while
it is one: after a flip that passed over this process, the same store is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.errors import UnknownOutcome, Unreachable
from proxy.stores.interface import ExecutionResult, Store, StoredItem
from proxy.verdicts import is_conclusive

T = TypeVar("T")

# Other writers were faster; a table is being made: the mirror is there all the same.
_NOT_DOWN: Final = frozenset({"occ", "table"})


class GuardedStore:
    """A `Store`. `seconds` bounds each call; an open `breaker` refuses at once, as Unreachable("breaker"); so does
    `stands`, which says whether a key may be written here now, as Unreachable("lease"). `turns`
    bounds how many operations read at a time: the others wait, and their time has not begun."""

    def __init__(
        self,
        store: Store,
        seconds: float,
        breaker: CircuitBreaker | None = None,
        stands: Callable[[Key], bool] | None = None,
        turns: asyncio.Semaphore | None = None,
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._breaker = breaker
        self._stands = stands
        self._turns = turns

    @property
    def name(self) -> str:
        return self._store.name

    async def execute(self, operation: Operation) -> ExecutionResult:
        if operation.writes:
            self._check(operation.keys)
        elif self._turns is not None:
            async with self._turns:
                return await self._limit(self._store.execute(operation), writes=False)
        return await self._limit(self._store.execute(operation), writes=operation.writes)

    async def get(self, key: Key) -> StoredItem:
        return await self._limit(self._store.get(key), writes=False)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        self._check((key,))
        return await self._limit(self._store.put(key, wanted, held), writes=True)

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        return self._store.image(key, item)

    def _check(self, keys: Iterable[Key]) -> None:
        if self._stands is not None and not all(map(self._stands, keys)):
            raise Unreachable("lease", f"{self.name} may not be the mirror any more")

    async def _limit(self, call: Awaitable[T], *, writes: bool) -> T:
        breaker = self._breaker
        if breaker is not None and not breaker.try_acquire():
            if asyncio.iscoroutine(call):
                call.close()
            raise Unreachable("breaker", "the mirror is being left alone after failures")
        try:
            async with asyncio.timeout(self._seconds):
                result = await call
        except TimeoutError:
            if breaker is not None:
                breaker.failed()
            failure = UnknownOutcome if writes else Unreachable
            raise failure("timeout", f"no answer from {self.name} within {self._seconds:g} s") from None
        except (Unreachable, UnknownOutcome) as error:
            if breaker is not None and error.reason not in _NOT_DOWN:
                breaker.failed()
            elif breaker is not None:
                breaker.succeeded()
            raise
        except asyncio.CancelledError:
            if breaker is not None:
                breaker.abandoned()
            raise
        except Exception:
            # Refused or Unrepresentable: the store is there, and answers.
            if breaker is not None:
                breaker.succeeded()
            raise
        if breaker is not None:
            breaker.succeeded()
        return result


class ConclusiveStore:
    """A `Store` whose inconclusive answers are errors: an answer that decides nothing (throttled, internal error)
    raises StoreError, so that it counts as a failure of the mirror."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def name(self) -> str:
        return self._store.name

    async def execute(self, operation: Operation) -> ExecutionResult:
        executed = await self._store.execute(operation)
        outcome = executed.outcome
        # Only a batch of writes may be unprocessed in part; a page of a read may be long to decode.
        is_partial = operation.action == "BatchWriteItem" and outcome.ok and outcome.document.get("UnprocessedItems")
        if is_conclusive(outcome) and not is_partial:
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
