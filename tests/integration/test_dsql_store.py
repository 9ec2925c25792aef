"""DSQLStore against a real PostgreSQL, through the gate that stands for DSQL: guards, conflicts, failures, indexes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from proxy.dynamodb.operations import Operation, decode, parse_body, tables_of
from proxy.dynamodb.pages import read_query
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import load
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.errors import Refused, UnknownOutcome, Unreachable
from proxy.stores.interface import StoredItem, Unrepresentable
from tests.integration.scenes import run_sql, wait_until
from tests.standins.billio import INDEXES, table_definition
from tests.standins.pools import open_dsn_pool
from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = TableSchema.from_description(
    {
        "TableName": "things",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        "GlobalSecondaryIndexes": [
            {"IndexName": "by-n", "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}], "Projection": {}}
        ],
    }
)
BILLIO = TableSchema.from_description(table_definition())


_MAPPINGS: dict[str, TableMapping] = {"things": DocumentMapping(SCHEMA), "billio": load(CONFIG / "billio.toml").mapping}


def key(text: str) -> Key:
    return SCHEMA.key_of({"pk": {"S": text}})


def item(text: str, **attributes: str) -> Item:
    return {"pk": {"S": text}} | {name: {"S": content} for name, content in attributes.items()}


def operation(action: str, request: dict[str, Any], schema: TableSchema = SCHEMA) -> Operation:
    body = json.dumps(request).encode()
    parsed = parse_body(body)
    return decode(action, body, parsed, dict.fromkeys(tables_of(action, parsed), schema))


def transaction(*parts: dict[str, Any]) -> Operation:
    return operation("TransactWriteItems", {"TransactItems": list(parts)})


def put(text: str, **attributes: str) -> dict[str, Any]:
    return {"Put": {"TableName": "things", "Item": item(text, **attributes)}}


def check(text: str, condition: str, **values: str) -> dict[str, Any]:
    bound = {f":{name}": {"S": content} for name, content in values.items()}
    return {
        "ConditionCheck": {
            "TableName": "things",
            "Key": {"pk": {"S": text}},
            "ConditionExpression": condition,
            **({"ExpressionAttributeValues": bound} if bound else {}),
        }
    }


@asynccontextmanager
async def opened(dsn: str, *, maximum: int = 5, connect_seconds: float = 60) -> AsyncIterator[DSQLStore]:
    pool = open_dsn_pool(dsn, maximum=maximum, connect_seconds=connect_seconds)
    try:
        yield DSQLStore(pool, _MAPPINGS.__getitem__)
    finally:
        pool.terminate()


async def make_things(dsn: str) -> None:
    pool = open_dsn_pool(dsn, maximum=1)
    await DocumentTables(pool, "public").create(DocumentMapping(SCHEMA))
    await pool.close()


@pytest_asyncio.fixture
async def dsn(dsql_database: str) -> str:
    """The gate's, with the table `things`."""
    await make_things(dsql_database)
    return dsql_database


@pytest_asyncio.fixture
async def store(dsn: str) -> AsyncIterator[DSQLStore]:
    async with opened(dsn) as made:
        yield made


