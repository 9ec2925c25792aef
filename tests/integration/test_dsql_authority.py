"""DSQLStore asked as the authority, on a real PostgreSQL through the gate: what it does that a mirror does not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.shadow.convergence.converge import converge
from proxy.stores.dsql.store import CallOptions, DSQLStore
from proxy.stores.dsql.system_tables.absence_locks import LOCKS_TABLE, stripe
from proxy.stores.dsql.system_tables.authority_guarantees import AuthorityGuarantees
from proxy.stores.dsql.system_tables.idempotency_tokens import SWEPT_AT_ONCE, TOKENS_TABLE
from proxy.stores.errors import TooMuchContention, UnknownOutcome, Unreachable
from proxy.stores.execution.row_store import Conflict
from proxy.stores.interface import Unrepresentable
from tests.integration.test_dsql_store import (
    _MAPPINGS,
    Relay,
    check,
    item,
    key,
    make_things,
    operation,
    put,
    transaction,
)
from tests.standins.pools import open_dsn_pool
from tests.standins.postgres import Postgres

ABSENT = "attribute_not_exists(pk)"


@asynccontextmanager
async def opened(
    dsn: str, *, authority: bool = True, connections: int = 8
) -> AsyncIterator[tuple[DSQLStore, AuthorityGuarantees]]:
    pool = open_dsn_pool(dsn, maximum=connections)
    guarantees = AuthorityGuarantees(pool)
    try:
        yield DSQLStore(pool, _MAPPINGS.__getitem__, guarantees=guarantees if authority else None), guarantees
    finally:
        pool.terminate()


@pytest_asyncio.fixture
async def dsn(dsql_database: str) -> str:
    await make_things(dsql_database)
    return dsql_database


@pytest_asyncio.fixture
async def store(dsn: str) -> AsyncIterator[DSQLStore]:
    async with opened(dsn) as (made, guarantees):
        await guarantees.ensure_tables()
        yield made


@pytest_asyncio.fixture
async def other(dsn: str) -> AsyncIterator[DSQLStore]:
    """A second proxy's."""
    async with opened(dsn) as (made, _):
        yield made


@pytest_asyncio.fixture
async def mirror(dsn: str) -> AsyncIterator[DSQLStore]:
    """The same store without guarantees."""
    async with opened(dsn, authority=False) as (made, _):
        yield made


@pytest_asyncio.fixture
async def relay(postgres: Postgres, database: str) -> AsyncIterator[Relay]:
    await make_things(database)
    async with Relay(postgres.port) as made:
        yield made


