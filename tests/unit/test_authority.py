"""DSQL's record of the authority, held against what a process believes: every way in which the two can disagree."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from proxy.cutover.authority.beliefs import Beliefs
from proxy.cutover.authority.judgement import Judgement, can_pair, judge
from proxy.cutover.stages import DSQL, DYNAMODB, DatabasePairing, Scope, Stage
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord, RecordedMove, RecordedScope

HERE = DatabasePairing(installation="i1", database="d1", flipped=5)


def believed(stages: Mapping[str, Stage], **others: Any) -> Beliefs:
    options: dict[str, Any] = {"stage_table": "crossfade_stages", "pairing": HERE, **others}
    return Beliefs(stages={Scope.parse(name): stage for name, stage in stages.items()}, **options)


def recorded(scopes: Mapping[str, RecordedScope], **others: Any) -> AuthorityRecord:
    options: dict[str, Any] = {"installation": "i1", "database": "d1", "stage_table": "crossfade_stages", **others}
    return AuthorityRecord(scopes=MappingProxyType(dict(scopes)), **options)


TRUTH = RecordedScope(authority=DSQL, epoch=5, mapping="m1")
MOVE = RecordedMove(flip="f1", authority=DSQL, epoch=5, mapping="m1")


def test_what_agrees_may_write_and_serve() -> None:
    for stage in (Stage.LIVE, Stage.RAMPDOWN, Stage.COMPLETE):
        judgement = judge(believed({"t": stage}, mappings={"t": "m1"}), recorded({"t": TRUTH}))
        assert judgement == Judgement()


@pytest.mark.parametrize(
    ("beliefs", "record", "words"),
    [
        pytest.param(
            believed({"t": Stage.SHADOW}, stage_table="mistyped", pairing=None),
            recorded({"t": TRUTH}),
            (
                "another installation",
                "whose stage table is 'crossfade_stages'",
                "DSQL is the authority for t",
                "mistyped",
            ),
            id="a mistyped stage table",
        ),
        pytest.param(
            believed({"t": Stage.SHADOW}, pairing=DatabasePairing(installation="i2", database="d2")),
            recorded({"t": TRUTH}),
            ("another installation", "is paired with another", "[dsql]"),
            id="a copied staging configuration",
        ),
        pytest.param(
            believed({"t": Stage.SHADOW}, stage_table=None, pairing=None),
            recorded({"t": TRUTH}),
            ("belongs to an installation", "name no stage table", "set table in [stages] to 'crossfade_stages'"),
            id="no [stages]",
        ),
        pytest.param(
            believed({"t": Stage.LIVE}),
            AuthorityRecord(),
            ("this database has none", "was emptied", "[dsql]"),
            id="an emptied database",
        ),
        pytest.param(
            believed({"t": Stage.LIVE}),
            recorded({"t": TRUTH}, database="d2"),
            ("paired with the DSQL database d1", "this one is d2"),
            id="a second database",
        ),
        pytest.param(
            believed({"t": Stage.LIVE}),
            recorded({"t": RecordedScope(authority=DYNAMODB)}),
            ("restored backup",),
            id="a backup from before the flip",
        ),
        pytest.param(
            believed({"t": Stage.LIVE}, pulse=8),
            recorded({"t": TRUTH}, pulse=7),
            ("restored backup", "pulse 7"),
            id="a backup from after the flip",
        ),
        pytest.param(
            believed({"t": Stage.LIVE}, pulse=8),
            recorded({"t": RecordedScope(authority=DYNAMODB, moving=MOVE)}, pulse=7),
            ("restored backup",),
            id="a backup from within the flip",
        ),
        pytest.param(
            believed({"t": Stage.SHADOW}, pairing=DatabasePairing(installation="i1", database="d1")),
            recorded({"t": TRUTH}),
            ("moved at epoch 5", "it is a copy, or was restored"),
            id="a copied or restored stage table",
        ),
    ],
)
def test_who_does_not_belong_writes_to_no_mirror_and_serves_no_truth(
    beliefs: Beliefs, record: AuthorityRecord, words: tuple[str, ...]
) -> None:
    judgement = judge(beliefs, record)
    for word in words:
        assert word in judgement.whole
    assert "crossfade stage adopt --because" in judgement.whole, "what to do"
    assert judgement.unserved == {"t": judgement.whole}
    assert judgement.sentences() == [judgement.whole]


def test_a_dynamodb_that_is_the_truth_is_served_by_whoever_may_not_write_its_mirror() -> None:
    """A mirror must never hurt: where the record does not speak against DynamoDB, clients are served."""
    record = recorded({"other": TRUTH})
    judgement = judge(believed({"t": Stage.SHADOW}, pairing=None), record)
    assert "another installation" in judgement.whole
    assert not judgement.unserved


def test_stages_of_the_settings_may_do_what_the_record_does_not_contradict() -> None:
    pinned: dict[str, Any] = {"stage_table": None, "pairing": None}
    assert judge(believed({"t": Stage.COMPLETE}, **pinned), recorded({"t": TRUTH})).agrees
    stray = judge(believed({"t": Stage.OFF}, **pinned), recorded({"t": TRUTH}))
    assert "DSQL is the authority for t; the settings here say DynamoDB (stage off)" in stray.unserved["t"]
    alike = recorded({"t": RecordedScope(authority=DSQL)}, installation="", stage_table="")
    assert judge(believed({"t": Stage.LIVE}, **pinned), alike).agrees
    assert "DSQL is the authority" in judge(believed({"t": Stage.SHADOW}, **pinned), alike).unmirrored["t"]


def test_a_move_under_way_is_the_installations_own_affair() -> None:
    record = recorded({"t": RecordedScope(authority=DYNAMODB, moving=MOVE)})
    before = DatabasePairing(installation="i1", database="d1")
    assert judge(believed({"t": Stage.SHADOW}, pairing=before), record).agrees
    assert judge(believed({"t": Stage.LIVE}), record).agrees, "committed, and not recorded yet"
    for stage in (Stage.OFF, Stage.COMPLETE):
        stray = judge(believed({"t": stage}, stage_table=None, pairing=None), record)
        assert "is being moved" in stray.unserved["t"]
    stray = judge(believed({"t": Stage.SHADOW}, stage_table="mistyped", pairing=None), record)
    assert "another installation" in stray.unserved["t"]


def test_settings_move_no_authority() -> None:
    judgement = judge(believed({"t": Stage.LIVE}), recorded({"t": RecordedScope(authority=DYNAMODB), "u": TRUTH}))
    assert (
        "DynamoDB is the authority for t; the stage table 'crossfade_stages' here says DSQL" in judgement.unserved["t"]
    )
    assert not judgement.whole


def test_a_type_goes_by_its_own_row_until_its_table_is_moved() -> None:
    book = RecordedScope(authority=DSQL, epoch=4)
    stages = {"t": Stage.SHADOW, "t/Book": Stage.LIVE}
    before = DatabasePairing(installation="i1", database="d1", flipped=4)
    record = recorded({"t": RecordedScope(authority=DYNAMODB), "t/Book": book})
    assert judge(believed(stages, pairing=before), record).agrees
    whole = recorded({"t": RecordedScope(authority=DYNAMODB, epoch=5), "t/Book": book})
    assert not judge(believed(stages), whole).agrees
    assert judge(believed({"t": Stage.SHADOW, "t/Book": Stage.SHADOW}), whole).agrees


def test_another_mapping_is_odd_before_the_flip_and_serves_nothing_after_it() -> None:
    in_force = RecordedScope(authority=DYNAMODB, mapping="m1")
    early = DatabasePairing(installation="i1", database="d1")
    odd = judge(believed({"t": Stage.SHADOW}, pairing=early, mappings={"t": "m2"}), recorded({"t": in_force}))
    assert odd.agrees
    assert "mapping m2 of t" in odd.odd["t"]
    past = judge(believed({"t": Stage.LIVE}, mappings={"t": "m2"}), recorded({"t": TRUTH}))
    assert "m1 in force" in past.unserved["t"]
    assert past.unmirrored == past.unserved
    assert judge(believed({"t": Stage.LIVE}), recorded({"t": TRUTH})).agrees, "a command that maps other tables"


def test_who_may_be_paired() -> None:
    fresh, pending = believed({}, pairing=None), believed({}, pairing=DatabasePairing(installation="i1"))
    nothing, pinned = AuthorityRecord(), recorded({}, installation="")
    assert can_pair(fresh, nothing)
    assert can_pair(fresh, pinned)
    assert can_pair(pending, nothing)
    assert can_pair(pending, recorded({})), "the other half of a pairing that was cut off"
    assert not can_pair(fresh, recorded({}))
    assert not can_pair(believed({}), nothing)
    assert not can_pair(believed({}, stage_table=None, pairing=None), pinned)


def test_what_is_in_use_is_declared_once() -> None:
    beliefs = believed({"t": Stage.SHADOW, "t/Book": Stage.LIVE, "u": Stage.OFF}, mappings={"t": "m1"})
    declared = beliefs.undeclared(recorded({}))
    assert declared.scopes == {
        "t": RecordedScope(authority=DYNAMODB, mapping="m1"),
        "t/Book": RecordedScope(authority=DSQL),
    }
    assert not beliefs.undeclared(recorded(declared.scopes)).scopes
