"""Verdicts against the truth: none false under heavy writes, none missed, and every planted fault of meaning found.

`make verdicts` runs the same a hundred times as long.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.verdicts import Verdict
from tests.simulation.process import Silence
from tests.verdicts import scenes
from tests.verdicts.bugs import BUGS, Bug, story
from tests.verdicts.matrix import PLANTED, Label, Matrix


@pytest.fixture(autouse=True)
def silence() -> Iterator[Silence]:
    with Silence() as silence:
        yield silence
        assert silence.faults == []


@pytest.mark.parametrize("seed", range(10))
def test_no_mismatch_is_false_under_heavy_writes(seed: int, tmp_path: Path) -> None:
    matrix = scenes.heavy(seed, tmp_path, calls=150)
    assert matrix.total > 100
    assert matrix.wrong == []


def test_heavy_writes_make_races_and_old_answers(tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    matrix = Matrix()
    for seed in range(100, 106):
        (tmp_path / f"{seed}").mkdir()
        matrix.merge(scenes.heavy(seed, tmp_path / f"{seed}", calls=150))
    assert matrix.of([Label.RACE], Verdict.RACING) > 20
    assert matrix.of([Label.RACE], Verdict.LAGGING) > 5
    assert matrix.of([Label.SAME], Verdict.AGREED) > 20


def test_processes_that_do_not_ask_each_other_are_wrong(tmp_path: Path) -> None:
    """What is asked is what tells another process's write from a fault of the mirror."""
    false = 0
    for seed in range(10):
        (tmp_path / f"{seed}").mkdir()
        false += scenes.heavy_unasked(seed, tmp_path / f"{seed}", calls=60).false_mismatches
    assert false > 0


@pytest.mark.parametrize("seed", range(3))
def test_no_planted_corruption_is_missed(seed: int, tmp_path: Path) -> None:
    matrix = scenes.planted(seed, tmp_path, plants=16)
    assert matrix.of(PLANTED, Verdict.MISMATCH) == 16
    assert matrix.wrong == []


def test_verdicts_at_rest_are_what_they_should_be(tmp_path: Path) -> None:
    matrix = scenes.at_rest(1, tmp_path)
    assert matrix.wrong == []
    for label in (Label.SAME, Label.TIE, Label.STALE, Label.FAILED, Label.DECLARED, Label.UNREPRESENTABLE):
        assert matrix.of([label]) >= 3, label


def test_the_ordinary_story_finds_no_fault_where_there_is_none(tmp_path: Path) -> None:
    assert story(None, tmp_path, seed=2, calls=400) is None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_an_ordinary_story_comes_upon_every_fault_of_meaning(bug: Bug, tmp_path: Path) -> None:
    caught = story(bug, tmp_path, seed=2)
    assert caught is not None, "never called a mismatch"
