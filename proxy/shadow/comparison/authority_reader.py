"""Reads the authority for a comparison, and separates "it disagrees" from "it gave no answer that decides anything".

A second look that the authority throttles, or cannot answer, settles nothing: neither that the stores agree, nor that
the mirror is at fault. Compares nothing.
"""

from __future__ import annotations

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.stores.errors import StoreError
from proxy.stores.interface import Store
from proxy.verdicts import is_conclusive


class InconclusiveAnswer(Exception):
    """The authority gave no answer to compare with. `reason` is its error code, or why it could not be asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AuthorityReader:
    """The authority, as comparisons read it. Every coroutine raises InconclusiveAnswer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def name(self) -> str:
        """The name of the store."""
        return self._store.name

    async def execute(self, operation: Operation) -> Outcome:
        """Return a conclusive outcome."""
        try:
            outcome = (await self._store.execute(operation)).outcome
        except StoreError as error:
            raise InconclusiveAnswer(error.reason) from error
        if not is_conclusive(outcome):
            raise InconclusiveAnswer(outcome.error_code or "unknown")
        return outcome

    async def get(self, key: Key) -> Item | None:
        """Return the item that the authority holds."""
        try:
            return (await self._store.get(key)).item
        except StoreError as error:
            raise InconclusiveAnswer(error.reason) from error
