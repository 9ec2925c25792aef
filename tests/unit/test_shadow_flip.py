"""A move's rules: who has answered, who is passed over, who blocks, and what is written."""

from dataclasses import replace

import pytest

from proxy.cutover.flip.protocol import (
    Flip,
    HeartbeatTimeout,
    LeaseObserver,
    ObservedLease,
    Phase,
    StageTableState,
    VoteStatus,
    all_voted,
    blocked_reason,
    move_entry,
    moved_types,
    moves_authority,
    not_ready_reason,
    refusal_reason,
    vote_status,
)
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import LeaseItem, StageRow
from proxy.cutover.stages import Scope, Stage, StageMap, StagePlacement, Stages
from proxy.settings import DSQL, Settings

BILLIO = Scope("billio")
FLIP = Flip(
    "f1", BILLIO, Stage.SHADOW, Stage.LIVE, 0.0, "me", None, False, True, Phase.ANNOUNCED, "driver", 1_800_000_000.0
)
LEASE = LeaseItem("p1", "life", 1, 10.0, host="here", pid=7)
HELD = replace(FLIP, phase=Phase.HOLDING)
SWITCHED = replace(FLIP, phase=Phase.SWITCHED)
STAYS = replace(FLIP, moves_authority=False)


def seen(
    answer: str = "", *, run_out: bool = False, owes: bool = False, flip: str = "f1", **note: object
) -> ObservedLease:
    return ObservedLease(replace(LEASE, flip=flip, phase=answer, owes=owes, note=note), run_out)


@pytest.mark.parametrize(
    ("flip", "one", "expected"),
    [
        (FLIP, seen(), VoteStatus.AWAITED),
        (FLIP, seen("ready"), VoteStatus.VOTED),
        (FLIP, seen("ready", flip="f0"), VoteStatus.AWAITED),
        (FLIP, seen("refused"), VoteStatus.BLOCKS),
        (FLIP, seen(run_out=True), VoteStatus.PASSED_OVER),
        (FLIP, seen("ready", run_out=True), VoteStatus.PASSED_OVER),
        (FLIP, seen(run_out=True, owes=True), VoteStatus.BLOCKS),
        (FLIP, seen("ready", run_out=True, owes=True), VoteStatus.BLOCKS),
        (STAYS, seen(run_out=True, owes=True), VoteStatus.PASSED_OVER),
        (HELD, seen("ready"), VoteStatus.AWAITED),
        (HELD, seen("drained", owes=True), VoteStatus.VOTED),
        (HELD, seen("drained", owes=True, run_out=True), VoteStatus.VOTED),
        (HELD, seen("drained", owes=True, run_out=True, flip="f0"), VoteStatus.BLOCKS),
        (HELD, seen("ready", owes=True, run_out=True), VoteStatus.BLOCKS),
        (HELD, seen("ready", run_out=True), VoteStatus.PASSED_OVER),
        (SWITCHED, seen("drained", owes=True), VoteStatus.AWAITED),
        (SWITCHED, seen("switched", owes=True), VoteStatus.VOTED),
        (SWITCHED, seen("drained", owes=True, run_out=True), VoteStatus.PASSED_OVER),
    ],
)
def test_how_one_stands(flip: Flip, one: ObservedLease, expected: VoteStatus) -> None:
    assert vote_status(flip, one) is expected
    assert all_voted(flip, [seen("switched"), one] if flip is SWITCHED else [one]) == (
        expected in (VoteStatus.VOTED, VoteStatus.PASSED_OVER)
    )


def test_who_blocks_is_named_with_what_to_do() -> None:
    assert blocked_reason(FLIP, [seen("ready"), seen()]) is None
    gone = blocked_reason(FLIP, [seen("ready"), seen(run_out=True, owes=True)])
    assert gone is not None
    assert gone.startswith("p1 (here, process 7) is gone")
    assert "crossfade stage forget p1" in gone
    assert blocked_reason(FLIP, [seen("refused", problem="it has no DSQL")]) == (
        "p1 (here, process 7) cannot take part: it has no DSQL"
    )
    other = ObservedLease(replace(LEASE, initial_stages="off"), False)
    assert "begin with different stages" in str(blocked_reason(FLIP, [seen("ready"), other]))
    assert blocked_reason(STAYS, [seen("ready"), other]) is None
    assert blocked_reason(FLIP, [seen("ready"), replace(other, expired=True)]) is None


