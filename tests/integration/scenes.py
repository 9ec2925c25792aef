"""A proxy over stand-ins with Billio's table or none, and what every test of the running product asks of it.

Settle times are cut from minutes to a fraction of a second, which is what the stand-ins need: nothing lingers in them
for longer, and a test that waits for an empty journal must not wait for five minutes. Time limits are longer than the
product's: on a busy machine a stand-in is slow, and a test must not take that for a mirror that fails.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from proxy.cutover.gate.basis import Basis
from proxy.migrate.schema.migration_files import read_folder
from proxy.migrate.schema.runner import migrate
from proxy.settings import DSQL
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.system_tables.sweep_records import EQUAL, SweepRecord, SweepRecords
from tests import equality
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, dynamodb_client
from tests.standins.processes import LOOPBACK, free_port

CONFIG = Path(__file__).parents[2] / "config"
SETTLE_SECONDS = 0.3
PATIENCE_SECONDS = 30.0

Counts = dict[str, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """`proxy` stands before the DynamoDB at `endpoint`; `dsn` is where its rows can be read past everything."""

    proxy: ProxyProcess
    endpoint: str
    dsn: str

    def client(self, **options: Any) -> Any:
        """A boto3 client of the proxy, which retries nothing."""
        return dynamodb_client(self.proxy.data, **options)

    def direct(self) -> Any:
        """A boto3 client that goes past the proxy."""
        return dynamodb_client(self.endpoint)

    def assert_equal(self, table: str = TABLE, seconds: float = 120) -> None:
        """The journal empties, and then both stores hold the same."""
        self.proxy.settle(seconds)
        found = equality.disagreements(self.endpoint, self.dsn, table)
        assert found == [], found

    def verdicts(self, operation: str | None = None) -> Counts:
        """Verdict → how many, of one operation or of all."""
        counts: Counts = {}
        for each in self.proxy.status()["comparisons"]:
            if operation in (None, each["operation"]):
                counts[each["verdict"]] = counts.get(each["verdict"], 0) + each["count"]
        return counts

    def compared(self, operation: str, call: Callable[[], Any]) -> Counts:
        """The verdicts of an operation that came of one call, once they are given."""
        before = self.verdicts(operation)
        call()
        wait_until(lambda: sum(self.verdicts(operation).values()) > sum(before.values()), 120, "a verdict")
        return {v: count - before.get(v, 0) for v, count in self.verdicts(operation).items() if count != before.get(v)}


@contextmanager
def scene(
    endpoint: str,
    dsn: str,
    *,
    rows: str | None = None,
    stage: str = "shadow",
    billio: bool = True,
    mapping: Path | None = None,
    environment: Mapping[str, str] | None = None,
    extra: str = "",
) -> Iterator[Scene]:
    """A running proxy whose data port outlives its restarts.

    `dsn` is its DSQL, `rows` the same past the gate. With `billio`, Billio's SQL tables are made and its mapping used
    (or the `mapping` given); the DynamoDB table is for the test to make.
    """
    mappings = []
    if billio:
        billio_rows(dsn)
        mappings = [mapping or CONFIG / "billio.toml"]
    settings = {
        "CROSSFADE_LISTEN": f"{LOOPBACK}:{free_port()}",
        "CROSSFADE_DYNAMODB__SETTLE_SECONDS": str(SETTLE_SECONDS),
        "CROSSFADE_DSQL__SETTLE_SECONDS": str(SETTLE_SECONDS),
        "CROSSFADE_DYNAMODB__CONNECT_TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
        "CROSSFADE_DSQL__TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
        "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
        # On a busy machine the proxy would rightly leave comparisons out, and a test would wait for their verdicts.
        "CROSSFADE_MIRROR__MAX_TURN_SECONDS": str(PATIENCE_SECONDS),
    }
    settings |= environment or {}
    with ProxyProcess(
        dynamodb=endpoint, dsql=dsn, mappings=mappings, stage=stage, environment=settings, extra=extra
    ) as proxy:
        yield Scene(proxy, endpoint, rows or dsn)


def swept(dsn: str, table: str = TABLE) -> None:
    """Record that the table was swept and found equal in the era that lasts since the stage table was made: tests that
    flip begin with two empty stores. No flip is made without, forced or not."""

    async def add() -> None:
        pool = open_pool(DSQL(dsn=dsn))
        try:
            now, basis = time.time(), Basis("", {"": 0})
            report = {"basis": basis.document(), "mended": True}
            sweeps = SweepRecords(pool, "public", seconds=60.0)
            await sweeps.add(SweepRecord(table, now, now, "dynamodb", EQUAL, report))
        finally:
            await pool.close()

    asyncio.run(add())


def billio_rows(dsn: str) -> None:
    """Make Billio's SQL tables, as `crossfade migrate` does, and without starting a process for it: most tests want
    them, and few are about how they come to be."""

    async def apply() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await migrate(connection, read_folder(CONFIG / "migrations"), lambda _: None)
        finally:
            connection.terminate()

    with ThreadPoolExecutor(1) as thread:  # here a loop may be running
        thread.submit(asyncio.run, apply()).result()


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once `true()`; fail after `seconds`, naming what was waited for."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def insist(attempt: Callable[[], T], taken: Callable[[T], bool], seconds: float = 120) -> T:
    """The answer that was `taken`; after `seconds` the last one, whatever it is.

    A move is given up, with everything as it was, when a proxy stands still for a second; where that is not what a test
    is about, it asks again, as an operator does.
    """
    deadline = time.monotonic() + seconds
    while not taken(answer := attempt()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


async def run_sql(dsn: str, statement: str, *parameters: Any) -> list[Any]:
    """One statement past everything, on a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        found: list[Any] = await connection.fetch(statement, *parameters)
        return found
    finally:
        await connection.close()
