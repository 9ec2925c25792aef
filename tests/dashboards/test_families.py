"""Every metric family that is exposed is in a dashboard or a rule, and the rules' tests write its labels right."""

import re
from typing import Any, Final

import promql_parser
import pytest
import yaml

from proxy.cli.progress import ProgressSnapshot
from proxy.cli.progress_metrics import ProgressMetrics
from proxy.cutover.gate_metrics import _FAMILIES
from proxy.items.metrics import ItemsMetrics
from proxy.metrics.registry import Metrics
from proxy.stream.metrics import StreamMetrics
from proxy.tracing.span_exporter import SpanMetrics
from tests.observed.prometheus import RULES
from tests.observed.questions import questions

# Left out of dashboards and rules on purpose, each with the reason.
LEFT_OUT: Final[dict[str, str]] = {
    "crossfade_gate_mismatches": "the bound is made of it, and the mismatches themselves are shown as they are counted",
}
_OF_SERIES: Final = re.compile(r"_(bucket|count|sum|total|created)$")


def _exposed() -> dict[str, frozenset[str]]:
    """Each family without its series' ending, and its labels."""
    metrics = Metrics()
    for more in (ItemsMetrics, StreamMetrics, SpanMetrics):
        more(metrics.registry)
    found = {name: frozenset(labels) for name, (_, labels) in _FAMILIES.items()}
    for family in ProgressMetrics("", "", lambda: ProgressSnapshot(0, None, 0, 0, 0, ""), None).collect():
        found[family.name] = frozenset(family.samples[0].labels)
    # What has no children yet shows no labels: ask the collectors themselves.
    for collector, names in metrics.registry._collector_to_names.items():
        for name in names:
            if name.startswith("crossfade_"):
                labelled: Any = collector if hasattr(collector, "_labelnames") else next(iter(collector.collect()))
                found[_OF_SERIES.sub("", name)] = frozenset(labelled._labelnames)
    return found


EXPOSED: Final = _exposed()


def _asked() -> set[str]:
    texts = [each.expr for each in questions()]
    texts += [(RULES / name).read_text(encoding="utf-8") for name in ("alerts.yml", "recording.yml")]
    return {_OF_SERIES.sub("", name) for text in texts for name in re.findall(r"\bcrossfade_[a-z0-9_]+", text)}


def test_every_family_is_looked_at_or_left_out_on_purpose() -> None:
    assert len(EXPOSED) > 30
    assert EXPOSED.keys() - _asked() == LEFT_OUT.keys()
    assert _asked() - EXPOSED.keys() == set(), "no such family is exposed"


def _told() -> list[str]:
    tests = yaml.safe_load((RULES / "tests.yml").read_text(encoding="utf-8"))["tests"]
    return sorted({series["series"] for each in tests for series in each["input_series"]})


@pytest.mark.parametrize("text", _told())
def test_a_series_of_the_rules_tests_has_the_labels_of_its_family(text: str) -> None:
    """Of all, also those that never appear in the scene of tests/observed, which asks a real Prometheus."""
    selector = promql_parser.parse(text)
    assert isinstance(selector, promql_parser.VectorSelector)
    assert selector.name is not None
    labels = {matcher.name for matcher in selector.matchers.matchers} - {"instance", "le"}
    assert labels == EXPOSED[_OF_SERIES.sub("", selector.name)]
