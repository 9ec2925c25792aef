"""The gate: when it is open, what shuts it, and what it says then."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.criteria import Criterion
from proxy.cutover.gate.evidence import (
    SEEN,
    SPANS,
    AccessPattern,
    CountKey,
    Evidence,
    JournalBacklog,
    LastSweep,
    span_of,
)
from proxy.cutover.gate.forgotten_writes import missing_sweep_reason, settled_at, wait_seconds
from proxy.cutover.gate.requirements import (
    TableHistory,
    demotion,
    forbidden_reason,
    next_stage,
    requirements,
    split_reason,
)
from proxy.cutover.gate.tail_latency import percentile, slowest
from proxy.cutover.stages import Era, ForgottenProcesses, Scope, Stage, StagePlacement
from proxy.metrics.histogram import STORE_BUCKETS
from proxy.settings.gate import CRITERIA, GateSettings

NOW = 1_000_000_000.0
SPAN = span_of(NOW)
TABLE = Scope("billio")
BOOKS = Scope("billio", "Book")
SHADOW = StagePlacement(Stage.SHADOW)
GET = AccessPattern("billio", "Book", "GetItem", "")
PUT = AccessPattern("billio", "Book", "PutItem", "")
GAME = AccessPattern("billio", "VideoGame", "PutItem", "")
SCAN = AccessPattern("billio", "*", "Scan", "Limit")


def counts(
    pattern: AccessPattern, agreed: int, mismatch: int = 0, *, span: int = SPAN, **words: int
) -> dict[CountKey, int]:
    said = {SEEN: agreed + mismatch, "agreed": agreed, "mismatch": mismatch, **words}
    return {CountKey(pattern, span, word): n for word, n in said.items() if n}


def timed(operation: str, dsql: int, dynamodb: int) -> dict[tuple[str, str], tuple[int, ...]]:
    """A thousand answers of each store, all in the bucket of this number."""
    length = len(STORE_BUCKETS) + 1
    return {
        (store, operation): tuple(1000 if place == at else 0 for place in range(length))
        for store, at in (("dsql", dsql), ("dynamodb", dynamodb))
    }


GOOD = Evidence(
    reported_at=MappingProxyType({"one": NOW - 2, "two": NOW - 5}),
    counts=MappingProxyType({**counts(GET, 4000), **counts(PUT, 500), **counts(GAME, 100), **counts(SCAN, 40)}),
    timings=timed("GetItem", 4, 3),
    sweeps=MappingProxyType({"billio": LastSweep(NOW - 3600, "equal", "dynamodb", Basis())}),
)


def asked(
    evidence: Evidence,
    to: Stage = Stage.LIVE,
    at: StagePlacement = SHADOW,
    scope: Scope = TABLE,
    ramp: float = 0.0,
    **wanted: Any,
) -> dict[str, Criterion]:
    return {each.name: each for each in requirements(evidence, scope, at, to, GateSettings(**wanted), ramp, NOW)}


def stopping(*arguments: Any, **named: Any) -> set[str]:
    return {name for name, each in asked(*arguments, **named).items() if each.stops}


def failing(*arguments: Any, **named: Any) -> set[str]:
    return {name for name, each in asked(*arguments, **named).items() if not each.holds}


def test_it_is_open_where_all_holds() -> None:
    found = asked(GOOD)
    assert failing(GOOD) == set()
    assert found.keys() == set(CRITERIA)
    assert found["agreement"].value == "0 of 4640, so at most 0.00065"
    assert found["latency"].value == "GetItem: p99 5.0 ms, DynamoDB's 3.0 ms"


def test_it_is_shut_where_nothing_was_seen() -> None:
    assert stopping(Evidence()) == {"told", "comparisons", "coverage", "agreement"}
    assert failing(Evidence()) - stopping(Evidence()) == {"sweep"}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("told", {"reported_at": {"one": NOW - 2, "two": NOW - 61}}, "Not heard from recently: two"),
        ("told", {"reported_at": {}}, "Start a proxy"),
        ("working", {"troubles": frozenset({"the journal cannot be written"})}, "the journal cannot be written"),
        ("journal", {"backlogs": {"billio": JournalBacklog(keys=3, oldest_seconds=6.0)}}, "caught up"),
        ("settled", {"backlogs": {"billio": JournalBacklog(lingering={"dsql": 12.0})}}, "wait 12 s"),
        ("parked", {"backlogs": {"billio": JournalBacklog(parked={"Book": 1})}}, "1 of Book"),
        ("comparisons", {"counts": {**GOOD.counts, **counts(GAME, 29)}}, "VideoGame PutItem (29)"),
        ("coverage", {"counts": {**GOOD.counts, **counts(GET._replace(shape="ConsistentRead=true"), 2)}}, "(2 of 2)"),
        ("agreement", {"counts": {**counts(GET, 1000)}}, "about 2,995 are needed"),
        ("representable", {"counts": {**GOOD.counts, **counts(PUT, 500, unrepresentable=1)}}, "Book PutItem (1)"),
        ("mirror_errors", {"recent": {("billio", "Book", "mirror_error"): 1, ("billio", "*", "answered"): 900}}, "log"),
        ("occ", {"recent": {("billio", "", "occ"): 1}}, "hot keys"),
        ("latency", {"timings": timed("Query", 13, 4)}, "slower"),
    ],
)
def test_each_thing_that_is_wrong_shuts_it_and_says_what_to_do(name: str, change: dict[str, Any], said: str) -> None:
    evidence = replace(GOOD, **change)
    assert stopping(evidence) == {name}
    assert said in asked(evidence)[name].sentence
    # It can be shown without stopping anything.
    assert stopping(evidence, advisory=(name,)) == set()
    assert failing(evidence, advisory=(name,)) == {name}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"backlogs": {"billio": JournalBacklog(keys=3, oldest_seconds=6.0)}}, {"max_journal_seconds": 7.0}),
        ({"counts": {**GOOD.counts, **counts(GAME, 29)}}, {"min_comparisons": 29}),
        ({"counts": {**counts(GET, 1000)}}, {"max_mismatch_rate": 0.003}),
        ({"recent": {("billio", "", "occ"): 1}}, {"max_occ_exhausted": 1}),
        ({"timings": timed("Query", 13, 4)}, {"max_latency_factor": 1000.0}),
        ({"timings": timed("Query", 13, 4)}, {"latency_floor_seconds": 1.0}),
        ({"reported_at": {"one": NOW - 100}}, {"max_evidence_seconds": 200.0}),
        (
            {"recent": {("billio", "*", "mirror_error"): 1, ("billio", "*", "answered"): 9}},
            {"max_mirror_error_rate": 0.1},
        ),
    ],
)
def test_each_threshold_is_the_operator_s(change: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert len(stopping(replace(GOOD, **change))) == 1
    assert stopping(replace(GOOD, **change), **wanted) == set()


def test_a_sweep_is_advice_until_it_is_asked_for() -> None:
    for last, said in (
        (None, "is on record"),
        (LastSweep(NOW - 25 * 3600, "equal", "dynamodb", Basis()), "too old"),
        (LastSweep(NOW, "repaired", "dynamodb", Basis()), "mended all of them; run crossfade verify"),
        (LastSweep(NOW, "different", "dynamodb", Basis(), mended=False), "left differences"),
    ):
        evidence = replace(GOOD, sweeps={"billio": last} if last is not None else {})
        assert said in asked(evidence)["sweep"].sentence
        assert failing(evidence) == {"sweep"}
        assert stopping(evidence) == set()
        assert stopping(evidence, advisory=()) == {"sweep"}


LOST = ForgottenProcesses(2, "p7", NOW)
# The second era began when p7 was forgotten; "Book" is in its first.
SECOND = Era(2, NOW - 60, "process p7 was forgotten")
OF_FIRST, OF_SECOND, OF_OTHER = (Basis(mapping, {"": number}) for number, mapping in ((1, "m"), (2, "m"), (2, "other")))


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (None, "no sweep of the whole table is on record"),
        (LastSweep(NOW, "equal", "dynamodb"), "does not record its era"),
        (LastSweep(NOW + 9, "equal", "dynamodb", OF_FIRST), "began another era: process p7 was forgotten"),
        (LastSweep(NOW + 9, "equal", "dynamodb", OF_OTHER), "made with another mapping"),
        (LastSweep(NOW, "different", "dynamodb", OF_SECOND, mended=False), "left differences"),
        (LastSweep(NOW, "unsettled", "dynamodb", OF_SECOND, mended=False), "left differences"),
        (LastSweep(NOW, "unsettled", "dynamodb", OF_SECOND), "could not settle every key"),
        (LastSweep(NOW, "repaired", "dsql", OF_SECOND), "from dsql, which is not the authority"),
        (LastSweep(NOW, "repaired", "dynamodb", OF_SECOND), ""),
        (LastSweep(NOW - 10**6, "equal", "dsql", OF_SECOND), ""),  # equal is equal, whichever clock says when
    ],
)
def test_no_force_passes_over_an_era_without_a_sweep(last: LastSweep | None, said: str) -> None:
    found = missing_sweep_reason("billio", last, {"": SECOND}, {"m"}, Stage.SHADOW, Stage.LIVE)
    assert (found is None) == (not said)
    assert said in (found or "")
    swept = {"billio": last} if last is not None else {}
    evidence = replace(GOOD, sweeps=swept, mappings={"billio": frozenset({"m"})})
    history = TableHistory({"": SECOND}, LOST)
    by_name = {
        each.name: each
        for each in requirements(evidence, TABLE, SHADOW, Stage.LIVE, GateSettings(), now=NOW, history=history)
    }
    assert by_name["forgotten"].stops == bool(said)
    if said:
        assert not by_name["sweep"].holds
    assert "crossfade verify --table billio --repair" in (found or "crossfade verify --table billio --repair")


def test_each_type_that_is_moved_must_have_been_swept_in_its_era() -> None:
    last = LastSweep(NOW, "equal", "dynamodb", Basis("m", {"": 1, "Book": 1}))
    for eras, outdated in (({"": Era(1)}, False), ({"": Era(1), "Book": Era(2)}, True), ({"Book": Era(1)}, False)):
        found = missing_sweep_reason("billio", last, eras, (), Stage.SHADOW, Stage.LIVE)
        assert (found is not None) == outdated


@pytest.mark.parametrize(
    ("at", "to", "asks"),
    [
        (Stage.SHADOW, Stage.LIVE, True),
        (Stage.DUALWRITE, Stage.COMPLETE, True),
        (Stage.RAMPDOWN, Stage.SHADOW, True),
        (Stage.SHADOW, Stage.OFF, False),
        (Stage.LIVE, Stage.COMPLETE, False),
        (Stage.OFF, Stage.DUALWRITE, False),
    ],
)
def test_only_where_the_authority_moves_a_sweep_is_needed(at: Stage, to: Stage, asks: bool) -> None:
    assert (missing_sweep_reason("billio", None, {"": Era()}, (), at, to) is not None) == asks


def test_a_sweep_in_shares_is_as_old_as_its_oldest_share() -> None:
    last = LastSweep(NOW, "equal", "dynamodb", Basis(), began=NOW - 25 * 3600)
    assert "too old" in asked(replace(GOOD, sweeps={"billio": last}))["sweep"].sentence


def test_what_was_parked_with_a_lost_journal_is_given_up_by_force_alone() -> None:
    """A sweep mends all but what the mapping cannot hold."""
    last = LastSweep(NOW, "different", "dynamodb", OF_SECOND)
    assert missing_sweep_reason("billio", last, {"": SECOND}, (), Stage.SHADOW, Stage.LIVE) is None
    evidence, history = replace(GOOD, sweeps={"billio": last}), TableHistory({"": SECOND}, LOST)
    found = requirements(evidence, TABLE, SHADOW, Stage.LIVE, GateSettings(), now=NOW, history=history)
    assert [each.name for each in found if each.stops] == ["forgotten"]


@pytest.mark.parametrize(("ago", "seconds"), [(0.0, 360.5), (360.0, 0.5), (400.0, 0.0), (-5000.0, 360.5)])
def test_a_sweep_waits_until_nothing_of_the_lost_can_take_effect(ago: float, seconds: float) -> None:
    """By clocks that may differ by the margin; and never longer than if it had been sent just now."""
    lost = ForgottenProcesses(1, "p7", settled_at(NOW - ago, 300.0))
    assert wait_seconds(lost, NOW, 300.0) == pytest.approx(seconds)
    assert wait_seconds(ForgottenProcesses(), NOW, 300.0) == 0.0


def test_what_both_refuse_opens_no_gate() -> None:
    """Refusals of a request for its own sake say nothing of what the stores hold."""
    few = {**counts(GET, 4000), **counts(GAME, 2, refused=200)}
    evidence = replace(GOOD, counts={**few, CountKey(GAME, SPAN, SEEN): 202})
    assert stopping(evidence) == {"comparisons", "coverage"}
    assert "VideoGame PutItem (2 of 202, 200 refused)" in asked(evidence)["coverage"].sentence
    only = replace(GOOD, counts={CountKey(GET, SPAN, SEEN): 5000, CountKey(GET, SPAN, "refused"): 5000})
    assert stopping(only) == {"comparisons", "coverage", "agreement"}
    assert asked(only)["coverage"].value == "no traffic was seen"
    # Nothing can serve them: so beside what is served they ask for nothing.
    beside = {**GOOD.counts, CountKey(GAME, SPAN, SEEN): 7, CountKey(GAME, SPAN, "refused"): 7}
    del beside[CountKey(GAME, SPAN, "agreed")]
    assert stopping(replace(GOOD, counts=beside)) == set()


def test_a_way_of_asking_that_always_differs_does_not_drown() -> None:
    rare = GET._replace(shape="ProjectionExpression")
    evidence = replace(GOOD, counts={**counts(GET, 1_000_000), **counts(rare, 3, 3)})
    assert stopping(evidence) == {"agreement_each"}
    assert "GetItem ProjectionExpression (3 of 6)" in asked(evidence)["agreement_each"].sentence


def test_what_is_older_than_a_day_counts_no_more() -> None:
    old = {**counts(GET, 0, 5, span=SPAN - SPANS), **counts(PUT, 4, unrepresentable=3, span=SPAN - SPANS)}
    assert failing(replace(GOOD, counts={**GOOD.counts, **old})) == set()


def test_one_type_is_judged_by_itself() -> None:
    evidence = replace(
        GOOD,
        counts={**GOOD.counts, **counts(GAME, 10, 90)},
        backlogs={"billio": JournalBacklog(parked={"VideoGame": 3})},
        recent={("billio", "VideoGame", "mirror_error"): 5},
    )
    assert stopping(evidence, scope=BOOKS) == set()
    games = {"agreement", "agreement_each", "comparisons", "mirror_errors", "parked"}
    assert stopping(evidence, scope=Scope("billio", "VideoGame")) == games
    assert stopping(evidence) > {"agreement", "parked"}
    assert "told" not in stopping(evidence)


@pytest.mark.parametrize("to", [Stage.SHADOW, Stage.DUALWRITE, Stage.OFF])
@pytest.mark.parametrize("at", [Stage.LIVE, Stage.RAMPDOWN])
def test_the_way_back_asks_only_whether_dynamodb_holds_everything(at: Stage, to: Stage) -> None:
    bad = replace(GOOD, counts=counts(GET, 10, 90), recent={("billio", "", "occ"): 1}, timings=timed("Query", 13, 4))
    assert stopping(bad, to, StagePlacement(at)) == set()
    lingering = replace(
        bad, backlogs={"billio": JournalBacklog(keys=9, oldest_seconds=60.0, lingering={"dynamodb": 3.0})}
    )
    assert stopping(lingering, to, StagePlacement(at)) == {"journal", "settled"}
    # What may land on the store that one leaves is repaired there, and does not hold up the way back (J4).
    leaving = replace(bad, backlogs={"billio": JournalBacklog(lingering={"dsql": 3.0})})
    assert stopping(leaving, to, StagePlacement(at)) == set()


@pytest.mark.parametrize("at", [Stage.LIVE, Stage.RAMPDOWN])
def test_complete_closes_the_door_and_wants_force(at: Stage) -> None:
    assert stopping(GOOD, Stage.COMPLETE, StagePlacement(at)) == {"door"}
    assert "--force" in asked(GOOD, Stage.COMPLETE, StagePlacement(at))["door"].sentence
    # From before the flip it is a flip, too.
    assert stopping(Evidence(), Stage.COMPLETE) > {"door", "agreement"}


@pytest.mark.parametrize(
    ("at", "to"),
    [
        (Stage.OFF, Stage.DUALWRITE),
        (Stage.DUALWRITE, Stage.SHADOW),
        (Stage.SHADOW, Stage.OFF),
        (Stage.SHADOW, Stage.SHADOW),
        (Stage.LIVE, Stage.RAMPDOWN),
        (Stage.RAMPDOWN, Stage.LIVE),
    ],
)
def test_moves_that_leave_the_authority_need_no_evidence(at: Stage, to: Stage) -> None:
    assert stopping(Evidence(), to, StagePlacement(at)) == set()


def test_what_would_lose_writes_cannot_be_forced() -> None:
    refused = {(at, to) for at in Stage for to in Stage if forbidden_reason(at, to)}
    past = {Stage.LIVE, Stage.RAMPDOWN, Stage.COMPLETE}
    assert refused == {(Stage.OFF, to) for to in past} | {(Stage.COMPLETE, to) for to in set(Stage) - {Stage.COMPLETE}}
    assert "dualwrite" in str(forbidden_reason(Stage.OFF, Stage.LIVE))
    assert "no move leaves complete, forced or not" in str(forbidden_reason(Stage.COMPLETE, Stage.RAMPDOWN))


def test_a_type_leaves_no_store_behind_that_answers_for_it() -> None:
    """Of the table's reads that name no type."""
    refused = {(to, table) for to in Stage for table in Stage if split_reason(BOOKS, to, table)}
    before, past = (Stage.OFF, Stage.DUALWRITE, Stage.SHADOW), (Stage.LIVE, Stage.RAMPDOWN, Stage.COMPLETE)
    assert refused == {(Stage.COMPLETE, each) for each in before} | {(Stage.OFF, each) for each in past}
    assert "writes to Book" in str(split_reason(BOOKS, Stage.OFF, Stage.LIVE))


