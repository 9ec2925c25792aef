"""A client that hangs up while its write is under way, at any moment: nothing of the write is left behind.

What has been read whole is carried out to its end, whoever has stopped listening; what has not, has not begun. Both
stores are slow here, so that every step of a write has a moment that a client can hang up in.
"""

import asyncio
import base64
import json
import random
import socket
import struct
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.fault_proxy import Fault, FaultProxy
from tests.faults.under_fault import nothing_leaks, own_faults, recovered
from tests.integration.scenes import Scene, scene, swept, wait_until
from tests.integration.test_stage_moves import ask
from tests.integration.writers import billio_item, one_write
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK

SLOW = Fault(delay=0.01)  # each way, to each store
MOMENTS = tuple(step * 0.004 for step in range(20))  # after the request: longer than a write takes
# The stores are slow here, and the machine may be; a write that never ends is held for ever.
STAGES = '[stages]\ntable = "crossfade_stages"\nlease_seconds = 60.0\npoll_seconds = 0.1\nhold_seconds = 60.0\n'
FILES = 20  # connections to the stores that may be open now and were not before
# Enough for writes to meet now and then, and not to queue for each other.
KEYS = tuple({HASH_KEY: {"S": f"Book:{uuid.UUID(int=number)}"}} for number in range(80))
_NO_WAIT = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST instead of FIN

ENVIRONMENT = {
    "CROSSFADE_DSQL__POOL_MAX": "12",
    "CROSSFADE_DYNAMODB__IDLE_SECONDS": "1",
    "CROSSFADE_MIRROR__ALONE": "true",
}


@dataclass(frozen=True, slots=True)
class HangUp:
    """After so many seconds from so much of the request (1.0: all of it), and how."""

    sent: float
    after: float
    reset: bool


async def hang_up(address: tuple[str, int], request: bytes, how: HangUp) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as line:
        line.setblocking(False)
        await loop.sock_connect(line, address)
        await loop.sock_sendall(line, request[: int(len(request) * how.sent)])
        await asyncio.sleep(how.after)
        if how.reset:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_WAIT)


def address_of(here: Scene) -> tuple[str, int]:
    where = urlsplit(here.proxy.data)
    return where.hostname or "", where.port or 0


def wire(operation: str, arguments: dict[str, Any]) -> bytes:
    """The request that boto3 makes of such a call, but for the signature, which is not looked at."""
    body = json.dumps(arguments, default=lambda raw: base64.b64encode(raw).decode()).encode()
    action = operation.title().replace("_", "")
    return (
        f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDB_20120810.{action}\r\nAuthorization: AWS4-HMAC-SHA256 x"
        f"\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def writes_given_up(here: Scene, seed: int) -> None:
    """A write of some kind for each moment and each way to hang up, and as many whose body was not sent to its end."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    address = address_of(here)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as clients:
            for after in MOMENTS:
                for reset in (False, True):
                    for sent in (1.0, dice.uniform(0.5, 0.99)):
                        request = wire(*one_write(dice, TABLE, KEYS, billio_item))
                        clients.create_task(hang_up(address, request, HangUp(sent, after, reset)))
                await asyncio.sleep(0.005)

    asyncio.run(all_of_them())


def move(here: Scene, stage: str) -> None:
    """At the first try: no write that was given up still counts as under way."""
    asked = {"stage": stage, "force": True, "because": "clients hang up"}
    moved = ask(here, "PUT", f"/v1/stages/{TABLE}", asked, None)
    assert moved.status == 200, moved.text
    assert moved.json["outcome"] == "moved", moved.text


@pytest.fixture(scope="module")
def here(postgres: Postgres) -> Iterator[Scene]:
    with (
        Ministack() as ministack,
        FaultProxy(ministack.port) as to_dynamodb,
        FaultProxy(postgres.port) as to_dsql,
    ):
        billio_table(ministack.endpoint)
        rows = postgres.create_database()
        dsn = rows.replace(str(postgres.port), str(to_dsql.port))
        endpoint = f"http://{LOOPBACK}:{to_dynamodb.port}"
        swept(rows)
        with scene(endpoint, dsn, environment=ENVIRONMENT, extra=STAGES) as through:
            here = Scene(through.proxy, ministack.endpoint, rows)
            recovered(here)
            for between in (to_dynamodb, to_dsql):
                between.fault(up=SLOW, down=SLOW)
            with nothing_leaks(here, files=FILES):
                yield here
        postgres.drop_database(rows)


def test_nothing_is_left_of_writes_that_were_given_up(here: Scene) -> None:
    for seed, stage in enumerate(("live", "shadow"), 1):
        writes_given_up(here, seed)
        move(here, stage)  # while the last of them are still under way
        recovered(here)


def test_clients_hang_up_while_their_writes_are_held(here: Scene) -> None:
    with ThreadPoolExecutor(1) as pool:
        for seed, stage in enumerate(("live", "shadow"), 10):
            moving = pool.submit(move, here, stage)
            writes_given_up(here, seed)
            moving.result(180)
        recovered(here)


@pytest.mark.parametrize("stage", ["shadow", "live"])
def test_a_write_is_carried_out_though_nobody_listens_any_more_and_half_of_one_is_not(here: Scene, stage: str) -> None:
    if stage == "live":
        move(here, stage)
    whole, half = KEYS[:2]
    for key, sent in ((whole, 1.0), (half, 0.9)):
        title = {"S": f"nobody listens in {stage}"}
        item = billio_item(random.Random(1), key) | {"title": title}
        how = HangUp(sent, 0.005, reset=False)  # before either store can have answered
        request = wire("put_item", {"TableName": TABLE, "Item": item})
        asyncio.run(hang_up(address_of(here), request, how))

    def written() -> list[Any]:
        held = here.direct().batch_get_item(RequestItems={TABLE: {"Keys": [whole, half]}})["Responses"][TABLE]
        return [item[HASH_KEY] for item in held if item["title"] == title]

    wait_until(lambda: whole[HASH_KEY] in written(), 120, "the write to be carried out")
    recovered(here)
    assert written() == [whole[HASH_KEY]]


def test_a_client_that_asks_whether_to_go_on_and_is_gone_is_no_fault_of_ours(here: Scene) -> None:
    request = wire("put_item", {}).replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
    for _ in range(30):
        asyncio.run(hang_up(address_of(here), request, HangUp(0.98, 0.0, reset=True)))
    recovered(here)
    assert own_faults(here) == []
