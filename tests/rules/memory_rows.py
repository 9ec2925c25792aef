"""Rows in memory, for the executor to carry operations out on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.item_writes import WriteResult
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.stores.interface import StoredItem


class MemoryRows:
    """The rows of an authority that nobody else writes to."""

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}

    async def get(self, key: Key) -> StoredItem:
        return StoredItem(self.items.get(key))

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        return {key: StoredItem(self.items.get(key)) for key in keys}

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        if wanted is None:
            self.items.pop(key, None)
        else:
            self.items[key] = wanted
        return StoredItem(wanted)

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        for key, item in sorted(self.items.items(), key=lambda row: row[0].text):
            if key.table == request.schema.name and request.show(item) is not None:
                yield item

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[MemoryRows]:
        yield self

    async def claim_token(self, token: IdempotencyToken) -> bool:
        return False

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        return written.item

    def image(self, key: Key, item: Item | None, /) -> tuple[Item | None, tuple[Fault, ...]]:
        return item, ()
