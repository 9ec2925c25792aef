"""What is said of a difference whose second look is not answered, an index that stays behind, and two refusals."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.dynamodb.operations import TARGET_PREFIX, WRITES
from proxy.shadow.comparison.index_delays import LASTING_SECONDS
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.errors import StoreError, Unreachable
from proxy.verdicts import Verdict
from tests.verdicts import traffic
from tests.verdicts.stores import Authority
from tests.verdicts.tables import BILLIO, PAGES, book, book_key, page
from tests.verdicts.world import Told, World

TABLE = {"TableName": BILLIO.name}
READS: dict[str, tuple[str, dict[str, Any]]] = {
    "GetItem": ("GetItem", {**TABLE, "Key": book_key("1")}),
    "BatchGetItem": ("BatchGetItem", {"RequestItems": {BILLIO.name: {"Keys": [book_key("1"), book_key("2")]}}}),
    "TransactGetItems": ("TransactGetItems", {"TransactItems": [{"Get": {**TABLE, "Key": book_key("1")}}]}),
    "Query": ("Query", traffic.query(BILLIO, index=True)),
    "Scan": ("Scan", TABLE),
}


def refusal(code: str, status: int = 400) -> HTTPResponse:
    return HTTPResponse(status, (), orjson.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}"}))


def unprocessed() -> HTTPResponse:
    keys = READS["BatchGetItem"][1]["RequestItems"]
    return HTTPResponse(200, (), orjson.dumps({"Responses": {}, "UnprocessedKeys": keys}))


def unreachable() -> HTTPResponse:
    raise Unreachable("connect")


class SecondLooks:
    """DynamoDB, which answers the reads numbered `failed` by `failing`: by default all but the first."""

    def __init__(
        self, authority: Authority, failing: Callable[[], HTTPResponse], failed: range = range(2, 10_000)
    ) -> None:
        self._request = authority.request
        self._failing = failing
        self.failed = failed
        self._looks = 0
        authority.request = self.request  # type: ignore[method-assign]

    async def request(self, target: str, body: bytes, *more: Any, **named: Any) -> HTTPResponse:
        action = target.removeprefix(TARGET_PREFIX)
        if action == "DescribeTable" or action in WRITES:
            return await self._request(target, body, *more, **named)
        self._looks += 1
        return self._failing() if self._looks in self.failed else await self._request(target, body, *more, **named)


def run(folder: Path, story: Callable[[World], Coroutine[Any, Any, Any]]) -> Any:
    world = World(7, folder, processes=2)
    world.fill((BILLIO.name, book(str(n))) for n in range(4))
    return world.run(story(world))


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("reason", "failing"),
    [
        ("ThrottlingException", lambda: refusal("ThrottlingException")),
        ("ProvisionedThroughputExceededException", lambda: refusal("ProvisionedThroughputExceededException")),
        ("ResourceNotFoundException", lambda: refusal("ResourceNotFoundException")),
        ("InternalServerError", lambda: refusal("InternalServerError", 500)),
        ("connect", unreachable),
    ],
)
def test_a_second_look_that_is_not_answered_decides_nothing(
    tmp_path: Path, read: str, reason: str, failing: Callable[[], HTTPResponse]
) -> None:
    async def story(world: World) -> Told:
        world.mirror.plant(BILLIO.key_of(book_key("1")), book("1", title={"S": "another"}))
        looks = SecondLooks(world.authority, failing)
        told = await world.said(world.processes[0], *READS[read])
        looks.failed = range(0)
        await world.settle()
        # A table that is not there has nothing to converge with.
        gone = reason == "ResourceNotFoundException"
        assert gone or not world.unequal(), "what differed at the first look is converged, whatever it was"
        return told

    told = run(tmp_path, story)
    assert (told.verdict, told.judged) == (Verdict.UNDECIDED, ())
    assert told.reason in (reason, "ThrottlingException" if "Throughput" in reason else reason)


def test_a_second_look_at_a_batch_that_processes_nothing_decides_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> Told:
        world.mirror.plant(BILLIO.key_of(book_key("1")), None)
        looks = SecondLooks(world.authority, unprocessed)
        told = await world.said(world.processes[0], *READS["BatchGetItem"])
        looks.failed = range(0)
        return told

    assert run(tmp_path, story).verdict is Verdict.UNDECIDED


def test_a_last_look_that_is_answered_decides(tmp_path: Path) -> None:
    async def story(world: World) -> Told:
        world.mirror.plant(BILLIO.key_of(book_key("1")), None)
        SecondLooks(world.authority, lambda: refusal("ThrottlingException"), range(2, 4))
        return await world.said(world.processes[0], *READS["GetItem"])

    assert run(tmp_path, story).verdict is Verdict.MISMATCH


def test_a_write_whose_item_cannot_be_read_back_is_undecided_and_converges(tmp_path: Path) -> None:
    async def story(world: World) -> Told:
        looks = SecondLooks(world.authority, lambda: refusal("ThrottlingException"), range(1, 10_000))
        told = await world.said(world.processes[0], "PutItem", {**TABLE, "Item": book("9")})
        looks.failed = range(0)
        await world.settle()
        assert not world.unequal()
        return told

    assert run(tmp_path, story).verdict is Verdict.UNDECIDED


# -- an index that stays behind ----------------------------------------------------------------------------------------

BY_GROUP = traffic.query(PAGES, index=True)
INDEX_READS: dict[str, tuple[str, dict[str, Any]]] = {
    "Query": ("Query", BY_GROUP),
    "Query COUNT": ("Query", {**BY_GROUP, "Select": "COUNT"}),
    "Scan": ("Scan", {"TableName": PAGES.name, "IndexName": "by-group"}),
}


def leaving_out(world: World, number: int) -> None:
    """DynamoDB's index never shows one item, as one that was made after an item that it cannot index."""
    request = world.authority.request

    async def without(target: str, body: bytes, *more: Any, **named: Any) -> HTTPResponse:
        answer = await request(target, body, *more, **named)
        if "IndexName" not in orjson.loads(body):
            return answer
        document = orjson.loads(answer.body)
        counted = document["Count"]
        if "Items" in document:
            document["Items"] = [each for each in document["Items"] if each["n"] != {"N": str(number)}]
            counted = len(document["Items"])
        elif counted:
            counted -= 1
        document |= {"Count": counted, "ScannedCount": counted}
        return HTTPResponse(answer.status, answer.headers, orjson.dumps(document))

    world.authority.request = without  # type: ignore[method-assign]


