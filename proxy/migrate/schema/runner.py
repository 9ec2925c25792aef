"""Applies migrations as DSQL requires: one statement per transaction, recorded before and after, waiting for its job.

The next run continues a run that was interrupted anywhere. A statement that was begun and not recorded as done may have
taken effect, so finding its effect in place is no error then. Concurrent runs take turns.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg

from proxy.migrate.schema.index_jobs import (
    DDLJobFailed,
    drop_index,
    find_running_job,
    index_is_valid,
    submit_ddl,
    wait_for_job,
)
from proxy.migrate.schema.ledger import LEDGER_TABLES, MIGRATIONS_TABLE, AppliedMigration, Ledger, StartedStatement
from proxy.migrate.schema.migration_files import Migration, MigrationError, changes_rows, checksum, read_folder
from proxy.stores.dsql.sqlstates import LOST_CONNECTION

__all__ = [
    "LEDGER_TABLES",
    "MIGRATIONS_TABLE",
    "Migration",
    "MigrationError",
    "MigrationInterrupted",
    "MigrationProgress",
    "migrate",
    "read_folder",
    "read_progress",
]

LEASE_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 600.0
_REPORT_SECONDS: Final = 5.0
_LOCK_POLL_SECONDS: Final = 0.5
# The errors of a statement that has taken effect already ("PostgreSQL Error Codes", manual).
_EXISTS_ALREADY: Final = frozenset({"42P07", "42701", "42710", "42P06", "42723"})
_GONE_ALREADY: Final = frozenset({"42P01", "42703", "42704", "3F000"})
_REMOVES: Final = re.compile(r"\s*DROP\b|\s*ALTER\b.*\b(DROP|RENAME)\b", re.IGNORECASE | re.DOTALL)
# The connection or the server went away: it is unknown whether the statement took effect.
_CONNECTION_LOST: Final = ("57", "08", "XX000")

Say = Callable[[str], None]
T = TypeVar("T")


class MigrationInterrupted(MigrationError):
    """The connection was lost during a run; the next run continues from there."""


class StatementRefused(MigrationError):
    """The database refused a statement, which had no effect."""


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """The progress of one file. `state` is applied, changed, begun, waiting, or gone (applied, and now not in the
    folder)."""

    name: str
    state: str
    done: int
    statements: tuple[str, ...]
    applied: AppliedMigration | None


async def read_progress(connection: asyncpg.Connection, migrations: Sequence[Migration]) -> list[MigrationProgress]:
    """Read what is applied and what would be. Writes nothing. Raises MigrationError."""
    ledger = Ledger(connection)
    applied, steps = await _as_migration_error(ledger.applied()), await _as_migration_error(ledger.steps())
    found = []
    for migration in migrations:
        before = applied.get(migration.name)
        done = sum(
            (migration.name, n) in steps and steps[migration.name, n].done for n in range(len(migration.statements))
        )
        begun = any(name == migration.name for name, _ in steps)
        if before is None:
            state = "begun" if begun else "waiting"
        else:
            state, done = "applied" if before.checksum == migration.checksum else "changed", len(migration.statements)
        found.append(MigrationProgress(migration.name, state, done, migration.statements, before))
    known = {migration.name for migration in migrations}
    found += [MigrationProgress(name, "gone", 0, (), before) for name, before in applied.items() if name not in known]
    return sorted(found, key=lambda each: each.name)


async def migrate(
    connection: asyncpg.Connection,
    migrations: Sequence[Migration],
    say: Say = lambda _: None,
    *,
    lease_seconds: float = LEASE_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
) -> int:
    """Apply the migrations that are not applied yet, and return the number of files applied. `say` gets progress texts.

    A killed run keeps the lock for `lease_seconds`. A run that finds another one waits at most `wait_seconds` for it.
    Raises MigrationError.
    """
    return await _as_migration_error(_MigrationRun(connection, say, lease_seconds).run(migrations, wait_seconds))


async def _as_migration_error(work: Awaitable[T]) -> T:
    """Await `work`, turning the database's errors into MigrationErrors."""
    try:
        return await work
    except LOST_CONNECTION as error:
        raise MigrationInterrupted(f"the connection was lost ({error}): run this again to continue") from error
    except asyncpg.PostgresError as error:
        if (error.sqlstate or "").startswith(_CONNECTION_LOST):
            raise MigrationInterrupted(f"{error.sqlstate}: {error}: run this again to continue") from error
        raise MigrationError(f"{error.sqlstate}: {error}") from error


