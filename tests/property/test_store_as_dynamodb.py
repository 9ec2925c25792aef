"""DSQLStore, asked as a DynamoDB, answers as one: the same requests to it and to ministack, and the same outcomes.

Tables, items and sequences of requests are made by chance. What ministack gets wrong stands in `known_faults`; every
other difference is ours. `make fuzz MINUTES=10` goes on for longer.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from comparators.outcomes import Answer
from proxy.dynamodb.values import Item, order
from proxy.mapping.load import load
from proxy.stores.interface import Unrepresentable
from proxy.stores.table_registry import Table
from tests.property.known_faults import explained
from tests.property.requests_to_dynamodb import Asking, Requests, definition
from tests.property.twins import Asked, Twins, is_write
from tests.standins.billio import table_definition
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

CONFIG = Path(__file__).parents[2] / "config"
TABLES = 40
LENGTH = 25
PROGRESS_SECONDS = 15
BILLIO_NAMES = ("title", "notes", "rating", "image", "author", "shelf", "movedAt", "platforms", "reread", "odd")


class Bench:
    """The twins with a loop of their own, and tables made once for each number."""

    def __init__(self, ministack: Ministack, dsn: str) -> None:
        self.runner = asyncio.Runner()
        self.twins = self.runner.run(Twins.open(ministack.port, dsn))
        self._tables: dict[object, Table] = {}

    def close(self) -> None:
        self.runner.run(self.twins.close())
        self.runner.close()

    def table(self, number: int) -> Table:
        if number not in self._tables:
            made = {"TableName": f"table-{number}", **definition(Random(number))}
            self._tables[number] = self.runner.run(self.twins.create(made))
        return self._tables[number]

    def made(self, made: dict[str, Any]) -> Table:
        """A table of this definition."""
        if made["TableName"] not in self._tables:
            self._tables[made["TableName"]] = self.runner.run(self.twins.create(made))
        self.runner.run(self.twins.clear(self._tables[made["TableName"]]))
        return self._tables[made["TableName"]]

    def billio(self) -> Table:
        if "billio" not in self._tables:
            mapped = load(CONFIG / "billio.toml")
            made = self.twins.create(table_definition(), mapped, CONFIG / "migrations")
            self._tables["billio"] = self.runner.run(made)
        return self._tables["billio"]

    def ask(self, action: str, request: dict[str, Any]) -> Asked:
        return self.runner.run(self.twins.ask(action, request))

    def fault(self, table: Table, story: list[Asking], seen: Counter[str] | None = None) -> str | None:
        """Play the story on the emptied table; the first thing that is our fault, or None."""
        self.runner.run(self.twins.clear(table))
        for action, request, mistaken in story:
            try:
                asked = self.runner.run(self.twins.ask(action, request, mistaken=mistaken))
            except Unrepresentable:
                self.runner.run(self.twins.settle(table))
                continue
            known = None if asked.agreed else explained(asked)
            if not asked.agreed and known is None:
                return str(asked)
            if seen is not None:
                seen[f"known: {known.name}" if known else "agreed"] += 1
            if not is_write(action):
                continue
            theirs, ours = self.runner.run(self.twins.items(table))
            if theirs != ours:
                if (known or explained(asked)) is None:
                    return f"{asked}\n  then ministack holds {theirs}\n  and dsql holds      {ours}"
                self.runner.run(self.twins.settle(table))
        return None

    def check(self, table: Table, story: list[Asking], seen: Counter[str] | None = None) -> None:
        """Fail with the shortest part of the story that still fails."""
        found = self.fault(table, story, seen)
        if found is None:
            return
        shorter = story
        for asking in reversed(story):
            without = [each for each in shorter if each is not asking]
            again = self.fault(table, without)
            if again is not None:
                shorter, found = without, again
        told = "\n".join(f"{a.action} {json.dumps(a.request, ensure_ascii=False)}" for a in shorter)
        pytest.fail(f"{found}\n\nthe story, on {table.schema}:\n{told}", pytrace=False)


@pytest.fixture(scope="module")
def bench(ministack: Ministack, postgres: Postgres, dsql_gate: Dsql) -> Iterator[Bench]:
    ministack.reset()
    dsn = postgres.create_database()
    made = Bench(ministack, dsql_gate.dsn(dsn.rsplit("/", 1)[1]))
    yield made
    made.close()
    postgres.drop_database(dsn)


def billio_item(chance: Random) -> Item:
    """As Billio writes them, with few ids, shelves and times, so that keys meet and sort keys tie."""
    kind, number = chance.choice(("Book", "VideoGame", "Feature", "TvSeries", "TvSeason")), chance.randrange(4)
    item: Item = {
        "type": {"S": kind},
        "id": {"S": f"id-{number}"},
        "type:id": {"S": f"{kind}:id-{number}"},
        "title": {"S": chance.choice(("Piranesi", "Kindred", "Émile", "日本", "a:b"))},
        "movedAt": {"N": str(1_700_000_000_000 + chance.randrange(3))},
        "addedAt": {"N": str(1_600_000_000_000 + chance.randrange(3))},
    }
    if chance.randrange(4):
        shelf = chance.choice(("Wishlist", "Done"))
        item |= {"shelf": {"S": shelf}, "type:shelf": {"S": f"{kind}:{shelf}"}}
    if chance.randrange(2):
        item["rating"] = {"N": chance.choice(("8.5", "9", "0.125", "12345.6789"))}
    if chance.randrange(2):
        item["image"] = {"M": {"url": {"S": "https://example.org/1"}, "width": {"N": "100"}, "odd": {"NULL": True}}}
    if chance.randrange(3) == 0:
        item["externalId"] = {"S": chance.choice(("x1", "x2"))}
    if chance.randrange(3) == 0:
        item["notes"] = {"S": chance.choice(("", "long " * 50, "nul\x00"))}
    if kind in ("Feature", "TvSeries"):
        item["category"] = {"S": "watching"}
    if kind == "Book":
        item |= {"author": {"S": "Le Guin"}, "reread": {"BOOL": chance.random() < 0.5}}
    if kind == "VideoGame":
        item |= {"platforms": {"L": [{"S": "PC"}, {"S": "Switch"}]}, "tags": {"SS": ["a", "b"]}}
    if kind == "TvSeason":
        item |= {"seriesId": {"S": "id-1"}, "seasonNumber": {"N": str(chance.randrange(1, 12))}}
    return item


def story_for(bench: Bench, number: int) -> tuple[Table, list[Asking]]:
    """The number's table and story: always the same for the same number, and every other one asks the authority."""
    chance = Random(number)
    bench.twins.ask_as_authority(number % 2 == 1)
    if number % 5 == 0:
        table = bench.billio()
        return table, Requests(table.schema, billio_item, BILLIO_NAMES).sequence(chance, LENGTH)
    table = bench.table(number % TABLES)
    return table, Requests(table.schema).sequence(chance, LENGTH)


