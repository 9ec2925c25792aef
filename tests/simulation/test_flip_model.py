"""The flip's protocol, searched through: with all its guards no run is bad, without any one of them some are.

`python -m tests.simulation.flip_model 2 1 1 1 1` searches further (proxies, writes, flips, crashes, pauses), and shows
the runs that go wrong.
"""

from dataclasses import fields

import pytest

from tests.simulation.flip_model import WITHOUT, Bounds, Guards, Without, search


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(writes=1, crashes=0),
        Bounds(writes=0, crashes=1, nominated=True),
        Bounds(writes=1, crashes=0, pauses=0, late=2),
    ],
    ids=["a pause", "a crash", "late writes of the state"],
)
def test_no_run_is_bad(bounds: Bounds) -> None:
    found = search(Guards(), bounds)
    assert found.broken is None, found.run
    assert found.states > 5_000


def test_every_flip_can_end_without_help() -> None:
    found = search(Guards(), Bounds(writes=0, crashes=1, nominated=True), ends=True)
    assert found.broken is None, found.run


@pytest.mark.parametrize("without", WITHOUT, ids=lambda without: without.guard)
def test_each_guard_is_needed(without: Without) -> None:
    assert without.search().broken is not None
    if without.bounds.forgets:  # the others' bounds are searched above
        whole = search(Guards(), without.bounds, given=without.given)
        assert whole.broken is None, whole.run


def test_each_guard_is_taken_out() -> None:
    assert {each.guard for each in WITHOUT} == {field.name for field in fields(Guards)}