async def rows(dsn: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(dsn, ssl=False)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


def counted(text: str, token: str | None = None, **more: Any) -> Operation:
    """A transaction that adds one to an item's counter."""
    update = {
        "TableName": "things",
        "Key": {"pk": {"S": text}},
        "UpdateExpression": "ADD c :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    request = {"TransactItems": [{"Update": update}], **more}
    return operation("TransactWriteItems", request if token is None else request | {"ClientRequestToken": token})


async def count(store: DSQLStore, text: str) -> int:
    held = (await store.get(key(text))).item
    return 0 if held is None else int(held["c"]["N"])


# --- items that are not there -----------------------------------------------------------------------------------------


async def overlap(one: DSQLStore, two: DSQLStore) -> bool:
    """Each of two transactions finds both items absent and inserts one of them. Whether both were committed."""
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        mine = await first.enter_async_context(one.rows.transaction(read_only=False))
        theirs = await second.enter_async_context(two.rows.transaction(read_only=False))
        keys = [key(name) for name in "ab"]
        of_mine, of_theirs = await mine.get_many(keys), await theirs.get_many(keys)
        held = {name: (of_mine[key(name)], of_theirs[key(name)]) for name in "ab"}
        await mine.put(key("a"), item("a"), held["a"][0])
        await theirs.put(key("b"), item("b"), held["b"][1])
        await first.aclose()
        try:
            await second.aclose()
        except Conflict:
            return False
    return True


async def test_without_locks_two_transactions_insert_what_the_other_found_absent(mirror: DSQLStore) -> None:
    """The anomaly itself: what the locks are for. A mirror may have it, since nobody is told of its answers."""
    assert await overlap(mirror, mirror)
    assert (await mirror.get(key("a"))).item is not None
    assert (await mirror.get(key("b"))).item is not None


async def test_of_two_transactions_that_rely_on_the_others_absence_one_loses(
    store: DSQLStore, other: DSQLStore
) -> None:
    await other.get(key("a"))
    assert not await overlap(store, other)
    assert (await store.get(key("a"))).item is not None
    assert (await store.get(key("b"))).item is None


async def test_whoever_loses_sees_the_winners_item_and_is_told_so(store: DSQLStore, other: DSQLStore) -> None:
    for number in range(10):
        one, two = f"x{number}", f"y{number}"
        outcomes = await asyncio.gather(
            store.execute(transaction(check(one, ABSENT), put(two))),
            other.execute(transaction(check(two, ABSENT), put(one))),
        )
        assert sorted(each.outcome.ok for each in outcomes) == [False, True]
        [failed] = [each.outcome for each in outcomes if not each.outcome.ok]
        assert [reason["Code"] for reason in failed.document["CancellationReasons"]] == [
            "ConditionalCheckFailed",
            "None",
        ]


async def creation_under_a_check(checking: DSQLStore, writing: DSQLStore) -> bool:
    """An item is put by itself while a transaction relies on its absence. Whether the transaction was committed."""
    try:
        async with checking.rows.transaction(read_only=False) as relying:
            assert (await relying.get_many([key("marker")]))[key("marker")].item is None
            put_alone = operation("PutItem", {"TableName": "things", "Item": item("marker")})
            assert (await writing.execute(put_alone)).outcome.ok
            # Whoever reads from here on sees the marker, and must not see what is written in its absence appear later.
            absent = await relying.get_many([key("late")])
            await relying.put(key("late"), item("late"), absent[key("late")])
    except Conflict:
        return False
    return True


async def test_a_single_put_ends_an_absence_that_a_transaction_relies_on(
    store: DSQLStore, other: DSQLStore, mirror: DSQLStore
) -> None:
    assert not await creation_under_a_check(store, other)
    assert (await store.get(key("late"))).item is None
    await mirror.put(key("marker"), None, await mirror.get(key("marker")))
    assert await creation_under_a_check(mirror, mirror), "without locks nothing is noticed"


async def test_a_creation_locks_and_a_change_does_not(dsn: str, store: DSQLStore) -> None:
    for value, locked in (("1", [stripe(key("a"))]), ("2", [])):
        request = {"TableName": "things", "Item": item("a", v=value)}
        assert (await store.execute(operation("PutItem", request))).outcome.ok
        assert (await store.get(key("a"))).item == item("a", v=value)
        taken = await rows(dsn, f"DELETE FROM {LOCKS_TABLE} RETURNING stripe")
        assert [row["stripe"] for row in taken] == locked


async def test_keys_that_share_a_lock_are_locked_once(dsn: str, store: DSQLStore) -> None:
    by_stripe: dict[int, Key] = {}
    for number in range(2000):
        met = by_stripe.setdefault(stripe(key(f"k{number}")), key(f"k{number}"))
        if met != key(f"k{number}"):
            names = [each.attributes["pk"]["S"] for each in (met, key(f"k{number}"))]
            assert (await store.execute(transaction(*(put(name) for name in names)))).outcome.ok
            return
    pytest.fail("no two of 2000 keys share one of 65536 locks: the hash is not what it should be")


async def test_a_server_without_inserts_in_with_is_asked_in_a_transaction(relay: Relay, database: str) -> None:
    """Nobody has tried on a cluster whether DSQL takes them."""
    refusing = False
    refused = 0

    def judge(kind: bytes, body: bytes) -> str | tuple[str, str]:
        nonlocal refusing, refused
        if kind == b"P" and b"WITH taken" in body:
            refusing = True
        if refusing and kind in (b"P", b"D"):
            return "drop"
        if refusing and kind in (b"S", b"H"):
            refusing = False
            refused += 1
            return "0A000", "not supported"
        return "pass"

    relay.judge = judge
    async with opened(relay.dsn(database)) as (store, _), opened(database) as (plain, _):
        for name in ("a", "b"):
            request = {"TableName": "things", "Item": item(name), "ConditionExpression": ABSENT}
            assert (await store.execute(operation("PutItem", request))).outcome.ok
            again = (await store.execute(operation("PutItem", request))).outcome
            assert again.error_code == "ConditionalCheckFailedException"
            assert (await plain.get(key(name))).item == item(name)
        assert refused == 1
        locked = {row["stripe"] for row in await rows(database, f"SELECT stripe FROM {LOCKS_TABLE}")}
        assert locked == {stripe(key("a")), stripe(key("b"))}


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_makes_a_transaction_happen_once_in_any_proxy(store: DSQLStore, other: DSQLStore) -> None:
    for each in (store, store, other):
        assert (await each.execute(counted("a", "token-1"))).outcome.ok
    assert await count(store, "a") == 1
    assert (await other.execute(counted("a", "token-2"))).outcome.ok
    assert (await store.execute(counted("a"))).outcome.ok
    assert await count(store, "a") == 3


async def test_a_token_that_several_proxies_get_at_once_counts_once(store: DSQLStore, other: DSQLStore) -> None:
    for number in range(5):
        asked = [each.execute(counted(f"a{number}", f"token-{number}")) for each in (store, other, store, other)]
        assert all(done.outcome.ok for done in await asyncio.gather(*asked))
        assert await count(store, f"a{number}") == 1


async def test_a_token_belongs_to_its_request(store: DSQLStore, other: DSQLStore) -> None:
    assert (await store.execute(counted("a", "token-1"))).outcome.ok
    for another in (counted("b", "token-1"), counted("a", "token-1", ReturnConsumedCapacity="TOTAL")):
        outcome = (await other.execute(another)).outcome
        assert (outcome.status, outcome.error_code) == (400, "IdempotentParameterMismatchException")
        assert outcome.document["Message"]
    assert await count(store, "a") == 1
    assert await count(store, "b") == 0


async def test_the_order_of_members_and_within_sets_makes_no_other_request(store: DSQLStore) -> None:
    """As the service itself was seen to do: SDKs of some languages write members in any order."""
    one = {"Put": {"TableName": "things", "Item": {"pk": {"S": "a"}, "tags": {"SS": ["x", "y"]}}}}
    two = {"Put": {"Item": {"tags": {"SS": ["y", "x"]}, "pk": {"S": "a"}}, "TableName": "things"}}
    first = operation("TransactWriteItems", {"TransactItems": [one], "ClientRequestToken": "t"})
    second = operation("TransactWriteItems", {"ClientRequestToken": "t", "TransactItems": [two]})
    assert (await store.execute(first)).outcome.ok
    await store.put(key("a"), item("a", v="changed"), await store.get(key("a")))
    assert (await store.execute(second)).outcome.ok
    assert (await store.get(key("a"))).item == item("a", v="changed")


async def test_a_cancelled_transaction_leaves_its_token_free(store: DSQLStore) -> None:
    request = {
        "TransactItems": [put("b"), check("a", "attribute_exists(pk)")],
        "ClientRequestToken": "token-1",
    }
    failed = (await store.execute(operation("TransactWriteItems", request))).outcome
    assert failed.error_code == "TransactionCanceledException"
    assert (await store.execute(transaction(put("a")))).outcome.ok
    assert (await store.execute(operation("TransactWriteItems", request))).outcome.ok
    assert (await store.get(key("b"))).item == item("b")


async def test_a_repeated_transaction_is_told_what_reading_consumes(store: DSQLStore) -> None:
    asked = counted("a", "token-1", ReturnConsumedCapacity="TOTAL")
    first, again = [(await store.execute(asked)).outcome.document["ConsumedCapacity"] for _ in range(2)]
    assert first == [{"TableName": "things", "CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}]
    assert again == [{"TableName": "things", "CapacityUnits": 2.0, "ReadCapacityUnits": 2.0}]


async def test_a_token_is_forgotten_after_ten_minutes_and_its_row_a_while_later(dsn: str, store: DSQLStore) -> None:
    assert (await store.execute(counted("a", "token-1"))).outcome.ok
    await rows(dsn, f"UPDATE {TOKENS_TABLE} SET answered = answered - interval '601 seconds'")
    assert (await store.execute(counted("b", "token-1"))).outcome.ok
    assert await count(store, "b") == 1
    # It is another request's now, from this moment on.
    assert (await store.execute(counted("b", "token-1"))).outcome.ok
    assert await count(store, "b") == 1
    mismatch = (await store.execute(counted("a", "token-1"))).outcome
    assert mismatch.error_code == "IdempotentParameterMismatchException"


async def test_a_token_that_the_other_store_has_carried_out_can_be_noted(dsn: str) -> None:
    """Before a flip, so that a client's retry after it is not done again."""
    async with opened(dsn) as (store, guarantees):
        asked = counted("a", "token-1")
        token = IdempotencyToken.of(asked.request)
        assert token is not None
        for _ in range(2):
            await guarantees.note(token)
        assert (await store.execute(asked)).outcome.ok
        assert await count(store, "a") == 0
        another = (await store.execute(counted("b", "token-1"))).outcome
        assert another.error_code == "IdempotentParameterMismatchException"


async def test_old_tokens_are_swept_up_and_young_ones_stay(dsn: str) -> None:
    async with opened(dsn) as (store, guarantees):
        assert (await store.execute(counted("a", "young"))).outcome.ok
        old = f"SELECT 'old' || n, 'x', now() - interval '1 hour' FROM generate_series(1, {2 * SWEPT_AT_ONCE + 10}) n"
        await rows(dsn, f"INSERT INTO {TOKENS_TABLE} {old}")
        await guarantees.sweep()
        assert len(await rows(dsn, f"SELECT 1 FROM {TOKENS_TABLE}")) == 1
        assert (await store.execute(counted("a", "young"))).outcome.ok
        assert await count(store, "a") == 1


async def test_what_is_kept_of_a_token_holds_no_value(dsn: str, store: DSQLStore) -> None:
    request = {"TransactItems": [put("secret-key", notes="secret-notes")], "ClientRequestToken": "secret-token"}
    assert (await store.execute(operation("TransactWriteItems", request))).outcome.ok
    kept = await rows(dsn, f"SELECT * FROM {TOKENS_TABLE}") + await rows(dsn, f"SELECT * FROM {LOCKS_TABLE}")
    assert kept
    assert "secret" not in str(kept)
    lengths = {(len(row["token"]), len(row["request"])) for row in await rows(dsn, f"SELECT * FROM {TOKENS_TABLE}")}
    assert lengths == {(32, 64)}


@pytest.mark.parametrize("token", ["", "x" * 37])
async def test_a_token_of_the_wrong_length_is_refused(store: DSQLStore, mirror: DSQLStore, token: str) -> None:
    for each in (store, mirror):
        outcome = (await each.execute(counted("a", token))).outcome
        assert outcome.error_code == "ValidationException"
        assert "ClientRequestToken" in outcome.document["message"]


async def test_a_mirror_remembers_no_token(dsn: str, mirror: DSQLStore) -> None:
    for _ in range(2):
        assert (await mirror.execute(counted("a", "token-1"))).outcome.ok
    assert await count(mirror, "a") == 2


async def test_tables_that_were_dropped_are_made_again(dsn: str, store: DSQLStore) -> None:
    assert (await store.execute(counted("a", "token-1"))).outcome.ok
    await rows(dsn, f"DROP TABLE {TOKENS_TABLE}")
    with pytest.raises(Exception, match="42P01"):
        await store.execute(counted("a", "token-2"))
    assert (await store.execute(counted("a", "token-3"))).outcome.ok
    assert await count(store, "a") == 2


async def test_waiting_for_a_connection_ends_without_effect(dsn: str) -> None:
    """And is told so: a caller's own limit would have to say that nobody knows."""
    pool = open_dsn_pool(dsn, maximum=1)
    store = DSQLStore(pool, _MAPPINGS.__getitem__, calls=CallOptions(acquire_seconds=0.1))
    async with pool.connection():
        for asked in (counted("a"), operation("PutItem", {"TableName": "things", "Item": item("a")})):
            with pytest.raises(Unreachable) as raised:
                await store.execute(asked)
            assert raised.value.reason == "busy"
    assert (await store.execute(counted("a"))).outcome.ok
    assert await count(store, "a") == 1
    pool.terminate()


async def test_a_role_that_may_make_no_tables_uses_those_that_are_there(database: str) -> None:
    await make_things(database)
    async with opened(database) as (_, guarantees):
        await guarantees.ensure_tables()
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE ROLE lowly LOGIN")
    try:
        await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        await connection.execute(f"GRANT ALL ON things, {LOCKS_TABLE}, {TOKENS_TABLE} TO lowly")
        async with opened(database.replace("postgres@", "lowly@")) as (store, guarantees):
            async with guarantees._pool.connection() as lowly:
                assert await lowly.fetchval("SELECT current_user") == "lowly"
            assert (await store.execute(counted("a", "token-1"))).outcome.ok
    finally:
        await connection.execute("DROP OWNED BY lowly")
        await connection.execute("DROP ROLE lowly")
        await connection.close()


# --- batches ----------------------------------------------------------------------------------------------------------


def batch(*entries: dict[str, Any]) -> Operation:
    return operation("BatchWriteItem", {"RequestItems": {"things": list(entries)}})


def put_request(text: str, **attributes: str) -> dict[str, Any]:
    return {"PutRequest": {"Item": item(text, **attributes)}}


def conflicts_about(text: bytes) -> Any:
    """Every statement with this value is answered by a conflict, for ever. Of one connection at a time."""
    meant = False

    def judge(kind: bytes, body: bytes) -> str | tuple[str, str]:
        nonlocal meant
        if kind == b"B":
            meant = text in body
        if meant and kind in (b"B", b"E"):
            return "drop"
        if meant and kind == b"S":
            meant = False
            return "40001", "change conflicts with another transaction, please retry: (OC000)"
        return "pass"

    return judge


async def test_what_a_batch_could_not_write_is_given_back(relay: Relay, database: str) -> None:
    async with opened(relay.dsn(database), connections=1) as (store, guarantees):
        await guarantees.ensure_tables()
        relay.judge = conflicts_about(b"stuck")
        asked = batch(put_request("a"), put_request("stuck"), put_request("b"))
        done = (await store.execute(asked)).outcome
        relay.judge = lambda kind, body: "pass"
        assert done.ok
        assert done.document == {"UnprocessedItems": {"things": [put_request("stuck")]}}
        assert [(await store.get(key(name))).item for name in ("a", "stuck", "b")] == [item("a"), None, item("b")]


async def test_a_batch_of_which_nothing_could_be_written_fails(relay: Relay, database: str) -> None:
    async with opened(relay.dsn(database)) as (store, guarantees):
        await guarantees.ensure_tables()
        relay.judge = conflicts_about(b"stuck")
        with pytest.raises(TooMuchContention):
            await store.execute(batch(put_request("stuck")))


async def test_a_batch_with_an_unknown_outcome_fails_as_a_whole(relay: Relay, database: str) -> None:
    """The keys of it must settle, which an answer with leftovers would hide."""
    async with opened(relay.dsn(database)) as (store, guarantees):
        await guarantees.ensure_tables()
        await store.get(key("warm"))
        sending = False

        def judge(kind: bytes, body: bytes) -> str:
            nonlocal sending
            sending = sending or (kind == b"B" and b"lost" in body and b"taken" not in body and body.count(b"lost") > 1)
            return "cut after" if sending and kind == b"S" else "pass"

        relay.judge = judge
        with pytest.raises(UnknownOutcome):
            await store.execute(batch(put_request("a"), put_request("lost", v="lost")))


async def test_a_batch_with_an_item_that_no_row_can_hold_writes_nothing(store: DSQLStore) -> None:
    with pytest.raises(Unrepresentable):
        await store.execute(batch(put_request("a"), put_request("nul\x00"), put_request("b")))
    assert (await store.get(key("a"))).item is None
    assert (await store.get(key("b"))).item is None


async def test_a_batch_of_25_puts_and_deletes(store: DSQLStore) -> None:
    await asyncio.gather(*(store.execute(transaction(put(f"old{number}"))) for number in range(10)))
    asked = operation(
        "BatchWriteItem",
        {
            "RequestItems": {
                "things": [put_request(f"new{number}") for number in range(15)]
                + [{"DeleteRequest": {"Key": item(f"old{number}")}} for number in range(10)]
            },
            "ReturnConsumedCapacity": "TOTAL",
        },
    )
    done = await store.execute(asked)
    assert done.outcome.document == {
        "UnprocessedItems": {},
        "ConsumedCapacity": [{"TableName": "things", "CapacityUnits": 25.0}],
    }
    scanned = (await store.execute(operation("Scan", {"TableName": "things"}))).outcome.document
    assert {each["pk"]["S"] for each in scanned["Items"]} == {f"new{number}" for number in range(15)}
    assert set(done.left) == set(asked.keys)


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["Scan", "Query"])
async def test_a_start_key_that_no_row_can_have_begins_nothing_anew(store: DSQLStore, action: str) -> None:
    """It would be a page that goes round and round."""
    assert (await store.execute(transaction(put("a"), put("b")))).outcome.ok
    start = {"pk": {"S": "nul\x00"}}
    request: dict[str, Any] = {"TableName": "things", "ExclusiveStartKey": start}
    if action == "Query":
        request |= {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": start["pk"]}}
        assert (await store.execute(operation(action, request))).outcome.document["Items"] == []
        return
    with pytest.raises(Unrepresentable):
        await store.execute(operation(action, request))


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def heavy(dsn: str, store: DSQLStore) -> list[str]:
    """60 items of 300 KB: 17.6 MB."""
    names = [f"h{number:02}" for number in range(60)]
    mapping = _MAPPINGS["things"]
    connection = await asyncpg.connect(dsn, ssl=False)
    insert = "INSERT INTO things SELECT 'h' || to_char(n, 'FM00'), NULL, $1::text::json FROM generate_series(0, 59) n"
    await connection.execute(insert, json.dumps({"pk": {"S": "h00"}, "v": {"S": "x" * 300_000}}))
    await connection.execute("""UPDATE things SET item = replace(item::text, '"h00"', '"' || pk || '"')::json""")
    await connection.close()
    assert [column.name for column in mapping.columns] == ["pk", "n", "item"]
    return names


async def test_a_batch_of_reads_ends_at_16_mb(store: DSQLStore, heavy: list[str]) -> None:
    """API reference, "BatchGetItem": the rest is in UnprocessedKeys, in the form that asks for it."""
    asked = {"things": {"Keys": [item(name) for name in heavy], "ConsistentRead": True, "ProjectionExpression": "pk"}}
    seen: list[str] = []
    rounds = 0
    while asked:
        done = (await store.execute(operation("BatchGetItem", {"RequestItems": asked}))).outcome.document
        found = [each["pk"]["S"] for each in done["Responses"]["things"]]
        assert len(found) <= 16 * 1024 * 1024 // 300_000
        seen += found
        asked = done["UnprocessedKeys"]
        rounds += 1
        if asked:
            assert set(asked["things"]) == {"Keys", "ConsistentRead", "ProjectionExpression"}
    assert (sorted(seen), rounds) == (heavy, 2)


async def test_a_transaction_has_at_most_4_mb(store: DSQLStore, heavy: list[str]) -> None:
    gets = [{"Get": {"TableName": "things", "Key": item(name)}} for name in heavy[:15]]
    few = (await store.execute(operation("TransactGetItems", {"TransactItems": gets[:13]}))).outcome
    assert len(few.document["Responses"]) == 13
    many = (await store.execute(operation("TransactGetItems", {"TransactItems": gets}))).outcome
    assert (many.error_code, "4 MB" in many.document["message"]) == ("ValidationException", True)
    puts = [put(f"p{number}", v="x" * 300_000) for number in range(15)]
    written = (await store.execute(transaction(*puts))).outcome
    assert (written.error_code, "4 MB" in written.document["message"]) == ("ValidationException", True)
    assert (await store.get(key("p0"))).item is None


# --- rows that are no items -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "held", ['"a string"', "[]", '{"pk": "b"}', '{"pk": {"S": "b"}, "n": {"N": "twelve"}}', "null"]
)
async def test_a_row_that_is_no_item_is_an_error_of_that_item_alone(dsn: str, store: DSQLStore, held: str) -> None:
    for name in "abc":
        await store.execute(operation("PutItem", {"TableName": "things", "Item": item(name, v="1")}))
    await rows(dsn, f"UPDATE things SET item = '{held}' WHERE pk = 'b' RETURNING 1")
    one = {"TableName": "things", "Key": item("b")}
    ask: list[tuple[str, dict[str, Any]]] = [
        ("GetItem", one),
        ("UpdateItem", one | {"UpdateExpression": "SET v = :v", "ExpressionAttributeValues": {":v": {"S": "2"}}}),
        ("DeleteItem", one | {"ConditionExpression": "attribute_exists(pk)"}),
        ("PutItem", {"TableName": "things", "Item": item("b"), "ReturnValues": "ALL_OLD"}),
        ("TransactGetItems", {"TransactItems": [{"Get": one}]}),
        ("TransactWriteItems", {"TransactItems": [check("b", ABSENT)]}),
    ]
    for action, request in ask:
        outcome = (await store.execute(operation(action, request))).outcome
        assert (outcome.status, outcome.error_code) == (500, "InternalServerError"), action
        assert "column item" in outcome.document["message"]
        assert "twelve" not in outcome.document["message"]
    scanned = (await store.execute(operation("Scan", {"TableName": "things"}))).outcome.document
    assert sorted(each["pk"]["S"] for each in scanned["Items"]) == ["a", "c"]
    batch = operation("BatchGetItem", {"RequestItems": {"things": {"Keys": [item(name) for name in "abc"]}}})
    got = (await store.execute(batch)).outcome.document
    assert sorted(each["pk"]["S"] for each in got["Responses"]["things"]) == ["a", "c"]
    assert got["UnprocessedKeys"] == {"things": {"Keys": [item("b")]}}
    # Nothing may be taken from it, DynamoDB's item least of all.
    with pytest.raises(Unrepresentable, match="mend or delete the row with SQL"):
        await converge(key("b"), store, store)


@pytest.mark.parametrize("way", ["PutItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"])
async def test_a_write_that_asks_nothing_of_it_replaces_such_a_row(dsn: str, store: DSQLStore, way: str) -> None:
    await store.execute(operation("PutItem", {"TableName": "things", "Item": item("b", v="1")}))
    await rows(dsn, "UPDATE things SET item = '[]' WHERE pk = 'b' RETURNING 1")
    requests: dict[str, dict[str, Any]] = {
        "PutItem": {"TableName": "things", "Item": item("b", v="2")},
        "DeleteItem": {"TableName": "things", "Key": item("b")},
        "TransactWriteItems": {"TransactItems": [put("b", v="2")]},
        "BatchWriteItem": {"RequestItems": {"things": [{"DeleteRequest": {"Key": item("b")}}]}},
    }
    assert (await store.execute(operation(way, requests[way]))).outcome.ok
    left = await store.get(key("b"))
    assert left.unreadable is None
    assert left.item == (item("b", v="2") if way in ("PutItem", "TransactWriteItems") else None)


async def test_a_transaction_of_small_requests_may_touch_large_items(store: DSQLStore) -> None:
    """The 4 MB are the request's own (API reference, "TransactWriteItems"), not those of what it deletes or updates."""
    names = [f"large{number}" for number in range(45)]
    for name in names:
        await store.execute(operation("PutItem", {"TableName": "things", "Item": item(name, v="x" * 100_000)}))
    add = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    updates = [{"Update": {"TableName": "things", "Key": item(name)} | add} for name in names]
    assert (await store.execute(transaction(*updates))).outcome.ok
    deletes = [{"Delete": {"TableName": "things", "Key": item(name)}} for name in names]
    assert (await store.execute(transaction(*deletes))).outcome.ok
    assert (await store.get(key(names[0]))).item is None