# `Bench.check` shortens a failing story itself, and the same stories are told each time: new ones are `fuzz`'s.
@settings(
    max_examples=70,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(number=st.integers(0, 2**32))
def test_any_story_goes_as_with_dynamodb(bench: Bench, number: int) -> None:
    bench.check(*story_for(bench, number))


@pytest.mark.skipif("FUZZ_MINUTES" not in os.environ, reason="a long run: set FUZZ_MINUTES")
def test_fuzz() -> None:
    """Stories by the clock, none twice; says at the end how often each known fault was met."""
    minutes = float(os.environ["FUZZ_MINUTES"])
    first = int(os.environ.get("FUZZ_SEED") or time.time_ns() % 2**40)
    print(f"FUZZ_SEED={first}")
    seen: Counter[str] = Counter()
    with Ministack() as ministack, Postgres() as postgres, Dsql(postgres) as gate:
        bench = Bench(ministack, gate.dsn(postgres.create_database().rsplit("/", 1)[1]))
        try:
            told = began = time.monotonic()
            number = first
            while (now := time.monotonic()) < began + 60 * minutes:
                if now > told + PROGRESS_SECONDS:
                    told = now
                    print(f"{now - began:5.0f} s: {number - first:,} stories, {seen.total():,} requests", flush=True)
                bench.check(*story_for(bench, number), seen)
                number += 1
        finally:
            bench.close()
            print(f"{number - first:,} stories, {seen.total():,} requests, FUZZ_SEED={first} to {number - 1}:")
            print(*(f"{count:8} {name}" for name, count in seen.most_common()), sep="\n")


# --- pages ------------------------------------------------------------------------------------------------------------


def walk(bench: Bench, action: str, request: dict[str, Any], limit: int) -> tuple[list[Item], int]:
    """All pages of DSQL's answer by its cursors, and how many items were scanned."""
    items: list[Item] = []
    scanned = 0
    start: Item | None = None
    while True:
        page = request | {"Limit": limit} | ({} if start is None else {"ExclusiveStartKey": start})
        status, document = bench.runner.run(bench.twins.ask_dsql(action, page))
        assert status == 200, document
        assert len(document["Items"]) == document["Count"] <= document["ScannedCount"] <= limit
        items += document["Items"]
        scanned += document["ScannedCount"]
        start = document.get("LastEvaluatedKey")
        if start is None:
            return items, scanned


def filled(bench: Bench, table: Table, count: int) -> list[Item]:
    """So many items, of few values, put in both."""
    bench.runner.run(bench.twins.clear(table))
    requests, chance = Requests(table.schema), Random(count)
    for _ in range(count):
        asked = bench.ask("PutItem", {"TableName": table.name, "Item": requests.item(chance)})
        assert asked.dsql[0] == asked.ministack[0]
    theirs, ours = bench.runner.run(bench.twins.items(table))
    assert theirs == ours
    return ours


def texts(items: list[Item]) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in items)


