"""A follower nominates every key of a stream, parents before children, through crashes, expiry and trimming; and what
can no longer be read it tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from proxy.dynamodb.schema import Key, TableSchema
from proxy.stores.dynamodb.streams import Shard, Streams
from proxy.stores.errors import Unreachable
from proxy.stream.follower import KEPT_SECONDS, Follower, FollowerOptions, StreamedTable
from proxy.stream.positions import ShardPosition, StreamPositions
from proxy.stream.shards import lost_shards, readable_shards
from tests.unit.stream_aws import ARN, FakeStream

SCHEMA = TableSchema.from_description(
    {
        "TableName": "things",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    }
)


class Crash(Exception):
    """The process ends here."""


class Listener:
    """Where keys are nominated: remembers them, and can end the process before or after the next ones."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.gaps = 0
        self.records = 0
        self.crash: str | None = None

    async def nominate(self, keys: Sequence[Key]) -> None:
        crash, self.crash = self.crash, None
        if crash == "before":
            raise Crash
        if crash == "away":
            raise Unreachable("timeout")
        self.keys.extend(key.attributes["pk"]["S"] for key in keys)
        if crash == "after":
            raise Crash

    def stream_records(self, table: str, records: int) -> None:
        self.records += records

    def stream_lag(self, table: str, seconds: float) -> None:
        assert seconds >= 0

    def stream_gap(self, table: str) -> None:
        self.gaps += 1


class World:
    """A stream, a follower of it, and what survives the follower."""

    def __init__(self, path: Path, stream: FakeStream | None = None, **manner: Any) -> None:
        self.stream = stream or FakeStream()
        self.listener = Listener()
        self.path = path
        self.arn: str | None = ARN
        self._manner = FollowerOptions(**({"poll_seconds": 0.0, "delay_seconds": 0.0} | manner))
        self.restart()

    def restart(self) -> None:
        self.follower = Follower(
            "things",
            self._describe,
            Streams(self.stream, 1.0),  # type: ignore[arg-type]  # it asks like an Upstream
            StreamPositions(self.path),
            self.listener.nominate,
            self.listener,
            self._manner,
            lambda: self.stream.now,
        )

    async def _describe(self, name: str) -> StreamedTable | None:
        return StreamedTable(SCHEMA, self.arn)

    async def run(self, turns: int) -> None:
        for _ in range(turns):
            try:
                await self.follower.poll()
            except* Crash:
                self.restart()

    async def settle(self) -> None:
        """Until two looks have found nothing new; the second of them sees shards that came in between."""
        for _ in range(2):
            self.follower._refreshed_at = float("-inf")
            await self.run(3 * sum(len(s.records) for s in self.stream.shards.values()) + 3 * len(self.stream.shards))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def shard(name: str, parent: str | None = None, *, closed: bool = False) -> Shard:
    return Shard(name, parent, closed)


def test_a_child_is_read_after_its_parent() -> None:
    shards = [shard("c", "b"), shard("a", closed=True), shard("b", "a", closed=True), shard("d", "gone")]
    ended = ShardPosition("9", done=True)
    assert [s.name for s in readable_shards(shards, {})] == ["a", "d"]
    assert [s.name for s in readable_shards(shards, {"a": ShardPosition("5")})] == ["a", "d"]
    assert [s.name for s in readable_shards(shards, {"a": ended})] == ["b", "d"]
    assert [s.name for s in readable_shards(shards, {"a": ended, "b": ended, "d": ended})] == ["c"]
    assert lost_shards(shards, {"a": ended, "x": ShardPosition("5"), "y": ended}) == ["x"]


async def test_keys_come_once_and_go_on_after_a_restart(path: Path) -> None:
    world = World(path)
    for number in range(7):
        world.stream.write("shard-0", f"k{number}")
    await world.settle()
    assert world.listener.keys == [f"k{number}" for number in range(7)]
    world.restart()
    world.stream.write("shard-0", "later")
    await world.settle()
    assert world.listener.keys[7:] == ["later"]
    assert (world.listener.records, world.listener.gaps) == (8, 0)


async def test_one_key_of_many_records_is_nominated_once_a_page(path: Path) -> None:
    world = World(path, FakeStream(page=100))
    for _ in range(50):
        world.stream.write("shard-0", "hot")
    await world.settle()
    assert world.listener.keys == ["hot"]


@pytest.mark.parametrize("crash", ["before", "after", "away"])
async def test_no_key_is_lost_where_the_process_ends(path: Path, crash: str) -> None:
    world = World(path)
    for number in range(9):
        world.stream.write("shard-0", f"k{number}")
    world.listener.crash = crash
    await world.settle()
    assert set(world.listener.keys) == {f"k{number}" for number in range(9)}
    # What was nominated and not saved comes again, and no more than that page.
    assert len(world.listener.keys) == 9 + (3 if crash == "after" else 0)


