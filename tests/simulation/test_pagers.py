"""One who pages through a table at several processes sees each item once, across flips and ramps, and the simulation
finds what that depends on."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

import pytest

from proxy.cutover.stages import Stage
from proxy.shadow.comparison.peers import Peers
from proxy.shadow.cursors.memory import CursorMemory
from tests.simulation.flip_story import STAGE_SETTLE, FlipStory, Moving, tell
from tests.simulation.flip_world import simulate
from tests.simulation.line import Weather
from tests.simulation.process import Silence
from tests.simulation.story import DSQL_SETTLE, DYNAMODB_SETTLE

_SEEDS: Final = 12


def story(seed: int) -> FlipStory:
    """Nobody dies and nothing is lost on its way: who is dead remembers nothing."""
    chance = random.Random(f"pagers {seed}")
    told = tell(seed)
    moves, at, live = [], 0.0, False
    for _ in range(3):
        at += chance.uniform(2.0, 6.0)
        live = not live
        moves.append(Moving(at, Stage.LIVE if live else Stage.SHADOW))
    base = replace(
        told.base,
        stage="shadow",
        processes=chance.choice((1, 2, 3)),
        alone=False,
        dynamodb=Weather(told.base.dynamodb.delay, DYNAMODB_SETTLE),
        dsql=Weather(told.base.dsql.delay, DSQL_SETTLE),
        dsql_outages=(),
    )
    return replace(
        told,
        base=base,
        writers=1,
        readers=0,
        pagers=1,
        hurry=0.1,
        rests=0.0,
        ends=20.0,
        moves=tuple(moves),
        troubles=(),
        stages=Weather(told.stages.delay, STAGE_SETTLE),
        driver=None,
    )


def test_each_item_is_seen_once() -> None:
    with Silence() as silence:
        for seed in range(_SEEDS):
            report = simulate(story(seed), silence)
            assert report.violated is None, str(report)
            assert report.counts["paged"] > 0
            assert report.counts["moved"] > 0


async def _nobody_answers(*_: Any) -> tuple[()]:
    return ()


@pytest.mark.parametrize("left_out", ["memory", "inquiry"])
def test_what_it_depends_on(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if left_out == "memory":
        monkeypatch.setattr(CursorMemory, "remember", lambda *_: None)
    else:
        monkeypatch.setattr(Peers, "ask", _nobody_answers)
    with Silence() as silence:
        reports = (simulate(story(seed), silence) for seed in range(_SEEDS))
        assert any((report.violated or "").startswith("Violated: pages showed") for report in reports)
