"""The seam between the layer and the two stores.

A store knows nothing of stages, of being authority or mirror, or of the other store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.stores.errors import StoreError


class Unrepresentable(StoreError):
    """The mapping cannot hold the item without loss; nothing was written."""

    def __init__(self, key: Key, faults: tuple[Fault, ...]) -> None:
        super().__init__("unrepresentable", "; ".join(f"{f.field}: {f.reason}" for f in faults))
        self.key = key
        self.faults = faults


def unreadable(key: Key, reason: str) -> Fault:
    """The fault of a row that cannot be read as an item. `reason` names the column."""
    return Fault(
        next(iter(key.attributes)), f"its row cannot be read as an item ({reason}): mend or delete the row with SQL"
    )


@dataclass(frozen=True, slots=True)
class StoredItem:
    """What a store holds for a key.

    `token` is the store's own note of what was read, to guard a write with. `index_consistent` is false where the item
    is right and its row is not as this mapping writes it, so that it must be written again. `unreadable` is why a row
    cannot be read as an item at all (`item` is None then, and the row is there); None where it can.
    """

    item: Item | None
    token: Any = None
    index_consistent: bool = True
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """An outcome, with what the operation left in the store for the keys that it wrote (empty if not known)."""

    outcome: Outcome
    left: dict[Key, StoredItem]


class Store(Protocol):
    """DynamoDB or DSQL.

    Every asynchronous method raises StoreError, by what may have happened in the store: Unreachable (nothing),
    UnknownOutcome (perhaps something, until the store's settle time is over), Refused (nothing, however often it is
    tried). A method that its caller cancels after the request was sent has an unknown outcome too.
    """

    @property
    def name(self) -> str:
        """`dynamodb` or `dsql`: the label in metrics."""

    async def execute(self, operation: Operation) -> ExecutionResult:
        """Do what the client asked, by the store's own means.

        DynamoDB's errors ("Error handling with DynamoDB", Amazon DynamoDB developer guide) are outcomes, not
        exceptions. Raises StoreError.
        """

    async def get(self, key: Key) -> StoredItem:
        """Return what the store holds for the key, by a strongly consistent read ("Read consistency", Amazon DynamoDB
        developer guide): every write that was acknowledged before the call is in it.

        Raises StoreError. A read has no effect, so after any error it may be repeated and nothing has to settle.
        """

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        """Make the store hold `wanted` (None: nothing) if it still holds `held`.

        `held` is what `get` or `put` of the same store returned for the key. Returns what the store holds now, or None
        if it no longer held `held`; nothing was written then. Raises Unrepresentable, before anything is written, if
        the store cannot hold `wanted` without loss; UnknownOutcome if the write may still take effect; Unreachable and
        Refused if it did not and will not.
        """

    def image(self, key: Key, item: Item | None, /) -> tuple[Item | None, tuple[Fault, ...]]:
        """Return the item that the store would give back for `item`, and the reasons why it is not `item` itself.

        Does no I/O. The first is None where the store cannot hold the item at all, or `item` is None; the second is
        empty where nothing is lost.
        """
