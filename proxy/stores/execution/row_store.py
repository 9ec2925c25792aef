"""What the executor asks of a store's rows, and what more where the store's answers are the client's. No code.

A store that only rehearses is a `Rows`. One that is asked as the authority is an `AuthorityRows`: its transactions are
serializable even about items that are not there, and remember the tokens that clients gave them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.item_writes import WriteResult
from proxy.dynamodb.listing import Listing
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.stores.interface import StoredItem


class Conflict(Exception):
    """Another writer was faster; nothing has been written."""


class Transaction(Protocol):
    """Reads and writes that take effect together, or not at all, when its context ends. May raise Conflict."""

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        """Each key's item; of one that may write, their rows are locked until it ends."""

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None: ...


class RowStore(Protocol):
    """One store's rows, by key and by range. `put` is `Store.put`."""

    async def get(self, key: Key) -> StoredItem: ...

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]: ...

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None: ...

    def range(self, request: PageRequest) -> AsyncIterator[Item]:
        """Items of a Query's or Scan's range in order, from its start key on. May give more than the range."""

    def transaction(self, *, read_only: bool) -> AbstractAsyncContextManager[Transaction]: ...

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        """What the mapping's own way of updating leaves of an updated item."""


@runtime_checkable
class ListingRowStore(Protocol):
    """Rows that can also be listed by an index with filters, as the items' own API asks."""

    async def listed(self, listing: Listing, count: int) -> list[Item]:
        """So many items of a listing at most, from its start on."""

    async def counted(self, listing: Listing) -> int:
        """How many items a listing has."""


class AuthorityTransaction(Transaction, Protocol):
    """See the module."""

    async def claim_token(self, token: IdempotencyToken) -> bool:
        """Note that the token's request is being carried out. True if it was before, and all is done.

        Raises DynamoDB's IdempotentParameterMismatchException if the token belongs to another request.
        """


class AuthorityRows(RowStore, Protocol):
    """See the module."""

    def transaction(self, *, read_only: bool) -> AbstractAsyncContextManager[AuthorityTransaction]: ...

    def image(self, key: Key, item: Item | None, /) -> tuple[Item | None, tuple[Fault, ...]]:
        """As `Store.image`: whether a row can hold the item, without I/O."""