@pytest.mark.parametrize("number", range(12))
def test_pages_of_any_size_make_up_the_whole_in_order(bench: Bench, number: int) -> None:
    table = bench.table(number)
    schema = table.schema
    held = filled(bench, table, 30)
    for index in (None, *schema.indexes.values()):
        (hash_name,), ranges = schema.index_keys(index)
        named = {"TableName": table.name} | ({} if index is None else {"IndexName": index.name})
        values = {json.dumps(item[hash_name]): item[hash_name] for item in held if hash_name in item}
        for value in values.values():
            request = named | {
                "KeyConditionExpression": "#h = :h",
                "ExpressionAttributeNames": {"#h": hash_name},
                "ExpressionAttributeValues": {":h": value},
            }
            asked = bench.ask("Query", request)
            assert asked.agreed or explained(asked), asked
            whole = asked.dsql[1]["Items"]
            for limit, forward in ((1, True), (2, False), (3, True), (100, False)):
                items, scanned = walk(bench, "Query", request | {"ScanIndexForward": forward}, limit)
                assert texts(items) == texts(whole)
                assert scanned == len(whole)
                for range_name in ranges:
                    steps = [order(one[range_name], two[range_name]) for one, two in pairwise(items)]
                    assert all(step in ((-1, 0) if forward else (0, 1)) for step in steps)


@pytest.mark.parametrize("number", range(12))
def test_segments_are_disjoint_and_complete(bench: Bench, number: int) -> None:
    table = bench.table(number)
    filled(bench, table, 30)
    for index in (None, *table.schema.indexes):
        request = {"TableName": table.name} | ({} if index is None else {"IndexName": index})
        asked = bench.ask("Scan", request)
        assert asked.agreed, asked
        whole = texts(asked.dsql[1]["Items"])
        assert texts(walk(bench, "Scan", request, 4)[0]) == whole
        for segments in (1, 2, 5):
            parts = [
                walk(bench, "Scan", request | {"Segment": each, "TotalSegments": segments}, 3)[0]
                for each in range(segments)
            ]
            assert texts([item for part in parts for item in part]) == whole