@pytest_asyncio.fixture
async def other(dsn: str) -> AsyncIterator[DSQLStore]:
    """A second process, as it were."""
    async with opened(dsn) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to kill."""
    with Postgres(fsync=True) as made:
        yield made


async def write(store: DSQLStore, wanted: Item) -> None:
    found = key(wanted["pk"]["S"])
    assert await store.put(found, wanted, await store.get(found)) is not None


# --- guards -----------------------------------------------------------------------------------------------------------


async def test_put_goes_through_while_the_row_is_what_was_read(store: DSQLStore) -> None:
    assert (await store.get(key("a"))).item is None
    left = await store.put(key("a"), item("a", v="1"), await store.get(key("a")))
    assert left is not None
    assert left.item == item("a", v="1")
    left = await store.put(key("a"), item("a", v="2"), await store.get(key("a")))
    assert left is not None
    assert (await store.get(key("a"))).item == item("a", v="2")
    assert await store.put(key("a"), None, await store.get(key("a"))) == StoredItem(None)
    assert (await store.get(key("a"))).item is None


async def test_put_never_overwrites_a_row_that_moved_on(store: DSQLStore, other: DSQLStore) -> None:
    await write(store, item("a", v="1"))
    before = await store.get(key("a"))
    await write(other, item("a", v="2"))
    assert await store.put(key("a"), item("a", v="3"), before) is None
    assert await store.put(key("a"), None, before) is None
    assert (await store.get(key("a"))).item == item("a", v="2")


async def test_put_does_not_bring_back_a_row_that_is_gone(store: DSQLStore, other: DSQLStore) -> None:
    await write(store, item("a", v="1"))
    before = await store.get(key("a"))
    assert await other.put(key("a"), None, await other.get(key("a"))) is not None
    assert await store.put(key("a"), item("a", v="2"), before) is None
    assert (await store.get(key("a"))).item is None


async def test_nothing_instead_of_nothing_says_whether_there_still_is_nothing(store: DSQLStore) -> None:
    before = await store.get(key("a"))
    assert await store.put(key("a"), None, before) == StoredItem(None)
    await write(store, item("a"))
    assert await store.put(key("a"), None, before) is None
    assert (await store.get(key("a"))).item == item("a")


async def test_of_writers_that_insert_at_once_one_gets_through(store: DSQLStore, other: DSQLStore) -> None:
    for number in range(20):
        found = key(f"a{number}")
        absent = StoredItem(None)
        writers = [
            each.put(found, item(f"a{number}", who=str(n)), absent)
            for n, each in enumerate((store, other, store, other))
        ]
        left = await asyncio.gather(*writers)
        [winner] = [each for each in left if each is not None]
        assert (await store.get(found)).item == winner.item


async def test_concurrent_updates_lose_none(store: DSQLStore, other: DSQLStore) -> None:
    """Read, decide, write if unchanged, else again: the counter counts every one."""
    count = operation(
        "UpdateItem",
        {
            "TableName": "things",
            "Key": {"pk": {"S": "a"}},
            "UpdateExpression": "ADD c :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        },
    )
    done = 0

    async def add(each: DSQLStore) -> None:
        nonlocal done
        for _ in range(10):
            with contextlib.suppress(Unreachable):  # gave up after ten attempts: certainly without effect
                assert (await each.execute(count)).outcome.ok
                done += 1

    await asyncio.gather(add(store), add(other), add(store))
    assert (await store.get(key("a"))).item == {"pk": {"S": "a"}, "c": {"N": str(done)}}
    assert done > 10


# --- transactions -----------------------------------------------------------------------------------------------------


async def test_a_transaction_takes_effect_wholly_or_not_at_all(store: DSQLStore) -> None:
    done = await store.execute(transaction(put("a"), put("b"), check("c", "attribute_not_exists(pk)")))
    assert done.outcome.ok
    failed = await store.execute(transaction(put("d"), check("a", "attribute_not_exists(pk)")))
    assert failed.outcome.error_code == "TransactionCanceledException"
    assert [reason["Code"] for reason in failed.outcome.document["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
    ]
    held = await store.rows.get_many([key(name) for name in "abcd"])
    assert [held[key(name)].item for name in "abcd"] == [item("a"), item("b"), None, None]


async def test_a_transaction_that_is_overtaken_is_done_again(store: DSQLStore, other: DSQLStore) -> None:
    """What it reads is locked until it commits; the loser starts afresh and sees the winner's."""
    await write(store, item("a", v="0"))

    async def swap(each: DSQLStore, mine: str) -> bool:
        """Put mine where v is still not the other's."""
        change = {
            "Update": {
                "TableName": "things",
                "Key": {"pk": {"S": "a"}},
                "UpdateExpression": "SET v = :v",
                "ConditionExpression": "v = :old",
                "ExpressionAttributeValues": {":v": {"S": mine}, ":old": {"S": "0"}},
            }
        }
        return (await each.execute(transaction(change, put(f"by-{mine}")))).outcome.ok

    for _ in range(10):
        one, two = await asyncio.gather(swap(store, "1"), swap(other, "2"))
        assert one is not two
        held = (await store.get(key("a"))).item
        assert held == item("a", v="1" if one else "2")
        await write(store, item("a", v="0"))