async def test_latest_begins_at_the_end_and_forgets_nothing_after_that(path: Path) -> None:
    world = World(path, start="latest")
    world.stream.write("shard-0", "old")
    [left, _] = world.stream.split("shard-0")
    world.stream.write(left, "old too")
    await world.run(1)
    world.stream.write(left, "new")
    await world.settle()
    assert world.listener.keys == ["new"]
    # Begun at the end, ended before anything came: whatever came then is still found.
    other = World(path.with_name("other.sqlite"), start="latest")
    await other.run(1)
    other.restart()
    other.stream.write("shard-0", "while away")
    await other.settle()
    assert other.listener.keys == ["while away"]


async def test_a_day_away_is_told(path: Path) -> None:
    world = World(path)
    world.stream.write("shard-0", "read")
    await world.settle()
    assert world.listener.gaps == 0
    world.stream.now += KEPT_SECONDS + 60
    world.stream.write("shard-0", "never read")
    world.stream.write("shard-0", "still there")
    world.stream.trim("shard-0", 2)
    world.restart()
    await world.settle()
    assert world.listener.gaps == 1
    assert world.listener.keys == ["read", "still there"]


async def test_an_idle_table_misses_nothing_however_old_its_records(path: Path) -> None:
    """The last record that was read is trimmed after a day, and there is nothing to tell."""
    world = World(path)
    world.stream.write("shard-0", "read")
    await world.settle()
    world.stream.trim("shard-0", 1)
    world.restart()
    world.stream.now += 3600
    world.stream.write("shard-0", "new")
    await world.settle()
    assert (world.listener.keys, world.listener.gaps) == (["read", "new"], 0)


async def test_another_stream_of_the_table_is_told_and_read(path: Path) -> None:
    world = World(path)
    world.stream.write("shard-0", "old")
    await world.settle()
    world.arn = ARN.replace("2026", "2027")
    await world.settle()
    assert world.listener.gaps == 1
    world.stream.write("shard-0", "new")
    await world.settle()
    assert "new" in world.listener.keys
    assert world.listener.gaps == 1


async def test_failures_of_the_stream_are_waited_out(path: Path) -> None:
    world = World(path)
    world.stream.write("shard-0", "k")
    world.stream.fail_next = ["LimitExceededException", "InternalServerError"] * 3
    world.follower._refreshed_at = float("-inf")
    await world.follower._refresh_shards()
    world.stream.fail_next = []
    await world.settle()
    assert world.listener.keys == ["k"]


async def test_records_of_odd_forms_do_not_stop_it(path: Path) -> None:
    world = World(path, FakeStream(page=10))
    world.stream.write("shard-0", "before")
    world.stream.write("shard-0", "odd", dynamodb={"nothing": "of a record"})
    world.stream.write("shard-0", "ttl", userIdentity={"type": "Service", "principalId": "dynamodb.amazonaws.com"})
    world.stream.shards["shard-0"].records[-1]["eventName"] = "REMOVE"
    world.stream.shards["shard-0"].records[1]["dynamodb"] |= {"SequenceNumber": "2"}
    await world.settle()
    assert world.listener.keys == ["before", "ttl"]
    assert world.listener.gaps == 1


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ("write", "write", "write", "split", "turn", "turn", "expire", "restart", "crash", "trim", "fail")
        ),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(ACTIONS)
async def test_whatever_happens_every_key_is_nominated(tmp_path_factory: pytest.TempPathFactory, actions: Any) -> None:
    world = World(tmp_path_factory.mktemp("stream") / "journal.sqlite")
    stream, written = world.stream, 0
    for action, number in actions:
        event(action)
        shards = stream.open()
        chosen = shards[number % len(shards)]
        if action == "write":
            stream.write(chosen, f"k{written}")
            written += 1
        elif action == "split" and len(stream.shards) < 12:
            stream.split(chosen)
        elif action == "turn":
            await world.run(number)
        elif action == "expire":
            stream.expire_iterators()
        elif action == "restart":
            world.restart()
        elif action == "crash":
            world.listener.crash = ("before", "after", "away")[number % 3]
        elif action == "fail":
            # Only of reading: what describes the stream is asked again after some seconds.
            stream.fail_next = ["LimitExceededException"] if world.follower._shards else []
            await world.run(1)
        elif action == "trim":
            # What was read is gone after a day, be it that the process is away just then.
            here = list(stream.shards.values())[number % len(stream.shards)]
            read = [each["dynamodb"]["Keys"]["pk"]["S"] in world.listener.keys for each in here.records]
            stream.trim(here.name, read.index(False) if False in read else len(read))
    await world.settle()
    assert set(world.listener.keys) == {f"k{number}" for number in range(written)}
    first_seen = {key: world.listener.keys.index(key) for key in world.listener.keys}
    for each in stream.shards.values():
        if each.parent is not None and each.records and stream.shards[each.parent].records:
            parents = [first_seen[r["dynamodb"]["Keys"]["pk"]["S"]] for r in stream.shards[each.parent].records]
            assert max(parents) < min(first_seen[r["dynamodb"]["Keys"]["pk"]["S"]] for r in each.records)
