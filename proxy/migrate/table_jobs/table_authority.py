"""Which store is a table's authority, for commands that run for hours while stages may be moved.

The table that the proxies agree on says so, where there is one, else the settings. Whether a command may write is more
than this: see `taking_part`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import ForgottenProcesses, StageMap, Stages
from proxy.settings import Settings
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable

_NO_TABLE: Final = "ResourceNotFoundException"


class AuthorityMovedError(StoreError):
    """A stage was moved while the command ran: what it was about to write is not for it to write any more."""

    def __init__(self, table: str, authorities: Iterable[str]) -> None:
        names = " and ".join(sorted(authorities))
        super().__init__("stage_moved", f"the authority for {table} is {names} now, and was another when this began")


class TableAuthority:
    """`types` are the item types that the table's mapping declares. Knows what it was told last: by `look`, or by who
    follows the stage table for it (`adopt`)."""

    def __init__(self, settings: Settings, dynamodb: DynamoDBStore, table: str, types: Iterable[str]) -> None:
        self._stages = Stages(settings, {table: tuple(types)})
        self.table = table
        name = settings.stages.table
        self._stage_table = StageTable(dynamodb, name) if name is not None else None

    @property
    def pinned(self) -> bool:
        """Whether nobody can move a stage."""
        return self._stage_table is None

    async def refresh(self) -> frozenset[str]:
        """The stores that are authority for some type of the table, as the stage table says. Raises StoreError."""
        if self._stage_table is not None:
            try:
                state = await self._stage_table.state()
            except Refused as error:
                # Nobody has moved a stage yet.
                if error.reason != _NO_TABLE:
                    raise
            except UnknownOutcome as error:
                raise Unreachable(error.reason, str(error)) from error  # a read may be asked again
            else:
                if state.map is not None:
                    self._stages.adopt(StageMap.from_document(state.map))
        return self.authorities

    async def forgotten_processes(self) -> ForgottenProcesses:
        """The processes that were forgotten though they owed keys: what they owed, a sweep makes good. Raises
        StoreError."""
        await self.refresh()
        return self._stages.map.forgotten

    @property
    def stages(self) -> Stages:
        """The stages as they were read last."""
        return self._stages

    def adopt(self, new: StageMap) -> None:
        """These are the stages now."""
        self._stages.adopt(new)

    @property
    def authorities(self) -> frozenset[str]:
        """The stores that are authority for some type of the table."""
        return frozenset(self._stages.stage_of(self.table, each).authority for each in self._stages.types(self.table))

    def authority_of(self, item_type: str) -> str:
        """The store that is authority for the type."""
        return self._stages.stage_of(self.table, item_type).authority

    def expect(self, authority: str, item_type: str | None = None) -> None:
        """Raises Moved unless this store is the authority for the type; None: for every type."""
        found = self.authorities if item_type is None else {self.authority_of(item_type)}
        if found != {authority}:
            raise AuthorityMovedError(self.table, found)