def test_nothing_is_held_that_could_not_drain() -> None:
    assert not_ready_reason(FLIP, [seen("ready", lingering=0.0, parked=0)]) is None
    assert "try again in 43 s" in str(not_ready_reason(FLIP, [seen("ready"), seen("ready", lingering=43.2)]))
    assert "2 keys are parked" in str(not_ready_reason(FLIP, [seen("ready", parked=2)]))
    assert "501 keys of one process" in str(not_ready_reason(FLIP, [seen("ready", keys=501), seen("ready", keys=3)]))
    assert not_ready_reason(FLIP, [seen("ready", keys=500), seen("ready", keys=500)]) is None
    assert not_ready_reason(replace(FLIP, forced=True), [seen("ready", parked=2)]) is None
    assert not_ready_reason(replace(FLIP, forced=True), [seen("ready", lingering=1.0)]) is not None
    assert not_ready_reason(STAYS, [seen("ready", lingering=43.2, parked=2)]) is None


def test_a_lease_has_run_out_when_nobody_has_renewed_it_for_its_length_and_a_margin() -> None:
    watch = LeaseObserver()
    assert [each.expired for each in watch.observe([LEASE], 0.0, 5.0)] == [False]
    # Since when it is unchanged, is known from the answer on; until when, up to when it was asked again.
    assert [each.expired for each in watch.observe([LEASE], 17.4, 20.0)] == [False]
    assert [each.expired for each in watch.observe([LEASE], 17.5, 20.0)] == [True]
    assert [each.expired for each in watch.observe([replace(LEASE, renewals=2)], 30.0, 31.0)] == [False]
    assert [each.expired for each in watch.observe([replace(LEASE, renewals=2, incarnation="next")], 60.0, 61.0)] == [
        False
    ]
    watch.observe([], 62.0, 62.0)
    assert [each.expired for each in watch.observe([LEASE], 63.0, 64.0)] == [False]
    short = replace(LEASE, seconds=0.5, renewals=9)
    watch.observe([short], 70.0, 70.0)
    assert [each.expired for each in watch.observe([short], 71.0, 71.0)] == [False]
    assert [each.expired for each in watch.observe([short], 71.11, 71.11)] == [True]


def test_a_driver_is_gone_when_its_beat_stands_still() -> None:
    silence = HeartbeatTimeout()
    assert not silence.expired(FLIP, 0.0, 0.0)
    assert not silence.expired(FLIP, 1.6, 1.6)
    assert silence.expired(FLIP, 1.7, 1.7)
    assert not silence.expired(replace(FLIP, heartbeat=1), 9.0, 9.0)
    assert not silence.expired(replace(FLIP, id="f2", heartbeat=1), 19.0, 19.0)


def test_what_is_written_follows_what_was_read() -> None:
    placed = {
        BILLIO: StagePlacement(Stage.SHADOW, 5.0),
        Scope("billio", "Book"): StagePlacement(Stage.DUALWRITE),
        Scope("o"): StagePlacement(Stage.LIVE),
    }
    known = StageTableState(7, StageMap(3, placed), None)
    announced = known.announce(FLIP)
    assert (announced.version, announced.epoch) == (8, 3)
    known = StageTableState.from_row(announced)
    assert known.flip == FLIP
    held = StageTableState.from_row(known.hold_writes(FLIP, 1_800_000_001.0))
    assert held.flip is not None
    assert (held.flip.phase, held.flip.held_since, held.map) == (Phase.HOLDING, 1_800_000_001.0, known.map)
    committed = held.commit(held.flip, 1_800_000_002.0)
    assert (committed.version, committed.epoch) == (10, 4)
    after = StageTableState.from_row(committed)
    assert after.flip is not None
    assert after.flip.phase is Phase.SWITCHED
    assert after.map.placements == {
        BILLIO: StagePlacement(Stage.LIVE, 0.0, 1_800_000_002.0, "me"),
        Scope("o"): StagePlacement(Stage.LIVE),
    }
    ended = StageTableState.from_row(after.end())
    assert (ended.version, ended.flip, ended.map) == (11, None, after.map)
    given_up = StageTableState.from_row(held.end())
    assert (given_up.flip, given_up.map) == (None, known.map)


