"""Whatever clients send, each key converges or parks within a bounded time, in every stage and in both directions.

Requests are drawn by chance: some that DynamoDB refuses, some whose items the mirror cannot hold, and some that the
mirror refuses. Then the journal is empty but for parked keys, and nothing but these stands in the way of a flip.
"""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from proxy.cutover.stages import Scope
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.errors import Refused, StoreError
from tests.verdicts import traffic
from tests.verdicts.stores import Authority
from tests.verdicts.tables import BILLIO, PAGES
from tests.verdicts.world import DSQL_SETTLE, World

CALLS: Final = 120
BOUND_SECONDS: Final = 4 * DSQL_SETTLE
NAMES: Final = ["1", "2", "3", "4"]
# What no item can have, of each kind; the types and lengths are DynamoDB's rules for keys and names.
BAD_VALUES: Final[list[Any]] = [
    {"S": ""},
    {"N": "1"},
    {"S": "x" * 3000},
    {"B": ""},
    {"NULL": True},
    {"S": "a\x00b"},
    {"M": {}},
    {},
    None,
    "text",
]
ITEM_FAULTS: Final = ("22P05", "23514", "54000", "ValidationException")


def _spoil(chance: random.Random, value: Any) -> Any:
    """The value with one of its parts changed for something that may not be there."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(sorted(value))
        return {**value, name: _spoil(chance, value[name])}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], _spoil(chance, value[place]), *value[place + 1 :]]
    return chance.choice(BAD_VALUES)


def _drawn(chance: random.Random, schema: TableSchema) -> traffic.Asked:
    action, request = (traffic.write if chance.random() < 0.8 else traffic.read)(chance, schema, NAMES)
    drawn = chance.random()
    if drawn < 0.25:
        return action, _spoil(chance, request)
    if drawn < 0.4 and action == "PutItem":
        return action, {**request, "Item": {**request["Item"], "title": {"S": "a\x00b"}}}
    return action, request


def _answering_refusals(authority: Authority) -> None:
    """DynamoDB answers what cannot be decoded with its error."""
    request = authority.request

    async def answered(target: str, body: bytes, *more: Any, **named: Any) -> HTTPResponse:
        try:
            return await request(target, body, *more, **named)
        except DynamoDBError as error:
            outcome = Outcome.failed(error)
        except (AttributeError, KeyError, TypeError, ValueError):
            outcome = Outcome.of({"__type": "com.amazon.coral.service#SerializationException"}, 400)
        return HTTPResponse(outcome.status, (), outcome.body)

    authority.request = answered  # type: ignore[method-assign]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stage", ["dualwrite", "shadow", "live", "rampdown"])
def test_after_any_requests_the_journal_is_empty_but_for_parked_keys(tmp_path: Path, stage: Any, seed: int) -> None:
    world = World(seed, tmp_path, processes=1)
    chance = random.Random(seed)
    process = world.processes[0]
    process.stage = stage
    _answering_refusals(world.authority)
    for schema in (BILLIO, PAGES):
        world.fill((schema.name, traffic.item(chance, schema, name)) for name in NAMES)

    def refuse(what: str) -> StoreError | None:
        return Refused(chance.choice(ITEM_FAULTS)) if what == "write" and chance.random() < 0.1 else None

    async def story() -> None:
        if stage in ("dualwrite", "shadow"):
            world.mirror.failing = refuse
        ever = 0
        for _ in range(CALLS):
            action, request = _drawn(chance, chance.choice((BILLIO, PAGES)))
            body, name = orjson.dumps(request), world.named(process, action)
            with contextlib.suppress(StoreError, DynamoDBError):
                await process.parts.layer.execute(action, body, name)
            await asyncio.sleep(0.05 * chance.random())
            ever += bool(process.journal.parked.list(limit=1))
        await world.settle(BOUND_SECONDS)
        parked = {each.key for each in process.journal.parked.list()}
        assert set(world.unequal()) <= parked
        assert ever or stage in ("live", "rampdown"), "nothing was ever parked: this shows little"
        for table in (BILLIO.name, PAGES.name):
            for authority in ("dynamodb", "dsql"):
                drain = process.parts.fence.drain(Scope(table), authority)
                assert (drain.writers, drain.keys, drain.lingering_seconds) == (0, 0, 0.0), (table, authority, drain)
        # What was refused by chance is taken now: an operator's retry leaves only what the mirror cannot hold.
        world.mirror.failing = lambda _: None
        process.journal.parked.retry()
        await asyncio.sleep(1)
        await world.settle(BOUND_SECONDS)
        left = {each.key: each.reason for each in process.journal.parked.list()}
        assert all("title" in reason for reason in left.values()), left
        assert world.unequal() == []

    world.run(story())
