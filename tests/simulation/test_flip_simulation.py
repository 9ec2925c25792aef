"""Stages are moved under load in the simulation: the real layer, leases, drivers and journals; every seed is a story.

`FLIP_SEEDS=20000` or `FLIP_MINUTES=10` run more, from where `FLIP_FIRST` says. A seed that fails is told in full by
`python -m tests.simulation.test_flip_simulation SEED`.
"""

import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.simulation.flip_story import tell
from tests.simulation.flip_world import simulate
from tests.simulation.process import Silence

_SEEDS = 50


def seeds() -> Iterable[int]:
    first = int(os.environ.get("FLIP_FIRST", "0"))
    if "FLIP_MINUTES" not in os.environ:
        return range(first, first + int(os.environ.get("FLIP_SEEDS", _SEEDS)))
    until = time.monotonic() + 60 * float(os.environ["FLIP_MINUTES"])
    return itertools.takewhile(lambda _: time.monotonic() < until, itertools.count(first))


def test_no_flip_loses_anything(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    held: list[int] = []
    number = 0
    with Silence() as silence:
        for seed in seeds():
            report = simulate(tell(seed), silence)
            assert report.violated is None, str(report)
            counts += report.counts
            held += report.held_ms
            number += 1
    with capsys.disabled():
        told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        print(f"\n{number} simulations of flips: {told}", end="")
    # Nothing is shown by simulations in which nothing happens; a few alone may lack what is rare.
    if number >= _SEEDS:
        assert {"acknowledged", "read", "moved", "kept", "driver killed", "forgotten"} <= set(counts)
    assert len(held) > number / 2


def test_a_seed_replays_exactly() -> None:
    with Silence() as silence:
        for seed in range(3):
            assert simulate(tell(seed), silence).trace == simulate(tell(seed), silence).trace


if __name__ == "__main__":
    with Silence() as quiet:
        print(simulate(tell(int(sys.argv[1])), quiet))
