"""The stand-ins themselves: if these do not hold, no other test means anything."""

import asyncio
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.standins.billio import HASH_KEY, INDEXES, TABLE, billio_table, dynamodb_client
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.dynamodb_local import AGREED, DynamoDBLocal, available
from tests.standins.postgres import Postgres
from tests.standins.processes import LEASH, Child, StandinError, accepts_connections, free_port

ROOT = Path(__file__).parents[2]
CONFINE = ROOT / "tests" / "standins" / "confine_server.py"


def listening_addresses(pid: int) -> set[str]:
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    found = (connection for process in processes for connection in process.net_connections("inet"))
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


async def test_fresh_databases_are_empty_utf8_snapshot_isolated(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        settings = await connection.fetchrow(
            "SELECT current_setting('default_transaction_isolation') AS isolation,"
            " current_setting('server_encoding') AS encoding,"
            " (SELECT datcollate FROM pg_database WHERE datname = current_database()) AS collation"
        )
        assert dict(settings) == {"isolation": "repeatable read", "encoding": "UTF8", "collation": "C"}
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    finally:
        await connection.close()


async def test_postgres_keeps_port_and_data_over_a_kill() -> None:
    with Postgres() as server:
        server.execute("CREATE TABLE kept (id int)")
        server.execute("INSERT INTO kept VALUES (7)")
        server.execute("CHECKPOINT")
        port = server.port
        server.kill()
        assert not accepts_connections(port)
        # From a worker thread that ends at once: the server must outlive it.
        await asyncio.to_thread(server.restart)
        assert server.port == port
        assert server.execute("SELECT id FROM kept") == "7"


def test_everything_listens_on_loopback_only(postgres: Postgres, ministack: Ministack, dsql_gate: Dsql) -> None:
    for child in (postgres.child, ministack.child, dsql_gate.child):
        assert listening_addresses(child.pid) == {"127.0.0.1"}


def test_ministack_resets_and_comes_back_on_its_port() -> None:
    with Ministack() as store:
        client = billio_table(store.endpoint)
        assert client.list_tables()["TableNames"] == [TABLE]
        store.reset()
        assert client.list_tables()["TableNames"] == []
        store.kill()
        assert not accepts_connections(store.port)
        store.restart()
        assert dynamodb_client(store.endpoint).list_tables()["TableNames"] == []


def test_billio_table_has_its_key_and_eight_indexes(dynamodb: str) -> None:
    described = billio_table(dynamodb).describe_table(TableName=TABLE)["Table"]
    assert [part["AttributeName"] for part in described["KeySchema"]] == [HASH_KEY]
    assert {index["IndexName"] for index in described["GlobalSecondaryIndexes"]} == set(INDEXES)
    assert len(INDEXES) == 8


async def test_the_dsql_gate_refuses_what_dsql_refuses(dsql_database: str) -> None:
    connection = await asyncpg.connect(dsql_database, ssl=False)
    try:
        await connection.execute("CREATE TABLE t (id uuid PRIMARY KEY, data jsonb)")
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await connection.execute("CREATE INDEX by_data ON t (id)")
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await connection.execute("TRUNCATE t")
    finally:
        await connection.close()


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    child = Child("a liar", [sys.executable, "-c", "print('no such disk'); exit(3)"], log_file=tmp_path / "log")
    with pytest.raises(StandinError, match=r"a liar ended with status 3\n.*no such disk"):
        child.wait_ready(lambda: False, seconds=120)


def test_a_server_on_every_interface_is_confined_to_loopback(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("x" * 300_000)
    port = free_port()
    server = [sys.executable, "-m", "http.server", "8000", "--bind", "0.0.0.0", "--directory", str(tmp_path)]
    command = [sys.executable, str(CONFINE), str(LEASH), str(port), "8000", *server]
    child = Child("a confined server", command, log_file=tmp_path / "log")
    try:
        url = f"http://127.0.0.1:{port}/page"

        def answers() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    return len(answer.read()) == 300_000
            except OSError:
                return False

        child.wait_ready(answers, seconds=120)
        inner = psutil.Process(child.pid).children()[0]
        assert Path(f"/proc/{inner.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    finally:
        child.kill()


@pytest.mark.skipif(not available(), reason=f"DynamoDB Local runs only with {AGREED}=1, Java and npm")
def test_dynamodb_local_takes_billios_table_and_keeps_it_on_disk() -> None:
    with tempfile.TemporaryDirectory() as folder, DynamoDBLocal(Path(folder)) as store:
        client = billio_table(store.endpoint)
        store.kill()
        store.restart()
        assert client.list_tables()["TableNames"] == [TABLE]


def test_children_die_with_a_parent_that_was_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="crossfade-test-") as folder:
        # As root, PostgreSQL runs as somebody else, who must get through.
        Path(folder).chmod(0o711)
        script = (
            "import sys, time\nfrom pathlib import Path\n"
            "from tests.standins.dynamodb import Ministack\nfrom tests.standins.postgres import Postgres\n"
            "with Postgres(Path(sys.argv[1])) as p, Ministack() as m:\n"
            "    print(p.child.pid, m.child.pid, flush=True)\n    time.sleep(600)\n"
        )
        command = [sys.executable, "-c", script, f"{folder}/cluster"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
            assert len(children) == 2
            parent.kill()
        deadline = time.monotonic() + 120
        # In a container nobody may reap orphans: a zombie is as dead as the rest.
        while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
            assert time.monotonic() < deadline, "a stand-in outlived its parent"
            time.sleep(0.05)