def test_a_page_ends_at_one_megabyte(bench: Bench) -> None:
    """Developer guide, "Paginating table query results": at 1 MB, before filters, and counted by the index's items."""
    table = bench.made(
        {
            "TableName": "heavy",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "a", "AttributeType": "S"},
                {"AttributeName": "b", "AttributeType": "N"},
            ],
            "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}, {"AttributeName": "b", "KeyType": "RANGE"}],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "keys",
                    "KeySchema": [
                        {"AttributeName": "a", "KeyType": "HASH"},
                        {"AttributeName": "b", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        }
    )
    for number in range(8):
        item = {"a": {"S": "x"}, "b": {"N": str(number)}, "c": {"S": "y" * 300_000}}
        assert bench.ask("PutItem", {"TableName": "heavy", "Item": item}).agreed
    query = {
        "TableName": table.name,
        "KeyConditionExpression": "a = :a",
        "ExpressionAttributeValues": {":a": {"S": "x"}},
    }
    pages = []
    start: dict[str, Any] = {}
    while True:
        asked = bench.ask("Query", query | start)
        assert asked.agreed, asked
        pages.append(asked.dsql[1]["Count"])
        if "LastEvaluatedKey" not in asked.dsql[1]:
            break
        start = {"ExclusiveStartKey": asked.dsql[1]["LastEvaluatedKey"]}
    assert pages == [3, 3, 2]
    hidden = query | {"FilterExpression": "c = :c", "ExpressionAttributeValues": {":a": {"S": "x"}, ":c": {"S": "z"}}}
    asked = bench.ask("Query", hidden)
    assert asked.agreed, asked
    assert (asked.dsql[1]["Count"], asked.dsql[1]["ScannedCount"]) == (0, 3)
    small = bench.runner.run(bench.twins.ask_dsql("Query", query | {"IndexName": "keys"}))
    assert small[1]["Count"] == 8
    assert "LastEvaluatedKey" not in small[1]


# --- what was found wrong, by name ------------------------------------------------------------------------------------

NAMED = {
    "TableName": "named",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "n", "AttributeType": "N"},
    ],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-n",
            "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["shown"]},
        }
    ],
}
HELD = {"pk": {"S": "a"}, "n": {"N": "1"}, "shown": {"S": "s"}, "secret": {"S": "h"}}
KEY = {"pk": {"S": "a"}}
BY_KEY = {"KeyConditionExpression": "pk = :a", "ExpressionAttributeValues": {":a": {"S": "a"}}}
BY_N = {
    "IndexName": "by-n",
    "KeyConditionExpression": "n = :n",
    "ExpressionAttributeValues": {":n": {"N": "1"}},
}
SHOWN = {name: HELD[name] for name in ("pk", "n", "shown")}
ONE = {"Count": 1, "ScannedCount": 1}


