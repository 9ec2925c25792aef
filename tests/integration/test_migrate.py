"""`crossfade migrate`, ended everywhere: whatever happens to a run, those after it bring the tables to the same end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.cli.main import main
from proxy.migrate.schema.ledger import Ledger
from proxy.migrate.schema.migration_files import Migration, checksum, statements_of
from proxy.migrate.schema.runner import MigrationError, MigrationInterrupted, migrate, read_progress
from tests.integration.scenes import wait_until
from tests.integration.sql_rules import bare, is_ddl, violations

FILES = {
    "0001_books.sql": """
        CREATE TABLE books (id integer PRIMARY KEY, title text, copies integer NOT NULL);
        INSERT INTO books VALUES (1, 'Dune; the first', 1), (2, 'Emma', 1);
        UPDATE books SET copies = copies + 1;
    """,
    "0002_index.sql": "CREATE INDEX ASYNC by_title ON books (title) WHERE title IS NOT NULL;",
    "0003_column.sql": """
        ALTER TABLE books ADD COLUMN shelf text;
        UPDATE books SET copies = copies * 3, shelf = 'Read';
        ALTER TABLE books ADD CONSTRAINT positive CHECK (copies > 0) NOT VALID;
        ALTER TABLE ASYNC books VALIDATE CONSTRAINT positive;
    """,
    "0004_drop.sql": "CREATE TABLE passing (id integer PRIMARY KEY); DROP TABLE passing;",
    "0005_rename.sql": "ALTER TABLE books RENAME COLUMN shelf TO place;",
}


def migrations(files: dict[str, str] = FILES) -> list[Migration]:
    return [Migration(name, statements_of(text), checksum(text)) for name, text in files.items()]


@asynccontextmanager
async def connected(dsn: str, schema: str | None = None) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, ssl=False)
    try:
        if schema is not None:
            await connection.execute(f'SET search_path TO "{schema}"')
        yield connection
    finally:
        connection.terminate()


async def fresh(dsn: str) -> str:
    """A schema of its own."""
    schema = f"s{uuid.uuid4().hex[:12]}"
    async with connected(dsn) as connection:
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    return schema


async def found(connection: asyncpg.Connection) -> tuple[Any, ...]:
    """All that the migrations are to leave: columns, indexes, constraints, rows."""
    return (
        [
            tuple(row)
            for row in await connection.fetch(
                "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
                "WHERE table_schema = current_schema() AND table_name NOT LIKE 'crossfade%' ORDER BY 1, 2"
            )
        ],
        [
            tuple(row)
            for row in await connection.fetch(
                "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "WHERE c.relnamespace = current_schema()::regnamespace AND c.relname NOT LIKE 'crossfade%' ORDER BY 1"
            )
        ],
        [
            tuple(row)
            for row in await connection.fetch(
                "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'c' "
                "AND connamespace = current_schema()::regnamespace ORDER BY 1"
            )
        ],
        [tuple(row) for row in await connection.fetch("SELECT id, title, copies, place FROM books ORDER BY id")],
    )


END: tuple[Any, ...] = (
    [
        ("books", "copies", "integer", "NO"),
        ("books", "id", "integer", "NO"),
        ("books", "place", "text", "YES"),
        ("books", "title", "text", "YES"),
    ],
    [("books_pkey", True), ("by_title", True)],
    [("positive", True)],
    [(1, "Dune; the first", 6, "Read"), (2, "Emma", 6, "Read")],
)


class Failing:
    """A connection on which the n-th call goes wrong: before it is sent, after it took effect, or by a conflict."""

    def __init__(self, connection: asyncpg.Connection, number: int, how: str) -> None:
        self._connection = connection
        self._left = number
        self._how = how
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._connection, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return real

        async def call(*arguments: Any, **more: Any) -> Any:
            self._left -= 1
            if self._left != 0:
                return await real(*arguments, **more)
            self.failed = True
            if self._how == "conflict":
                raise asyncpg.SerializationError("change conflicts with another transaction, please retry: (OC000)")
            if self._how == "after":
                with suppress(asyncpg.PostgresError):  # no ASYNC in a PostgreSQL; a table that is looked for
                    await real(*arguments, **more)
            self._connection.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

        return call


# --- once -------------------------------------------------------------------------------------------------------------


async def test_all_is_applied_once_through_dsql_s_gate(dsql_database: str) -> None:
    said: list[str] = []
    sent: list[str] = []
    async with connected(dsql_database) as connection:
        connection.add_query_logger(lambda record: sent.append(record.query))
        assert await migrate(connection, migrations(), said.append) == 5
        assert [each for statement in sent for each in violations(statement)] == []
        assert await found(connection) == END
        assert await migrate(connection, migrations(), said.append) == 0
        assert await found(connection) == END
        jobs = await connection.fetch("SELECT job_id, job_type FROM sys.jobs")
        # Each was a job to DSQL's gate, and not a statement that had to be translated for a PostgreSQL.
        made = sorted(row["job_type"] for row in jobs)
        assert made == ["DROP", "INDEX_BUILD", "VALIDATE_CONSTRAINT"]
    assert said == [f"applied {name}" for name in FILES]


# --- ended anywhere ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["before", "after", "conflict"])
async def test_a_run_that_fails_at_any_call_is_gone_on_with(database: str, how: str) -> None:
    number = 0
    while True:
        number += 1
        schema = await fresh(database)
        async with connected(database, schema) as connection:
            failing = Failing(connection, number, how)
            outcome = (
                await asyncio.gather(migrate(failing, migrations(), lease_seconds=0.01), return_exceptions=True)
            )[0]
        async with connected(database, schema) as connection:
            await migrate(connection, migrations(), lease_seconds=30)
            assert await found(connection) == END, (number, how)
            assert {each.state for each in await read_progress(connection, migrations())} == {"applied"}
        if not failing.failed:
            assert outcome == 5
            break
        # What lost to another is tried again; what was cut off says how it goes on.
        if how == "conflict":
            assert outcome == 5
        else:
            assert isinstance(outcome, MigrationInterrupted)
            assert "run this again" in str(outcome)
    assert number > 40


async def test_what_is_applied_is_not_told_over_a_lost_connection(database: str) -> None:
    async with connected(database) as connection:
        connection.terminate()
        with pytest.raises(MigrationInterrupted, match="the connection was lost"):
            await read_progress(connection, migrations())


@pytest.mark.parametrize("place", [(name, n) for name, text in FILES.items() for n in range(len(statements_of(text)))])
async def test_a_statement_that_is_refused_can_be_mended(database: str, place: tuple[str, int]) -> None:
    """What was refused had no effect, and is no hindrance to what is put in its place."""
    name, number = place
    wrong = []
    for each in migrations():
        if each.name == name:
            statements = list(each.statements)
            statements[number] = "ALTER TABLE nowhere ADD COLUMN x text"
            wrong.append(Migration(name, tuple(statements), "of the wrong text"))
        else:
            wrong.append(each)
    async with connected(database) as connection:
        with pytest.raises(MigrationError) as raised:
            await migrate(connection, wrong)
        assert str(raised.value).startswith(f"{name}, statement {number + 1} of ")
        assert "42P01" in str(raised.value)
        states = {each.name: (each.state, each.done) for each in await read_progress(connection, wrong)}
        assert states[name] == (("begun", number) if number else ("waiting", 0))
        await migrate(connection, migrations())
        assert await found(connection) == END


async def test_what_somebody_else_made_is_not_taken_for_ours(database: str) -> None:
    async with connected(database) as connection:
        await connection.execute("CREATE TABLE books (somebody_elses text)")
        for _ in range(2):
            with pytest.raises(MigrationError, match=r"0001_books\.sql, statement 1 of 3: 42P07"):
                await migrate(connection, migrations())


async def test_where_nothing_is_to_be_done_no_ddl_is_sent(database: str) -> None:
    """On DSQL each is a change of the catalog, at which every session's transactions may fail (OC001)."""
    async with connected(database) as connection:
        await migrate(connection, migrations())
        sent: list[str] = []
        connection.add_query_logger(lambda record: sent.append(record.query))
        assert await migrate(connection, migrations()) == 0
        assert sent
        assert [statement for statement in sent if is_ddl(bare(statement))] == []


