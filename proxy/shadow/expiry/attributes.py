"""By which attribute the items of each table expire, as DSQL has it on record. Decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from proxy.dynamodb.tables.time_to_live import expiry_attribute


class ExpiryAttributes:
    """The tables whose items expire. What is known is as old as the last `refresh`."""

    def __init__(self, read: Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]) -> None:
        """`read` returns every table's `TimeToLiveDescription`. It raises StoreError."""
        self._read = read
        self._known: dict[str, str] = {}

    async def refresh(self) -> None:
        """Read the record. Raises StoreError."""
        found = await self._read()
        known = {table: expiry_attribute(description) for table, description in found.items()}
        self._known = {table: name for table, name in known.items() if name is not None}

    def of(self, table: str) -> str | None:
        """Return the attribute that says when a table's items expire; None where they do not."""
        return self._known.get(table)

    def tables(self) -> tuple[str, ...]:
        """Return the tables whose items expire."""
        return tuple(self._known)