@pytest.mark.parametrize("read", INDEX_READS)
def test_an_index_that_stays_behind_disagrees_after_a_while(tmp_path: Path, read: str) -> None:
    async def story(world: World) -> list[Verdict]:
        leaving_out(world, 2)
        asked, first = INDEX_READS[read], world.processes[0]
        told = [(await world.said(first, *asked)).verdict]
        await asyncio.sleep(LASTING_SECONDS / 2)
        told.append((await world.said(first, *asked)).verdict)
        await asyncio.sleep(LASTING_SECONDS)
        last = await world.said(first, *asked)
        assert {each.difference.key["n"]["N"] for each in last.judged if each.difference.key} == {"2"}
        return [*told, last.verdict]

    world = World(11, tmp_path, processes=2)
    world.fill((PAGES.name, page("b", n)) for n in range(4))
    assert world.run(story(world)) == [Verdict.LAGGING, Verdict.LAGGING, Verdict.MISMATCH]


@pytest.mark.parametrize("by", [0, 1])
def test_an_item_that_is_written_meanwhile_is_only_late(tmp_path: Path, by: int) -> None:
    """By this process or another, even if the item is what it was before."""

    async def story(world: World) -> list[Verdict]:
        leaving_out(world, 2)
        told = []
        for _ in range(5):
            told.append((await world.said(world.processes[0], *INDEX_READS["Query"])).verdict)
            await asyncio.sleep(LASTING_SECONDS / 3)
            put = {"TableName": PAGES.name, "Item": page("b", 2)}
            await world.said(world.processes[by], "PutItem", put)
            await asyncio.sleep(LASTING_SECONDS / 3)
        return told

    world = World(11, tmp_path, processes=2)
    world.fill((PAGES.name, page("b", n)) for n in range(4))
    assert set(world.run(story(world))) == {Verdict.LAGGING}


# -- two refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [False, True])
def test_two_refusals_of_one_code_agree_whatever_their_words(tmp_path: Path, messages: bool) -> None:
    bad = {**TABLE, "Key": book_key("1"), "UpdateExpression": "SET rating = title + :n"}
    bad |= {"ExpressionAttributeValues": {":n": {"N": "1"}}}

    async def story(world: World) -> Told:
        request = world.authority.request

        async def reworded(target: str, body: bytes, *more: Any, **named: Any) -> HTTPResponse:
            answer = await request(target, body, *more, **named)
            if answer.status == 200:
                return answer
            document = orjson.loads(answer.body) | {"message": "in words of its own"}
            return HTTPResponse(answer.status, answer.headers, orjson.dumps(document))

        world.authority.request = reworded  # type: ignore[method-assign]
        return await world.said(world.processes[0], "UpdateItem", bad)

    world = World(3, tmp_path, processes=1)
    world.processes[0].messages = messages
    world.fill([(BILLIO.name, book("1"))])
    told = world.run(story(world))
    assert told.verdict is (Verdict.MISMATCH if messages else Verdict.AGREED)


def test_a_mirror_that_fails_is_named(tmp_path: Path) -> None:
    def failing(_: str) -> StoreError:
        return Unreachable("timeout")

    async def story(world: World) -> Told:
        world.mirror.failing = failing
        return await world.said(world.processes[0], *READS["GetItem"])

    told = run(tmp_path, story)
    assert (told.verdict, told.mirror) == (Verdict.MIRROR_ERROR, "dsql")
