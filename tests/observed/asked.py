"""Asks a Prometheus every query of the dashboards and every rule, and says which answers are not as they must be."""

from collections.abc import Iterator

from tests.observed.empty import RECORDED_EMPTY, reason
from tests.observed.prometheus import Prometheus
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
        if rule["type"] == "recording" and not prometheus.now(rule["query"]) and rule["name"] not in RECORDED_EMPTY:
            yield f"rule {rule['name']} records nothing: {rule['query']}"


def firing(prometheus: Prometheus) -> set[str]:
    """The alerts that fire now."""
    return {rule["name"] for rule in prometheus.rules() if rule["type"] == "alerting" and rule["state"] == "firing"}
