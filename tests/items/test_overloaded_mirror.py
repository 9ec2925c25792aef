"""More comparisons than the mirror has connections for: nobody notices, on either port, in either direction.

The stage table, the lease and the descriptions of tables have connections of their own.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from proxy.items.client import ItemsClient
from tests.integration.scenes import swept
from tests.items.stores import CONFIG
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, dynamodb_client

SETTINGS = """\
[items]
listen = "127.0.0.1:0"
cursor_secret = "0123456789abcdef"

[stages]
table = "crossfade_stages"
lease_seconds = 30.0
poll_seconds = 0.1
hold_seconds = 30.0

[mirror.breaker]
failures = 10000
"""
FEW = {
    "CROSSFADE_DSQL__SETTLE_SECONDS": "0.1",
    "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "0.1",
    # Clients of live need none of DynamoDB's; in shadow, DSQL has as few for comparisons.
    "CROSSFADE_DYNAMODB__CONNECTIONS": "2",
    "CROSSFADE_DYNAMODB__WAITING": "4",
    "CROSSFADE_MIRROR__MAX_TURN_SECONDS": "30",
}
FEW_OF_DSQL = {**FEW, "CROSSFADE_DSQL__POOL_MAX": "2"} | {
    "CROSSFADE_DYNAMODB__CONNECTIONS": "64",
    "CROSSFADE_DYNAMODB__WAITING": "1024",
}
READERS, READS = 16, 12


async def move(admin: str, stage: str) -> None:
    """Move the stage; a sweep that is on record is seen ten seconds later where DSQL could not be read."""
    body = {"stage": stage, "force": True, "because": "a test"}
    async with aiohttp.ClientSession() as session, asyncio.timeout(120):
        while True:
            async with session.put(f"{admin}/v1/stages/{TABLE}", json=body) as answer:
                told = await answer.json()
            if answer.status != 409 or "no sweep" not in told["detail"]:
                break
            await asyncio.sleep(1)
    assert (answer.status, told.get("outcome") in ("moved", "unchanged")) == (200, True), told


def query(data: str) -> None:
    client = dynamodb_client(data)
    for _ in range(READS):
        client.query(
            TableName=TABLE,
            IndexName="shelf",
            KeyConditionExpression="#s = :s",
            ExpressionAttributeNames={"#s": "type:shelf"},
            ExpressionAttributeValues={":s": {"S": "Book:Read"}},
        )


async def list_items(items: ItemsClient) -> None:
    for _ in range(READS):
        await items.page(item_type="Book", first=50, search="s", sort_by="RATING")


async def ready(admin: str, done: asyncio.Event) -> list[Any]:
    """What /readyz said, while others read."""
    said = []
    async with aiohttp.ClientSession() as session:
        while not done.is_set():
            async with session.get(f"{admin}/readyz") as answer:
                said.append((answer.status, await answer.text()))
            await asyncio.sleep(0.05)
    return said


@pytest.mark.parametrize("stage", ["shadow", "live"])
@pytest.mark.parametrize("port", ["data", "items"])
async def test_the_mirror_cannot_take_the_lease_away(stores: tuple[str, str], stage: str, port: str) -> None:
    endpoint, dsn = stores
    await asyncio.to_thread(swept, dsn)
    with ProxyProcess(
        dynamodb=endpoint,
        dsql=dsn,
        stage="shadow",
        mappings=[CONFIG / "billio.toml"],
        environment=FEW if stage == "live" else FEW_OF_DSQL,
        extra=SETTINGS,
    ) as proxy:
        async with ItemsClient(proxy.items) as items:
            await move(proxy.admin, "shadow")  # the stores may have been used before
            for n in range(60):
                draft = {"type": "Book", "shelf": "Read", "title": f"Straße {n}"}
                await items.create({**draft, "movedAt": "2024-01-01T00:00:00.000Z", "rating": n % 10 + 1})
            if stage == "live":
                await move(proxy.admin, "live")
            readers: Callable[[], Coroutine[Any, Any, None]] = (
                functools.partial(asyncio.to_thread, query, proxy.data)
                if port == "data"
                else functools.partial(list_items, items)
            )
            done = asyncio.Event()
            watch = asyncio.create_task(ready(proxy.admin, done))
            try:
                async with asyncio.timeout(300):
                    await asyncio.gather(*(readers() for _ in range(READERS)))
            finally:
                done.set()
            assert {status for status, _ in await watch} == {200}, "it was ready at every moment"
            await move(proxy.admin, "shadow" if stage == "live" else "live")
