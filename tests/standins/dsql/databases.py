"""What the gate knows of each database: its tables, how often its catalog has changed, and which keys were marked.

Asks over a connection of its own, as the server's superuser; writes nothing but what `bootstrap.sql` makes.
"""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from pglast import ast, enums

from tests.standins.dsql.sql import sqltypes, table_rules
from tests.standins.dsql.sql.trees import Refusal, Relation, relation, unsupported

_BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.sql")
KEY_BYTES: Final = 1981
_MARKS: Final = 50_000
_MAX_INDEXES: Final = 24
_TABLE: Final = """
SELECT c.oid::int8 AS oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
    (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes,
    (SELECT array_agg(a.attname ORDER BY k.place) FROM pg_index i,
        LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attnum = k.number
        WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts AND a.attrelid = c.oid) AS key,
    (SELECT i.indexrelid::regclass::text FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS key_name,
    (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
    (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity <> '') AS identities,
    (SELECT json_object_agg(a.attname, a.atttypmod - 4) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.atttypid IN (1042, 1043) AND a.atttypmod > 4)::text AS lengths,
    (SELECT json_object_agg(a.attname, t.typname) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text AS types
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)
"""
_OURS: Final = "('pg_catalog', 'information_schema', 'sys', 'standin')"
_RELATIONS: Final = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE relkind = '%s' AND nspname NOT IN {_OURS} AND nspname !~ '^pg_'"
)
# How many there may be, what is said of one more, and how they are counted.
_MOST: Final[dict[type, tuple[int, str, str]]] = {
    ast.CreateSchemaStmt: (
        10,
        "more than 10 schemas not allowed",
        f"SELECT count(*) FROM pg_namespace WHERE nspname NOT IN {_OURS} AND nspname !~ '^pg_' AND nspname <> 'public'",
    ),
    ast.CreateStmt: (1000, "creating more than 1000 tables not allowed", _RELATIONS % "r"),
    ast.ViewStmt: (5000, "creating more than 5000 views not allowed", _RELATIONS % "v"),
    ast.CreateSeqStmt: (5000, "creating more than 5000 sequences is not allowed", _RELATIONS % "S"),
    ast.CreateStatsStmt: (
        5,
        "more than 5 extended statistics per table are not allowed",
        "SELECT count(*) FROM pg_statistic_ext WHERE stxrelid = to_regclass($1)",
    ),
}
_FOREIGN_KEY: Final = """
SELECT quote_ident(pn.nspname) || '.' || quote_ident(p.relname) AS parent,
    quote_ident(cn.nspname) || '.' || quote_ident(c.relname) AS child,
    pn.nspname AS parent_schema, p.relname AS parent_name, cn.nspname AS child_schema, c.relname AS child_name,
    (SELECT array_agg(a.attname ORDER BY u.place) FROM unnest(f.confkey) WITH ORDINALITY AS u (n, place)
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = u.n) AS parent_columns,
    (SELECT array_agg(a.attname ORDER BY u.place) FROM unnest(f.conkey) WITH ORDINALITY AS u (n, place)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.n) AS child_columns
FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
WHERE f.contype = 'f' AND f.conname = $1 ORDER BY f.oid DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is; names are not quoted, but `name` is, with its schema."""

    oid: int
    name: str
    indexes: int
    key: tuple[str, ...]
    key_name: str | None
    columns: tuple[str, ...]
    """Without generated ones."""
    identities: frozenset[str]
    types: dict[str, str]
    lengths: dict[str, int]
    """What varchar(n) and char(n) are declared with."""


