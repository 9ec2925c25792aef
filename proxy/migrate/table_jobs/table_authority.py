"""Which store is a table's authority, for commands that run for hours while stages may be moved.

The stage table decides where there is one; otherwise the settings do. Whether a command may write needs more than this:
see `job_participant`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import ForgottenProcesses, Stage, StageMap, Stages
from proxy.settings import Settings
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable

_NO_TABLE: Final = "ResourceNotFoundException"


class AuthorityMovedError(StoreError):
    """A stage was moved while the command ran: the command may no longer write what it was about to write."""

    def __init__(self, table: str, authorities: Iterable[str]) -> None:
        names = " and ".join(sorted(authorities))
        super().__init__("stage_moved", f"the authority for {table} is {names} now, and was another when this began")


class TableAuthority:
    """The authority of each item type of one table, as last read.

    `types` are the item types that the table's mapping declares. `refresh` reads the stage table; a participant that
    follows the stage table calls `adopt`.
    """

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
        """Read the stage table, and return the stores that are the authority for some type. Raises StoreError."""
        if self._stage_table is not None:
            try:
                state = await self._stage_table.state()
            except Refused as error:
                # There is no stage table until somebody moves a stage.
                if error.reason != _NO_TABLE:
                    raise
            except UnknownOutcome as error:
                raise Unreachable(error.reason, str(error)) from error  # a read may be repeated
            else:
                if state.map is not None:
                    self._stages.adopt(StageMap.from_document(state.map))
        return self.authorities

    async def forgotten_processes(self) -> ForgottenProcesses:
        """Read which processes were forgotten while they owed keys; a sweep repairs those keys. Raises StoreError."""
        await self.refresh()
        return self._stages.map.forgotten

    @property
    def stages(self) -> Stages:
        """The stages as they were read last."""
        return self._stages

    @property
    def ramp(self) -> float:
        """The largest share of reads that DSQL serves of any type of the table while it is the mirror, in percent."""
        placed = (self._stages.placement(self.table, each) for each in self._stages.types(self.table))
        return max((each.ramp for each in placed if each.stage is Stage.SHADOW), default=0.0)

    def adopt(self, new: StageMap) -> None:
        """Take over the stages that somebody else has read."""
        self._stages.adopt(new)

    @property
    def authorities(self) -> frozenset[str]:
        """The stores that are the authority for some type of the table."""
        return frozenset(self._stages.stage_of(self.table, each).authority for each in self._stages.types(self.table))

    def authority_of(self, item_type: str) -> str:
        """The store that is the authority for the type."""
        return self._stages.stage_of(self.table, item_type).authority

    def expect(self, authority: str, item_type: str | None = None) -> None:
        """Raise AuthorityMovedError unless this store is the authority for the type, or for every type if it is
        None."""
        found = self.authorities if item_type is None else {self.authority_of(item_type)}
        if found != {authority}:
            raise AuthorityMovedError(self.table, found)
