"""The committed dashboards: fresh, and by the public dashboard-linter's rules."""

from typing import Any

import promql_parser
import pytest

from dashboards.__main__ import FOLDER, stale, texts
from tests.observed.questions import boards, filled, panels, questions

BOARDS = boards()
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]
RANGES = ("[$__rate_interval]", "[$__range]", "[1h]")


def _name(value: Any) -> str:
    return value if isinstance(value, str) else str(value.get("title"))


def test_the_committed_files_are_what_the_code_makes() -> None:
    assert stale() == [], "run `make dashboards`"
    assert {path.name for path in FOLDER.glob("*.json")} == set(texts())


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_for_everybody(name: str) -> None:
    board = BOARDS[name]
    assert board["editable"] is False
    assert board["uid"]
    assert board["description"]
    first, *others = board["templating"]["list"]
    assert (first["type"], first["name"]) == ("datasource", "datasource")
    assert [each["name"] for each in others] == ["instance", "table", "type", "operation"]
    assert all(each["datasource"]["uid"] == "$datasource" for each in others)
    assert len({panel["id"] for panel in panels(board)}) == len(list(panels(board)))
    assert not _overlapping(board), "panels stand over each other"


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=_name)
def test_a_panel_says_what_it_shows(name: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "$datasource"}
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "$datasource"
        assert "$instance" in target["expr"] or "ALERTS" in target["expr"] or "crossfade_job" in target["expr"]
        window = target["expr"].partition("[")[2].partition("]")[0]
        assert not window or f"[{window}]" in RANGES


@pytest.mark.parametrize("question", questions(), ids=str)
def test_a_query_is_promql(question: Any) -> None:
    promql_parser.parse(question.expr)
    assert "$" not in question.expr


def test_a_query_with_a_fault_is_told() -> None:
    with pytest.raises(ValueError, match=r"."):
        promql_parser.parse(filled("sum by (table (rate(x[$__rate_interval]))"))


def _overlapping(board: dict[str, Any]) -> bool:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        if taken & cells:
            return True
        taken |= cells
    return False
