"""What CREATE INDEX ASYNC and ALTER TABLE ASYNC leave behind: jobs in sys.jobs, done a while after their COMMIT."""

import asyncio
import contextlib
import re
from typing import Any, Final

import asyncpg
from pglast.parser import parse_sql
from pglast.stream import RawStream

from tests.standins.dsql.connections import wire
from tests.standins.dsql.databases import Database, identifier, quoted
from tests.standins.dsql.executions import Failed
from tests.standins.dsql.settings import GateSettings
from tests.standins.dsql.sql.statements import Job, Statement
from tests.standins.dsql.sql.trees import Relation
from tests.standins.dsql.transactions import Transaction

COLUMN: Final = "job_id"
_DUPLICATE: Final = "23505"
_POLL_SECONDS: Final = 0.02
_SUBMITTED: Final = (
    "SELECT job_id, job_type, object_name, validates FROM standin.jobs WHERE status = 'submitted' ORDER BY number"
)
_OPEN: Final = "SELECT 1 FROM standin.jobs WHERE job_id = $1 AND status IN ('submitted', 'processing')"
_PROCESSING: Final = (
    "UPDATE standin.jobs SET status = 'processing', update_time = date_trunc('second', clock_timestamp()) "
    "WHERE job_id = $1"
)
_DONE: Final = (
    "UPDATE standin.jobs SET status = $2, details = $3, update_time = date_trunc('second', clock_timestamp()) "
    "WHERE job_id = $1"
)
_OF_RELATION: Final = re.compile(r' of relation "[^"]*"')


class Jobs:
    """The jobs of every database: `look` after a COMMIT that may have left some."""

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def look(self, database: Database) -> None:
        """See whether there are jobs to do, and do them."""
        self._again.add(database.name)
        if database.name not in self._at_work:
            task = asyncio.get_running_loop().create_task(self._work(database))
            self._at_work[database.name] = task

    async def wait(self, database: Database, job: str) -> None:
        """Return once a job is no longer under way."""
        while await database.fetch(_OPEN, job):  # noqa: ASYNC110 - what is waited for is a row
            await asyncio.sleep(_POLL_SECONDS)

    async def _work(self, database: Database) -> None:
        try:
            while database.name in self._again:
                self._again.discard(database.name)
                jobs = await database.fetch(_SUBMITTED)
                await asyncio.gather(*(self._do(database, job) for job in jobs))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # The database has been dropped, or the server has gone: so have its jobs.
            self._again.discard(database.name)
        finally:
            del self._at_work[database.name]

    async def _do(self, database: Database, job: Any) -> None:
        await database.fetch(_PROCESSING, job[COLUMN])
        await asyncio.sleep(self._settings.job_seconds)
        status, details = "completed", None
        try:
            if job["job_type"] == "INDEX_BUILD":
                await database.fetch("SELECT standin.finish_index($1)", job[COLUMN])
                return
            if job["job_type"] == "VALIDATE_CONSTRAINT":
                constraint = identifier(job["validates"])
                await database.fetch(f"ALTER TABLE {job['object_name']} VALIDATE CONSTRAINT {constraint}")
        except asyncpg.PostgresError as error:
            status, details = "failed", _OF_RELATION.sub("", str(error))
        await database.fetch(_DONE, job[COLUMN], status, details)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._at_work.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def start_job(transaction: Transaction, statement: Statement, settings: GateSettings) -> list[bytes]:
    """Carry out an ASYNC statement: the frames of its row. Raises Failed."""
    job = statement.job
    assert job is not None
    table = quoted(job.table).replace("'", "''")
    if not job.index:
        assert job.name is not None
        name = job.name.replace("'", "''")
        rows = await transaction.own(f"SELECT standin.validation_job('{table}', '{name}')")
        return [wire.data_row([wire.row_values(rows[0])[0] or ""]), wire.complete("ALTER TABLE")]
    made = await _index(transaction, statement, job, settings)
    return [wire.data_row([made]), wire.complete("CREATE INDEX")]


async def _index(transaction: Transaction, statement: Statement, job: Job, settings: GateSettings) -> str:
    tree = statement.tree
    name = quoted(Relation(job.table.schema, job.name)).replace("'", "''") if job.name is not None else ""
    if tree.if_not_exists and name:
        rows = await transaction.own(
            f"SELECT standin.index_job_again(to_regclass('{name}')) WHERE to_regclass('{name}') IS NOT NULL"
        )
        if rows:
            return wire.row_values(rows[0])[0] or ""
    accept = tree.unique and settings.unique_while_building == "accepted"
    try:
        await transaction.own(_not_unique(statement.sql) if accept else statement.sql)
    except Failed as failed:
        if wire.error_fields(failed.frame).sqlstate != _DUPLICATE:
            raise
        # It fails when its job ends; until somebody drops it, it is there, invalid, and refuses duplicates.
        await transaction.start_anew()
        await transaction.own(_not_unique(statement.sql))
    table = quoted(job.table).replace("'", "''")
    unique, accepted = str(bool(tree.unique)).lower(), str(bool(accept)).lower()
    rows = await transaction.own(f"SELECT standin.index_job('{table}', {unique}, {accepted}, nullif('{name}', ''))")
    await transaction.own("SELECT standin.refresh_sizes()")
    return wire.row_values(rows[0])[0] or ""


def _not_unique(sql: str) -> str:
    tree = parse_sql(sql)[0].stmt
    tree.unique = False
    tree.nulls_not_distinct = False
    return str(RawStream()(tree))