async def test_a_file_that_was_changed_is_named_and_nothing_is_done(database: str) -> None:
    async with connected(database) as connection:
        await migrate(connection, migrations()[:2])
        changed = {**FILES, "0002_index.sql": "CREATE INDEX ASYNC by_title ON books (id);"}
        with pytest.raises(MigrationError, match=r"0002_index\.sql: changed since it was applied: restore it, and"):
            await migrate(connection, migrations(changed))
        states = [(each.name, each.state) for each in await read_progress(connection, migrations(changed))]
        assert states[:3] == [
            ("0001_books.sql", "applied"),
            ("0002_index.sql", "changed"),
            ("0003_column.sql", "waiting"),
        ]
        assert not await connection.fetchval(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'books' AND column_name = 'shelf'"
        )


async def test_a_done_statement_of_a_file_half_applied_may_not_change(database: str) -> None:
    half = {"0001_books.sql": FILES["0001_books.sql"] + "SELECT nonsense;"}
    async with connected(database) as connection:
        with pytest.raises(MigrationError):
            await migrate(connection, migrations(half))
        edited = {"0001_books.sql": FILES["0001_books.sql"].replace("Emma", "Persuasion")}
        with pytest.raises(MigrationError, match=r"statement 2 of 3: changed since it was applied: restore it"):
            await migrate(connection, migrations(edited))


