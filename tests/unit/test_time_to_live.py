"""Time to live: who has expired, what is learnt of it, and who deletes it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from proxy.cutover.flip.fencing import NoLease
from proxy.cutover.stages import Scope, Stage, StageMap, StagePlacement, Stages
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.tables.time_to_live import DISABLED, changed, enabled, expiry_attribute, has_expired
from proxy.mapping.document_mapping import DocumentMapping
from proxy.settings import Settings
from proxy.shadow.call import Call
from proxy.shadow.expiry.attributes import ExpiryAttributes
from proxy.shadow.expiry.expirer import Expirer
from proxy.shadow.request.routing import KeyStages
from proxy.stores.errors import Unreachable
from proxy.stores.execution.executor import execute_for_client
from proxy.stores.interface import ExecutionResult
from proxy.stores.table_registry import Table, Tables
from proxy.stores.time_to_live_watch import TimeToLiveWatch
from tests.rules.memory_rows import MemoryRows

NOW = 2_000_000_000.0
YEAR = 365 * 86_400
SCHEMA = TableSchema.from_description(
    {
        "TableName": "sessions",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
)


@pytest.mark.parametrize(
    ("value", "expired"),
    [
        ({"N": "1999999999"}, True),
        ({"N": "2000000000"}, True),
        ({"N": "1999999999.5"}, True),
        ({"N": "2000000001"}, False),
        ({"N": str(int(NOW) - 5 * YEAR)}, True),
        ({"N": str(int(NOW) - 5 * YEAR - 1)}, False),
        ({"N": "0"}, False),
        ({"N": "1999999999000"}, False),
        ({"S": "1999999999"}, False),
        (None, False),
    ],
)
def test_an_item_expires_by_a_number_of_seconds(value: Any, expired: bool) -> None:
    """Developer guide, "Using time to live (TTL) in DynamoDB": a Number; not if it is more than five years old."""
    assert has_expired({"id": {"S": "1"}} | ({"t": value} if value else {}), "t", NOW) is expired


def test_what_a_description_says() -> None:
    assert expiry_attribute(enabled("t")) == "t"
    assert expiry_attribute({"TimeToLiveStatus": "ENABLING", "AttributeName": "t"}) == "t"
    for none in (None, DISABLED, {"TimeToLiveStatus": "DISABLING", "AttributeName": "t"}, {}):
        assert expiry_attribute(none) is None


def test_an_update_without_a_specification_is_refused() -> None:
    missing: list[dict[str, Any]] = [
        {},
        {"TimeToLiveSpecification": {}},
        {"TimeToLiveSpecification": {"Enabled": True}},
    ]
    for request in missing:
        with pytest.raises(DynamoDBError, match="Member must not be null"):
            changed(request, DISABLED)
    wrong = {"TimeToLiveSpecification": {"Enabled": "yes", "AttributeName": "t"}}
    with pytest.raises(DynamoDBError) as refused:
        changed(wrong, DISABLED)
    assert refused.value.code == "SerializationException"


class Records:
    """`ExpiryRecords`; the first call fails."""

    def __init__(self) -> None:
        self.failures = 1
        self.kept: dict[str, Mapping[str, Any]] = {"old": enabled("t")}

    async def keep_time_to_live(self, table: str, description: Mapping[str, Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise Unreachable("down")
        self.kept[table] = description

    async def drop(self, table: str) -> None:
        self.kept.pop(table, None)


async def test_what_is_noted_is_learnt_and_nothing_is_forgotten_on_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.stores.time_to_live_watch._AGAIN_SECONDS", 0.0)
    asked: list[str] = []

    async def call(action: str, body: bytes) -> Outcome:
        name = orjson.loads(body)["TableName"]
        asked.append(name)
        if name == "forbidden":
            return Outcome.of({"__type": "AccessDeniedException"}, 400)
        return Outcome.of({"TimeToLiveDescription": enabled("expires")})

    records = Records()
    watch = TimeToLiveWatch(call, records)
    for table in ("sessions", "forbidden", "other"):
        watch.note(table)
    watch.note("old", deleted=True)
    await watch.work()
    await watch.work()
    assert asked == ["sessions", "forbidden", "other", "sessions"]
    assert records.kept == {"sessions": enabled("expires"), "other": enabled("expires")}
    waiting = asyncio.ensure_future(watch.work())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


class World:
    """A table in memory, which is read and written as the authority's."""

    def __init__(self, items: int) -> None:
        self.rows = MemoryRows()
        self.table = Table(SCHEMA, DocumentMapping(SCHEMA))
        self.stages = Stages(Settings(stage="off"))
        self.move(Stage.LIVE)
        self.scanned: list[Operation] = []
        self.calls: list[Call] = []
        self.counted = 0
        self.owner = "me"
        for number in range(items):
            self.put(f"{number:04}", str(int(NOW) - number % 2 * 10 + 5))

    def put(self, name: str, expires: str) -> None:
        item = {"id": {"S": name}, "t": {"N": expires}}
        self.rows.items[SCHEMA.key_of(item)] = item

    def move(self, stage: Stage) -> None:
        self.stages.adopt(StageMap(self.stages.map.epoch + 1, {Scope("sessions"): StagePlacement(stage)}))

    async def execute(self, operation: Operation) -> ExecutionResult:
        self.scanned.append(operation)
        return await execute_for_client(_Sliced(self.rows), operation)

    async def write(self, call: Call) -> Outcome:
        self.calls.append(call)
        return (await execute_for_client(self.rows, call.operation)).outcome

    async def find(self, name: str) -> Table | None:
        return self.table if name == "sessions" else None

    async def claim_expiry(self, table: str, process: str, seconds: float) -> bool:
        return process == self.owner

    async def expire(self) -> int:
        async def read() -> dict[str, Any]:
            return {"sessions": enabled("t"), "other": dict(DISABLED)}

        def count(table: str, items: int) -> None:
            self.counted += items

        attributes = ExpiryAttributes(read)
        await attributes.refresh()
        assert attributes.tables() == ("sessions",)
        tables = Tables(_no_schema, {})
        tables.learn(SCHEMA)
        store: Any = self
        expirer = Expirer(
            attributes=attributes,
            leases=self,
            process="me",
            stages=self.stages,
            key_stages=KeyStages(self.stages, tables),
            lease=NoLease(),
            find_table=self.find,
            dsql=store,
            write=self.write,
            count_expired=count,
            every_seconds=0.0,
            rate=1e9,
            wall=lambda: NOW,
        )
        return await expirer.expire("sessions")


