"""The migration ledger in DSQL: which migrations are applied, how far one has come, and which run holds the lock.

The ledger is three small tables. DSQL runs no DDL together with other statements, so a run can be killed between a
statement and the record that it is done. Each statement is therefore recorded before it begins and after it has ended.
DSQL has no advisory locks, so the lock is a row with an expiry by the database's clock; if two runs want the lock at
once, their transactions conflict, and one of them tries again.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from proxy.migrate.schema.migration_files import MigrationError
from proxy.stores.dsql.conflicts import retry_conflicts
from proxy.stores.dsql.sqlstates import NO_TABLE, is_ddl_race

MIGRATIONS_TABLE: Final = "crossfade_migrations"
STEPS_TABLE: Final = "crossfade_migration_steps"
LOCK_TABLE: Final = "crossfade_migration_lock"
LEDGER_TABLES: Final = frozenset({MIGRATIONS_TABLE, STEPS_TABLE, LOCK_TABLE})

_STEP_COLUMNS: Final = (
    "migration text NOT NULL, step integer NOT NULL, checksum text NOT NULL, job text, "
    "begun_at timestamptz NOT NULL, done_at timestamptz, PRIMARY KEY (migration, step)"
)
_COLUMNS: Final = {
    MIGRATIONS_TABLE: "name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL",
    STEPS_TABLE: _STEP_COLUMNS,
    LOCK_TABLE: "id integer PRIMARY KEY, holder text NOT NULL, until timestamptz NOT NULL",
}


@dataclass(frozen=True, slots=True)
class StartedStatement:
    """A statement that was begun: the checksum of its text, its job if it started one, and whether it is done."""

    checksum: str
    job: str | None
    done: bool


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A migration that is completely applied."""

    checksum: str
    at: datetime.datetime