def test_the_next_stage() -> None:
    way = [Stage.OFF]
    while (further := next_stage(way[-1])) is not None:
        way.append(further)
    assert way == list(Stage)


# -- the ramp ----------------------------------------------------------------------------------------------------------

RAMPED = StagePlacement(Stage.SHADOW, ramp=5.0)
BAD = replace(GOOD, counts={**GOOD.counts, **counts(GET, 100, 10)})


def test_a_ramp_asks_that_nothing_speaks_against_dsql() -> None:
    new = replace(GOOD, counts=counts(GET, 3))
    assert stopping(new, Stage.SHADOW, SHADOW, ramp=5.0) == set()
    assert stopping(BAD, Stage.SHADOW, SHADOW, ramp=5.0) == {"agreement", "agreement_each"}
    assert stopping(BAD, Stage.SHADOW, RAMPED, ramp=0.0) == set()


def test_it_demotes_by_itself_only_where_it_may_and_something_speaks_against_dsql() -> None:
    on, off = GateSettings(), GateSettings(demote=False)
    assert demotion(BAD, TABLE, RAMPED, off, NOW) is None
    assert demotion(BAD, TABLE, SHADOW, on, NOW) is None
    assert demotion(BAD, TABLE, StagePlacement(Stage.LIVE), on, NOW) is None
    assert demotion(GOOD, TABLE, RAMPED, on, NOW) is None
    assert "agreement: 10 of 750" in str(demotion(BAD, TABLE, RAMPED, on, NOW))
    # That too little was seen is no fault.
    assert demotion(replace(GOOD, counts=counts(GET, 1)), TABLE, RAMPED, on, NOW) is None
    assert demotion(replace(GOOD, reported_at={}), TABLE, RAMPED, on, NOW) is None


