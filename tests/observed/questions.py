"""Every query that the committed dashboards ask, with Grafana's variables filled in as Grafana fills them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "dashboards" / "grafana"
# `All`, as the dashboards have it; the interval is four scrapes and more, as Grafana takes it.
VARIABLES = {"instance": ".+", "table": ".*", "type": ".*", "operation": ".+"}


@dataclass(frozen=True, slots=True)
class Question:
    """A query of a dashboard's panel (or of its annotations), ready to be asked. `instant`: of now only."""

    board: str
    panel: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.board} / {self.panel}"


def boards() -> dict[str, dict[str, Any]]:
    """The committed dashboards by file name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels but rows, those inside of collapsed rows too."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or ()
        else:
            yield panel


def questions(*, interval: str = "10s", span: str = "1m") -> list[Question]:
    found = []
    for board in boards().values():
        for panel in panels(board):
            for target in panel["targets"]:
                expr = filled(target["expr"], interval, span)
                found.append(Question(board["title"], panel["title"], expr, bool(target.get("instant"))))
        for each in board["annotations"]["list"]:
            # It compares with a minute ago, which a short scene does not have.
            expr = filled(each["expr"], interval, span).replace("offset 1m", "offset 3s")
            found.append(Question(board["title"], each["name"], expr, instant=False))
    return found


def filled(expr: str, interval: str = "1m", span: str = "1h") -> str:
    """A query without Grafana's variables."""
    for name, value in VARIABLES.items():
        expr = expr.replace(f'"${name}"', f'"{value}"')
    return expr.replace("$__rate_interval", interval).replace("$__range", span)