@dataclass(slots=True)
class Database:
    """One database: `version` is how many DDL statements and GRANTs of its sessions have taken effect."""

    name: str
    dsn: str
    version: int = 0
    created: dict[str, int] = field(default_factory=dict)
    """The version at which a table of this name was made."""
    ddl: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a DDL statement that is a transaction of its own: two at one table would wait for each other in the
    middle, where PostgreSQL finds a deadlock and DSQL has none."""
    commits: int = 0
    sessions: int = 0
    marks: deque[tuple[int, int, str]] = field(default_factory=lambda: deque(maxlen=_MARKS))
    """FOR KEY SHARE that was committed: when, of which table, which key."""
    _tables: dict[Relation, Table | None] = field(default_factory=dict)
    _connection: asyncpg.Connection | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Rows, over the gate's own connection."""
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                settings = {"default_transaction_isolation": "read committed"}
                self._connection = await asyncpg.connect(self.dsn, server_settings=settings, statement_cache_size=20)
            return list(await self._connection.fetch(sql, *values))

    async def close(self) -> None:
        """End the gate's own connection."""
        async with self._lock:
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None

    async def prepare(self) -> None:
        """Make what DSQL has and PostgreSQL has not, if it is not there."""
        if await self.fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'standin'"):
            return
        async with self._lock:
            assert self._connection is not None
            async with self._connection.transaction(isolation="read_committed"):
                await self._connection.execute("SELECT pg_advisory_xact_lock(7)")
                if not await self._connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = 'standin'"):
                    await self._connection.execute(_BOOTSTRAP.read_text().replace("{key_bytes}", str(KEY_BYTES)))

    def changed(self, created: frozenset[str]) -> int:
        """Note that a session's DDL has taken effect; the new version."""
        self.version += 1
        self._tables.clear()
        self.created.update(dict.fromkeys(created, self.version))
        return self.version

    async def table(self, wanted: Relation) -> Table | None:
        """The table as it was committed last; None if there is none."""
        if wanted not in self._tables:
            version = self.version
            rows = await self.fetch(_TABLE, quoted(wanted))
            found = _table(rows[0]) if rows else None
            if found is None or version != self.version:
                return found
            self._tables[wanted] = found
        return self._tables[wanted]

    async def foreign_key(self, name: str) -> Any:
        """What a foreign key connects."""
        rows = await self.fetch(_FOREIGN_KEY, name)
        return rows[0] if rows else None

    async def ddl_refusal(self, tree: Any) -> Refusal | None:
        """Why a DDL statement cannot be carried out, given what is there."""
        if isinstance(tree, ast.IndexStmt):
            return _index_refusal(tree, await self.table(relation(tree.relation)))
        if isinstance(tree, ast.AlterTableStmt):
            table = await self.table(relation(tree.relation))
            return next((found for each in tree.cmds if (found := _alter_refusal(each, table))), None)
        most = _MOST.get(type(tree))
        if most is None:
            return None
        count, message, counted = most
        values = [quoted(relation(tree.relations[0]))] if isinstance(tree, ast.CreateStatsStmt) else []
        held = (await self.fetch(counted, *values))[0][0]
        return Refusal("54000", message) if held >= count else None


def quoted(wanted: Relation) -> str:
    """A relation's name as SQL."""
    parts = [part for part in wanted if part is not None]
    return ".".join(identifier(part) for part in parts)


def identifier(name: str) -> str:
    """A name in quotation marks."""
    return '"' + name.replace('"', '""') + '"'


def _table(row: Any) -> Table:
    return Table(
        oid=row["oid"],
        name=row["name"],
        indexes=row["indexes"],
        key=tuple(row["key"] or ()),
        key_name=row["key_name"],
        columns=tuple(row["columns"] or ()),
        identities=frozenset(row["identities"] or ()),
        types=json.loads(row["types"] or "{}"),
        lengths=json.loads(row["lengths"] or "{}"),
    )


def _index_refusal(tree: Any, table: Table | None) -> Refusal | None:
    if table is None:
        return None
    for element in tree.indexParams:
        kind = table.types.get(element.name or "")
        if kind in sqltypes.NO_KEY:
            return table_rules.key_type(kind)
    declared = sum(table.lengths.get(element.name or "", 0) for element in tree.indexParams)
    if declared > table_rules.MAX_DECLARED_KEY:
        return table_rules.declared_key()
    if table.indexes >= _MAX_INDEXES:
        return Refusal("54000", f"more than {_MAX_INDEXES} indexes per table are not allowed")
    return None


def _alter_refusal(command: Any, table: Table | None) -> Refusal | None:
    if table is None:
        return None
    kinds = enums.AlterTableType
    if command.subtype == kinds.AT_DropColumn and command.name in table.key:
        return unsupported(f"cannot drop primary key column {command.name}")
    if command.subtype == kinds.AT_DropConstraint and command.name == table.key_name:
        return unsupported("unsupported ALTER TABLE DROP CONSTRAINT statement")
    return None
