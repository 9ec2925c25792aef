"""The mirror fails in every way that a socket and a PostgreSQL can: clients are answered as if nothing had happened.

The judge of that is the same story told to DynamoDB past the proxy. When the fault is over, all converges.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.fault_proxy import NONE, Fault, FaultProxy
from tests.faults.under_fault import Answer, codes, mirror_failures, nothing_leaks, recovered, story, tell
from tests.integration.scenes import Scene, scene, wait_until
from tests.standins.billio import billio_table, dynamodb_client, table_definition
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

PLAIN = "plain"  # the table that the story is told to past the proxy
MIRROR_SECONDS = 1.0
FILES = 12  # connections to the stores that may be open now and were not before

ENVIRONMENT = {
    "CROSSFADE_DSQL__TIMEOUT_SECONDS": str(MIRROR_SECONDS),
    "CROSSFADE_DSQL__POOL_MAX": "6",
    "CROSSFADE_DSQL__SETTLE_SECONDS": "0.6",
    "CROSSFADE_DYNAMODB__IDLE_SECONDS": "1",
    "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": str(MIRROR_SECONDS),
    "CROSSFADE_MIRROR__ALONE": "true",
    "CROSSFADE_MIRROR__CONCURRENCY": "6",
    "CROSSFADE_MIRROR__BREAKER__FAILURES": "4",
    "CROSSFADE_MIRROR__BREAKER__RESET_SECONDS": "0.3",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """The proxy between a DynamoDB that is well and a DSQL behind a bad network."""

    here: Scene
    between: FaultProxy
    postgres: Postgres

    def told_alike(self, seed: int) -> list[Answer]:
        """A story through the proxy is answered word for word as it is past it, and no call waits for the mirror."""
        print(f"seed {seed}")
        calls = story(seed)
        direct = tell(self.here.direct(), calls, table=PLAIN)
        through = tell(self.here.client(), calls)
        for call, one, other in zip(calls, direct, through, strict=True):
            assert (one.code, one.document) == (other.code, other.document), call
        assert max(each.seconds for each in through) < MIRROR_SECONDS, "a client waited for the mirror"
        return through


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    # Stores of its own: they are restarted, stopped and filled here.
    with Ministack() as ministack, Postgres() as postgres, FaultProxy(postgres.port) as between:
        billio_table(ministack.endpoint)
        dynamodb_client(ministack.endpoint).create_table(**table_definition(PLAIN))
        rows = postgres.create_database()
        dsn = rows.replace(str(postgres.port), str(between.port))
        with scene(ministack.endpoint, dsn, rows=rows, environment=ENVIRONMENT) as here:
            ground = Ground(here, between, postgres)
            ground.told_alike(1)
            recovered(here)
            with nothing_leaks(here, files=FILES):
                yield ground


FAULTS: dict[str, tuple[Fault, Fault]] = {  # towards the store, towards the proxy
    "late": (NONE, Fault(delay=0.1)),
    "jittery": (Fault(jitter=0.1), Fault(jitter=0.1)),
    "too_late": (NONE, Fault(delay=MIRROR_SECONDS * 1.3)),
    "cut_at_once": (NONE, Fault(end="cut")),
    "cut_in_an_answer": (NONE, Fault(after=40, end="cut")),
    "cut_later": (NONE, Fault(after=700, end="cut")),
    "request_cut": (Fault(after=60, end="cut"), NONE),
    "reset": (NONE, Fault(after=90, end="reset")),
    "half_open": (NONE, Fault(after=200, end="half_open")),
    "requests_swallowed": (Fault(end="swallow"), NONE),
    "answers_swallowed": (NONE, Fault(end="swallow")),
    "dripping": (NONE, Fault(piece=1, delay=0.02)),
}
HARMLESS = {"late", "jittery"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_network(ground: Ground, name: str) -> None:
    before, hits = mirror_failures(ground.here), ground.between.hits
    up, down = FAULTS[name]
    ground.between.fault(up=up, down=down)
    try:
        ground.told_alike(seed=100 + list(FAULTS).index(name))
        wait_until(lambda: ground.between.hits > hits, 5, "the fault to bite")
        if name not in HARMLESS:
            wait_until(lambda: mirror_failures(ground.here) > before, 5, "the proxy to notice")
    finally:
        ground.between.clear()
    recovered(ground.here)


def test_refused(ground: Ground) -> None:
    before = mirror_failures(ground.here)
    ground.between.refuse()
    try:
        answers = ground.told_alike(seed=200)
        assert codes(answers)["ok"] > 10
        wait_until(lambda: mirror_failures(ground.here) > before, 5, "the proxy to notice")
        assert ground.here.proxy.status()["journal"]["keys"] > 0
    finally:
        ground.between.clear()
    recovered(ground.here)
