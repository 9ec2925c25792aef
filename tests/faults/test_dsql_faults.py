"""The mirror fails in every way that a socket and a PostgreSQL can: clients are answered as if nothing had happened.

The judge of that is the same story told to DynamoDB past the proxy. When the fault is over, all converges.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import pytest

from tests.faults.fault_proxy import NONE, Fault, FaultProxy
from tests.faults.small_disk import fill, small_disk
from tests.faults.under_fault import Answer, mirror_failures, nothing_leaks, recovered, story, tell
from tests.integration.scenes import Scene, scene, wait_until
from tests.integration.writers import BILLIO_KEYS, billio_item
from tests.standins.billio import TABLE, billio_table, dynamodb_client, table_definition
from tests.standins.dsql import Dsql
from tests.standins.dsql.settings import GateSettings
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

PLAIN = "plain"  # the table that the story is told to past the proxy
MIRROR_SECONDS = 1.0
BREAKER_FAILURES = 4
# Killed, the stand-in must not lose what it has acknowledged: DSQL does not, and who mends that is the sweep.
SETTINGS = {"synchronous_commit": "on"}
FILES = 12  # connections to the stores that may be open now and were not before

ENVIRONMENT = {
    "CROSSFADE_DSQL__TIMEOUT_SECONDS": str(MIRROR_SECONDS),
    "CROSSFADE_DSQL__POOL_MAX": "6",
    "CROSSFADE_DSQL__SETTLE_SECONDS": "0.6",
    "CROSSFADE_DYNAMODB__IDLE_SECONDS": "1",
    "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": str(MIRROR_SECONDS),
    "CROSSFADE_MIRROR__ALONE": "true",
    "CROSSFADE_MIRROR__CONCURRENCY": "6",
    "CROSSFADE_MIRROR__BREAKER__FAILURES": str(BREAKER_FAILURES),
    "CROSSFADE_MIRROR__BREAKER__RESET_SECONDS": "0.3",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """The proxy between a DynamoDB that is well and a DSQL behind a bad network."""

    here: Scene
    between: FaultProxy
    postgres: Postgres
    gate: Dsql

    def told_alike(self, seed: int) -> list[Answer]:
        """A story through the proxy is answered word for word as it is past it, and no call waits for the mirror."""
        print(f"seed {seed}")
        calls = story(seed)
        direct = tell(self.here.direct(), calls, table=PLAIN)
        through = tell(self.here.client(), calls)
        for call, one, other in zip(calls, direct, through, strict=True):
            assert (one.code, one.document) == (other.code, other.document), call
        # Who waits for a mirror that does not answer, waits until the breaker opens. A machine that stands still for a
        # second makes one call wait, and not so many of them.
        waited = sum(each.seconds >= MIRROR_SECONDS for each in through)
        assert waited < BREAKER_FAILURES, "clients waited for the mirror"
        return through


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    # Stores of its own: they are restarted, stopped and filled here.
    with (
        Ministack() as ministack,
        Postgres(settings=SETTINGS) as postgres,
        Dsql(postgres) as gate,
        FaultProxy(gate.port) as between,
    ):
        billio_table(ministack.endpoint)
        dynamodb_client(ministack.endpoint).create_table(**table_definition(PLAIN))
        rows = postgres.create_database()
        dsn = gate.dsn(rows.rsplit("/", 1)[1]).replace(str(gate.port), str(between.port))
        with scene(ministack.endpoint, dsn, rows=rows, environment=ENVIRONMENT) as here:
            ground = Ground(here, between, postgres, gate)
            ground.told_alike(1)
            recovered(here)
            with nothing_leaks(here, files=FILES):
                yield ground


Faults = dict[str, tuple[Fault, Fault]]  # towards the store, towards the proxy

CUTS: Faults = {
    "at once": (NONE, Fault(end="cut")),
    "in an answer": (NONE, Fault(after=40, end="cut")),
    "later": (NONE, Fault(after=700, end="cut")),
    "in a request": (Fault(after=60, end="cut"), NONE),
    "reset": (NONE, Fault(after=90, end="reset")),
}
HANGS: Faults = {
    "late": (NONE, Fault(delay=MIRROR_SECONDS * 1.3)),
    "half-open": (NONE, Fault(after=200, end="half_open")),
    "requests swallowed": (Fault(end="swallow"), NONE),
    "answers swallowed": (NONE, Fault(end="swallow")),
    "dripping": (NONE, Fault(piece=1, delay=0.02)),
}


@pytest.mark.parametrize(("faults", "first_seed"), [(CUTS, 100), (HANGS, 200)], ids=["cuts", "hangs"])
def test_a_network_that_fails(ground: Ground, faults: Faults, first_seed: int) -> None:
    for seed, (up, down) in enumerate(faults.values(), first_seed):
        before, hits = mirror_failures(ground.here), ground.between.hits
        ground.between.fault(up=up, down=down)
        try:
            ground.told_alike(seed)
            wait_until(lambda hits=hits: ground.between.hits > hits, 120, "the fault to bite")  # type: ignore[misc]
            wait_until(lambda n=before: mirror_failures(ground.here) > n, 120, "the proxy to notice")  # type: ignore[misc]
        finally:
            ground.between.clear()
    recovered(ground.here)


def test_a_network_that_is_slow(ground: Ground) -> None:
    ground.between.fault(up=Fault(jitter=0.05), down=Fault(delay=0.05, jitter=0.05))
    try:
        ground.told_alike(300)
    finally:
        ground.between.clear()
    recovered(ground.here)


@contextmanager
def troubled(ground: Ground, seed: int) -> Iterator[None]:
    """The mirror's trouble is made before, and mended inside: a story between them, and all well in the end."""
    before = mirror_failures(ground.here)
    ground.told_alike(seed)
    wait_until(lambda: mirror_failures(ground.here) > before, 120, "the proxy to notice")
    assert ground.here.proxy.status()["journal"]["keys"] > 0
    yield
    recovered(ground.here)


