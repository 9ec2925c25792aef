"""The gate as numbers: what holds, what blocks, and what is said past the flip and where nothing can be read."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from proxy.cutover.gate.evidence import AccessPattern, CountKey, Evidence, span_of
from proxy.cutover.gate_metrics import GateMetrics, numbers
from proxy.cutover.model import StagedScope, StagesView
from proxy.cutover.snapshot import StagesSnapshot
from proxy.cutover.stages import Scope, Stage
from proxy.settings.gate import GateSettings
from proxy.stores.errors import Unreachable

NOW = 1_700_000_000.0
GET = AccessPattern("t", "Book", "GetItem", "")


def look(stage: Stage, *, mismatches: int = 0) -> StagesSnapshot:
    counts = {
        CountKey(GET, span_of(NOW), "seen"): 5000 + mismatches,
        CountKey(GET, span_of(NOW), "agreed"): 5000,
        CountKey(GET, span_of(NOW), "mismatch"): mismatches,
    }
    places = [StagedScope(Scope("t"), stage), StagedScope(Scope("t", "Book"), stage, has_own_stage=False)]
    return StagesSnapshot(StagesView(1, places), Evidence(reported_at={"one": NOW}, counts=counts), GateSettings(), NOW)


def test_an_open_gate_and_what_it_counted() -> None:
    found = numbers(look(Stage.SHADOW))
    assert found["crossfade_gate_open"] == {("t", "", "live"): 1.0, ("t", "Book", "live"): 1.0}
    assert found["crossfade_gate_compared"][("t", "Book")] == 5000
    assert 0.0005 < found["crossfade_gate_mismatch_bound"][("t", "")] < 0.0007
    # Advised, and not blocking: no sweep is on record.
    assert found["crossfade_gate_holds"][("t", "", "live", "sweep", "no")] == 0.0


def test_a_shut_gate_says_which_criterion() -> None:
    found = numbers(look(Stage.SHADOW, mismatches=50))
    assert found["crossfade_gate_open"][("t", "", "live")] == 0.0
    shut = {labels[3] for labels, holds in found["crossfade_gate_holds"].items() if not holds and labels[4] == "yes"}
    assert shut == {"agreement", "agreement_each"}


def test_past_the_flip_it_is_what_had_to_hold_before() -> None:
    found = numbers(look(Stage.LIVE, mismatches=50))
    assert found["crossfade_gate_holds"][("t", "", "live", "agreement_each", "yes")] == 0.0
    assert found["crossfade_gate_holds"][("t", "", "live", "journal", "yes")] == 1.0


async def test_what_cannot_be_read_is_not_told_from_memory() -> None:
    class Readings:
        """A cutover whose stage table is there once."""

        def __init__(self) -> None:
            self.answers: list[Any] = [look(Stage.SHADOW), Unreachable("connect", "gone")]

        async def snapshot(self) -> StagesSnapshot:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, StagesSnapshot)
            return answer

    registry = CollectorRegistry()
    gauging = GateMetrics(Readings(), registry, every=0.0)  # type: ignore[arg-type]
    await gauging.watch()
    assert registry.get_sample_value("crossfade_gate_open", {"table": "t", "type": "", "to": "live"}) == 1.0
    assert registry.get_sample_value("crossfade_gate_read") == 1.0
    await gauging.watch()
    assert registry.get_sample_value("crossfade_gate_open", {"table": "t", "type": "", "to": "live"}) is None
    assert registry.get_sample_value("crossfade_gate_read") == 0.0
    await asyncio.sleep(0)
