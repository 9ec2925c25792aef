"""Series are bounded by the mapping and the operations, however many keys and attributes clients bring."""

from comparators.difference import Difference, Kind
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.load import load
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call
from proxy.shadow.comparison.verdict_recorder import VerdictRecorder
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.table_registry import Table
from proxy.verdicts import JudgedDifference, Verdict
from tests.integration.scenes import CONFIG

KEYS, ATTRIBUTES = 10_000, 500
SCHEMA = TableSchema("billio", "type:id", None, {"type:id": "S"}, {})
ACTIONS = ("GetItem", "PutItem", "UpdateItem", "DeleteItem")


def series(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in metrics.registry.collect())


def told(keys: int, attributes: int) -> Metrics:
    """The metrics after so many keys were asked for, which differed in so many attributes."""
    mapped = load(CONFIG / "billio.toml")
    table = Table(SCHEMA, mapped.mapping, mapped.rules, mapped.expected)
    metrics = Metrics()
    findings = VerdictRecorder(metrics, kept=10, values=False)
    for number in range(keys):
        action = ACTIONS[number % len(ACTIONS)]
        operation = Operation(action, b"", {"Key": {"type:id": {"S": f"Book:{number}"}}}, (), {"billio": SCHEMA})
        name = f"attribute{number % attributes}" if number % 2 else "title"
        difference = Difference(name, name, Kind.VALUE, {"S": f"a{number}"}, {"S": f"b{number}"}, "Book")
        call = Call(operation, {"billio": table}, "Book", str(number))
        findings.record(VerdictRecord(call, Verdict.MISMATCH, (JudgedDifference(difference, Verdict.MISMATCH),)))
        metrics.stores.store_seconds("dynamodb", f"Made{number}", 0.001)
        metrics.wire.proxy_seconds(f"Made{number}", 200, 0.001)
        metrics.wire.passed_through(f"Made{number}")
        metrics.comparison.undecoded(f"Made{number}")
    return metrics


def test_series_do_not_grow_with_keys_and_attributes() -> None:
    few, many = told(len(ACTIONS) * 2, 2), told(KEYS, ATTRIBUTES)
    assert series(many) == series(few)
    text = many.text().decode()
    assert 'field="other"' in text
    assert "attribute" not in text
    assert "Made" not in text
    assert "Book:" not in text
