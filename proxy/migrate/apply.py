"""Applies DDL as DSQL wants it: one statement a transaction, asynchronous indexes waited for.

Where the server is a plain PostgreSQL standing in for DSQL, which has no `CREATE INDEX ASYNC`, the statement is
translated, and that is said in the log.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import structlog

log = structlog.get_logger(__name__)

_ASYNC: Final = re.compile(r"\b(CREATE(?:\s+UNIQUE)?\s+INDEX)\s+ASYNC\b", re.IGNORECASE)
_SYNTAX_ERROR: Final = "42601"
MIGRATIONS_TABLE: Final = "crossfade_migrations"
_TABLE: Final = """CREATE TABLE IF NOT EXISTS crossfade_migrations (
  name text PRIMARY KEY,
  checksum text NOT NULL,
  applied_at timestamptz NOT NULL
)"""


class MigrationError(Exception):
    """A migration cannot be applied; the text names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, its statements, and the checksum of its text."""

    name: str
    statements: tuple[str, ...]
    checksum: str


def read_folder(folder: Path) -> list[Migration]:
    """The `*.sql` files of a folder in the order of their names. Raises MigrationError where there are none."""
    paths = sorted(folder.glob("*.sql"))
    if not paths:
        raise MigrationError(f"{folder}: holds no .sql files")
    migrations = []
    for path in paths:
        text = path.read_text("utf-8")
        migrations.append(Migration(path.name, statements_of(text), hashlib.sha256(text.encode()).hexdigest()))
    return migrations


def statements_of(text: str) -> tuple[str, ...]:
    """The statements of a file, which end in a semicolon at the end of a line; comments go."""
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return tuple(each.strip() for each in re.split(r";\s*(?:\n|$)", bare) if each.strip())


async def migrate(
    connection: asyncpg.Connection, migrations: list[Migration], say: Callable[[str], None] = lambda _: None
) -> int:
    """Apply what has not been applied yet, and give the number of files. Raises MigrationError."""
    await execute(connection, _TABLE)
    applied = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM crossfade_migrations")}
    done = 0
    for migration in migrations:
        if migration.name in applied:
            if applied[migration.name] != migration.checksum:
                raise MigrationError(f"{migration.name}: changed since it was applied; write a new migration instead")
            continue
        for statement in migration.statements:
            try:
                await execute(connection, statement)
            except asyncpg.PostgresError as error:
                raise MigrationError(f"{migration.name}: {error.sqlstate}: {error}") from error
        await connection.execute(
            "INSERT INTO crossfade_migrations (name, checksum, applied_at) VALUES ($1, $2, now())",
            migration.name,
            migration.checksum,
        )
        say(f"applied {migration.name}")
        done += 1
    return done


async def execute(connection: asyncpg.Connection, statement: str) -> None:
    """One DDL statement; an asynchronous index is waited for."""
    if not _ASYNC.search(statement):
        await connection.execute(statement)
        return
    try:
        rows = await connection.fetch(statement)
    except asyncpg.PostgresSyntaxError:
        log.info("index_async_translated", why="this server is a PostgreSQL, not DSQL")
        await connection.execute(_ASYNC.sub(r"\1", statement))
        return
    for row in rows:
        job = str(row[0])
        if re.fullmatch(r"[0-9A-Za-z_-]+", job):
            await connection.execute(f"CALL sys.wait_for_job('{job}')")