def test_refused(ground: Ground) -> None:
    ground.between.refuse()
    with troubled(ground, 400):
        ground.between.clear()


def test_killed_in_the_middle_of_a_story_and_started_again(ground: Ground) -> None:
    killing = threading.Timer(0.05, ground.postgres.kill)
    killing.start()
    with troubled(ground, 500):
        killing.join()
        ground.postgres.restart()


def test_out_of_connections(ground: Ground) -> None:
    ground.between.refuse()  # those that are there are cut
    ground.gate.change(connections=0)
    ground.between.clear()
    try:
        with troubled(ground, 600):
            ground.gate.change(connections=GateSettings().connections)
    finally:
        ground.gate.change(connections=GateSettings().connections)


def test_read_only(ground: Ground) -> None:
    set_read_only(ground.postgres, "on")
    with troubled(ground, 700):
        set_read_only(ground.postgres, "off")


def set_read_only(postgres: Postgres, value: str) -> None:
    postgres.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    postgres.execute("SELECT pg_reload_conf()")
    # The server tells its sessions in the turn in which it reads the file: a new one that knows is a sign for all.
    asked = "SHOW default_transaction_read_only"
    wait_until(lambda: postgres.execute(asked) == value, 120, "the server to read its settings")


def test_disk_full(ground: Ground) -> None:
    with small_disk(1 << 20, owner_of=ground.postgres.log_file.parent) as disk:
        database = ground.here.dsn.rsplit("/", 1)[1]
        ground.postgres.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        ground.postgres.execute("ALTER TABLE items SET TABLESPACE small", database)
        try:
            fill(disk)
            dice = random.Random(901)
            for each in BILLIO_KEYS[:4]:  # more than fits what room there is in the pages
                large = billio_item(dice, each) | {"notes": {"S": dice.randbytes(4000).hex()}}
                ground.here.client().put_item(TableName=TABLE, Item=large)
                ground.here.direct().put_item(TableName=PLAIN, Item=large)
            with troubled(ground, 900):
                (disk / "filler").unlink()
        finally:
            ground.postgres.execute("ALTER TABLE items SET TABLESPACE pg_default", database)
            ground.postgres.execute("DROP TABLESPACE small")


def test_hung_and_woken(ground: Ground) -> None:
    server = psutil.Process(ground.postgres.child.pid)
    everything = [server, *server.children(recursive=True)]
    for each in everything:
        each.suspend()
    try:
        with troubled(ground, 800):
            for each in everything:
                each.resume()
    finally:
        for each in everything:
            if each.is_running():
                each.resume()
