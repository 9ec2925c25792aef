"""DSQL's own record of which store is the truth: a small table, its statements, and what its rows say.

The row of scope '' names the installation: the stage table and the database that belong together. Each other row is of
one scope (`table` or `table/Type`): its authority, since which epoch, the mapping in force, and the move of the
authority that is under way. Every change names the installation that it is made for, so that one made for another
installation has no effect. Where settings pin the stages, each process that is at work has a row, too, of the scope
`@PROCESS`: no stage table says who else there is. This module does not judge: see `proxy.cutover.authority`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import asyncpg
import orjson

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.sql.statements import qualified
from proxy.stores.dsql.sqlstates import NO_TABLE
from proxy.stores.dsql.system_tables.system_table import SystemTable
from proxy.stores.errors import Refused

AUTHORITY_TABLE: Final = "crossfade_authority"
_PRESENT: Final = "@"
_AT_WORK: Final = "at work"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMove:
    """A move of the authority that is under way: it was recorded before its commit in the stage table."""

    flip: str
    """The id of the flip."""
    authority: str
    """The store that becomes the authority."""
    epoch: int
    """The epoch of the stages after the commit."""
    mapping: str
    """The digest of the mapping in force after the commit; "" where DynamoDB becomes the authority."""

    @property
    def text(self) -> str:
        """The move as the table holds it: one text for one move."""
        document = {"flip": self.flip, "authority": self.authority, "epoch": self.epoch, "mapping": self.mapping}
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def parse(cls, text: str) -> RecordedMove | None:
        """Return the move that a row holds; None for "". Raises KeyError, TypeError or ValueError for anything else."""
        if not text:
            return None
        document = orjson.loads(text)
        return cls(
            flip=str(document["flip"]),
            authority=str(document["authority"]),
            epoch=int(document["epoch"]),
            mapping=str(document["mapping"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedScope:
    """What the record says of one scope."""

    authority: str
    """The store whose state is the truth."""
    epoch: int = 0
    """The epoch of the stages at which the authority was moved last; 0 if it has not been moved."""
    mapping: str = ""
    """The digest of the mapping in force; "" where it is not known."""
    moving: RecordedMove | None = None
    """The move that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRecord:
    """The whole record at one moment."""

    installation: str | None = None
    """The id of the installation; None where nothing is recorded, "" where its stages are pinned by settings."""
    database: str = ""
    """The id of the database."""
    stage_table: str = ""
    """The name of the installation's stage table, for people."""
    pulse: int = 0
    """A number that grows while the installation is at work: a backup that is restored holds a smaller one."""
    scopes: Mapping[str, RecordedScope] = field(default_factory=lambda: MappingProxyType({}))
    """What is recorded of each scope, by the scope's name."""
    present: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """The processes at work whose stages are pinned, each with the seconds since it said so."""


class AuthorityRecords(Protocol):
    """The table, as `proxy.cutover.authority` asks it. Every method raises StoreError."""

    async def read(self) -> AuthorityRecord:
        """Return the record as it is. Creates no table."""

    async def claim(self, record: AuthorityRecord, by: str) -> None:
        """Write the installation, its database and its pulse if no installation is recorded."""

    async def join(self, installation: str, stage_table: str, by: str) -> None:
        """Give an installation whose stages were pinned (id "") an id and a stage table."""

    async def declare(self, record: AuthorityRecord, by: str) -> None:
        """Write what `record` says of its scopes, of those that nothing is recorded of."""

    async def set_mapping(self, record: AuthorityRecord, scope: str, mapping: str, by: str) -> None:
        """Write the mapping of a scope if the row is as in `record` and no move of it is under way."""

    async def announce(self, installation: str, scope: str, held: str, move: RecordedMove, by: str) -> None:
        """Record a move before its commit, unless another is under way. `held` is the authority until then."""

    async def finish(self, installation: str, scope: str, move: RecordedMove, by: str) -> None:
        """Record that the move has been committed, if it is the one under way."""

    async def withdraw(self, installation: str, scope: str, move: RecordedMove, by: str) -> None:
        """Record that the move was given up, if it is the one under way."""

    async def advance(self, installation: str, pulse: int) -> None:
        """Raise the pulse to this number, if it is smaller."""

    async def replace(self, record: AuthorityRecord, by: str, because: str) -> None:
        """Write the whole record anew, whatever was recorded."""

    async def attend(self, process: str, *, at_work: bool) -> None:
        """Say that a process whose stages are pinned is at work, or is refused."""

    async def depart(self, process: str) -> None:
        """Say that a process whose stages are pinned has ended."""

    async def repin(self, record: AuthorityRecord, scope: str, authority: str, by: str) -> None:
        """Write the authority that settings now pin, if `record` still holds of the scope."""