# --- two at once, and one that is killed ------------------------------------------------------------------------------


@pytest.mark.parametrize("lease", [30.0, 0.005])
async def test_two_at_once_do_it_once(database: str, lease: float) -> None:
    """Also when neither can keep the lock, because its time is up before it is used (docs/schema.md says what then is
    not promised: of a table that is made and dropped)."""
    files = FILES if lease > 1 else {name: text for name, text in FILES.items() if name != "0004_drop.sql"}
    for _ in range(4):
        schema = await fresh(database)

        async def one(schema: str = schema) -> int:
            async with connected(database, schema) as connection:
                for _ in range(200):
                    if lease > 1:
                        return await migrate(connection, migrations(files), lease_seconds=lease)
                    with suppress(MigrationError):  # "… has taken over": whoever was taken over from asks again
                        return await migrate(connection, migrations(files), lease_seconds=lease)
                raise AssertionError("it never ended")

        counts = await asyncio.gather(*(one() for _ in range(3)))
        assert sum(counts) == 5 or lease < 1
        async with connected(database, schema) as connection:
            assert await found(connection) == END


RUNNER = """
import asyncio, sys
import asyncpg
from proxy.migrate.schema.runner import migrate
from tests.integration.test_migrate import migrations, slow

async def run():
    connection = await asyncpg.connect(sys.argv[1], ssl=False)
    print("connected", flush=True)
    await migrate(connection, migrations(slow()), print, lease_seconds=1.0)

asyncio.run(run())
"""


def slow() -> dict[str, str]:
    """The same with pauses between, so that there is time to be killed in."""
    return {
        name: "".join(f"{statement}; SELECT pg_sleep(0.03);" for statement in statements_of(text))
        for name, text in FILES.items()
    }


