"""Which store is a table's authority, for commands that run for hours while stages may be moved.

Looks at the table that the proxies agree on, where there is one, at most once a second. It holds no lease: nobody waits
for a command, so a command looks before each write, and stops when the authority has changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from proxy.settings import Settings
from proxy.shadow.stages import Forgotten, StageMap, Stages
from proxy.stores.dynamodb import DynamoDBStore
from proxy.stores.failures import Refused, StoreError, UnknownOutcome, Unreachable
from proxy.stores.stage_table import StageTable

_SECONDS: Final = 1.0
_NO_TABLE: Final = "ResourceNotFoundException"


class Moved(StoreError):
    """A stage was moved while the command ran: what it was about to write is not for it to write any more."""

    def __init__(self, table: str, authorities: Iterable[str]) -> None:
        names = " and ".join(sorted(authorities))
        super().__init__("stage_moved", f"the authority for {table} is {names} now, and was another when this began")


class Standing:
    """`types` are the item types that the table's mapping declares."""

    def __init__(self, settings: Settings, dynamodb: DynamoDBStore, table: str, types: Iterable[str]) -> None:
        self._stages = Stages(settings, {table: tuple(types)})
        self._table = table
        name = settings.stages.table
        self._shared = StageTable(dynamodb, name) if name is not None else None
        self._looked = float("-inf")

    async def authorities(self) -> frozenset[str]:
        """The stores that are authority for some type of the table, as of a second ago. Raises StoreError."""
        if self._shared is not None and time.monotonic() - self._looked > _SECONDS:
            try:
                state = await self._shared.state()
            except Refused as error:
                # Nobody has moved a stage yet.
                if error.reason != _NO_TABLE:
                    raise
            except UnknownOutcome as error:
                raise Unreachable(error.reason, str(error)) from error  # a read may be asked again
            else:
                if state.map is not None:
                    self._stages.adopt(StageMap.from_document(state.map))
            self._looked = time.monotonic()
        return frozenset(self._stages.of(self._table, each).authority for each in self._stages.types(self._table))

    async def forgotten(self) -> Forgotten:
        """The processes that were forgotten though they owed keys: what they owed, a sweep makes good. Raises
        StoreError."""
        await self.authorities()
        return self._stages.map.forgotten

    async def check(self, authority: str) -> None:
        """Raises Moved unless this store is the authority for every type."""
        found = await self.authorities()
        if found != {authority}:
            raise Moved(self._table, found)
