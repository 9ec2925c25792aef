"""Evidence: of several proxies in any order, as JSON and back, and collected from what a proxy is told."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.cutover.gate.access_patterns import pattern_of
from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.evidence import (
    SEEN,
    SPAN_SECONDS,
    SPANS,
    AccessPattern,
    CountKey,
    Evidence,
    JournalBacklog,
    LastSweep,
    merge,
)
from proxy.cutover.gate.evidence_collector import EvidenceCollector
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Index, TableSchema
from proxy.metrics.histogram import STORE_BUCKETS
from proxy.verdicts import REQUEST_REFUSED, Verdict

WORDS = st.sampled_from([SEEN, *map(str, Verdict)])
NAMES = st.sampled_from(["a", "b"])
COUNTED = st.integers(0, 5)
SECONDS = st.floats(0, 1e6, allow_nan=False)
BASES = st.builds(Basis, NAMES, st.dictionaries(NAMES, COUNTED, max_size=3))
SWEEPS = st.builds(
    LastSweep,
    SECONDS,
    st.sampled_from(["equal", "repaired"]),
    NAMES,
    st.none() | BASES,
    st.booleans(),
    SECONDS,
)
EVIDENCE = st.builds(
    Evidence,
    reported_at=st.dictionaries(NAMES, SECONDS),
    counts=st.dictionaries(
        st.builds(CountKey, st.builds(AccessPattern, NAMES, NAMES, st.just("Query"), NAMES), st.integers(0, 2), WORDS),
        COUNTED,
        max_size=4,
    ),
    recent=st.dictionaries(st.tuples(NAMES, NAMES, NAMES), COUNTED, max_size=3),
    timings=st.dictionaries(
        st.tuples(NAMES, NAMES),
        st.lists(COUNTED, min_size=len(STORE_BUCKETS) + 1, max_size=len(STORE_BUCKETS) + 1).map(tuple),
        max_size=2,
    ),
    backlogs=st.dictionaries(
        NAMES,
        st.builds(JournalBacklog, COUNTED, SECONDS, st.dictionaries(NAMES, COUNTED), st.dictionaries(NAMES, SECONDS)),
        max_size=2,
    ),
    troubles=st.frozensets(NAMES),
    sweeps=st.dictionaries(NAMES, SWEEPS, max_size=2),
)


def _swept(began: float) -> Evidence:
    return Evidence(sweeps={"a": LastSweep(0.0, "equal", "a", None, True, began)})


@given(EVIDENCE, EVIDENCE, EVIDENCE)
@example(_swept(0.0), _swept(1.0), Evidence())  # ended together, begun apart
@settings(max_examples=60, deadline=None)
def test_the_order_of_merging_does_not_matter(one: Evidence, two: Evidence, three: Evidence) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert merge([one, two, three]) == merge([three, one, two])
    assert one.merged(Evidence()) == one


@given(EVIDENCE)
@settings(max_examples=40, deadline=None)
def test_it_is_read_back_as_it_was_written(evidence: Evidence) -> None:
    assert Evidence.from_document(orjson.loads(orjson.dumps(evidence.document()))) == evidence


@pytest.mark.parametrize("change", [{"version": 0}, {"counts": [["t"]]}, {"timings": [["dsql", "get", [1]]]}])
def test_what_is_no_evidence_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Evidence.from_document({**Evidence().document(), **change})


SCHEMA = TableSchema("t", "id", None, {"id": "S"}, {"by-time": Index("by-time", ("type",), ("at",), None, False)})


def operation(action: str, **request: Any) -> Operation:
    whole = request if action.startswith(("Batch", "Transact")) else {"TableName": "t", **request}
    return Operation(action, b"", whole, (), {"t": SCHEMA})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (operation("GetItem", Key={}), ""),
        (operation("GetItem", Key={}, ConsistentRead=True, ReturnConsumedCapacity="TOTAL"), "ConsistentRead=true"),
        (operation("GetItem", Key={}, ConsistentRead=False), ""),
        (
            operation("Query", Limit=5, IndexName="by-time", ScanIndexForward=False, KeyConditionExpression="a = :a"),
            "by-time Limit ScanIndexForward=false sort:none",
        ),
        (
            operation("Query", IndexName="made-up", KeyConditionExpression="a = :a AND #b BETWEEN :x AND :y"),
            "other sort:between",
        ),
        (operation("Query", KeyConditionExpression="a = :a and begins_with(b, :p)"), "sort:begins_with"),
        (operation("Query", KeyConditionExpression="a = :a and b >= :p"), "sort:>="),
        (operation("Query", KeyConditionExpression="a = :a and b = :p"), "sort:="),
        (operation("Scan", Select="COUNT"), "Select=COUNT"),
        (operation("Scan", Select="MADE_UP"), ""),
        (
            operation("UpdateItem", Key={}, UpdateExpression="SET #add = :a, b = :b REMOVE c", ReturnValues="ALL_NEW"),
            "ReturnValues=ALL_NEW update:REMOVE update:SET",
        ),
        (operation("PutItem", Item={}, ConditionExpression="attribute_exists(id)"), "ConditionExpression"),
        (operation("PutItem", Item={}, ConditionExpression=None), ""),
        (operation("BatchGetItem", RequestItems={"t": {"Keys": [], "ConsistentRead": True}}), "ConsistentRead=true"),
        (
            operation("BatchWriteItem", RequestItems={"t": [{"PutRequest": {}}, {"DeleteRequest": {}}]}),
            "DeleteRequest PutRequest",
        ),
        (
            operation("TransactWriteItems", TransactItems=[{"Put": {"ConditionExpression": "x"}}, {"Update": {}}]),
            "Put Put.ConditionExpression Update",
        ),
    ],
)
def test_an_access_pattern_is_what_a_store_has_to_do(asked: Operation, said: str) -> None:
    assert pattern_of(asked) == said


def test_what_dynamodb_would_refuse_is_a_pattern_too() -> None:
    assert pattern_of(operation("Query", IndexName=["no", "text"])) == "other"
    assert pattern_of(operation("TransactWriteItems", TransactItems="nonsense")) == ""


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


def witness(clock: Clock, timings: dict[tuple[str, ...], tuple[int, ...]] | None = None) -> EvidenceCollector:
    async def standing() -> Mapping[str, JournalBacklog]:
        return MappingProxyType({"t": JournalBacklog(keys=2)})

    def timed() -> dict[tuple[str, ...], tuple[int, ...]]:
        return dict(timings or {})

    return EvidenceCollector(
        lambda: "one", timings=timed, backlogs=standing, troubles=lambda: ["a trouble"], clock=clock
    )


async def test_what_is_told_is_counted() -> None:
    clock = Clock()
    here = witness(clock)
    asked = operation("GetItem", Key={})
    for _ in range(3):
        here.count_seen(asked, "t", "Book")
    here.count_verdict(asked, "t", "Book", Verdict.AGREED)
    here.count_verdict(asked, "t", "Book", Verdict.AGREED, REQUEST_REFUSED)
    here.count_verdict(asked, "t", "Book", Verdict.MISMATCH, REQUEST_REFUSED)
    here.count_verdict(asked, "t", "Book", Verdict.MIRROR_ERROR, "occ")
    here.count_failure("t", "occ")
    here.count_failure("t", "timeout")
    told = await here.evidence()
    assert {(count.pattern.operation, count.outcome): n for count, n in told.counts.items()} == {
        ("GetItem", "seen"): 3,
        ("GetItem", "agreed"): 1,
        ("GetItem", "refused"): 1,
        ("GetItem", "mismatch"): 1,
        ("GetItem", "mirror_error"): 1,
    }
    assert told.recent == {
        ("t", "Book", "answered"): 3,
        ("t", "Book", "mirror_error"): 1,
        ("t", "Book", "occ"): 1,
        ("t", "", "occ"): 1,
    }
    assert told.reported_at == {"one": clock.now}
    assert told.backlogs == {"t": JournalBacklog(keys=2)}
    assert told.troubles == {"a trouble"}


async def test_a_day_is_kept_and_no_more() -> None:
    clock = Clock()
    here = witness(clock)
    here.count_seen(operation("GetItem"), "t", "Book")
    clock.now += 24 * 3600
    assert (await here.evidence()).counts
    clock.now += SPANS * SPAN_SECONDS - 24 * 3600
    assert not (await here.evidence()).counts


async def test_errors_and_timings_are_those_of_ten_minutes() -> None:
    clock = Clock()
    buckets = (1,) * (len(STORE_BUCKETS) + 1)
    timings: dict[tuple[str, ...], tuple[int, ...]] = {("dsql", "get"): buckets}
    here = witness(clock, timings)
    here.count_verdict(operation("GetItem"), "t", "Book", Verdict.MIRROR_ERROR, "occ")
    assert (await here.evidence()).timings == {("dsql", "get"): buckets}
    for _ in range(11):
        clock.now += 60
        told = await here.evidence()
    assert told.recent == {}
    assert told.timings == {("dsql", "get"): (0,) * len(buckets)}
    timings["dsql", "get"] = (3, *buckets[1:])
    assert (await here.evidence()).timings["dsql", "get"][0] == 2


async def test_a_client_cannot_make_up_patterns_without_end() -> None:
    clock = Clock()
    here = witness(clock)
    names = [
        "Limit",
        "Segment",
        "FilterExpression",
        "ProjectionExpression",
        "ScanFilter",
        "KeyConditions",
        "Expected",
        "QueryFilter",
        "AttributesToGet",
    ]
    for n in range(512):
        chosen = {name: "x" for place, name in enumerate(names) if n >> place & 1}
        here.count_seen(operation("Scan", **chosen), "t", "*")
    told = await here.evidence()
    assert len(told.counts) == 301
    assert told.counts[CountKey(AccessPattern("t", "*", "Scan", "other"), int(clock.now // SPAN_SECONDS), SEEN)] == 212
    assert len(orjson.dumps(told.document())) < 100_000


async def test_an_earlier_run_s_counts_are_taken_up() -> None:
    clock = Clock()
    before = witness(clock)
    before.count_seen(operation("GetItem"), "t", "Book")
    after = witness(clock)
    after.count_seen(operation("GetItem"), "t", "Book")
    after.resume(await before.evidence())
    assert list((await after.evidence()).counts.values()) == [2]


@pytest.mark.parametrize("mirror", ["dsql", "dynamodb"])
async def test_a_mirror_error_is_counted_for_the_store_that_failed(mirror: str) -> None:
    async def standing() -> Mapping[str, JournalBacklog]:
        return {}

    collector = EvidenceCollector(
        lambda: "one", timings=dict, backlogs=standing, troubles=tuple, clock=lambda: 1_000_000.0
    )
    get = operation("GetItem", Key={})
    collector.count_verdict(get, "t", "*", Verdict.MIRROR_ERROR, "timeout", mirror)
    collector.count_verdict(get, "t", "*", Verdict.UNDECIDED, "ThrottlingException", mirror)
    evidence = await collector.evidence()
    assert evidence.recent == {
        ("t", "*", "mirror_error"): 1,
        ("t", "*", f"mirror_error {mirror}"): 1,
        ("t", "*", "answered"): 1,
    }
