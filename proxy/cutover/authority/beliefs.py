"""What a process believes before it looks at DSQL's record: its installation, each table's authority, its mappings.

Pure: made of the stages as the stage table or the settings give them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from proxy.cutover.stages import DSQL, DatabasePairing, Scope, Stage, Stages
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord, RecordedScope


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedTables:
    """The tables of a process, as the watch asks for them."""

    names: Callable[[], Iterable[str]]
    """Returns the names of the tables that have been met."""
    digest_of: Callable[[str], str]
    """Returns the digest of a table's mapping; "" where it is not known."""
    find: Callable[[str], Awaitable[Any]]
    """Learns of a table that has not been met. Raises StoreError."""
    written: frozenset[str] = frozenset()
    """The tables whose mirror the process writes whatever their stage: a command's table."""
    mapped: tuple[str, ...] = ()
    """The tables that have a mapping file: their mappings are told to the other processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """What one process believes at one moment."""

    stage_table: str | None
    """The name of its stage table; None where its stages are pinned by the settings."""
    pairing: DatabasePairing | None = None
    """What the stage table says of the DSQL database that it is paired with."""
    pulse: int = 0
    """The pulse that the stage table knows DSQL's record to have reached."""
    stages: Mapping[Scope, Stage] = field(default_factory=lambda: MappingProxyType({}))
    """The stage of each table and item type."""
    mappings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The digest of the mapping of each table that this process maps."""
    written: frozenset[str] = frozenset()
    """The tables whose mirror this process writes whatever their stage: a command's table."""

    @classmethod
    def of(
        cls,
        stages: Stages,
        tables: Iterable[str],
        *,
        stage_table: str | None,
        pulse: int = 0,
        mappings: Mapping[str, str],
        written: frozenset[str] = frozenset(),
    ) -> Beliefs:
        """Return what these stages say of all tables that are named, and of `tables`."""
        return cls(
            stage_table=stage_table,
            pairing=stages.map.pairing,
            pulse=pulse,
            stages=MappingProxyType({Scope(table, each): stage for table, each, stage in stages.list_all(tables)}),
            mappings=MappingProxyType(dict(mappings)),
            written=written,
        )

    @property
    def pinned(self) -> bool:
        """Whether the stages are those of the settings."""
        return self.stage_table is None

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables, each once."""
        return tuple(dict.fromkeys(scope.table for scope in self.stages))

    def is_active(self, table: str) -> bool:
        """Return whether the table, or any type in it, has left `off`, or is written all the same."""
        return table in self.written or any(
            stage is not Stage.OFF for scope, stage in self.stages.items() if scope.table == table
        )

    def is_mirrored(self, table: str) -> bool:
        """Return whether writes to the table, or to any type in it, go to both stores."""
        return table in self.written or any(
            stage.mirrored for scope, stage in self.stages.items() if scope.table == table
        )

    def past_the_flip(self, table: str) -> bool:
        """Return whether DSQL is the authority for the table, or for any type in it."""
        return any(stage.authority == DSQL for scope, stage in self.stages.items() if scope.table == table)

    def unsettled_mappings(self, record: AuthorityRecord) -> dict[str, str]:
        """Return this process's mapping of each table where the record has none, or, before a flip, another one."""
        found = {}
        for table in self.tables:
            row, digest = record.scopes.get(table), self.mappings.get(table, "")
            if row is None or row.moving is not None or not digest or digest == row.mapping:
                continue
            if not row.mapping or not self.past_the_flip(table):
                found[table] = digest
        return found

    def missed(self, record: AuthorityRecord, epoch: int) -> dict[str, str]:
        """Return the authority of each recorded scope that was moved, the last time at this epoch, without a record."""
        moves = {
            name: stage.authority
            for name, each in record.scopes.items()
            if (stage := self.stages.get(Scope.parse(name))) is not None and stage.authority != each.authority
        }
        if not moves and record.scopes and max(each.epoch for each in record.scopes.values()) < epoch:
            # It was moved there and back: the record says what is true, but not of which epoch.
            name = min(record.scopes)
            moves[name] = record.scopes[name].authority
        return moves

    def undeclared(self, record: AuthorityRecord) -> AuthorityRecord:
        """Return a record of the scopes that are in use here and that `record` says nothing of."""
        scopes: dict[str, RecordedScope] = {}
        for table in self.tables:
            if not self.is_active(table):
                continue
            whole = self.stages[Scope(table)].authority
            if str(Scope(table)) not in record.scopes:
                mapping = self.mappings.get(table, "") if self.is_mirrored(table) or self.past_the_flip(table) else ""
                scopes[table] = RecordedScope(authority=whole, mapping=mapping)
            for scope, stage in self.stages.items():
                own = scope.table == table and scope.item_type and stage.authority != whole
                if own and recorded(record, scope) is None:
                    scopes[str(scope)] = RecordedScope(authority=stage.authority)
        return AuthorityRecord(
            installation=record.installation, database=record.database, scopes=MappingProxyType(scopes)
        )


def recorded(record: AuthorityRecord, scope: Scope) -> RecordedScope | None:
    """Return what the record says of a scope: its own row, or its table's if that was moved later or it has none."""
    own, whole = record.scopes.get(str(scope)), record.scopes.get(str(Scope(scope.table)))
    if own is None or whole is None:
        return own or whole
    return own if own.epoch >= whole.epoch else whole


def moving(record: AuthorityRecord, scope: Scope) -> bool:
    """Return whether a move that concerns the scope is under way, as far as the record says."""
    table = Scope(scope.table)
    concerned = {str(table), str(scope)} if scope.item_type else {str(table)}
    return any(each.moving is not None for name, each in record.scopes.items() if name in concerned)