# -- more mismatches never open it -------------------------------------------------------------------------------------

PATTERNS = st.sampled_from([GET, PUT, GAME, SCAN, GET._replace(shape="ConsistentRead=true")])
TALLIES = st.dictionaries(
    PATTERNS, st.tuples(st.integers(0, 20_000), st.sampled_from([0, 0, 0, 1, 2, 50])), min_size=1, max_size=4
)


def tallied(tallies: dict[AccessPattern, tuple[int, int]]) -> Evidence:
    found: dict[CountKey, int] = {}
    for pattern, (agreed, mismatch) in tallies.items():
        found.update(counts(pattern, agreed, mismatch))
    return replace(GOOD, counts=found)


@example({GET: (29, 0)}, GET, 1, False, 0.5)
@given(TALLIES, PATTERNS, st.integers(1, 100), st.booleans(), st.sampled_from([1e-6, 0.001, 0.5]))
@settings(max_examples=150, deadline=None)
def test_more_mismatches_never_open_it(
    tallies: dict[AccessPattern, tuple[int, int]], where: AccessPattern, more: int, instead: bool, rate: float
) -> None:
    """Whether they come on top, or are what else would have agreed."""
    agreed, mismatch = tallies.get(where, (more, 0))
    before = tallies | {where: (agreed, mismatch)}
    moved = min(more, agreed) if instead else 0
    after = tallies | {where: (agreed - moved, mismatch + (moved if instead else more))}
    for to, ramp in ((Stage.LIVE, 0.0), (Stage.SHADOW, 5.0)):
        first = stopping(tallied(before), to, ramp=ramp, max_mismatch_rate=rate)
        then = stopping(tallied(after), to, ramp=ramp, max_mismatch_rate=rate)
        assert first <= then