def test_killed_at_any_moment_and_started_again(database: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", RUNNER, database]
    environment = os.environ | {"PYTHONPATH": "."}
    for _ in range(6):
        with subprocess.Popen(
            command, cwd=root, env=os.environ | {"PYTHONPATH": "."}, stdout=subprocess.PIPE
        ) as runner:
            assert runner.stdout is not None
            assert runner.stdout.readline() == b"connected\n"
            with suppress(subprocess.TimeoutExpired):
                runner.wait(chance.random() * 0.5)
            runner.send_signal(signal.SIGKILL)
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=300)
    assert ended.returncode == 0, ended.stderr

    async def end() -> tuple[Any, ...]:
        async with connected(database) as connection:
            assert await migrate(connection, migrations(slow())) == 0
            return await found(connection)

    assert asyncio.run(end()) == END


async def test_the_lock_is_waited_for_and_taken_over_from_the_dead(database: str) -> None:
    said: list[str] = []
    async with connected(database) as connection, connected(database) as other:
        ledger = Ledger(other)
        await ledger.create()
        assert await ledger.take_lock("elsewhere:1", 600)
        with pytest.raises(MigrationError, match="elsewhere:1 is still applying migrations"):
            await migrate(connection, migrations(), said.append, wait_seconds=0)
        waiting = asyncio.create_task(migrate(connection, migrations(), said.append, wait_seconds=120))
        await asyncio.to_thread(wait_until, lambda: bool(said), 120, "it to say that it waits")
        await ledger.renew_lock("elsewhere:1", 0)  # it is dead from now on
        assert await waiting == 5
        assert said[0] == "waiting for elsewhere:1, which is applying migrations"
        with pytest.raises(MigrationError, match="has taken over"):
            await ledger.renew_lock("elsewhere:1", 30)
        assert await ledger.take_lock("elsewhere:2", 30)  # it was let go of


# --- jobs -------------------------------------------------------------------------------------------------------------

_INDEX = {"0001_table.sql": "CREATE TABLE t (a integer);", "0002_index.sql": "CREATE UNIQUE INDEX ASYNC by_a ON t (a);"}


class Jobs:
    """A PostgreSQL whose indexes are made by jobs, as DSQL's are: what is asked of it, and what comes of it, is told.

    `becomes` are the statuses that a job goes through, one a look; the last one stays.
    """

    def __init__(self, connection: asyncpg.Connection, becomes: list[str]) -> None:
        self._connection = connection
        self.becomes = becomes
        self.known = True
        self.submitted = 0
        self.looks = 0
        self.on_submit: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        if "INDEX ASYNC" in sql:
            await self._connection.execute(sql.replace(" ASYNC", ""))
            await self._valid(False)
            self.submitted += 1
            self.on_submit()
            return [("job1",)]
        if "FROM sys.jobs" in sql:
            status = self.becomes[min(self.looks, len(self.becomes) - 1)]
            return [{"job_id": "job1", "status": status, "object_name": "public.by_a"}] if self.submitted else []
        return await self._connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        if "FROM sys.jobs" not in sql:
            return await self._connection.fetchrow(sql, *arguments)
        assert arguments == ("job1",)
        status = self.becomes[min(self.looks, len(self.becomes) - 1)]
        self.looks += 1
        if status == "completed":
            await self._valid(True)
        return {"status": status, "details": "found duplicate key"} if self.known else None

    async def _valid(self, whether: bool) -> None:
        await self._connection.execute(
            f"UPDATE pg_index SET indisvalid = {whether} WHERE indexrelid = 'by_a'::regclass"
        )


async def valid(connection: asyncpg.Connection) -> bool | None:
    answer: bool | None = await connection.fetchval(
        "SELECT indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relname = 'by_a'"
    )
    return answer


