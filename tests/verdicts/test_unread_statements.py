"""PartiQL through the proxy: what a statement writes beside a comparison is a race, and no fault of the mirror."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.dynamodb.operations import TARGET_PREFIX
from proxy.shadow.request.unread_statements import UNREAD_SECONDS
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.verdicts import Verdict
from tests.verdicts.tables import BILLIO, PAGES, book, book_key
from tests.verdicts.world import Process, Told, World

TABLE = {"TableName": BILLIO.name}
UPDATE = f"""UPDATE "{BILLIO.name}" SET title = 'by PartiQL' WHERE "type:id" = 'Book:1'"""
REQUESTS: dict[str, Any] = {
    "ExecuteStatement": {"Statement": UPDATE},
    "BatchExecuteStatement": {"Statements": [{"Statement": UPDATE}]},
    "ExecuteTransaction": {"TransactStatements": [{"Statement": UPDATE}]},
}
SELECT = {"Statement": f'SELECT * FROM "{BILLIO.name}"'}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "PutItem": ("PutItem", {**TABLE, "Item": book("1", notes={"S": "new"})}),
    "UpdateItem": (
        "UpdateItem",
        {
            **TABLE,
            "Key": book_key("1"),
            "UpdateExpression": "SET author = :a",
            "ExpressionAttributeValues": {":a": {"S": "Stanisław Lem"}},
            "ReturnValues": "ALL_OLD",
        },
    ),
    "GetItem": ("GetItem", {**TABLE, "Key": book_key("1")}),
    "Scan": ("Scan", TABLE),
}


def taking_statements(world: World, seconds: float) -> None:
    """DynamoDB, which takes a statement for an update of one item that has its effect in the middle of `seconds`."""
    request = world.authority.request
    key = BILLIO.key_of(book_key("1"))

    async def both(target: str, body: bytes, *more: Any, **named: Any) -> HTTPResponse:
        if target.removeprefix(TARGET_PREFIX) not in REQUESTS:
            return await request(target, body, *more, **named)
        await asyncio.sleep(seconds / 2)
        if b"UPDATE" in body:
            item = world.authority.memory.rows[key]
            world.authority.memory.put(key, {**item, "title": {"S": "by PartiQL"}})
        await asyncio.sleep(seconds / 2)
        return HTTPResponse(200, (), b"{}")

    world.authority.request = both  # type: ignore[method-assign]


async def state(process: Process, action: str, request: dict[str, Any]) -> None:
    """Send a statement, as the wire does."""
    body = orjson.dumps(request)
    await process.parts.layer.pass_through(action, TARGET_PREFIX + action, body, {})


def run(folder: Path, asked: str, action: str, after: float, request: dict[str, Any]) -> Told:
    """A comparison that begins so long after a statement (before it, if negative)."""
    world = World(5, folder, processes=2)
    world.fill((BILLIO.name, book(str(n))) for n in range(3))
    taking_statements(world, 0.05)

    async def story() -> Told:
        process = world.processes[0]

        async def stated() -> None:
            await asyncio.sleep(max(0.0, -after))
            await state(process, action, request)

        statement = asyncio.create_task(stated())
        await asyncio.sleep(max(0.0, after))
        told = await world.said(process, *ASKED[asked])
        await statement
        return told

    return world.run(story())


@pytest.mark.parametrize("action", REQUESTS)
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("after", [-0.02, 0.0, 0.03, 0.08, 1.0])
def test_a_statement_beside_a_comparison_is_a_race(tmp_path: Path, asked: str, action: str, after: float) -> None:
    told = run(tmp_path, asked, action, after, REQUESTS[action])
    assert told.verdict in (Verdict.RACING, Verdict.LAGGING, Verdict.AGREED), told


def test_what_a_statement_left_different_is_a_mismatch_after_a_while(tmp_path: Path) -> None:
    told = run(tmp_path, "GetItem", "ExecuteStatement", UNREAD_SECONDS * 2, REQUESTS["ExecuteStatement"])
    assert told.verdict is Verdict.MISMATCH


@pytest.mark.parametrize("request_", [SELECT, {"Statement": f'INSERT INTO "{PAGES.name}" VALUE {{}}'}, {}, [1]])
def test_a_statement_that_writes_another_table_or_none_disturbs_nothing(tmp_path: Path, request_: Any) -> None:
    world = World(5, tmp_path, processes=1)
    world.fill([(BILLIO.name, book("1"))])
    taking_statements(world, 0.05)

    async def story() -> Told:
        world.mirror.plant(BILLIO.key_of(book_key("1")), None)
        await state(world.processes[0], "ExecuteStatement", request_)
        return await world.said(world.processes[0], *ASKED["GetItem"])

    assert world.run(story()).verdict is Verdict.MISMATCH