class AuthorityTable:
    """`AuthorityRecords` over a pool of connections. `seconds` bounds each statement."""

    def __init__(self, pool: Pool, schema: str, *, seconds: float) -> None:
        table = qualified(schema, AUTHORITY_TABLE)
        self._pool = pool
        self._seconds = seconds
        self._table = SystemTable(
            pool,
            table,
            f"CREATE TABLE IF NOT EXISTS {table} (scope text PRIMARY KEY, installation text NOT NULL, "
            "database_id text NOT NULL, stage_table text NOT NULL, pulse bigint NOT NULL, authority text NOT NULL, "
            "epoch bigint NOT NULL, mapping text NOT NULL, moving text NOT NULL, changed_by text NOT NULL, "
            "because text NOT NULL, changed timestamptz NOT NULL)",
        )
        aged = "extract(epoch FROM now() - changed)::float8 AS age"
        columns = "scope, installation, database_id, stage_table, pulse, authority, epoch, mapping, moving"
        changed = "changed_by, because, changed"
        values = "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now())"
        noted = "changed_by = $3, because = '', changed = now()"
        self._read = f"SELECT {columns}, {aged} FROM {table}"  # noqa: S608
        self._insert = f"INSERT INTO {table} ({columns}, {changed}) {values}"
        self._declare = f"{self._insert} ON CONFLICT (scope) DO NOTHING"
        self._join = (
            f"UPDATE {table} SET installation = $1, stage_table = $2, {noted} "  # noqa: S608
            "WHERE installation = '' AND left(scope, 1) <> '@'"
        )
        self._set_mapping = (
            f"UPDATE {table} SET mapping = $4, {noted} "  # noqa: S608
            "WHERE scope = $1 AND installation = $2 AND mapping = $5 AND epoch = $6 AND moving = ''"
        )
        self._announce = (
            f"INSERT INTO {table} AS held ({columns}, {changed}) {values} "
            "ON CONFLICT (scope) DO UPDATE SET moving = excluded.moving, changed_by = excluded.changed_by, "
            "because = excluded.because, changed = excluded.changed "
            "WHERE held.installation = excluded.installation AND held.moving = '' AND held.epoch < $12"
        )
        self._finish = (
            f"UPDATE {table} SET authority = $5, epoch = $6, mapping = $7, moving = '', {noted} "  # noqa: S608
            "WHERE scope = $1 AND installation = $2 AND moving = $4"
        )
        self._withdraw = (
            f"UPDATE {table} SET moving = '', {noted} "  # noqa: S608
            "WHERE scope = $1 AND installation = $2 AND moving = $4"
        )
        self._advance = f"UPDATE {table} SET pulse = $2 WHERE scope = '' AND installation = $1 AND pulse < $2"  # noqa: S608
        self._delete = f"DELETE FROM {table}"  # noqa: S608
        self._attend = (
            f"{self._insert} ON CONFLICT (scope) DO UPDATE SET "
            "authority = excluded.authority, changed = excluded.changed"
        )
        self._depart = f"DELETE FROM {table} WHERE scope = $1"  # noqa: S608
        self._repin = (
            f"UPDATE {table} SET authority = $2, mapping = '', {noted} "  # noqa: S608
            "WHERE scope = $1 AND installation = '' AND authority = $4"
        )

    @property
    def definitions(self) -> tuple[str, ...]:
        return (self._table.create,)

    @property
    def statements(self) -> tuple[str, ...]:
        """All statements but the one that creates the table."""
        changes = (self._join, self._set_mapping, self._announce, self._finish, self._withdraw, self._advance)
        pinned = (self._attend, self._depart, self._repin)
        return *self._table.statements, self._read, self._insert, self._declare, *changes, self._delete, *pinned

    async def read(self) -> AuthorityRecord:
        try:
            rows = await run_with_retry(self._pool, lambda c: c.fetch(self._read, timeout=self._seconds))
        except Refused as error:
            if error.reason != NO_TABLE:
                raise
            return AuthorityRecord()
        return _record(rows)

    async def claim(self, record: AuthorityRecord, by: str) -> None:
        await self._ask(self._declare, *_installation_row(record), by, "")

    async def join(self, installation: str, stage_table: str, by: str) -> None:
        await self._ask(self._join, installation, stage_table, by)

    async def declare(self, record: AuthorityRecord, by: str) -> None:
        for row in _scope_rows(record):
            await self._ask(self._declare, *row, by, "")

    async def set_mapping(self, record: AuthorityRecord, scope: str, mapping: str, by: str) -> None:
        held = record.scopes[scope]
        await self._ask(self._set_mapping, scope, record.installation, by, mapping, held.mapping, held.epoch)

    async def announce(self, installation: str, scope: str, held: str, move: RecordedMove, by: str) -> None:
        row = (scope, installation, "", "", 0, held, 0, "", move.text)
        await self._ask(self._announce, *row, by, "", move.epoch)

    async def finish(self, installation: str, scope: str, move: RecordedMove, by: str) -> None:
        after = (move.authority, move.epoch, move.mapping)
        await self._ask(self._finish, scope, installation, by, move.text, *after)

    async def withdraw(self, installation: str, scope: str, move: RecordedMove, by: str) -> None:
        await self._ask(self._withdraw, scope, installation, by, move.text)

    async def advance(self, installation: str, pulse: int) -> None:
        await self._ask(self._advance, installation, pulse)

    async def replace(self, record: AuthorityRecord, by: str, because: str) -> None:
        rows = [_installation_row(record), *_scope_rows(record)]

        async def replace(connection: asyncpg.Connection) -> None:
            await connection.execute("BEGIN")
            try:
                await connection.execute(self._delete, timeout=self._seconds)
                for row in rows:
                    await connection.execute(self._insert, *row, by, because, timeout=self._seconds)
            except BaseException:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

        await run_with_retry(self._pool, replace, create=self._table.create, seconds=self._seconds)

    async def attend(self, process: str, *, at_work: bool) -> None:
        row = (f"{_PRESENT}{process}", "", "", "", 0, _AT_WORK if at_work else "", 0, "", "")
        await self._ask(self._attend, *row, process, "")

    async def depart(self, process: str) -> None:
        await self._ask(self._depart, f"{_PRESENT}{process}")

    async def repin(self, record: AuthorityRecord, scope: str, authority: str, by: str) -> None:
        await self._ask(self._repin, scope, authority, by, record.scopes[scope].authority)

    async def _ask(self, statement: str, *parameters: Any) -> None:
        """Run a statement that may be run twice: it says on what it depends."""
        await run_with_retry(
            self._pool,
            lambda c: c.execute(statement, *parameters, timeout=self._seconds),
            create=self._table.create,
            seconds=self._seconds,
        )