@pytest.mark.parametrize(("every", "told"), [(0.0, ["submitted", "processing", "processing"]), (3600.0, [])])
async def test_a_job_is_waited_for_and_its_progress_told(
    database: str, monkeypatch: pytest.MonkeyPatch, every: float, told: list[str]
) -> None:
    """Of each look, or, where looks come more often than is told, not of each."""
    monkeypatch.setattr("proxy.migrate.schema.runner._REPORT_SECONDS", every)
    said: list[str] = []
    async with connected(database) as connection:
        jobs = Jobs(connection, ["submitted", "processing", "processing", "completed"])
        assert await migrate(jobs, migrations(_INDEX), said.append) == 2
        assert jobs.looks == 4
        assert await valid(connection) is True
    assert (said[0], said[-1]) == ("applied 0001_table.sql", "applied 0002_index.sql")
    looks = [each.rpartition(", ")[0] for each in said[1:-1]]  # without the seconds
    assert looks == [f"0002_index.sql, statement 1 of 1: {status}" for status in told]


async def test_an_index_whose_job_failed_is_dropped_and_can_be_made_again(database: str) -> None:
    async with connected(database) as connection:
        with pytest.raises(
            MigrationError, match=r"0002_index\.sql, statement 1 of 1: job job1 failed: found duplicate"
        ):
            await migrate(Jobs(connection, ["processing", "failed"]), migrations(_INDEX))
        assert await valid(connection) is None
        assert await migrate(Jobs(connection, ["completed"]), migrations(_INDEX)) == 1
        assert await valid(connection) is True


async def test_a_run_that_was_killed_while_it_waited_waits_for_the_same_job(database: str) -> None:
    async with connected(database) as connection:
        first = Jobs(connection, ["processing"])
        task = asyncio.create_task(migrate(first, migrations(_INDEX), lease_seconds=0.01))
        await asyncio.to_thread(wait_until, lambda: first.looks >= 2, 120, "two looks")
        task.cancel()
        await asyncio.wait([task])
        second = Jobs(connection, ["processing", "completed"])
        second.submitted = 1
        assert await migrate(second, migrations(_INDEX)) == 1
        assert second.submitted == 1
        assert await valid(connection) is True


@pytest.mark.parametrize("ends", ["completed", "failed"])
async def test_a_run_that_was_killed_before_it_knew_the_job_finds_it(database: str, ends: str) -> None:
    """Still at work: it is waited for. Failed while nobody looked: what it left is dropped, and made again."""

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    async with connected(database) as connection:
        first = Jobs(connection, ["processing"])
        first.on_submit = kill
        with pytest.raises(Killed):
            await migrate(first, migrations(_INDEX), lease_seconds=0.01)
        assert await valid(connection) is False
        second = Jobs(connection, ["processing", "completed"] if ends == "completed" else ["failed"])
        second.submitted = 1
        if ends == "failed":

            def mended() -> None:
                second.becomes = ["completed"]

            second.on_submit = mended
        assert await migrate(second, migrations(_INDEX)) == 1
        assert second.submitted == (1 if ends == "completed" else 2)
        assert await valid(connection) is True


@pytest.mark.parametrize("whole", [True, False])
async def test_a_job_that_is_forgotten_is_judged_by_what_it_left(database: str, whole: bool) -> None:
    async with connected(database) as connection:
        jobs = Jobs(connection, ["completed" if whole else "processing"])
        jobs.known = False
        if whole:
            assert await migrate(jobs, migrations(_INDEX)) == 2
        else:
            with pytest.raises(MigrationError, match="is no longer known"):
                await migrate(jobs, migrations(_INDEX))
            assert await valid(connection) is None


class Proofs:
    """A PostgreSQL that proves a constraint by a job, and has forgotten the job when it is asked; or never did it."""

    def __init__(self, connection: asyncpg.Connection, *, proves: bool) -> None:
        self._connection = connection
        self._proves = proves

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        if "TABLE ASYNC" not in sql:
            return await self._connection.fetch(sql, *arguments)
        if self._proves:
            await self._connection.execute(sql.replace(" ASYNC", ""))
        return [("job2",)]

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        return None if "FROM sys.jobs" in sql else await self._connection.fetchrow(sql, *arguments)