async def test_no_write_skew_between_a_check_and_a_write(store: DSQLStore, other: DSQLStore) -> None:
    """Two transactions that each check what the other writes: one of them must see the other."""
    for number in range(3):
        one, two = f"x{number}", f"y{number}"
        await write(store, item(one, on_="yes"))
        await write(store, item(two, on_="yes"))
        outcomes = await asyncio.gather(
            store.execute(transaction(check(one, "on_ = :yes", yes="yes"), put(two, on_="no"))),
            other.execute(transaction(check(two, "on_ = :yes", yes="yes"), put(one, on_="no"))),
        )
        assert sorted(each.outcome.ok for each in outcomes) == [False, True]


async def test_a_read_transaction_is_one_moment(store: DSQLStore, other: DSQLStore) -> None:
    await store.execute(transaction(put("a", v="0"), put("b", v="0")))
    both = operation(
        "TransactGetItems",
        {"TransactItems": [{"Get": {"TableName": "things", "Key": {"pk": {"S": name}}}} for name in "ab"]},
    )
    stop = asyncio.Event()

    async def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await other.execute(transaction(put("a", v=str(number)), put("b", v=str(number))))

    writer = asyncio.create_task(change())
    try:
        for _ in range(40):
            responses = (await store.execute(both)).outcome.document["Responses"]
            assert responses[0]["Item"]["v"] == responses[1]["Item"]["v"]
    finally:
        stop.set()
        await writer


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_segments_have_every_item_once_however_few_rows_a_statement_looks_at(
    store: DSQLStore, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("proxy.stores.dsql.sql.ranges.SEGMENT_ROWS", 2)
    names = [f"k{n}" for n in range(23)]
    for name in names:
        await write(store, item(name))
    found: list[str] = []
    for segment in range(3):
        start: dict[str, Any] = {}
        while True:
            request = {"TableName": "things", "Segment": segment, "TotalSegments": 3, "Limit": limit} | start
            page = (await store.execute(operation("Scan", request))).outcome.document
            found += [each["pk"]["S"] for each in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert sorted(found) == sorted(names)


# --- conflicts and failures -------------------------------------------------------------------------------------------


class Relay:
    """Stands between the store and PostgreSQL on the wire; `judge` sees every message that the store sends.

    It passes the message on, or breaks the connection before or after it, or answers it with an error of its own.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.judge: Callable[[bytes, bytes], str | tuple[str, str]] = lambda kind, body: "pass"
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def dsn(self, dsn: str) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/{dsn.rsplit('/', 1)[1]}?sslmode=disable"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(LOOPBACK, self._port)
        task = asyncio.ensure_future(self._answers(there, writer))
        self._tasks.add(task)
        try:
            size = int.from_bytes(await reader.readexactly(4), "big")
            back.write(size.to_bytes(4, "big") + await reader.readexactly(size - 4))
            while True:
                kind = await reader.readexactly(1)
                size = int.from_bytes(await reader.readexactly(4), "big")
                body = await reader.readexactly(size - 4)
                said = self.judge(kind, body)
                if said == "drop":
                    continue
                if isinstance(said, tuple):
                    writer.write(_error(*said))
                    # DSQL has ended the transaction whose COMMIT failed; here it takes a ROLLBACK in COMMIT's place.
                    # What the server answers to that ends the client's wait.
                    back.write(_message(b"Q", b"ROLLBACK\0") if kind == b"Q" else _message(kind, body))
                    continue
                if said != "pass":
                    task.cancel()  # no answer comes back any more
                    await asyncio.wait({task})
                if said != "cut":
                    back.write(_message(kind, body))
                if said == "cut after":
                    await there.read(1)  # which says that it has been carried out
                if said != "pass":
                    writer.transport.abort()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            back.close()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await there.read(65536):
                writer.write(data)
            writer.close()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def _error(state: str, text: str) -> bytes:
    return _message(b"E", b"SERROR\0VERROR\0C" + state.encode() + b"\0M" + text.encode() + b"\0\0")


def is_query(text: str) -> Callable[[bytes, bytes], bool]:
    """A simple query, such as COMMIT."""
    return lambda kind, body: kind == b"Q" and body.rstrip(b"\0") == text.encode()


def at_the_end_of_an_execution(said: str) -> Callable[[bytes, bytes], str]:
    """Says so of the message that ends and, outside a transaction, commits the next prepared statement that runs."""
    running = False

    def judge(kind: bytes, body: bytes) -> str:
        nonlocal running
        running = running or kind == b"E"
        return said if running and kind == b"S" else "pass"

    return judge


@pytest_asyncio.fixture
async def relay(postgres: Postgres, database: str) -> AsyncIterator[Relay]:
    await make_things(database)
    async with Relay(postgres.port) as made:
        yield made


@pytest.mark.parametrize(
    "message",
    [
        "change conflicts with another transaction, please retry: (OC000)",
        "schema has been updated by another transaction, please retry: (OC001)",
    ],
)
async def test_a_conflict_at_commit_is_tried_again(relay: Relay, database: str, message: str) -> None:
    """DSQL fails at COMMIT, in either form of words ("Concurrency control in Aurora DSQL")."""
    commits = 0

    def judge(kind: bytes, body: bytes) -> str | tuple[str, str]:
        nonlocal commits
        if is_query("COMMIT")(kind, body):
            commits += 1
            if commits <= 2:
                return "40001", message
        return "pass"

    reasons: list[str] = []
    pool = open_dsn_pool(relay.dsn(database), maximum=2)
    store = DSQLStore(pool, _MAPPINGS.__getitem__, on_retry=reasons.append)
    await store.get(key("warm"))
    relay.judge = judge
    done = await store.execute(transaction(put("a"), put("b")))
    assert done.outcome.ok
    assert commits == 3
    assert reasons == ["occ", "occ"]
    pool.terminate()


@pytest.mark.parametrize("message", ["(OC000)", "(OC001)"])
async def test_a_conflict_of_one_statement_is_tried_again(relay: Relay, database: str, message: str) -> None:
    async with opened(relay.dsn(database)) as store:
        await write(store, item("a", v="1"))
        failures = 2

        def judge(kind: bytes, body: bytes) -> str | tuple[str, str]:
            nonlocal failures
            if failures and kind in (b"B", b"E"):
                return "drop"
            if failures and kind == b"S":
                failures -= 1
                return "40001", message
            return "pass"

        relay.judge = judge
        assert (await store.get(key("a"))).item == item("a", v="1")
        assert failures == 0


async def test_conflicts_that_never_end_give_up_without_effect(relay: Relay, database: str) -> None:
    async with opened(relay.dsn(database)) as store:
        await store.get(key("a"))
        relay.judge = lambda kind, body: ("40001", "(OC000)") if is_query("COMMIT")(kind, body) else "pass"
        with pytest.raises(Unreachable):
            await store.execute(transaction(put("a")))


async def test_a_cut_at_commit_leaves_the_outcome_unknown(relay: Relay, database: str) -> None:
    async with opened(relay.dsn(database)) as store:
        await store.get(key("a"))
        relay.judge = lambda kind, body: "cut" if is_query("COMMIT")(kind, body) else "pass"
        with pytest.raises(UnknownOutcome):
            await store.execute(transaction(put("a")))
        relay.judge = lambda kind, body: "cut after" if is_query("COMMIT")(kind, body) else "pass"
        with pytest.raises(UnknownOutcome):
            await store.execute(transaction(put("b")))
        relay.judge = lambda kind, body: "pass"
        # Unknown is the right word: one of the two took effect.
        assert (await store.get(key("a"))).item is None
        assert (await store.get(key("b"))).item == item("b")


async def test_a_cut_before_commit_certainly_had_no_effect(relay: Relay, database: str) -> None:
    async with opened(relay.dsn(database)) as store:
        await store.execute(transaction(put("warm")))
        relay.judge = at_the_end_of_an_execution("cut")
        with pytest.raises(Unreachable):
            await store.execute(transaction(put("a")))
        relay.judge = lambda kind, body: "pass"
        assert (await store.get(key("a"))).item is None


async def test_a_cut_in_the_middle_of_a_write_leaves_the_outcome_unknown(relay: Relay, database: str) -> None:
    async with opened(relay.dsn(database)) as store:
        await write(store, item("a", v="1"))
        before = await store.get(key("a"))
        relay.judge = at_the_end_of_an_execution("cut after")
        with pytest.raises(UnknownOutcome):
            await store.put(key("a"), item("a", v="2"), before)
        relay.judge = lambda kind, body: "pass"
        assert (await store.get(key("a"))).item == item("a", v="2")


async def test_a_cut_in_the_middle_of_a_read_had_no_effect(relay: Relay, database: str) -> None:
    async with opened(relay.dsn(database)) as store:
        await store.get(key("a"))
        relay.judge = at_the_end_of_an_execution("cut")
        with pytest.raises(Unreachable):
            await store.get(key("a"))
        with pytest.raises(Unreachable):
            await store.execute(
                operation("TransactGetItems", {"TransactItems": [{"Get": {"TableName": "things", "Key": item("a")}}]})
            )
        relay.judge = lambda kind, body: "pass"
        assert (await _once_connected(store)).item is None  # a connect was cut, too: the pool pauses


async def _once_connected(store: DSQLStore) -> StoredItem:
    """Read the row again until the pool has connected anew."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await store.get(key("a"))
            except Unreachable:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("state", ["XX000", "57P01", "08006"])
async def test_a_server_that_goes_away_at_commit_leaves_the_outcome_unknown(
    relay: Relay, database: str, state: str
) -> None:
    async with opened(relay.dsn(database)) as store:
        await store.get(key("a"))
        relay.judge = lambda kind, body: (state, "server unavailable") if is_query("COMMIT")(kind, body) else "pass"
        with pytest.raises(UnknownOutcome):
            await store.execute(transaction(put("a")))


async def test_a_server_that_was_killed_is_unreachable_and_comes_back(server: Postgres) -> None:
    dsn = server.create_database()
    await make_things(dsn)
    async with opened(dsn) as store:
        await write(store, item("a", v="1"))
        before = await store.get(key("a"))
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.1)  # the lost connection is noticed: nothing is sent on it
        for attempt in (
            store.get(key("a")),
            store.put(key("a"), item("a"), before),
            store.execute(transaction(put("b"))),
        ):
            with pytest.raises(Unreachable):
                await attempt
        await asyncio.to_thread(server.restart)
        assert (await store.get(key("a"))).item == item("a", v="1")
        assert await store.put(key("a"), item("a", v="2"), before) is not None


async def test_a_store_can_be_made_while_the_server_is_down(server: Postgres) -> None:
    dsn = server.create_database()
    await make_things(dsn)
    await asyncio.to_thread(server.kill)
    async with opened(dsn) as store:
        with pytest.raises(Unreachable):
            await store.get(key("a"))
        await asyncio.to_thread(server.restart)
        assert (await store.get(key("a"))).item is None


def _until_nothing_runs(database: str) -> None:
    """What was given up may yet wait for a lock, and land."""
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
    statement = f"{others} AND pid <> pg_backend_pid()"
    wait_until(lambda: not asyncio.run(run_sql(database, statement)), 120, "what was given up to end")


async def test_a_cancelled_call_costs_its_connection_and_nothing_else(dsn: str, database: str) -> None:
    """What it was doing cannot be told, so nothing may follow on that connection."""
    # The lock is held past the gate, which lets nobody wait otherwise: the call is as late as on a slow network.
    async with opened(dsn, maximum=2) as store, opened(database, maximum=1) as holder:
        await write(store, item("a", v="1"))
        for _ in range(6):
            async with holder.rows.transaction(read_only=False) as locked:
                assert (await locked.get_many([key("a")]))[key("a")].item is not None
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await store.put(key("a"), item("a", v="late"), await store.get(key("a")))
            await asyncio.to_thread(_until_nothing_runs, database)
        # It was given up, not undone: it may have landed, which is why its outcome counts as unknown.
        before = await store.get(key("a"))
        assert before.item in (item("a", v="1"), item("a", v="late"))
        assert await store.put(key("a"), item("a", v="2"), before) is not None
        held = await asyncio.gather(*(store.get(key("a")) for _ in range(8)))
        assert {json.dumps(each.item) for each in held} == {json.dumps(item("a", v="2"))}


async def test_no_more_connections_than_allowed_and_waiting_ends_with_the_callers_limit(
    dsn: str, database: str
) -> None:
    async with opened(dsn, maximum=2) as store, opened(database, maximum=1) as holder:
        await write(store, item("a", v="1"))
        before = await store.get(key("a"))
        async with holder.rows.transaction(read_only=False) as locked:
            await locked.get_many([key("a")])
            # Neither leaves the row as it is, or the other one could follow it.
            stuck = [asyncio.create_task(store.put(key("a"), item("a", v=v), before)) for v in ("2", "3")]
            await asyncio.sleep(0.1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await store.get(key("b"))
        done = await asyncio.gather(*stuck)
        assert [each is not None for each in done].count(True) == 1
        assert (await store.get(key("b"))).item is None


# --- what cannot be held ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"pk": {"S": "nul\x00"}}, SCHEMA),
        ({"pk": {"S": "k" * 1500}}, SCHEMA),
        ({"type:id": {"S": "no form"}}, BILLIO),
        (
            {"type:id": {"S": "Book:1"}, "type": {"S": "Book"}, "id": {"S": "1"}, "movedAt": {"N": "1e30"}},
            BILLIO,
        ),
        (
            {"type:id": {"S": "Book:1"}, "type": {"S": "Book"}, "id": {"S": "1"}, "title": {"S": "t" * 1020}},
            BILLIO,
        ),
    ],
    ids=["nul in the key", "key too long", "no composite", "time out of range", "title too long for its index"],
)
async def test_what_the_mapping_cannot_hold_is_told_before_anything_is_written(
    dsql_database: str, wanted: Item, schema: TableSchema
) -> None:
    await make_things(dsql_database)
    async with opened(dsql_database) as store:
        if schema is BILLIO:
            await make_billio(dsql_database)
        found = schema.key_of(wanted)
        with pytest.raises(Unrepresentable) as raised:
            await store.put(found, wanted, StoredItem(None))
        assert raised.value.faults
        assert raised.value.key == found
        body = {"TransactItems": [{"Put": {"TableName": schema.name, "Item": wanted}}]}
        with pytest.raises(Unrepresentable):
            await store.execute(operation("TransactWriteItems", body, schema))
        scan = operation("Scan", {"TableName": schema.name}, schema)
        assert (await store.execute(scan)).outcome.document["Count"] == 0


