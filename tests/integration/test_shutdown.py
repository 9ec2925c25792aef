"""SIGTERM in the middle of load: what was taken is finished, what is left stays in the journal, the exit code is 0."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests import equality
from tests.integration.scenes import scene, wait_until
from tests.integration.writers import Writers
from tests.standins.billio import TABLE, billio_table
from tests.standins.postgres import Postgres

# What a client sees of a server that has closed its socket: no answer of any kind.
NO_ANSWER = {"EndpointConnectionError", "ConnectionClosedError"}
DECIDED = {"ok", "ConditionalCheckFailedException", "TransactionCanceledException"}


def test_a_stop_under_load_answers_all_that_it_took(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database) as here:
        writers = Writers(here.client, 71, threads=6).start()
        wait_until(lambda: writers.answers["ok"] > 60, 120, "writes to go through")
        here.proxy.child.stop(signal.SIGTERM, 120)
        writers.stop()
        assert here.proxy.child.exit_status == 0, here.proxy.child.log_tail()
        assert set(writers.answers) <= NO_ANSWER | DECIDED
        # Each thread loses at most the one request that crossed the closing of its connection.
        assert writers.answers["ConnectionClosedError"] <= 6
        log = here.proxy.log_file.read_text("utf-8")
        assert '"stopped"' in log
        assert "Traceback" not in log
        if "journal_kept" not in log:
            assert equality.disagreements(dynamodb, database, TABLE) == []
        here.proxy.start()
        here.assert_equal()


def test_a_stop_without_dsql_ends_and_keeps_the_journal(dynamodb: str) -> None:
    billio_table(dynamodb)
    quick = {"CROSSFADE_SHUTDOWN__CONVERGE_SECONDS": "1"}
    with Postgres() as server, scene(dynamodb, server.create_database(), environment=quick) as here:
        server.child.signal(signal.SIGSTOP)
        writers = Writers(here.client, 72, threads=3, calls=30).start()
        writers.join()
        kept = here.proxy.status()["journal"]["keys"]
        assert kept > 0
        # Killed after two minutes: it waits for its keys for a second, and for connections that do not close for five.
        here.proxy.child.stop(signal.SIGTERM, 120)
        assert here.proxy.child.exit_status == 0, here.proxy.child.log_tail()
        assert "journal_kept" in here.proxy.log_file.read_text("utf-8")
        server.child.signal(signal.SIGCONT)
        here.proxy.start()
        here.assert_equal()


def test_a_second_process_on_the_same_journal_is_refused(dynamodb: str, database: str, tmp_path: Path) -> None:
    with scene(dynamodb, database, billio=False) as here:
        journal = here.proxy.journal
        refused = serve(tmp_path, journal, dynamodb, database)
        assert refused.returncode == 2
        assert refused.stderr == (
            f"crossfade: {journal}: in use by another process; give each proxy a journal.path of its own\n"
        )
        here.client().list_tables()


def test_a_journal_that_cannot_be_opened_is_one_message(dynamodb: str, database: str, tmp_path: Path) -> None:
    broken = tmp_path / "journal.sqlite"
    broken.write_bytes(b"this is no database, and longer than a header of SQLite's" * 20)
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, said in ((broken, "not a database"), (folder, "is a directory"), (broken / "below", "exist")):
        refused = serve(tmp_path, path, dynamodb, database)
        assert refused.returncode == 2, refused.stderr
        assert refused.stderr.startswith(f"crossfade: {path}: "), refused.stderr
        assert said in refused.stderr.lower()
        assert "journal.path" in refused.stderr
        assert refused.stderr.count("\n") == 1


def serve(folder: Path, journal: Path, dynamodb: str, dsn: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "LISTEN": "127.0.0.1:0",
        "ADMIN__LISTEN": "127.0.0.1:0",
        "STAGE": "shadow",
        "DYNAMODB__ENDPOINT_URL": dynamodb,
        "DYNAMODB__REGION": "us-east-1",
        "DYNAMODB__ACCESS_KEY_ID": "local",
        "DYNAMODB__SECRET_ACCESS_KEY": "local",
        "DSQL__DSN": dsn,
        "JOURNAL__PATH": str(journal),
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    environment |= {f"CROSSFADE_{name}": value for name, value in settings.items()}
    command = [str(Path(sys.executable).with_name("crossfade")), "serve"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
