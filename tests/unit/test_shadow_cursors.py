"""Which store a page continues at: what a process remembers of cursors, and what it asks the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest

from proxy.cutover.stages import Scope, Stage, StageMap, StagePlacement, Stages
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.settings import DSQL, Settings
from proxy.settings.shadow import StagesSettings
from proxy.shadow.call import Call
from proxy.shadow.comparison.peers import PeerReply
from proxy.shadow.cursors.digest import ordered_by_store, page_digests, start_digest
from proxy.shadow.cursors.issuers import CURSOR, CursorIssuers
from proxy.shadow.cursors.memory import KEPT_SECONDS, CursorMemory
from proxy.stores.table_registry import Table

SCHEMA = TableSchema.from_description(
    {
        "TableName": "orders",
        "AttributeDefinitions": [
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "customer", "AttributeType": "S"},
            {"AttributeName": "placed", "AttributeType": "N"},
        ],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-customer",
                "KeySchema": [
                    {"AttributeName": "customer", "KeyType": "HASH"},
                    {"AttributeName": "placed", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }
)
TABLE = Table(SCHEMA, DocumentMapping(SCHEMA))
WHOLE = {"id": {"S": "o1"}, "customer": {"S": "ann"}, "placed": {"N": "10"}}
ONE, TWO = "127.0.0.1:1", "127.0.0.1:2"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Others:
    """`Inquiry` with the same answers whenever it is asked."""

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def ask(self, kind: str, about: Any, /) -> Sequence[PeerReply]:
        assert kind == CURSOR
        self.asked.append(about)
        return [PeerReply(answer, 0.5) for answer in self.answers]


def call(action: str, client: str = ONE, start: Mapping[str, Any] | None = None, **request: Any) -> Call:
    request = {"TableName": "orders", **request} | ({"ExclusiveStartKey": start} if start is not None else {})
    operation = Operation(action, orjson.dumps(request), request, (), {"orders": SCHEMA})
    return Call(operation, {"orders": TABLE}, "*", "r", client=client)


def query(client: str = ONE, start: Mapping[str, Any] | None = None) -> Call:
    return call("Query", client, start, IndexName="by-customer")


def page(*items: Mapping[str, Any], last: Mapping[str, Any] | None = None) -> Outcome:
    return Outcome.of({"Items": list(items)} | ({"LastEvaluatedKey": last} if last is not None else {}))


def stages(**moved: StagePlacement) -> Stages:
    made = Stages(
        Settings(
            stage="shadow",
            dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/x"),
            stages=StagesSettings(table="crossfade_stages"),
        )
    )
    if moved:
        made.adopt(StageMap(1, {Scope(table): at for table, at in moved.items()}))
    return made


def issuers(
    clock: Clock, others: Others | None = None, placed: Stages | None = None
) -> tuple[CursorIssuers, CursorMemory]:
    memory = CursorMemory(clock)
    return CursorIssuers(placed or stages(), memory, others, clock), memory


@pytest.mark.parametrize(
    ("action", "index", "ordered"),
    [("Scan", None, True), ("Scan", "by-customer", True), ("Query", "by-customer", True), ("Query", None, False)],
)
def test_each_store_has_an_order_of_its_own(action: str, index: str | None, ordered: bool) -> None:
    asked = call(action, IndexName=index) if index is not None else call(action)
    assert ordered_by_store(asked.operation) is ordered


def test_a_cursor_is_its_key_attributes_however_it_is_made() -> None:
    """A number may be written in several ways; an item has more than its keys."""
    item = {**WHOLE, "note": {"S": "x"}}
    from_page = list(page_digests(query().operation, page(item, last=WHOLE)))
    assert len(from_page) == 1
    other_form = {"placed": {"N": "1.0e1"}, "customer": {"S": "ann"}, "id": {"S": "o1"}}
    assert start_digest(query(start=other_form).operation) == from_page[0]


def test_other_tables_indexes_and_operations_have_other_cursors() -> None:
    starts = [
        query(start=WHOLE),
        call("Scan", start=WHOLE, IndexName="by-customer"),
        call("Scan", start={"id": {"S": "o1"}}),
        query(start={**WHOLE, "id": {"S": "o2"}}),
    ]
    assert len({start_digest(each.operation) for each in starts}) == len(starts)


@pytest.mark.parametrize(
    "start",
    ["text", {}, {"id": {"S": "o1"}}, {**WHOLE, "placed": {"N": "ten"}}, {**WHOLE, "placed": 10}],
)
def test_what_no_page_can_have_ended_with_has_no_digest(start: Any) -> None:
    assert start_digest(query(start=start).operation) is None


def test_the_last_item_is_remembered_beside_the_cursor_of_a_filtered_page() -> None:
    last = {**WHOLE, "id": {"S": "o9"}}
    digests = set(page_digests(query().operation, page(WHOLE, last=last)))
    assert digests == {start_digest(query(start=start).operation) for start in (WHOLE, last)}
    assert set(page_digests(query().operation, page(last=last))) == {start_digest(query(start=last).operation)}
    assert list(page_digests(query().operation, Outcome.of({}, 400))) == []


async def test_a_page_continues_at_the_store_that_gave_out_its_cursor() -> None:
    known, _ = issuers(Clock())
    known.note_page(query(), "dsql", page(WHOLE, last=WHOLE))
    assert await known.issuer_of(query(start=WHOLE), ramped=False) == "dsql"
    assert await known.issuer_of(query(TWO, WHOLE), ramped=False) == "dsql"
    assert await known.issuer_of(query(start={**WHOLE, "id": {"S": "o2"}}), ramped=False) is None


async def test_one_key_may_end_a_page_of_either_store() -> None:
    """Of two clients that page through one index at a flip, each goes on where it was; who is not known goes on where
    the key was given out last."""
    clock = Clock()
    known, _ = issuers(clock)
    known.note_page(query(ONE), "dynamodb", page(last=WHOLE))
    clock.now += 1
    known.note_page(query(TWO), "dsql", page(last=WHOLE))
    assert await known.issuer_of(query(ONE, WHOLE), ramped=False) == "dynamodb"
    assert await known.issuer_of(query(TWO, WHOLE), ramped=False) == "dsql"
    assert await known.issuer_of(query("elsewhere", WHOLE), ramped=False) == "dsql"
    clock.now += 1
    known.note_page(query(TWO), "dynamodb", page(last=WHOLE))
    assert await known.issuer_of(query("elsewhere", WHOLE), ramped=False) == "dynamodb"


async def test_a_cursor_is_remembered_for_an_hour() -> None:
    clock = Clock()
    known, _ = issuers(clock)
    known.note_page(query(), "dsql", page(last=WHOLE))
    clock.now += KEPT_SECONDS
    assert await known.issuer_of(query(start=WHOLE), ramped=False) == "dsql"
    clock.now += 1
    assert await known.issuer_of(query(start=WHOLE), ramped=False) is None


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.shadow.cursors.memory._MAX_CURSORS", 3)
    monkeypatch.setattr("proxy.shadow.cursors.memory._MAX_CLIENTS", 2)
    clock = Clock()
    memory = CursorMemory(clock)
    for number in range(5):
        memory.remember([f"d{number}"], "dsql", ONE)
    assert [memory.newest(f"d{number}") is not None for number in range(5)] == [False, False, True, True, True]
    for number in range(3):
        memory.remember(["d4"], "dsql", f"client {number}")
    assert [memory.of_client("d4", f"client {number}") is not None for number in range(3)] == [False, True, True]
    clock.now += KEPT_SECONDS + 1
    memory.remember(["new"], "dsql", ONE)
    assert len(memory._given) == 1


async def test_others_are_asked_while_another_store_may_have_given_out_the_cursor() -> None:
    clock = Clock()
    others = Others([], ["dynamodb", 5.0])
    flipped = StagePlacement(Stage.LIVE, since=clock.now)
    known, memory = issuers(clock, others, stages(orders=flipped))
    assert await known.issuer_of(query(start=WHOLE), ramped=False) == "dynamodb"
    assert len(others.asked) == 1
    clock.now += KEPT_SECONDS
    assert await known.issuer_of(query(start=WHOLE), ramped=False) is None
    assert len(others.asked) == 1
    # On the ramp either store gives out cursors, however long ago it was set.
    assert await known.issuer_of(query(start=WHOLE), ramped=True) == "dynamodb"
    # What this process gave the same client it does not ask about.
    memory.remember([others.asked[0]], "dsql", TWO)
    assert await known.issuer_of(query(TWO, WHOLE), ramped=True) == "dsql"
    assert len(others.asked) == 2
    assert await known.issuer_of(query("elsewhere", WHOLE), ramped=True) == "dsql"
    clock.now += 6.0
    assert await known.issuer_of(query("elsewhere", WHOLE), ramped=True) == "dynamodb"
    assert len(others.asked) == 4


async def test_nobody_is_asked_where_nothing_was_flipped() -> None:
    others = Others(["dsql", 5.0])
    known, _ = issuers(Clock(), others)
    assert await known.issuer_of(query(start=WHOLE), ramped=False) is None
    assert others.asked == []


@pytest.mark.parametrize(
    ("answers", "issuer"),
    [
        ([], None),
        ([[], []], None),
        ([["dsql", 9.0], ["dynamodb", 1.0]], "dynamodb"),
        ([["dsql", 1.0], [], ["dynamodb", 9.0]], "dsql"),
        ([["elsewhere", 1.0], ["nothing"]], None),
    ],
)
async def test_of_several_answers_the_newest_counts(answers: list[list[Any]], issuer: str | None) -> None:
    known, _ = issuers(Clock(), Others(*answers))
    assert await known.issuer_of(query(start=WHOLE), ramped=True) == issuer


def test_another_process_hears_which_store_gave_out_a_cursor_and_how_long_ago() -> None:
    clock = Clock()
    known, _ = issuers(clock)
    known.note_page(query(), "dsql", page(last=WHOLE))
    clock.now += 7
    assert known.answer(start_digest(query(start=WHOLE).operation)) == ["dsql", 7.0]
    assert known.answer("unknown") == []
    assert known.answer(None) == []


def test_stages_know_when_pages_may_last_have_come_from_another_store() -> None:
    def moved(made: Stages, epoch: int, since: float, stage: Stage, ramp: float = 0.0) -> float:
        made.adopt(StageMap(epoch, {Scope("orders"): StagePlacement(stage, ramp, since)}))
        return made.reordered_at("orders")

    made = stages()
    assert made.reordered_at("orders") == 0.0
    # A process that starts cannot know what was before.
    assert moved(made, 1, 10.0, Stage.DUALWRITE) == 10.0
    assert moved(made, 2, 20.0, Stage.SHADOW) == 10.0
    assert moved(made, 3, 30.0, Stage.SHADOW, 50) == 30.0
    assert moved(made, 4, 40.0, Stage.SHADOW, 0) == 40.0
    assert moved(made, 5, 50.0, Stage.LIVE) == 50.0
    assert moved(made, 6, 60.0, Stage.RAMPDOWN) == 50.0
    assert moved(made, 7, 70.0, Stage.SHADOW) == 70.0
    assert made.reordered_at("others") == 0.0
    # Nobody records when pinned stages were changed.
    assert Stages(Settings(stage="off")).reordered_at("orders") > 0.0
