"""With `follow_tables` any application's tables are shadowed as documents, as it makes, changes and drops them."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.scenes import CONFIG, Scene, run_sql, scene, wait_until
from tests.integration.writers import Writers
from tests.standins.billio import table_definition

Item = dict[str, dict[str, Any]]


@pytest.fixture
def here(dynamodb: str, database: str, dsql_database: str) -> Iterator[Scene]:
    follow = {"CROSSFADE_FOLLOW_TABLES": "true"}
    with scene(dynamodb, dsql_database, rows=database, billio=False, environment=follow) as running:
        yield running


def value(kind: str, dice: random.Random) -> dict[str, Any]:
    if kind == "S":
        return {"S": dice.choice(("a", "b", "Ä", "雪", "𝄞", "a b")) + str(dice.randrange(3))}
    if kind == "N":  # in canonical form: the stand-in does not find a key that is written otherwise
        return {"N": dice.choice(("0", "-1", "1" + "0" * 37, "0.001", "12345678901234567890", "-0.5", "2"))}
    return {"B": bytes([dice.randrange(256), dice.randrange(3)])}


def definition(table: str, hash_kind: str, range_kind: str | None) -> dict[str, Any]:
    """A table of such keys, with two global indexes and (if it has a range key) a local one."""
    kinds = {"hash": hash_kind, "g": "S", "n": "N"} | ({"range": range_kind} if range_kind else {})
    keys = [("hash", "HASH"), ("range", "RANGE")][: 1 if range_kind is None else 2]

    def index(name: str, *names: str) -> dict[str, Any]:
        schema = [{"AttributeName": n, "KeyType": role} for n, role in zip(names, ("HASH", "RANGE"), strict=False)]
        return {"IndexName": name, "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}

    made: dict[str, Any] = {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": kind} for n, kind in kinds.items()],
        "KeySchema": [{"AttributeName": n, "KeyType": role} for n, role in keys],
        "GlobalSecondaryIndexes": [
            index("by-g", "g", "n"),
            index("by-n", "n") | {"Projection": {"ProjectionType": "KEYS_ONLY"}},
        ],
    }
    if range_kind is not None:
        made["LocalSecondaryIndexes"] = [index("local", "hash", "n")]
    return made


def make_item(dice: random.Random, key: Item) -> Item:
    item: Item = {**key, "count": {"N": str(dice.randrange(9))}, "map": {"M": {"$N": {"S": "x\x00y"}, " ": {"L": []}}}}
    for name, kind, odds in (("g", "S", 0.7), ("n", "N", 0.7), ("raw", "B", 0.3)):
        if dice.random() < odds:
            item[name] = value(kind, dice)
    if dice.random() < 0.3:
        item["sets"] = {"L": [{"SS": ["b", "a"]}, {"NS": ["1", "-2.50"]}, {"BS": [b"\xff", b"\x00"]}]}
    return item


def read_everything(client: Any, table: str, hashes: list[dict[str, Any]], *, ranged: bool) -> None:
    """Every way to read the table, page by page."""
    for dice_g in ("a0", "b1", "Ä2"):
        paged(client.query, TableName=table, IndexName="by-g", Limit=2, **condition("g", {"S": dice_g}))
    paged(client.query, TableName=table, IndexName="by-n", **condition("n", {"N": "2"}))
    for each in hashes:
        paged(client.query, TableName=table, ScanIndexForward=False, Limit=3, **condition("hash", each))
        if ranged:
            paged(client.query, TableName=table, IndexName="local", **condition("hash", each))
    paged(client.scan, TableName=table, Limit=4)
    paged(client.scan, TableName=table)
    for segment in range(3):
        paged(client.scan, TableName=table, Segment=segment, TotalSegments=3)
    paged(client.scan, TableName=table, IndexName="by-g")
    paged(client.scan, TableName=table, IndexName="by-n", Limit=3)
    keys = "#h, #h2, #r" if ranged else "#h, #h2"
    paged(
        client.scan,
        TableName=table,
        Limit=5,
        ProjectionExpression=keys,
        FilterExpression="attribute_exists(#c) AND #c < :five",
        ExpressionAttributeNames={"#h": "hash", "#h2": "map", "#c": "count"} | ({"#r": "range"} if ranged else {}),
        ExpressionAttributeValues={":five": {"N": "5"}},
    )


def condition(name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "#h = :h",
        "ExpressionAttributeNames": {"#h": name},
        "ExpressionAttributeValues": {":h": wanted},
    }


def paged(read: Any, **arguments: Any) -> None:
    while True:
        page = read(**arguments)
        if "LastEvaluatedKey" not in page:
            return
        arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


@pytest.mark.parametrize(
    ("hash_kind", "range_kind", "seed"), [("S", None, 21), ("S", "N", 22), ("N", "B", 23), ("B", "S", 24)]
)
def test_a_random_story_agrees(here: Scene, hash_kind: str, range_kind: str | None, seed: int) -> None:
    table = f"Story.{hash_kind}-{range_kind}"
    client = here.client()
    client.create_table(**definition(table, hash_kind, range_kind))
    dice = random.Random(seed)
    hashes = [value(hash_kind, dice) for _ in range(4)]
    keys = [
        {"hash": each} | ({"range": value(range_kind, dice)} if range_kind else {}) for each in hashes for _ in range(6)
    ]
    keys = [key for n, key in enumerate(keys) if key not in keys[:n]]
    while len(keys) < 8:  # without a range key there are few: make more of the hashes
        keys.append({"hash": value(hash_kind, dice)})
        keys = [key for n, key in enumerate(keys) if key not in keys[:n]]
    writers = Writers(here.client, seed, keys, table, make_item, threads=3, calls=60).start()
    writers.join()
    here.assert_equal(table)
    # On so few keys all of the writers' puts may have overlapped; these do not.
    for key in keys[:3]:
        client.put_item(TableName=table, Item=make_item(dice, key))
        here.proxy.settle()
    read_everything(client, table, hashes, ranged=range_kind is not None)
    here.assert_equal(table)
    assert set(here.verdicts()) <= {"agreed", "racing", "lagging"}, json.dumps(here.proxy.mismatches(), indent=1)
    assert here.verdicts("PutItem")["agreed"] >= 3
    assert set(here.verdicts("Query")) == set(here.verdicts("Scan")) == {"agreed"}
    assert "ValidationException" not in writers.answers


def simple(table: str, kind: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": kind}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }


def test_an_index_added_to_a_table_with_items_serves_them(here: Scene) -> None:
    client = here.client()
    client.create_table(**simple("grown", "S"))
    for number in range(30):
        colour = {"colour": {"S": "red"}} if number % 3 else {}
        client.put_item(TableName="grown", Item={"id": {"S": str(number)}, "n": {"N": str(number % 7)}, **colour})
    client.update_table(
        TableName="grown",
        AttributeDefinitions=[
            {"AttributeName": "colour", "AttributeType": "S"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "by-colour",
                    "KeySchema": [
                        {"AttributeName": "colour", "KeyType": "HASH"},
                        {"AttributeName": "n", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            }
        ],
    )
    client.put_item(TableName="grown", Item={"id": {"S": "new"}, "colour": {"S": "red"}, "n": {"N": "3"}})
    here.assert_equal("grown")
    red = condition("colour", {"S": "red"})
    assert client.query(TableName="grown", IndexName="by-colour", **red)["Count"] == 21
    paged(client.query, TableName="grown", IndexName="by-colour", Limit=4, **red)
    here.assert_equal("grown")
    assert set(here.verdicts("Query")) == {"agreed"}


def test_a_table_made_again_is_another_table(here: Scene) -> None:
    """As a test suite does it: the same name over and over, with other keys and the old items gone."""
    client = here.client()
    for kind, keys in (("S", ["1", "a"]), ("N", ["1", "2"]), ("B", [b"1", b"b"]), ("N", ["7", "8"])):
        client.create_table(**simple("again", kind))
        for key in keys:
            client.put_item(TableName="again", Item={"id": {kind: key}, "of": {"S": kind}})
            assert client.get_item(TableName="again", Key={"id": {kind: key}})["Item"]["of"] == {"S": kind}
        assert client.scan(TableName="again")["Count"] == 2
        here.assert_equal("again")
        client.delete_table(TableName="again")
    wait_until(lambda: not tables_of(here), 120, "the last table to be dropped")
    here.proxy.settle()
    assert set(here.verdicts()) <= {"agreed", "racing", "lagging"}, json.dumps(here.proxy.mismatches(), indent=1)
    assert here.proxy.status()["journal"]["parked"] == 0


def test_tables_made_and_dropped_at_once_leave_nothing_behind(here: Scene) -> None:
    client = here.client()
    for kind in ("S", "N", "S"):
        client.create_table(**simple("quick", kind))
        client.put_item(TableName="quick", Item={"id": {kind: "1"}})
        client.delete_table(TableName="quick")
    client.create_table(**simple("quick", "N"))
    client.put_item(TableName="quick", Item={"id": {"N": "2"}})
    here.assert_equal("quick")


def test_a_table_that_somebody_drops_on_dsql_is_made_again(here: Scene) -> None:
    """By hand, or by another proxy whose drop of an earlier table of that name came late."""
    client = here.client()
    client.create_table(**simple("gone", "S"))
    for number in range(5):
        client.put_item(TableName="gone", Item={"id": {"S": "same"}, "n": {"N": str(number)}})
        here.assert_equal("gone")
        asyncio.run(run_sql(here.dsn, 'DROP TABLE "gone"'))
    client.put_item(TableName="gone", Item={"id": {"S": "same"}, "n": {"N": "9"}})
    here.assert_equal("gone")
    assert here.proxy.status()["breaker"]["dsql"] == "closed"


def tables_of(here: Scene) -> list[str]:
    """The SQL tables but for those that Crossfade keeps for itself."""
    found = asyncio.run(run_sql(here.dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    return [row["tablename"] for row in found if not row["tablename"].startswith("crossfade_")]


def test_a_table_with_a_mapping_is_left_to_its_migrations(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    """Even where its SQL table has the name that the DynamoDB table has."""
    mapping = tmp_path / "items.toml"
    text = (CONFIG / "billio.toml").read_text("utf-8")
    mapping.write_text(text.replace('table = "billio"', 'table = "items"', 1), "utf-8")
    follow = {"CROSSFADE_FOLLOW_TABLES": "true"}
    with scene(dynamodb, dsql_database, rows=database, environment=follow, mapping=mapping) as here:
        client = here.client()
        client.create_table(**table_definition("items"))
        client.delete_table(TableName="items")
        client.create_table(**simple("other", "S"))
        client.put_item(TableName="other", Item={"id": {"S": "1"}})
        here.assert_equal("other")
        assert sorted(tables_of(here)) == ["items", "other"]


def test_a_table_whose_name_is_taken_on_dsql_harms_no_other(dynamodb: str, database: str, dsql_database: str) -> None:
    """A DynamoDB table `items` beside Billio's, which is `items` on DSQL: it is refused, and told as refused."""
    with scene(dynamodb, dsql_database, rows=database, environment={"CROSSFADE_FOLLOW_TABLES": "true"}) as here:
        client = here.client()
        for table in ("items", "good"):
            client.create_table(**simple(table, "S"))
        for number in range(40):
            client.put_item(TableName="items", Item={"id": {"S": str(number)}})

        def verdicts(table: str) -> dict[str, int]:
            return {e["verdict"]: e["count"] for e in here.proxy.status()["comparisons"] if e["table"] == table}

        wait_until(lambda: verdicts("items") == {"mirror_error": 40}, 120, "the verdicts")
        for number in range(10):
            client.put_item(TableName="good", Item={"id": {"S": str(number)}})
        wait_until(lambda: sum(verdicts("good").values()) == 10, 120, "the verdicts")
        assert verdicts("good") == {"agreed": 10}
        assert here.proxy.status()["breaker"]["dsql"] == "closed"
        log = here.proxy.log_file.read_text("utf-8")
        assert 0 < log.count('"event":"table_not_followed"') < 20
        assert "write a mapping that names a new one" in log
        client.delete_table(TableName="items")
        client.delete_table(TableName="good")
        wait_until(lambda: "good" not in tables_of(here), 120, "the other to be dropped")
        assert tables_of(here) == ["items"]


def test_without_follow_tables_an_unknown_table_is_answered_and_told_once(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    with scene(dynamodb, dsql_database, rows=database, billio=False) as here:
        client = here.client()
        client.create_table(**simple("stranger", "S"))
        for number in range(20):
            client.put_item(TableName="stranger", Item={"id": {"S": str(number)}})
        assert client.scan(TableName="stranger")["Count"] == 20
        wait_until(lambda: "42P01" in here.proxy.log_file.read_text("utf-8"), 120, "the log to say so")
        told = [line for line in here.proxy.log_file.read_text("utf-8").splitlines() if '"store_refused"' in line]
        assert len(told) == 1
        assert "follow_tables" in told[0]
        assert tables_of(here) == []
        assert here.proxy.status()["breaker"]["dsql"] == "closed"