class Ledger:
    """The ledger over one connection, whose search path names its schema. Methods raise asyncpg.PostgresError."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def create(self) -> None:
        """Create the tables that are missing. They are looked for first: even DDL that does nothing changes the
        catalog."""
        for name, columns in _COLUMNS.items():
            await retry_conflicts(lambda n=name, c=columns: self._create_table(n, c), is_retryable=is_ddl_race)  # type: ignore[misc]

    async def applied(self) -> dict[str, AppliedMigration]:
        """Return the applied migrations by name; empty if there is no ledger yet."""
        rows = await self._rows(f"SELECT name, checksum, applied_at FROM {MIGRATIONS_TABLE}")  # noqa: S608
        return {row["name"]: AppliedMigration(row["checksum"], row["applied_at"]) for row in rows}

    async def steps(self) -> dict[tuple[str, int], StartedStatement]:
        """Return the statements that were begun, by migration and number from 0."""
        rows = await self._rows(f"SELECT migration, step, checksum, job, done_at FROM {STEPS_TABLE}")  # noqa: S608
        return {
            (row["migration"], row["step"]): StartedStatement(row["checksum"], row["job"], row["done_at"] is not None)
            for row in rows
        }

    async def holder(self) -> tuple[str, float] | None:
        """Return who holds the lock and for how many more seconds; None if nobody does."""
        rows = await self._rows(
            f"SELECT holder, extract(epoch FROM until - now())::float8 AS remaining FROM {LOCK_TABLE} WHERE id = 1"  # noqa: S608
        )
        return (rows[0]["holder"], rows[0]["remaining"]) if rows else None

    async def begin_statement(self, migration: str, step: int, checksum: str, before: StartedStatement | None) -> None:
        """Record that a statement begins. Raises MigrationError if another run began it after `before` was read."""
        if before is None:
            done = await self._execute(
                f"INSERT INTO {STEPS_TABLE} (migration, step, checksum, begun_at) VALUES ($1, $2, $3, now()) "  # noqa: S608
                "ON CONFLICT (migration, step) DO NOTHING",
                migration,
                step,
                checksum,
            )
        else:
            done = await self._execute(
                f"UPDATE {STEPS_TABLE} SET checksum = $3, begun_at = now(), job = NULL "  # noqa: S608
                "WHERE migration = $1 AND step = $2 AND checksum = $4 AND done_at IS NULL",
                migration,
                step,
                checksum,
                before.checksum,
            )
        if not done.endswith(" 1"):
            raise MigrationError(
                "another run has begun this statement meanwhile: run this again to continue from there"
            )

    async def record_job(self, migration: str, step: int, job: str) -> None:
        """Record the job that a statement started."""
        await self._execute(
            f"UPDATE {STEPS_TABLE} SET job = $3 WHERE migration = $1 AND step = $2",  # noqa: S608
            migration,
            step,
            job,
        )

    async def retract(self, migration: str, step: int) -> None:
        """Delete the record of a statement that certainly had no effect."""
        await self._execute(f"DELETE FROM {STEPS_TABLE} WHERE migration = $1 AND step = $2", migration, step)  # noqa: S608

    async def finish_statement(self, migration: str, step: int) -> None:
        """Record that a statement is done."""
        await self._execute(
            f"UPDATE {STEPS_TABLE} SET done_at = now() WHERE migration = $1 AND step = $2",  # noqa: S608
            migration,
            step,
        )

    async def execute_and_finish(self, migration: str, step: int, checksum: str, statement: str) -> None:
        """Execute a statement that changes rows, and record that it is done, in one transaction: it happens once."""

        async def once() -> None:
            await self._connection.execute("BEGIN")
            try:
                await self._connection.execute(statement)
                await self._connection.execute(
                    f"INSERT INTO {STEPS_TABLE} (migration, step, checksum, begun_at, done_at) "  # noqa: S608
                    "VALUES ($1, $2, $3, now(), now())",
                    migration,
                    step,
                    checksum,
                )
                await self._connection.execute("COMMIT")
            except asyncpg.PostgresError:
                if not self._connection.is_closed():
                    await self._connection.execute("ROLLBACK")
                raise

        await retry_conflicts(once)

    async def finish_migration(self, migration: str, checksum: str) -> None:
        """Record that a migration is completely applied."""
        await self._execute(
            f"INSERT INTO {MIGRATIONS_TABLE} (name, checksum, applied_at) VALUES ($1, $2, now()) "  # noqa: S608
            "ON CONFLICT (name) DO NOTHING",
            migration,
            checksum,
        )

    # -- the lock ------------------------------------------------------------------------------------------------------

    async def take_lock(self, holder: str, seconds: float) -> bool:
        """Try to take the lock. Succeeds if it is free, expired, or already held by `holder`."""
        rows = await retry_conflicts(
            lambda: self._connection.fetch(
                f"INSERT INTO {LOCK_TABLE} AS held (id, holder, until) "  # noqa: S608
                "VALUES (1, $1, now() + $2::float8 * interval '1 second') ON CONFLICT (id) DO UPDATE "
                "SET holder = excluded.holder, until = excluded.until "
                "WHERE held.until < now() OR held.holder = excluded.holder RETURNING holder",
                holder,
                seconds,
            )
        )
        return bool(rows)

    async def renew_lock(self, holder: str, seconds: float) -> None:
        """Extend the lock. Raises MigrationError if another run has taken it."""
        done = await self._execute(
            f"UPDATE {LOCK_TABLE} SET until = now() + $2::float8 * interval '1 second' WHERE id = 1 AND holder = $1",  # noqa: S608
            holder,
            seconds,
        )
        if not done.endswith(" 1"):
            found = await self.holder()
            who = found[0] if found is not None else "somebody"
            raise MigrationError(
                f"{who} has taken over because this run did not renew its lock in time: it continues there"
            )

    async def release_lock(self, holder: str) -> None:
        """Release the lock if `holder` holds it."""
        await self._execute(f"DELETE FROM {LOCK_TABLE} WHERE id = 1 AND holder = $1", holder)  # noqa: S608

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _rows(self, sql: str) -> list[asyncpg.Record]:
        try:
            return list(await retry_conflicts(lambda: self._connection.fetch(sql)))
        except asyncpg.PostgresError as error:
            if error.sqlstate != NO_TABLE:
                raise
            return []

    async def _execute(self, sql: str, *parameters: Any) -> str:
        return str(await retry_conflicts(lambda: self._connection.execute(sql, *parameters)))

    async def _create_table(self, name: str, columns: str) -> None:
        try:
            await self._connection.fetch(f"SELECT 1 FROM {name} LIMIT 0")  # noqa: S608
        except asyncpg.PostgresError as error:
            if error.sqlstate != NO_TABLE:
                raise
        else:
            return
        await self._connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
