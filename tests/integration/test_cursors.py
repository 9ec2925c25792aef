"""Cursors through the running product: key attributes and nothing else, and each item once, in every stage.

Readers have three habits: they keep the whole cursor, they keep the attributes of the keys, or they make one from the
last item that they got.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from tests.integration.scenes import Scene, scene, wait_until
from tests.integration.test_live import book
from tests.integration.test_stage_moves import ask, moved, moving, settle
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.hash_order import in_hash_order
from tests.standins.unruly import Unruly

ITEMS: Final = 40
SCAN: Final[Mapping[str, Any]] = {"TableName": TABLE, "Limit": 7}
# Twenty items have one sort key.
QUERY: Final[Mapping[str, Any]] = {
    **SCAN,
    "IndexName": "type",
    "KeyConditionExpression": "#t = :t",
    "ExpressionAttributeNames": {"#t": "type"},
    "ExpressionAttributeValues": {":t": {"S": "Book"}},
}
INDEX_SCAN: Final[Mapping[str, Any]] = {**SCAN, "IndexName": "type"}
REQUESTS: Final = {"scan": SCAN, "query": QUERY, "index scan": INDEX_SCAN}


def _key_names(request: Mapping[str, Any]) -> set[str]:
    return {HASH_KEY, "type", "movedAt"} if "IndexName" in request else {HASH_KEY}


def whole(page: Mapping[str, Any], _: set[str]) -> dict[str, Any]:
    return dict(page["LastEvaluatedKey"])


def keys_only(page: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in page["LastEvaluatedKey"].items() if name in names}


def of_last_item(page: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: page["Items"][-1][name] for name in sorted(names)}


HABITS: Final[Mapping[str, Callable[[Mapping[str, Any], set[str]], dict[str, Any]]]] = {
    "whole cursor": whole,
    "keys only": keys_only,
    "of the last item": of_last_item,
}


class Reader:
    """A client in the middle of its pages."""

    def __init__(self, name: str, habit: str, client: Any) -> None:
        self.name = f"{name}, {habit}"
        self._request = REQUESTS[name]
        self._habit = HABITS[habit]
        self._names = _key_names(self._request)
        self._start: dict[str, Any] = {}
        self.seen: list[str] = []
        self.done = False
        self.client = client

    def turn(self) -> None:
        """Read a page."""
        read = self.client.query if "KeyConditionExpression" in self._request else self.client.scan
        page = read(**self._request, **self._start)
        self.seen += [item[HASH_KEY]["S"] for item in page["Items"]]
        self.done = "LastEvaluatedKey" not in page
        if not self.done:
            assert page["LastEvaluatedKey"].keys() == self._names, self.name
            self._start = {"ExclusiveStartKey": self._habit(page, self._names)}

    def finish(self) -> None:
        while not self.done:
            self.turn()

    def check(self) -> None:
        assert sorted(self.seen) == sorted(key[HASH_KEY]["S"] for key in keys()), self.name


def keys() -> list[dict[str, Any]]:
    return [{HASH_KEY: {"S": f"Book:{number:02}"}} for number in range(ITEMS)]


def fill(client: Any) -> None:
    for number, key in enumerate(keys()):
        client.put_item(TableName=TABLE, Item=book(number, key, movedAt={"N": str(number // 20)}))


def readers(here: Scene) -> list[Reader]:
    return [Reader(name, habit, here.client()) for name in REQUESTS for habit in HABITS]


@pytest.mark.parametrize("stage", ["off", "dualwrite", "shadow", "live", "rampdown", "complete"])
def test_every_habit_sees_each_item_once(stage: str, hashed: str, database: str, dsql_database: str) -> None:
    with scene(hashed, dsql_database, rows=database, stage="shadow") as before:
        fill(before.client())
        before.proxy.settle()
    with scene(hashed, dsql_database, rows=database, stage=stage) as here:
        for reader in readers(here):
            reader.finish()
            reader.check()
        here.proxy.settle()
        assert here.verdicts().get("mismatch", 0) == 0


@pytest.mark.parametrize("stage", ["live", "rampdown", "complete"])
def test_a_cursor_that_nobody_gave_out_means_after_this_key(
    stage: str, hashed: str, database: str, dsql_database: str
) -> None:
    """In the order of the authority, and strongly consistent where asked."""
    with scene(hashed, dsql_database, rows=database, stage="shadow") as before:
        fill(before.client())
        before.proxy.settle()
    with scene(hashed, dsql_database, rows=database, stage=stage) as here:
        client = here.client()
        start = keys()[29]
        for turn in range(20):
            client.put_item(TableName=TABLE, Item=book(turn, {HASH_KEY: {"S": f"Book:{29}x{turn:02}"}}))
            page = client.scan(TableName=TABLE, ExclusiveStartKey=start, ConsistentRead=True)
            seen = [item[HASH_KEY]["S"] for item in page["Items"]]
            assert seen == sorted(seen)
            assert len(seen) == ITEMS - 30 + turn + 1


@pytest.fixture
def hashed(dynamodb: str) -> Iterator[str]:
    """A DynamoDB whose pages are in an order of their own, as they are in DynamoDB and are not in ministack."""
    with Unruly(dynamodb, carry=in_hash_order(HASH_KEY, {"type": "movedAt"})) as between:
        billio_table(dynamodb)
        yield between.endpoint


@contextmanager
def _pair(hashed: str, database: str, dsql: str) -> Iterator[tuple[Scene, Scene]]:
    with ExitStack() as both:
        one, two = (both.enter_context(moving(hashed, database, dsql)) for _ in range(2))
        fill(one.client(attempts=10))
        for key in keys():
            one.client(attempts=10).get_item(TableName=TABLE, Key=key)
        for each in (one, two):
            settle(each)
        yield one, two


def test_every_habit_sees_each_item_once_on_the_ramp(hashed: str, database: str, dsql_database: str) -> None:
    """Each page through another proxy."""
    with _pair(hashed, database, dsql_database) as both:
        moved(both[0], TABLE, {"stage": "shadow", "ramp": 100, "force": True, "because": "a test"})
        for number, reader in enumerate(readers(both[0])):
            while not reader.done:
                number += 1
                reader.client = both[number % 2].client()
                reader.turn()
            reader.check()


def test_readers_go_on_across_flips_and_ramps_through_any_proxy(hashed: str, database: str, dsql_database: str) -> None:
    """While others begin anew at the other store, with the same requests."""
    with _pair(hashed, database, dsql_database) as (one, two):
        wait_until(lambda: ask(two, "GET", f"/v1/gate/{TABLE}?to=live").json["open"], 120, "the evidence")
        everybody: list[Reader] = []
        places = [one, two]
        for body in (
            {"stage": "shadow", "ramp": 100, "force": True, "because": "a test"},
            {"stage": "shadow", "ramp": 0, "force": True, "because": "a test"},
            {"stage": "live", "force": True, "because": "a test"},
            {"stage": "shadow", "force": True, "because": "a test"},
        ):
            new = readers(places[0])
            for reader in new:
                reader.turn()
            everybody += new
            moved(one, TABLE, body)
            places.reverse()
            for reader in everybody:
                # Through the other proxy, on a connection of its own.
                reader.client = places[0].client()
                if not reader.done:
                    reader.turn()
        for reader in everybody:
            reader.client = places[0].client()
            reader.finish()
            reader.check()
        for each in (one, two):
            settle(each)
            assert each.verdicts().get("mismatch", 0) == 0
