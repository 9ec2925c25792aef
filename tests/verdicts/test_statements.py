"""PartiQL through the proxy: what a statement writes beside a comparison is a race, and no fault of the mirror (V6)."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.cutover.authority.guard import NoRecord
from proxy.cutover.stages import Stages
from proxy.dynamodb.outcome import Outcome
from proxy.settings import Settings
from proxy.verdicts import Verdict
from tests.verdicts.tables import BILLIO, book, book_key
from tests.verdicts.world import Process, Told, World

TABLE = {"TableName": BILLIO.name}
UPDATE = f"""UPDATE "{BILLIO.name}" SET title = 'by PartiQL' WHERE "type:id" = 'Book:1'"""
STATEMENTS: dict[str, Any] = {
    "ExecuteStatement": {"Statement": UPDATE},
    "BatchExecuteStatement": {"Statements": [{"Statement": UPDATE}]},
    "ExecuteTransaction": {"TransactStatements": [{"Statement": UPDATE}]},
}
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


async def state(process: Process, action: str) -> Outcome:
    """Send a statement, as the wire does."""
    return await process.parts.layer.execute(action, orjson.dumps(STATEMENTS[action]), "")


@pytest.mark.parametrize("action", STATEMENTS)
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("after", [-0.02, 0.0, 0.005, 0.05])
def test_a_statement_beside_a_comparison_is_no_mismatch(tmp_path: Path, asked: str, action: str, after: float) -> None:
    """A comparison that begins so long after a statement (before it, if negative)."""
    world = World(5, tmp_path, processes=2)
    world.fill((BILLIO.name, book(str(n))) for n in range(3))

    async def story() -> Told:
        process = world.processes[0]

        async def stated() -> None:
            await asyncio.sleep(max(0.0, -after))
            outcome = await state(process, action)
            assert outcome.ok, outcome.document

        statement = asyncio.create_task(stated())
        await asyncio.sleep(max(0.0, after))
        told = await world.said(process, *ASKED[asked])
        await statement
        return told

    told = world.run(story())
    assert told.verdict in (Verdict.RACING, Verdict.LAGGING, Verdict.AGREED), told
    if asked != "PutItem":  # which may replace what the statement wrote
        assert world.authority.memory.rows[BILLIO.key_of(book_key("1"))]["title"] == {"S": "by PartiQL"}


class Refusing(NoRecord):
    """DSQL's record, which says that this process may not serve Billio's table."""

    refuses = True

    def refusal(self, table: str) -> str | None:
        return "DSQL is the authority" if table == BILLIO.name else None


UNREADABLE = {"Statement": f'UPSERT INTO "{BILLIO.name}" VALUE {{}}'}


@pytest.mark.parametrize("stage", ["off", "shadow"])
@pytest.mark.parametrize(("action", "request_"), [*STATEMENTS.items(), ("ExecuteStatement", UNREADABLE)])
def test_a_table_that_may_not_be_served_is_not_written_by_a_statement(
    tmp_path: Path, action: str, request_: Any, stage: str
) -> None:
    world = World(5, tmp_path, processes=1)
    world.fill([(BILLIO.name, book("1"))])

    async def story() -> Outcome:
        layer = world.processes[0].parts.layer
        stages = Stages(Settings(stage="off")) if stage == "off" else layer.stages
        guarded = replace(layer, authority=Refusing(), stages=stages)
        return await guarded.execute(action, orjson.dumps(request_), "")

    outcome = world.run(story())
    assert (outcome.status, outcome.error_code) == (503, "ServiceUnavailableException")
    assert world.authority.memory.rows[BILLIO.key_of(book_key("1"))] == book("1")