class _MigrationRun:
    """One run, with the name by which it holds the lock."""

    def __init__(self, connection: asyncpg.Connection, say: Say, lease_seconds: float) -> None:
        self.ledger = Ledger(connection)
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._connection = connection
        self._say = say
        self._lease = lease_seconds
        self._renewed_at = 0.0
        self._reported_at = 0.0

    async def run(self, migrations: Sequence[Migration], wait_seconds: float) -> int:
        """Apply all migrations, once no other run holds the lock."""
        await self.ledger.create()
        await self.acquire_lock(wait_seconds)
        try:
            return await self.apply(migrations)
        finally:
            if not self._connection.is_closed():
                await self.ledger.release_lock(self.holder)

    async def acquire_lock(self, wait_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        reported = ""
        while not await self.ledger.take_lock(self.holder, self._lease):
            found = await self.ledger.holder()
            if found is None:
                continue
            if loop.time() > until:
                raise MigrationError(
                    f"{found[0]} is still applying migrations: wait until it has finished, and run this again"
                )
            if found[0] != reported:
                reported = found[0]
                self._say(f"waiting for {reported}, which is applying migrations")
            await asyncio.sleep(max(0.01, min(_LOCK_POLL_SECONDS, found[1])))
        self._renewed_at = loop.time()

    async def apply(self, migrations: Sequence[Migration]) -> int:
        applied, steps = await self.ledger.applied(), await self.ledger.steps()
        changed = [
            each.name for each in migrations if each.name in applied and applied[each.name].checksum != each.checksum
        ]
        if changed:
            raise MigrationError(
                f"{', '.join(changed)}: changed since it was applied: restore it, and write a new migration instead"
            )
        done = 0
        for migration in migrations:
            if migration.name in applied:
                continue
            for number, statement in enumerate(migration.statements):
                place = f"{migration.name}, statement {number + 1} of {len(migration.statements)}"
                try:
                    await self._apply_statement(
                        migration.name, number, statement, steps.get((migration.name, number)), place
                    )
                except MigrationError as error:
                    raise type(error)(f"{place}: {error}") from error
                except asyncpg.PostgresError as error:
                    if (error.sqlstate or "").startswith(_CONNECTION_LOST):
                        raise
                    raise MigrationError(f"{place}: {error.sqlstate}: {error}") from error
            await self.ledger.finish_migration(migration.name, migration.checksum)
            self._say(f"applied {migration.name}")
            done += 1
        return done

    async def _apply_statement(
        self, name: str, number: int, statement: str, before: StartedStatement | None, place: str
    ) -> None:
        await self._renew_lock()
        text = checksum(statement)
        if before is not None and before.done:
            if before.checksum != text:
                raise MigrationError("changed since it was applied: restore it, and write a new migration instead")
            return
        if changes_rows(statement):
            await self.ledger.execute_and_finish(name, number, text, statement)
            return
        # An interrupted run began this very text, so it may have taken effect.
        resumed = before is not None and before.checksum == text
        job = before.job if before is not None and resumed else None
        if not resumed:
            await self.ledger.begin_statement(name, number, text, before)
        try:
            if job is None:
                job = await self._submit(statement, resumed=resumed)
            if job is not None:
                await self.ledger.record_job(name, number, job)
                await wait_for_job(
                    self._connection, statement, job, lambda status, s: self._report_job(place, status, s)
                )
        except (StatementRefused, DDLJobFailed) as error:
            # What an earlier run began may have taken effect, whatever the error says now. A failed job has not.
            if not resumed or isinstance(error, DDLJobFailed):
                await self._renew_lock(at_once=True)  # otherwise the record may belong to another run by now
                await self.ledger.retract(name, number)
            raise
        await self.ledger.finish_statement(name, number)

    async def _submit(self, statement: str, *, resumed: bool) -> str | None:
        """Execute the statement unless it is in effect already, and return the job to wait for, if there is one."""
        if resumed and await index_is_valid(self._connection, statement) is False:
            job = await find_running_job(self._connection, statement)
            if job is not None:
                return job
            await drop_index(self._connection, statement)  # its job failed after the earlier run ended
        try:
            job = await submit_ddl(self._connection, statement)
        except asyncpg.PostgresError as error:
            had = _GONE_ALREADY if _REMOVES.match(statement) else _EXISTS_ALREADY
            if resumed and error.sqlstate in had:
                return None
            if (error.sqlstate or "").startswith(_CONNECTION_LOST):
                raise
            raise StatementRefused(f"{error.sqlstate}: {error}") from error
        if job is None and await index_is_valid(self._connection, statement) is False:
            raise StatementRefused("an index of that name exists and is not valid: drop it, and run this again")
        return job

    async def _report_job(self, place: str, status: str, seconds: float) -> None:
        await self._renew_lock()
        if seconds - self._reported_at >= _REPORT_SECONDS or seconds < self._reported_at:
            self._reported_at = seconds
            self._say(f"{place}: {status}, {seconds:.0f} s")

    async def _renew_lock(self, *, at_once: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if at_once or now - self._renewed_at >= self._lease / 3:
            await self.ledger.renew_lock(self.holder, self._lease)
            self._renewed_at = now
