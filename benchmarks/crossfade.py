"""Crossfade under measurement: the command in a process of its own, on a database whose rows match the upstream's.

Rows get there as they do in service: written through a proxy in `dualwrite` over the upstream that remembers.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from benchmarks.documents import Item, Request, put, put_document
from benchmarks.load import steady
from tests.proxy_process import ProxyProcess
from tests.standins.postgres import Postgres
from tests.standins.processes import Child, accepts_connections, free_port

ROOT = Path(__file__).parent.parent
_COPY = "_of_dsql"
_MAPPING = ROOT / "config" / "billio.toml"


def proxy(
    upstream: str, dsn: str, stage: str, extra: str = "", environment: Mapping[str, str] | None = None
) -> ProxyProcess:
    """A proxy to be entered; `upstream` is `host:port`. It logs mismatches: in a benchmark they are its own fault.

    One that takes DSQL for the authority has the copy of the database (`copy_for_dsql`): no database has two.
    """
    return ProxyProcess(
        dynamodb=f"http://{upstream}",
        dsql=dsn + _COPY if stage in ("live", "complete") else dsn,
        stage=stage,
        mappings=[_MAPPING],
        environment={"CROSSFADE_FOLLOW_TABLES": "true", **(environment or {})},
        extra=f'[log]\nlevel = "warning"\n{extra}',
    )


def address(running: ProxyProcess) -> str:
    """`host:port` of its data port."""
    return running.data.removeprefix("http://")


@contextmanager
def program(name: str, *arguments: str) -> Iterator[Child]:
    """A module of this package as a server; its first argument is its port."""
    with tempfile.TemporaryDirectory(prefix="crossfade-bench-") as folder:
        child = Child(
            name,
            [sys.executable, "-m", f"benchmarks.{name}", *arguments],
            log_file=Path(folder, "log"),
            directory=ROOT,
            environment={
                "PATH": "/usr/bin:/bin",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "eu-west-1",
            },
        )
        try:
            child.wait_ready(lambda: accepts_connections(int(arguments[0])), 30)
            yield child
        finally:
            child.stop()


@contextmanager
def remembering(*other: str) -> Iterator[str]:
    """The upstream that remembers, by its `host:port`; `other` is the URL of the DynamoDB that has the stage table."""
    port = free_port()
    with program("remembering", str(port), *other):
        yield f"127.0.0.1:{port}"


@cache
def books(server: Postgres, number: int) -> str:
    """A database that holds the first so many of Billio's books; its DSN. The same for all who ask."""
    dsn = migrated(server)
    _write(dsn, [put(each) for each in range(number)])
    copy_for_dsql(server, dsn)
    return dsn


def migrated(server: Postgres) -> str:
    """A new database with the table of Billio's items, empty; its DSN."""
    dsn = server.create_database()
    migrate = [str(Path(sys.executable).with_name("crossfade")), "migrate", "--folder", "config/migrations"]
    subprocess.run(migrate, check=True, cwd=ROOT, env={"CROSSFADE_DSQL__DSN": dsn}, stdout=subprocess.DEVNULL)
    return dsn


def filled(server: Postgres, held: Sequence[tuple[str, Item]]) -> str:
    """A new database that holds these items of tables without a mapping file; its DSN."""
    dsn = server.create_database()
    _write(dsn, [put_document(table, each) for table, each in held])
    copy_for_dsql(server, dsn)
    return dsn


def copy_for_dsql(server: Postgres, dsn: str) -> None:
    """Copy a database that nobody uses, without its record of the authority."""
    name = dsn.rsplit("/", 1)[1]
    server.execute(f'CREATE DATABASE "{name}{_COPY}" TEMPLATE "{name}"')
    server.execute("DROP TABLE IF EXISTS crossfade_authority", database=name + _COPY)


def _write(dsn: str, requests: Sequence[Request]) -> None:
    with remembering() as upstream, proxy(upstream, dsn, "dualwrite") as running:
        done = steady(address(running), requests, count=len(requests), connections=8)
        assert not done.errors, running.child.log_tail()
        running.settle(120)
