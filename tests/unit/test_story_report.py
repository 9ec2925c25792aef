"""The demo's tables say what the metrics said, within 100 columns."""

from tests.story import report

SAMPLES = [
    ({"table": "billio", "type": "Book", "operation": "GetItem", "verdict": "agreed"}, 1234.0),
    ({"table": "billio", "type": "Book", "operation": "GetItem", "verdict": "lagging"}, 2.0),
    ({"table": "billio", "type": "Book", "operation": "TransactWriteItems", "verdict": "unrepresentable"}, 1.0),
    ({"table": "billio", "type": "VideoGame", "operation": "Query", "verdict": "mismatch"}, 3.0),
]


def test_comparisons_are_summed_by_type_operation_and_verdict() -> None:
    found = report.compared(SAMPLES)
    assert found["Book", "GetItem"] == {"agreed": 1234, "lagging": 2}
    summed = report.total(found.values())
    assert (summed["agreed"], summed["mismatch"], summed["unrepresentable"], summed["racing"]) == (1234, 3, 1, 0)
    lines = report.comparison_table(found).splitlines()
    assert lines[2].split() == ["Book", "GetItem", "1,236", "1,234", "·", "2", "·", "·", "·"]
    assert lines[-1].split() == ["all", "1,240", "1,234", "·", "2", "·", "3", "1"]
    assert max(map(len, lines)) <= report.WIDTH


def test_failures_of_the_mirror_get_a_column_once_there_are_any() -> None:
    failed = ({"table": "billio", "type": "Book", "operation": "GetItem", "verdict": "mirror_error"}, 1.0)
    assert "error" not in report.comparison_table(report.compared(SAMPLES))
    lines = report.comparison_table(report.compared([*SAMPLES, failed])).splitlines()
    assert lines[0].endswith("unrepresentable error")
    assert lines[2].split()[-1] == "1"
    assert max(map(len, lines)) <= report.WIDTH


def test_differences_are_summed_over_types() -> None:
    labels = {"table": "billio", "field": "rating", "kind": "precision", "verdict": "mismatch"}
    found = report.differences([(labels | {"type": "Book"}, 2.0), (labels | {"type": "Feature"}, 3.0)])
    assert found == {("rating", "precision"): {"mismatch": 5}}
    assert report.difference_table({}) == " no differences"


def test_long_sentences_are_wrapped_under_their_column() -> None:
    drawn = report.table(["field", "items", "for example"], [["rating", "98", "word " * 40]], left=3).splitlines()
    assert max(map(len, drawn)) <= report.WIDTH
    assert drawn[3].startswith(" " * 14 + "word")
