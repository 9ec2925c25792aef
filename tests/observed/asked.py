"""Asks a Prometheus every query of the dashboards and every rule, and says which answers are not as they must be."""

from collections.abc import Iterator

import promql_parser
import yaml

from tests.observed.empty import reason
from tests.observed.prometheus import RULES, Prometheus
from tests.observed.questions import questions


def faults(prometheus: Prometheus, seconds: float) -> Iterator[str]:
    """A sentence for each query without data that should have some, and each rule that Prometheus cannot evaluate.

    Raises AssertionError for a query that Prometheus refuses. `seconds` is how far back a range goes.
    """
    for each in questions():
        found = prometheus.now(each.expr) if each.instant else prometheus.over(each.expr, seconds)
        if not found and reason(each) is None:
            yield f"{each} shows nothing: {each.expr}"
    for rule in prometheus.rules():
        if rule["health"] != "ok":
            yield f"rule {rule['name']} is {rule['health']}: {rule.get('lastError')}"
        if rule["type"] == "recording" and not prometheus.now(rule["name"]):
            yield f"rule {rule['name']} recorded nothing: {rule['query']}"


def invented(prometheus: Prometheus) -> Iterator[str]:
    """A sentence for each series of the rules' tests that the proxy does not expose so: its labels, its bucket.

    Of metrics that Prometheus holds; of all, tests/dashboards/test_families.py asks the registry. `job` is Prometheus's
    own label, and `instance` is in every one.
    """
    told = yaml.safe_load((RULES / "tests.yml").read_text(encoding="utf-8"))["tests"]
    for text in sorted({series["series"] for each in told for series in each["input_series"]}):
        selector = promql_parser.parse(text)
        assert isinstance(selector, promql_parser.VectorSelector)
        assert selector.name is not None
        labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        held = [found["metric"] for found in prometheus.now(selector.name)]
        names = {frozenset(each) - {"__name__", "job", "instance"} for each in held}
        if held and labels.keys() - {"instance"} not in names:
            yield f"{text}: the proxy's have the labels {[sorted(each) for each in names]}"
        if held and "le" in labels and labels["le"] not in {each["le"] for each in held if "le" in each}:
            yield f"{text}: the proxy has no such bucket"


def firing(prometheus: Prometheus) -> set[str]:
    """The alerts that fire now."""
    return {rule["name"] for rule in prometheus.rules() if rule["type"] == "alerting" and rule["state"] == "firing"}