async def test_a_proof_is_believed_only_if_it_is_seen(database: str) -> None:
    files = {
        "0001_t.sql": "CREATE TABLE t (a integer); ALTER TABLE t ADD CONSTRAINT big CHECK (a > 1) NOT VALID;",
        "0002_proof.sql": "ALTER TABLE ASYNC t VALIDATE CONSTRAINT big;",
    }
    async with connected(database) as connection:
        with pytest.raises(MigrationError, match=r"0002_proof\.sql, statement 1 of 1: job job2 is no longer known"):
            await migrate(Proofs(connection, proves=False), migrations(files))
        assert await migrate(Proofs(connection, proves=True), migrations(files)) == 1


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, database: str) -> str:
    for name in list(os.environ):
        if name.startswith("CROSSFADE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CROSSFADE_DSQL__DSN", database)
    monkeypatch.setenv("CROSSFADE_LOG__LEVEL", "error")
    return database


def tables(dsn: str) -> list[str]:
    async def ask() -> list[str]:
        async with connected(dsn) as connection:
            rows = await connection.fetch(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            )
            return sorted(row[0] for row in rows)

    return asyncio.run(ask())


def test_a_plan_is_told_and_nothing_is_written(folder: Path, here: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--folder", str(folder), "--plan"]) == 0
    plan = capsys.readouterr().out
    assert plan.startswith("0001_books.sql: not applied\n    CREATE TABLE books")
    assert "    ALTER TABLE ASYNC books VALIDATE CONSTRAINT positive;\n" in plan
    assert tables(here) == []
    assert main(["migrate", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("applied 0005_rename.sql\n5 applied, nothing else to do\n")
    assert main(["migrate", "--folder", str(folder), "--plan"]) == 0
    assert "CREATE" not in capsys.readouterr().out


def test_status_says_how_far_it_has_come(folder: Path, here: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "0003_column.sql").write_text("ALTER TABLE books ADD COLUMN shelf text; SELECT nonsense;")
    assert main(["migrate", "--folder", str(folder)]) == 1
    assert "0003_column.sql, statement 2 of 2: 42703" in capsys.readouterr().err
    (folder / "0001_books.sql").unlink()
    assert main(["migrate", "--folder", str(folder), "--status"]) == 0
    first, second, third, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("0001_books.sql: applied 20")
    assert first.endswith("and not in this folder")
    assert second.startswith("0002_index.sql: applied 20")
    assert third == "0003_column.sql: begun, 1 of 2 statements done"
    assert last == "0005_rename.sql: not applied"
    (folder / "0002_index.sql").write_text("SELECT 1;")
    assert main(["migrate", "--folder", str(folder), "--status"]) == 1
    assert "0002_index.sql: applied" in (told := capsys.readouterr().out)
    assert "and changed since: restore it" in told


def test_without_a_folder_billio_s_tables_are_made(here: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate"]) == 0
    assert "items" in tables(here)
    assert "applied 0001_items.sql" in capsys.readouterr().out


def test_another_schema_is_used_where_one_is_set(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def make() -> None:
        async with connected(here) as connection:
            await connection.execute('CREATE SCHEMA "Other"')

    asyncio.run(make())
    monkeypatch.setenv("CROSSFADE_DSQL__SCHEMA", "Other")
    assert main(["migrate"]) == 0
    assert tables(here) == []


@pytest.mark.parametrize(
    ("arguments", "variable", "status", "said"),
    [
        (["--folder", "/nonexistent"], {}, 1, "/nonexistent: there is no such folder: give another --folder"),
        ([], {"CROSSFADE_DSQL__DSN": ""}, 2, "set endpoint or dsn in [dsql]"),
        (
            [],
            {"CROSSFADE_DSQL__DSN": "postgresql://a@127.0.0.1:1/x"},
            1,
            "DSQL: Connection refused (127.0.0.1:1): nothing listens there",
        ),
    ],
)
def test_what_is_wrong_is_one_message(
    arguments: list[str],
    variable: dict[str, str],
    status: int,
    said: str,
    here: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variable.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    assert main(["migrate", *arguments]) == status
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