@pytest.mark.parametrize("constraint", ["CHECK (length(item::text) < 60)", "CHECK (pk <> 'bad')"])
async def test_a_constraint_that_refuses_a_row_makes_it_unrepresentable(database: str, constraint: str) -> None:
    """Whoever owns the table may have put one there; asking again will not help. In a transaction as by itself."""
    await make_things(database)
    connection = await asyncpg.connect(database)
    await connection.execute(f"ALTER TABLE things ADD {constraint}")
    await connection.close()
    async with opened(database, maximum=1) as store:
        wanted = item("bad", v="x" * 60)
        with pytest.raises(Unrepresentable):
            await store.put(key("bad"), wanted, StoredItem(None))
        with pytest.raises(Unrepresentable):
            await store.execute(transaction({"Put": {"TableName": "things", "Item": wanted}}))
        assert (await store.get(key("bad"))).item is None
        await write(store, item("good"))


async def test_a_missing_table_is_refused(dsql_database: str) -> None:
    async with opened(dsql_database) as store:
        for attempt in (
            store.get(key("a")),
            store.put(key("a"), item("a"), StoredItem(None)),
            store.execute(transaction(put("a"))),
            store.execute(operation("Scan", {"TableName": "things"})),
        ):
            with pytest.raises(Refused) as raised:
                await attempt
            assert raised.value.reason == "42P01"