def test_a_state_that_nobody_has_written_is_the_beginning() -> None:
    assert StageTableState.from_row(StageRow()) == StageTableState(0, StageMap(0), None)


def test_the_history_keeps_who_why_and_how_it_ended() -> None:
    flip = replace(HELD, because="it is time", held_since=1_800_000_001.0, gate={"comparisons": 5})
    told = move_entry(flip, 4, 1_800_000_001.25, reason=None, seen=[seen("drained"), seen(run_out=True)])
    assert (told["outcome"], told["reason"], told["held_ms"], told["epoch"]) == ("moved", None, 250, 4)
    assert (told["from"], told["to"], told["by"], told["because"], told["gate"]) == (
        "shadow", "live", "me", "it is time", {"comparisons": 5},
    )  # fmt: skip
    assert told["passed_over"] == ["p1"]
    kept = move_entry(FLIP, 3, 1_800_000_009.0, reason="too slow")
    assert (kept["outcome"], kept["reason"], kept["held_ms"]) == ("kept", "too slow", 0)


def test_a_move_says_what_the_ramp_was_and_one_that_does_not_is_read_too() -> None:
    ramp = replace(FLIP, to=Stage.SHADOW, ramp=20.0, ramp_before=5.0)
    assert Flip.from_document(ramp.document()) == ramp
    told = move_entry(ramp, 4, 1_800_000_001.0, reason=None)
    assert (told["ramp_before"], told["ramp"]) == (5.0, 20.0)
    older = {name: value for name, value in ramp.document().items() if name != "ramp_before"}
    assert Flip.from_document(older) == replace(ramp, ramp_before=None)


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (MoveRequest(BILLIO, Stage.LIVE, "me", force=True), "force needs a reason"),
        (MoveRequest(BILLIO, Stage.LIVE, "me", force=True, because=" "), "force needs a reason"),
        (MoveRequest(BILLIO, Stage.LIVE, "me", ramp=5.0), "a ramp belongs to shadow"),
        (MoveRequest(BILLIO, Stage.SHADOW, "me", ramp=100.1), "out of range"),
        (MoveRequest(BILLIO, Stage.SHADOW, "me", ramp=100.0), None),
        (MoveRequest(BILLIO, Stage.LIVE, "me", force=True, because="so"), None),
    ],
)
def test_what_makes_no_sense_is_refused(move: MoveRequest, said: str | None) -> None:
    refused = refusal_reason(move)
    assert (refused is None) == (said is None)
    assert said is None or said in str(refused)


def test_what_a_move_changes() -> None:
    settings = Settings(stage="shadow", dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/nothing"))
    stages = Stages(settings, {"billio": ("Book", "Feature")})
    stages.adopt(StageMap(1, {Scope("billio", "Book"): StagePlacement(Stage.LIVE)}))
    book, table = Scope("billio", "Book"), BILLIO
    assert moved_types(stages, MoveRequest(book, Stage.LIVE, "me")) == ()
    assert moved_types(stages, MoveRequest(table, Stage.LIVE, "me")) == ("", "Feature")
    assert moved_types(stages, MoveRequest(table, Stage.SHADOW, "me")) == ("Book",)
    assert moved_types(stages, MoveRequest(table, Stage.SHADOW, "me", ramp=5.0)) == ("", "Book", "Feature")
    assert not moves_authority(stages, MoveRequest(book, Stage.COMPLETE, "me"))
    assert moves_authority(stages, MoveRequest(book, Stage.SHADOW, "me"))
    assert moves_authority(stages, MoveRequest(table, Stage.SHADOW, "me"))
    assert not moves_authority(stages, MoveRequest(Scope("billio", "Feature"), Stage.DUALWRITE, "me"))
    # A type that no mapping declares is of its table's stage.
    assert moves_authority(stages, MoveRequest(Scope("billio", "Unheard"), Stage.LIVE, "me"))
