"""Rows whose single reads and guarded writes go to the database in groups (`proxy.stores.coalescer`).

For a mirror, whose answers nobody waits for. Ranges and transactions go as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from proxy.dynamodb.item_writes import WriteResult
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.stores.coalescer import GROUPS_IN_FLIGHT, Batching, Coalescer
from proxy.stores.errors import StoreError
from proxy.stores.execution.row_store import RowStore, Transaction
from proxy.stores.interface import StoredItem


class GuardedPut(NamedTuple):
    """One `RowStore.put`: write `wanted` (None: delete) if the row is still `held`."""

    key: Key
    wanted: Item | None
    held: StoredItem


class GroupRowStore(RowStore, Protocol):
    """A `RowStore` that also writes many rows at once, each guarded by itself."""

    async def put_many(self, puts: Sequence[GuardedPut]) -> Sequence[StoredItem | StoreError | None]:
        """Return for each what `put` would have returned or raised. Raises StoreError for all of them."""


class CoalescedRows:
    """A `RowStore` over another one, whose `get` and `put` calls are made in groups."""

    def __init__(self, rows: GroupRowStore, batching: Batching) -> None:
        self._rows = rows
        self._gets: Coalescer[Key, StoredItem] = Coalescer(
            batching, many=self._get_many, single=rows.get, key=lambda key: key, writes=False
        )
        self._puts: Coalescer[GuardedPut, StoredItem | None] = Coalescer(
            batching, many=rows.put_many, single=self._put_one, key=lambda put: put.key, writes=True
        )
        self.loops = (*[self._gets.work] * GROUPS_IN_FLIGHT, *[self._puts.work] * GROUPS_IN_FLIGHT)
        """What must run for as long as the rows are used."""

    async def get(self, key: Key) -> StoredItem:
        return await self._gets.call(key)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        return await self._puts.call(GuardedPut(key, wanted, held))

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        return await self._rows.get_many(keys)

    def range(self, request: PageRequest) -> AsyncIterator[Item]:
        return self._rows.range(request)

    def transaction(self, *, read_only: bool) -> AbstractAsyncContextManager[Transaction]:
        return self._rows.transaction(read_only=read_only)

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        return self._rows.after_update(key, written)

    async def _get_many(self, keys: Sequence[Key]) -> list[StoredItem | StoreError]:
        found = await self._rows.get_many(keys)
        return [found[key] for key in keys]

    async def _put_one(self, put: GuardedPut) -> StoredItem | None:
        return await self._rows.put(put.key, put.wanted, put.held)