async def test_a_table_without_a_mapping_is_refused(store: DSQLStore) -> None:
    with pytest.raises(Refused) as raised:
        await store.get(Key("unheard-of", key("a").text))
    assert raised.value.reason == "unmapped"


# --- indexes ----------------------------------------------------------------------------------------------------------


async def make_billio(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, ssl=False)
    await migrate(connection, read_folder(CONFIG / "migrations"))
    await connection.close()


def billio_item(number: int) -> Item:
    kind, shelf = ("Book", "Feature", "TvSeason")[number % 3], ("Wishlist", "Done")[number % 2]
    return {
        "type": {"S": kind},
        "id": {"S": f"{number:05}"},
        "type:id": {"S": f"{kind}:{number:05}"},
        "shelf": {"S": shelf},
        "type:shelf": {"S": f"{kind}:{shelf}"},
        "title": {"S": f"title {number % 50}"},
        "movedAt": {"N": str(1_700_000_000_000 + number)},
        "addedAt": {"N": str(1_600_000_000_000 + number)},
        "category": {"S": f"watching-{number % 20}"},
        "externalId": {"S": f"x{number % 500}"},
        **({"seriesId": {"S": f"s{number % 100}"}} if kind == "TvSeason" else {}),
        "seasonNumber": {"N": str(number % 10)},
    }


