"""One DDL statement on DSQL, and the job that it may start there: waited for, and its end believed only if it is seen.

`CREATE INDEX ASYNC` and `ALTER TABLE ASYNC … VALIDATE CONSTRAINT` answer with a job ("Asynchronous indexes in Aurora
DSQL", user guide). `sys.wait_for_job` would block without a word, for longer than a connection lives, so `sys.jobs` is
looked at again and again instead. Where the server is a plain PostgreSQL standing in for DSQL, which has no ASYNC, the
statement is translated, and that is said in the log.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
import structlog

from proxy.migrate.schema.migration_files import MigrationError, created_index, validated_constraint
from proxy.stores.dsql.conflicts import retry_conflicts

log = structlog.get_logger(__name__)

OnStatus = Callable[[str, float], Awaitable[None]]

_ASYNC: Final = re.compile(r"\b(CREATE(?:\s+UNIQUE)?\s+INDEX|ALTER\s+TABLE)\s+ASYNC\b", re.IGNORECASE)
_PART: Final = re.compile(r"""\"(?:[^"]|"")*\"|\w+""")
_FIRST_LOOK_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 6 * 3600.0
_DONE: Final = "completed"
_ENDED_BADLY: Final = frozenset({"failed", "cancelled"})
_VALID: Final = (
    "SELECT i.indisvalid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relname = $1 AND n.nspname = coalesce($2, current_schema())"
)
_PROVEN: Final = (
    "SELECT c.convalidated FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace "
    "WHERE c.conname = $1 AND n.nspname = current_schema()"
)
_NO_JOBS: Final = frozenset({"42P01", "3F000"})  # a PostgreSQL has no schema sys, and no jobs


async def _ignore_status(_: str, __: float) -> None:
    """Nobody looks on."""


class DDLJobFailed(MigrationError):
    """The job ended without what it was started for."""


async def execute_ddl(connection: asyncpg.Connection, statement: str) -> None:
    """One DDL statement; an asynchronous one is waited for. Raises asyncpg.PostgresError, MigrationError."""
    job = await submit_ddl(connection, statement)
    if job is not None:
        await wait_for_job(connection, statement, job)


async def submit_ddl(connection: asyncpg.Connection, statement: str) -> str | None:
    """Send one DDL statement, and give the job that it started, if it did. Conflicts are tried again.

    Raises asyncpg.PostgresError.
    """
    return await retry_conflicts(lambda: _submit_once(connection, statement))


async def _submit_once(connection: asyncpg.Connection, statement: str) -> str | None:
    if not _ASYNC.search(statement):
        await connection.execute(statement)
        return None
    try:
        rows = await connection.fetch(statement)
    except asyncpg.PostgresSyntaxError:
        log.info("async_translated", why="this server is a PostgreSQL, not DSQL")
        await connection.execute(_ASYNC.sub(r"\1", statement))
        return None
    return str(rows[0][0]) if rows and rows[0][0] else None


async def wait_for_job(
    connection: asyncpg.Connection, statement: str, job: str, seen: OnStatus = _ignore_status
) -> None:
    """Until the job has done what the statement asks for. `seen` gets its status and how many seconds it has taken.

    A job that failed leaves an index that is not valid and in the way: it is dropped. Raises JobFailed,
    asyncpg.PostgresError.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    pause = _FIRST_LOOK_SECONDS
    while True:
        row = await retry_conflicts(
            lambda: connection.fetchrow("SELECT status, details FROM sys.jobs WHERE job_id = $1", job)
        )
        if row is None:
            # DSQL forgets a job some time after its end: what it has left says how it ended.
            if (
                await index_is_valid(connection, statement) is False
                or await _constraint_is_valid(connection, statement) is False
            ):
                raise await _job_failure(
                    connection, statement, job, "is not known any more, and what it makes is not valid"
                )
            return
        if row["status"] == _DONE:
            return
        if row["status"] in _ENDED_BADLY:
            raise await _job_failure(connection, statement, job, f"{row['status']}: {row['details'] or 'no details'}")
        if loop.time() - began > _LONGEST_SECONDS:
            raise MigrationError(f"job {job} is still {row['status']}: run this again to go on waiting for it")
        await seen(row["status"], loop.time() - began)
        await asyncio.sleep(pause)
        pause = min(_LOOK_SECONDS, pause * 2)


async def _job_failure(connection: asyncpg.Connection, statement: str, job: str, how: str) -> DDLJobFailed:
    if await index_is_valid(connection, statement) is False:
        await drop_index(connection, statement)
    return DDLJobFailed(f"job {job} {how}")


async def drop_index(connection: asyncpg.Connection, statement: str) -> None:
    """Take away the index that the statement makes."""
    await submit_ddl(connection, f"DROP INDEX IF EXISTS {created_index(statement)}")


async def index_is_valid(connection: asyncpg.Connection, statement: str) -> bool | None:
    """Whether the index that the statement makes can be used; None where it is not there, or it makes none."""
    index = created_index(statement)
    if index is None:
        return None
    schema, name = _catalog_names(index)
    found: bool | None = await retry_conflicts(lambda: connection.fetchval(_VALID, name, schema))
    return found


async def _constraint_is_valid(connection: asyncpg.Connection, statement: str) -> bool | None:
    """Whether the constraint that the statement proves is proven; None where there is none, or it proves none."""
    constraint = validated_constraint(statement)
    if constraint is None:
        return None
    _, name = _catalog_names(constraint)
    found: bool | None = await retry_conflicts(lambda: connection.fetchval(_PROVEN, name))
    return found


async def find_running_job(connection: asyncpg.Connection, statement: str) -> str | None:
    """The job that is at work on the statement's index, started by a run before this one; None where there is none."""
    index = created_index(statement)
    if index is None:
        return None
    _, name = _catalog_names(index)
    try:
        rows = await retry_conflicts(lambda: connection.fetch("SELECT job_id, status, object_name FROM sys.jobs"))
    except asyncpg.PostgresError as error:
        if error.sqlstate in _NO_JOBS:
            return None
        raise
    for row in rows:
        at_work = row["status"] != _DONE and row["status"] not in _ENDED_BADLY
        if at_work and str(row["object_name"]).rpartition(".")[2] == name:
            return str(row["job_id"])
    return None


def _catalog_names(written: str) -> tuple[str | None, str]:
    """The schema, if it is given, and the name, as the catalog has them."""
    found = [each[1:-1].replace('""', '"') if each.startswith('"') else each.lower() for each in _PART.findall(written)]
    return (found[0] if len(found) > 1 else None), found[-1]
