"""Simulations of the shadow layer: every seed is a story of its own, and none may end badly.

`SIM_SEEDS=20000` or `SIM_MINUTES=10` run more, from where `SIM_FIRST` says. A seed that fails is told in full by
`python -m tests.simulation SEED`.
"""

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable

import pytest

from proxy.verdicts import Verdict
from tests.simulation.process import Silence
from tests.simulation.story import tell
from tests.simulation.world import simulate

_SEEDS = 200


def seeds() -> Iterable[int]:
    first = int(os.environ.get("SIM_FIRST", "0"))
    if "SIM_MINUTES" not in os.environ:
        return range(first, first + int(os.environ.get("SIM_SEEDS", _SEEDS)))
    until = time.monotonic() + 60 * float(os.environ["SIM_MINUTES"])
    return itertools.takewhile(lambda _: time.monotonic() < until, itertools.count(first))


def test_every_story_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts: Counter[str] = Counter()
    began, number = time.process_time(), 0
    with Silence() as silence:
        for seed in seeds():
            report = simulate(tell(seed), silence)
            assert report.violated is None, str(report)
            verdicts.update(report.verdicts)
            number += 1
    with capsys.disabled():
        a_minute = 60 * number / (time.process_time() - began)
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        print(f"\n{number} simulations, {a_minute:.0f} in a minute of CPU: {told}", end="")
    assert {Verdict.AGREED, Verdict.RACING, Verdict.LAGGING, Verdict.MISMATCH, Verdict.MIRROR_ERROR} <= set(verdicts)


def test_a_seed_replays_exactly() -> None:
    with Silence() as silence:
        for seed in range(1000, 1020):
            assert simulate(tell(seed), silence).digest == simulate(tell(seed), silence).digest, f"seed {seed}"
        assert simulate(tell(1000), silence).digest != simulate(tell(1001), silence).digest