class _Sliced(MemoryRows):
    """Rows that a Scan can go on in."""

    def __init__(self, rows: MemoryRows) -> None:
        self.items = rows.items

    async def range(self, request: Any) -> Any:
        async for item in MemoryRows.range(self, request):
            if request.start is None or item["id"]["S"] > request.start["id"]["S"]:
                yield item


async def _no_schema(_: str) -> None:
    return None


async def test_what_has_expired_is_deleted_in_slices() -> None:
    world = World(450)
    assert await world.expire() == 225
    assert world.counted == 225
    assert len(world.scanned) == 2  # these rows filter before they are counted
    assert len(world.rows.items) == 225
    assert all(int(item["t"]["N"]) > NOW for item in world.rows.items.values())
    assert all(call.internal for call in world.calls)
    assert await world.expire() == 0


async def test_what_was_renewed_meanwhile_stays() -> None:
    world = World(4)
    write = world.write

    async def renewed(call: Call) -> Outcome:
        world.put("0001", str(int(NOW) + 100))
        return await write(call)

    world.write = renewed  # type: ignore[method-assign]
    assert await world.expire() == 1
    assert {key.attributes["id"]["S"] for key in world.rows.items} == {"0000", "0001", "0002"}


async def test_only_who_has_the_lease_expires_and_only_past_the_flip() -> None:
    world = World(4)
    world.owner = "another"
    assert await world.expire() == 0
    world.owner = "me"
    for stage in (Stage.OFF, Stage.DUALWRITE, Stage.SHADOW):
        world.move(stage)
        assert await world.expire() == 0
    assert world.calls == []
    for stage in (Stage.LIVE, Stage.RAMPDOWN, Stage.COMPLETE):
        world.move(stage)
        world.put("0001", str(int(NOW) - 5))
        assert await world.expire() > 0


async def test_a_move_back_between_two_slices_ends_it() -> None:
    world = World(450)
    execute = world.execute

    async def moved(operation: Operation) -> ExecutionResult:
        result = await execute(operation)
        world.move(Stage.SHADOW)
        return result

    world.execute = moved  # type: ignore[method-assign]
    assert await world.expire() == 0
    assert len(world.scanned) == 1


async def test_a_failure_ends_the_round_and_is_no_crash() -> None:
    world = World(4)

    async def failing(call: Call) -> Outcome:
        return Outcome.of({"__type": "InternalServerError"}, 500)

    world.write = failing  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        await world.expire()
