"""The authority fails in every way that a socket and an HTTP server can: clients get errors to retry, in time.

What it did nevertheless (an answer lost on its way back is an unknown outcome) reaches the mirror when that is over.
"""

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.fault_proxy import NONE, Fault, FaultProxy
from tests.faults.under_fault import DECIDED, RETRYABLE, Answer, codes, nothing_leaks, recovered, story, tell
from tests.integration.scenes import Scene, scene
from tests.standins.billio import billio_table
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK

AUTHORITY_SECONDS = 0.8
CONNECT_SECONDS = 0.4
FILES = 20

ENVIRONMENT = {
    "CROSSFADE_DYNAMODB__TIMEOUT_SECONDS": str(AUTHORITY_SECONDS),
    "CROSSFADE_DYNAMODB__CONNECT_TIMEOUT_SECONDS": str(CONNECT_SECONDS),
    "CROSSFADE_DYNAMODB__CONNECTIONS": "16",
    "CROSSFADE_DYNAMODB__IDLE_SECONDS": "1",
    "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "0.6",
    "CROSSFADE_MIRROR__ALONE": "true",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """The proxy between a DSQL that is well and a DynamoDB behind a bad network."""

    here: Scene
    between: FaultProxy
    ministack: Ministack

    def told(self, seed: int, at_once: int = 16) -> list[Answer]:
        """A story, several calls at once: each is answered as DynamoDB decides, or with an error to retry.

        And before the client gives up, which waits for a minute: it would be another error."""
        print(f"seed {seed}")
        answers = tell(self.here.client(), story(seed, 18), at_once=at_once)
        assert set(codes(answers)) <= DECIDED | RETRYABLE | {"TransactionConflictException"}, codes(answers)
        return answers


@pytest.fixture(scope="module")
def ground(postgres: Postgres) -> Iterator[Ground]:
    with Ministack() as ministack, FaultProxy(ministack.port) as between:
        billio_table(ministack.endpoint)
        rows = postgres.create_database()
        with scene(f"http://{LOOPBACK}:{between.port}", rows, environment=ENVIRONMENT) as through:
            here = Scene(through.proxy, ministack.endpoint, rows)
            ground = Ground(here, between, ministack)
            ground.told(1)
            recovered(here)
            with nothing_leaks(here, files=FILES):
                yield ground
        postgres.drop_database(rows)


Faults = dict[str, tuple[Fault, Fault]]  # towards DynamoDB, towards the proxy

CUTS: Faults = {
    "at once": (NONE, Fault(end="cut")),
    "in the headers": (NONE, Fault(after=30, end="cut")),
    "in the body": (NONE, Fault(after=260, end="cut")),
    "in the request": (Fault(after=300, end="cut"), NONE),
    "reset": (NONE, Fault(after=90, end="reset")),
}
HANGS: Faults = {
    "late answers": (NONE, Fault(delay=AUTHORITY_SECONDS * 1.3)),
    "late requests": (Fault(delay=AUTHORITY_SECONDS * 1.3), NONE),
    "half-open": (NONE, Fault(after=200, end="half_open")),
    "requests swallowed": (Fault(end="swallow"), NONE),
    "answers swallowed": (NONE, Fault(end="swallow")),
    "dripping": (NONE, Fault(piece=1, delay=0.02)),
}


@pytest.mark.parametrize(("faults", "first_seed"), [(CUTS, 100), (HANGS, 200)], ids=["cuts", "hangs"])
def test_a_network_that_fails(ground: Ground, faults: Faults, first_seed: int) -> None:
    for seed, (name, (up, down)) in enumerate(faults.items(), first_seed):
        ground.between.fault(up=up, down=down)
        try:
            answers = ground.told(seed)
        finally:
            ground.between.clear()
        assert codes(answers).keys() & RETRYABLE, (name, codes(answers))
    recovered(ground.here)


def test_a_network_that_is_slow(ground: Ground) -> None:
    ground.between.fault(up=Fault(jitter=0.05), down=Fault(delay=0.05, jitter=0.05))
    try:
        assert codes(ground.told(300, at_once=4))["ok"]  # none of them would be, were what is slow taken for what fails
    finally:
        ground.between.clear()
    recovered(ground.here)


def test_refused(ground: Ground) -> None:
    ground.between.refuse()
    try:
        answers = ground.told(400)
        assert codes(answers) == {"ServiceUnavailableException": len(answers)}
    finally:
        ground.between.clear()
    recovered(ground.here)


def test_hung_and_woken(ground: Ground) -> None:
    ground.ministack.child.signal(signal.SIGSTOP)
    try:
        answers = ground.told(500)
    finally:
        ground.ministack.child.signal(signal.SIGCONT)
    assert codes(answers)["InternalServerError"]
    assert codes(answers).keys() <= RETRYABLE
    recovered(ground.here)


def test_a_load_balancer_s_page(ground: Ground) -> None:
    """What answers is no DynamoDB: its answer passes, the SDK retries it by its status, and nothing is made of it."""
    page = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                connection.sendall(page)

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    ground.between.refuse()
    with socket.create_server((LOOPBACK, ground.between.port)) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        answers = tell(ground.here.client(), story(600, 18), at_once=8)
        assert codes(answers)["503"]
        assert codes(answers).keys() <= RETRYABLE | {"503"}  # the page may come too late, of a busy machine
        listening.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which would keep the port
    ground.between.clear()
    recovered(ground.here)
