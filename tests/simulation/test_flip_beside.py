"""A move of one table, and the writes of others that are not mirrored at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import orjson
import pytest

from proxy.cutover.stages import Scope
from proxy.settings import TableSettings
from proxy.shadow.journal.journal import Journal
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.errors import Unreachable
from tests.simulation.flip_story import tell_near
from tests.simulation.process import compose, settings_for


class Nowhere:
    """A DSQL that is not asked."""

    name = "dsql"

    async def get(self, _: object) -> NoReturn:
        raise AssertionError("nothing is read here")

    async def put_many(self, _: object) -> NoReturn:
        raise AssertionError("nothing is written here")


class Slow:
    """A DynamoDB that answers when it is let."""

    def __init__(self) -> None:
        self.answers, self.is_asked = asyncio.Event(), asyncio.Event()
        self.asked: list[Any] = []

    async def request(
        self,
        target: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,  # noqa: ASYNC109
    ) -> HTTPResponse:
        self.asked.append(orjson.loads(body))
        self.is_asked.set()
        await self.answers.wait()
        return HTTPResponse(200, (), b"{}")


async def test_a_move_waits_for_and_holds_only_what_it_moves(tmp_path: Path) -> None:
    settings = replace(
        settings_for(tell_near(0, "slow").base, tmp_path / "journal"), tables={"other": TableSettings(stage="off")}
    )
    journal, slow = Journal(settings.journal.path), Slow()
    journal.open({"dynamodb": 1.0, "dsql": 1.0})
    parts = compose(settings, journal, cast("Any", slow), cast("Any", Nowhere()), cast("Any", None), lambda *_: None)
    layer, fence = parts.layer, parts.fence
    put = orjson.dumps({"TableName": "other", "Item": {"id": {"S": "1"}}})
    moved, other = Scope("things"), Scope("other")
    under_way = asyncio.ensure_future(layer.execute("PutItem", put, "1"))
    await slow.is_asked.wait()
    assert fence.drain(moved).writers == 0
    assert fence.drain(other).writers == 1
    fence.hold(moved)
    beside = asyncio.ensure_future(layer.execute("PutItem", put, "2"))
    slow.answers.set()
    assert (await under_way).ok
    assert (await beside).ok
    fence.hold(other)
    with pytest.raises(Unreachable, match="held"):
        await layer.execute("PutItem", put, "3")
    fence.release()
    assert (await layer.execute("PutItem", put, "4")).ok
    assert len(slow.asked) == 3
    journal.close()
