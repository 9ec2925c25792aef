"""Stages by scope, the map that moves them, and the ramp's choice."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cutover.stages import Scope, Stage, StageMap, StagePlacement, Stages
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.settings import DSQL, Settings, TableSettings, TypeSettings
from proxy.shadow.request import ramp

SHELF = Scope("shelf")
BOOK = Scope("shelf", "Book")
_DSQL = DSQL(dsn="postgresql://nobody@127.0.0.1/nothing")


def stages(**more: object) -> Stages:
    types = MappingProxyType({"Book": TypeSettings("shadow"), "Game": TypeSettings()})
    tables = MappingProxyType({"shelf": TableSettings("dualwrite", types)})
    return Stages(Settings(tables=tables, **more), {"shelf": ["Book", "Game", "Film"]})  # type: ignore[arg-type]


def placed(stage: str, ramp: float = 0.0) -> StagePlacement:
    return StagePlacement(Stage(stage), ramp, 1.5, "someone")


@pytest.mark.parametrize(
    ("stage", "authority", "mirrored", "compared"),
    [
        ("off", "dynamodb", False, False),
        ("dualwrite", "dynamodb", True, False),
        ("shadow", "dynamodb", True, True),
        ("live", "dsql", True, True),
        ("rampdown", "dsql", True, False),
        ("complete", "dsql", False, False),
    ],
)
def test_the_six_stages(stage: str, authority: str, mirrored: bool, compared: bool) -> None:
    here = Stage(stage)
    assert (here.authority, here.mirrored, here.compared) == (authority, mirrored, compared)


def test_what_was_not_moved_stands_where_the_settings_begin() -> None:
    here = stages(dsql=_DSQL)
    assert [here.stage_of("shelf", each) for each in ("", "Book", "Game", "unheard of")] == [
        Stage.DUALWRITE,
        Stage.SHADOW,
        Stage.DUALWRITE,
        Stage.DUALWRITE,
    ]
    assert here.stage_of("another") is Stage.OFF
    assert here.common_stage("shelf") is None
    assert here.authorities == {"dynamodb"}


def test_a_type_is_moved_alone_and_a_table_with_its_types() -> None:
    here = stages(dsql=_DSQL)
    here.adopt(here.map.with_move(BOOK, placed("live")))
    assert here.stage_of("shelf", "Book") is Stage.LIVE
    assert here.stage_of("shelf", "Game") is Stage.DUALWRITE
    assert here.past_the_flip("shelf")
    assert here.authorities == {"dynamodb", "dsql"}
    here.adopt(here.map.with_move(SHELF, placed("shadow", 5)))
    assert {here.stage_of("shelf", each) for each in here.types("shelf")} == {Stage.SHADOW}
    assert here.placement("shelf", "Book").ramp == 5
    assert not here.past_the_flip("shelf")
    assert here.map.epoch == 2


def test_off_everywhere_is_known_to_be() -> None:
    here = Stages(Settings())
    before = here.all_off
    here.adopt(here.map.with_move(SHELF, placed("dualwrite")))
    assert (before, here.all_off) == (True, False)
    assert here.active("shelf")
    assert not here.active("another")


_NAMES = st.text("abcXYZ019._-", min_size=3, max_size=9)
_TYPES = st.text(min_size=0, max_size=9)
_PLACED = st.builds(StagePlacement, st.sampled_from(Stage), st.floats(0, 100), st.floats(0, 2e9), st.text(max_size=9))


@given(st.integers(0, 10**9), st.dictionaries(st.builds(Scope, _NAMES, _TYPES), _PLACED, max_size=5))
def test_a_map_survives_its_document(epoch: int, at: dict[Scope, StagePlacement]) -> None:
    whole = StageMap(epoch, at)
    again = StageMap.from_document(whole.document())
    assert again.epoch == epoch
    assert dict(again.placements) == at


def read(text: str) -> Operation:
    return Operation("GetItem", b"", {"TableName": "shelf"}, (Key("shelf", text),), {})


@given(st.text(), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_ramp_takes_no_read_away(text: str, one: float, two: float) -> None:
    smaller, larger = sorted((one, two))
    assert not ramp.is_ramped(read(text), smaller) or ramp.is_ramped(read(text), larger)
    assert ramp.is_ramped(read(text), 100)
    assert not ramp.is_ramped(read(text), 0)


def test_the_ramp_takes_about_the_share_it_says() -> None:
    taken = sum(ramp.is_ramped(read(f"key {number}"), 20) for number in range(10_000))
    assert taken == pytest.approx(2000, abs=200)


def test_all_pages_of_a_query_go_one_way() -> None:
    """What the client pages with is no part of what it asks for."""
    for number in range(100):
        request = {
            "TableName": "shelf",
            "KeyConditionExpression": "id = :id",
            "ExpressionAttributeValues": {":id": {"S": str(number)}},
        }
        first = Operation("Query", b"", request, (), {})
        later = Operation("Query", b"", request | {"ExclusiveStartKey": {"id": {"S": "x"}}, "Limit": 3}, (), {})
        assert ramp.is_ramped(first, 50) == ramp.is_ramped(later, 50)


def test_a_scan_is_never_ramped() -> None:
    assert not ramp.is_ramped(Operation("Scan", b"", {"TableName": "shelf"}, (), {}), 100)