def _record(rows: Iterable[asyncpg.Record]) -> AuthorityRecord:
    """Return the record that the rows are. Raises Refused for rows that this version cannot read."""
    scopes: dict[str, RecordedScope] = {}
    present: dict[str, float] = {}
    found = AuthorityRecord()
    for row in rows:
        if row["scope"].startswith(_PRESENT):
            if row["authority"] == _AT_WORK:
                present[row["scope"].removeprefix(_PRESENT)] = max(0.0, row["age"])
            continue
        if not row["scope"]:
            found = AuthorityRecord(
                installation=row["installation"],
                database=row["database_id"],
                stage_table=row["stage_table"],
                pulse=row["pulse"],
            )
            continue
        try:
            moving = RecordedMove.parse(row["moving"])
        except (KeyError, TypeError, ValueError) as error:
            detail = f"{AUTHORITY_TABLE} holds what this version cannot read ({error!r}): run one version"
            raise Refused("version", detail) from error
        scopes[row["scope"]] = RecordedScope(
            authority=row["authority"], epoch=row["epoch"], mapping=row["mapping"], moving=moving
        )
    return AuthorityRecord(
        installation=found.installation,
        database=found.database,
        stage_table=found.stage_table,
        pulse=found.pulse,
        scopes=MappingProxyType(scopes),
        present=MappingProxyType(present),
    )


def _installation_row(record: AuthorityRecord) -> tuple[Any, ...]:
    return ("", record.installation, record.database, record.stage_table, record.pulse, "", 0, "", "")


def _scope_rows(record: AuthorityRecord) -> list[tuple[Any, ...]]:
    return [
        (
            *(scope, record.installation, record.database, record.stage_table, 0),
            *(each.authority, each.epoch, each.mapping, each.moving.text if each.moving is not None else ""),
        )
        for scope, each in sorted(record.scopes.items())
    ]
