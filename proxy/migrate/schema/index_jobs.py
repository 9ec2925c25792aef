"""Executes one DDL statement on DSQL, and waits for the job that the statement may start.

`CREATE INDEX ASYNC` and `ALTER TABLE ASYNC … VALIDATE CONSTRAINT` return a job ("Asynchronous indexes in Aurora DSQL",
user guide). `sys.wait_for_job` would block silently for longer than a connection lives, so `sys.jobs` is polled
instead. A plain PostgreSQL that stands in for DSQL has no ASYNC: there the statement is translated, and the log says
so.
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
_NAME_PART: Final = re.compile(r"""\"(?:[^"]|"")*\"|\w+""")
_FIRST_POLL_SECONDS: Final = 0.05
_POLL_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 6 * 3600.0
_DONE: Final = "completed"
_FAILED: Final = frozenset({"failed", "cancelled"})
_VALID: Final = (
    "SELECT i.indisvalid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relname = $1 AND n.nspname = coalesce($2, current_schema())"
)
_VALIDATED: Final = (
    "SELECT c.convalidated FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace "
    "WHERE c.conname = $1 AND n.nspname = current_schema()"
)
_NO_JOBS: Final = frozenset({"42P01", "3F000"})  # PostgreSQL has no schema sys and no jobs


async def _ignore_status(_: str, __: float) -> None:
    """Ignore the status of a job."""


class DDLJobFailed(MigrationError):
    """A DDL job failed or was cancelled."""


async def execute_ddl(connection: asyncpg.Connection, statement: str) -> None:
    """Execute a DDL statement, and wait for its job if it starts one.

    Raises asyncpg.PostgresError and MigrationError.
    """
    job = await submit_ddl(connection, statement)
    if job is not None:
        await wait_for_job(connection, statement, job)


async def submit_ddl(connection: asyncpg.Connection, statement: str) -> str | None:
    """Execute a DDL statement without waiting, and return the id of its job if it started one. Conflicts are retried.

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
        log.info("async_translated", why="this server is PostgreSQL, not DSQL")
        await connection.execute(_ASYNC.sub(r"\1", statement))
        return None
    return str(rows[0][0]) if rows and rows[0][0] else None


async def wait_for_job(
    connection: asyncpg.Connection, statement: str, job: str, on_status: OnStatus = _ignore_status
) -> None:
    """Wait until the statement's job is done. `on_status` gets the job's status and its age in seconds at each poll.

    A failed job leaves an invalid index, which is dropped because it would be in the way of the next attempt.

    Raises DDLJobFailed, and MigrationError after six hours; also asyncpg.PostgresError.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    pause = _FIRST_POLL_SECONDS
    while True:
        row = await retry_conflicts(
            lambda: connection.fetchrow("SELECT status, details FROM sys.jobs WHERE job_id = $1", job)
        )
        if row is None:
            # DSQL forgets a job some time after its end; the index or constraint then says how it ended.
            if await _is_effective(connection, statement) is False:
                raise await _job_failure(
                    connection, statement, job, "is no longer known, and its index or constraint is not valid"
                )
            return
        if row["status"] == _DONE:
            # It may be completed with an error in `details` (recorded), so what it has left is asked too.
            effective = await _is_effective(connection, statement)
            if effective is False or (effective is None and row["details"]):
                how = f"completed without effect: {row['details'] or 'its index or constraint is not valid'}"
                raise await _job_failure(connection, statement, job, how)
            return
        if row["status"] in _FAILED:
            raise await _job_failure(connection, statement, job, f"{row['status']}: {row['details'] or 'no details'}")
        if loop.time() - began > _LONGEST_SECONDS:
            raise MigrationError(f"job {job} is still {row['status']}: run this again to continue waiting for it")
        await on_status(row["status"], loop.time() - began)
        await asyncio.sleep(pause)
        pause = min(_POLL_SECONDS, pause * 2)


async def _is_effective(connection: asyncpg.Connection, statement: str) -> bool | None:
    """Return whether the statement's index or constraint is valid; None if it makes neither, or it is not there."""
    index = await index_is_valid(connection, statement)
    return index if index is not None else await _constraint_is_valid(connection, statement)


async def _job_failure(connection: asyncpg.Connection, statement: str, job: str, how: str) -> DDLJobFailed:
    if await index_is_valid(connection, statement) is False:
        await drop_index(connection, statement)
    return DDLJobFailed(f"job {job} {how}")


async def drop_index(connection: asyncpg.Connection, statement: str) -> None:
    """Drop the index that the statement creates."""
    await submit_ddl(connection, f"DROP INDEX IF EXISTS {created_index(statement)}")


async def index_is_valid(connection: asyncpg.Connection, statement: str) -> bool | None:
    """Return whether the statement's index is valid; None if there is no such index, or if it creates none."""
    index = created_index(statement)
    if index is None:
        return None
    schema, name = _catalog_names(index)
    found: bool | None = await retry_conflicts(lambda: connection.fetchval(_VALID, name, schema))
    return found


async def _constraint_is_valid(connection: asyncpg.Connection, statement: str) -> bool | None:
    """Return whether the statement's constraint is validated; None if there is none, or if it validates none."""
    constraint = validated_constraint(statement)
    if constraint is None:
        return None
    _, name = _catalog_names(constraint)
    found: bool | None = await retry_conflicts(lambda: connection.fetchval(_VALIDATED, name))
    return found


async def find_running_job(connection: asyncpg.Connection, statement: str) -> str | None:
    """Return the running job on the statement's index, which an earlier run started; None if there is none."""
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
        is_running = row["status"] != _DONE and row["status"] not in _FAILED
        # `schema.index`, and the index of a followed table has a dot in its own name.
        if is_running and str(row["object_name"]).partition(".")[2] == name:
            return str(row["job_id"])
    return None


def _catalog_names(written: str) -> tuple[str | None, str]:
    """Return the schema (None if not given) and the name, as the catalog has them."""
    found = [
        each[1:-1].replace('""', '"') if each.startswith('"') else each.lower() for each in _NAME_PART.findall(written)
    ]
    return (found[0] if len(found) > 1 else None), found[-1]