@pytest.mark.parametrize("forward", [True, False])
async def test_each_of_billios_indexes_is_read_by_its_sql_index(database: str, forward: bool) -> None:
    """The statement that the store really sends, first page and after a cursor, is an index scan that needs no sort."""
    await make_billio(database)
    mapping = load(CONFIG / "billio.toml").mapping
    sent: list[tuple[str, tuple[Any, ...]]] = []
    async with opened(database) as store:
        held = [billio_item(number) for number in range(3000)]
        connection = await asyncpg.connect(database)
        columns = [column.name for column in mapping.columns]
        rows = [mapping.encode(BILLIO.key_of(each), each).values for each in held]
        await connection.copy_records_to_table("items", records=rows, columns=columns)
        await connection.execute("ANALYZE items")
        # DSQL has no bitmaps, and its tables are far larger than any a test would fill.
        await connection.execute("SET enable_bitmapscan = off")
        await connection.execute("SET enable_seqscan = off")
        for name, (hash_name, _, _) in INDEXES.items():
            served = mapping.indexes[name].sql_index
            query: dict[str, Any] = {
                "TableName": "billio",
                "IndexName": name,
                "KeyConditionExpression": "#h = :h",
                "ExpressionAttributeNames": {"#h": hash_name},
                "ExpressionAttributeValues": {":h": held[5][hash_name]},
                "ScanIndexForward": forward,
                "Limit": 3,
            }
            for _ in range(2):
                asked = read_query(BILLIO, query)
                sent.clear()
                first = await _first_page(store, asked, sent)
                [(statement, parameters)] = sent
                plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
                nodes = list(_nodes(json.loads(plan)[0]["Plan"]))
                assert {node.get("Index Name") for node in nodes} - {None} == {served}, plan
                assert not any("Sort" in node["Node Type"] for node in nodes), plan
                query["ExclusiveStartKey"] = BILLIO.cursor(BILLIO.indexes[name], first[-1])
        await connection.close()


async def _first_page(store: DSQLStore, asked: Any, sent: list[tuple[str, tuple[Any, ...]]]) -> list[Item]:
    """Three items of a range, and what was sent for them, as asyncpg's own log has it."""

    async def logged(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda record: sent.append((record.query, record.args)))

    async with store.rows._runner.pool.connection() as connection:
        await logged(connection)
    found = []
    async for each in store.rows.range(asked):
        found.append(each)
        if len(found) == 3:
            break
    await asyncio.sleep(0)  # asyncpg calls its loggers when the loop is next free
    async with store.rows._runner.pool.connection() as connection:
        connection._query_loggers.clear()
    return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)