@given(TALLIES)
@settings(max_examples=60, deadline=None)
def test_open_means_that_the_rate_is_small(tallies: dict[AccessPattern, tuple[int, int]]) -> None:
    compared = sum(map(sum, tallies.values()))
    mismatches = sum(mismatch for _, mismatch in tallies.values())
    if not stopping(tallied(tallies)):
        assert mismatches / compared < 0.001
        assert compared >= 2995


# -- latency -----------------------------------------------------------------------------------------------------------


def test_a_percentile_lies_within_its_bucket() -> None:
    length = len(STORE_BUCKETS) + 1
    assert percentile((100, *(0,) * (length - 1))) == pytest.approx(0.99 * STORE_BUCKETS[0])
    assert percentile((98, 2, *(0,) * (length - 2))) == pytest.approx((STORE_BUCKETS[0] + STORE_BUCKETS[1]) / 2)
    assert percentile((*(0,) * (length - 1), 5)) == STORE_BUCKETS[-1]


def test_too_few_answers_tell_nothing_of_latency() -> None:
    few = {labels: tuple(n // 11 for n in each) for labels, each in timed("Query", 13, 4).items()}
    assert slowest(few, "dsql", "dynamodb") is None
    assert failing(replace(GOOD, timings=few)) == set()


def test_the_slowest_is_looked_for_above_the_floor() -> None:
    both = {**timed("GetItem", 4, 0), **timed("Query", 10, 9)}
    worst = slowest(both, "dsql", "dynamodb", floor=0.01)
    assert worst is not None
    assert worst.operation == "Query"
    assert slowest(both, "dsql", "dynamodb").operation == "GetItem"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("failed", "names"),
    [
        ({"dynamodb": 5}, "DynamoDB failed or was too slow as the mirror: see"),
        ({"dsql": 5}, "DSQL failed or was too slow as the mirror, which clients would notice"),
        ({"dsql": 2, "dynamodb": 3}, "DSQL and DynamoDB failed or was too slow as the mirror, which clients"),
    ],
)
def test_the_store_that_failed_is_named(failed: dict[str, int], names: str) -> None:
    recent = {("billio", "Book", "mirror_error"): 5, ("billio", "Book", "answered"): 100}
    recent |= {("billio", "Book", f"mirror_error {store}"): count for store, count in failed.items()}
    evidence = replace(GOOD, recent=MappingProxyType(recent))
    found = requirements(evidence, TABLE, SHADOW, Stage.LIVE, GateSettings(), now=NOW)
    (stopped,) = [each for each in found if each.name == "mirror_errors"]
    assert not stopped.holds
    assert stopped.sentence.startswith(names)