@pytest.mark.parametrize(
    ("action", "request_", "answer"),
    [
        pytest.param("Query", BY_KEY, ONE | {"Items": [HELD]}, id="without a range key there is an order too"),
        pytest.param(
            "Query",
            BY_KEY | {"ExclusiveStartKey": KEY},
            {"Count": 0, "ScannedCount": 0, "Items": []},
            id="and a place after its only item",
        ),
        pytest.param("Query", BY_N, ONE | {"Items": [SHOWN]}, id="an index shows what it holds"),
        pytest.param(
            "Query",
            BY_N | {"ProjectionExpression": "secret"},
            "Global secondary index by-n does not project [secret]",
            id="and is asked for nothing else",
        ),
        pytest.param(
            "Query",
            BY_N | {"FilterExpression": "secret = :n"},
            "Secondary index by-n does not project one or more filter attributes: [secret]",
            id="nor filtered by it in a Query",
        ),
        pytest.param(
            "Scan",
            {"IndexName": "by-n", "FilterExpression": "attribute_exists(secret)"},
            {"Count": 0, "ScannedCount": 1, "Items": []},
            id="and does not see it in a Scan",
        ),
        pytest.param(
            "Query",
            BY_KEY | {"ExclusiveStartKey": {"pk": {"S": "b"}}},
            "The provided starting key is outside query boundaries based on provided conditions",
            id="a start key lies in the range",
        ),
        pytest.param("Query", BY_KEY | {"Segment": 3}, ONE | {"Items": [HELD]}, id="a Query has no segments"),
        pytest.param(
            "Query",
            {
                "KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}},
                "QueryFilter": {"pk": {"ComparisonOperator": "NOT_NULL"}},
            },
            "QueryFilter can only contain non-primary key attributes: Primary key attribute: pk",
            id="an older filter leaves the key alone too",
        ),
        pytest.param(
            "Query",
            BY_KEY | {"ProjectionExpression": "n", "Select": "COUNT"},
            "Cannot specify the ProjectionExpression when choosing to get only the Count",
            id="a count projects nothing",
        ),
        pytest.param("GetItem", {"Key": {"pk": {"S": ""}}}, "empty string value. Key: pk", id="no key is empty"),
        pytest.param("GetItem", {"Key": {"pk": {"S": "k" * 2049}}}, "maximum size limit", id="nor too long"),
        pytest.param("PutItem", {"Item": HELD, "AttributesToGet": ["a"]}, {}, id="a PutItem gets no attributes"),
        pytest.param(
            "PutItem",
            {"Item": HELD, "ExpressionAttributeValues": {":a": {"S": "a"}}},
            "1 validation error detected: ExpressionAttributeValues can only be specified when using expressions",
            id="and has no UpdateExpression to be null",
        ),
        pytest.param(
            "UpdateItem",
            {
                "Key": KEY,
                "UpdateExpression": "SET n = :a",
                "ExpressionAttributeValues": {":a": {"S": "a"}},
            },
            "The update expression attempted to update the secondary index key to unsupported type",
            id="an update keeps the types of index keys",
        ),
    ],
)
def test_found_and_mended(bench: Bench, action: str, request_: dict[str, Any], answer: dict[str, Any] | str) -> None:
    table = bench.made(NAMED)
    assert bench.ask("PutItem", {"TableName": table.name, "Item": HELD}).agreed
    status, document = bench.runner.run(bench.twins.ask_dsql(action, {"TableName": table.name} | request_))
    if isinstance(answer, str):
        assert status == 400
        assert document["__type"].endswith("#ValidationException")
        assert answer in document["message"]
    else:
        assert (status, document) == (200, answer)


def test_found_and_mended_in_reads_and_writes_of_several_items(bench: Bench) -> None:
    table = bench.made(NAMED)

    def ask(action: str, request: dict[str, Any]) -> Answer:
        return bench.runner.run(bench.twins.ask_dsql(action, request))

    get = {"Get": {"TableName": table.name, "Key": KEY}}
    twice = ask("TransactGetItems", {"TransactItems": [get, get]})
    assert twice[1]["message"] == "Transaction request cannot include multiple operations on one item"
    assert ask("TransactGetItems", {"TransactItems": [{"Get": get["Get"] | {"AttributesToGet": ["n"]}}]})[0] == 200
    entry = {"DeleteRequest": {"Key": KEY, "ExpressionAttributeNames": {"#a": "a"}}}
    assert ask("BatchWriteItem", {"RequestItems": {table.name: [entry]}}) == (200, {"UnprocessedItems": {}})
    for action in ("BatchGetItem", "BatchWriteItem"):
        assert "Member must have length greater than or equal to 1" in ask(action, {"RequestItems": {}})[1]["message"]
    for action in ("TransactGetItems", "TransactWriteItems"):
        assert "Member must have length greater than or equal to 1" in ask(action, {"TransactItems": []})[1]["message"]
