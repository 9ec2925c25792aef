"""Prometheus's rules: promtool accepts them, each alert is tested firing and silent, and has its runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observed.prometheus import RULES, program
from tests.observed.questions import boards

ROOT = RULES.parents[1]
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
NAMES = [each["alert"] for each in ALERTS]
PARTS = ("What it means", "What to check", "What to do")


def test_promtool_accepts_rules_and_settings() -> None:
    _promtool("check", "rules", "recording.yml", "alerts.yml")
    _promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_promtool_tests_pass() -> None:
    _promtool("test", "rules", "tests.yml")


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_tested_firing_and_silent(name: str) -> None:
    told = [each["name"] for each in yaml.safe_load((RULES / "tests.yml").read_text())["tests"]]
    assert any(each.startswith(f"{name} fires") for each in told)
    assert any(each.startswith(f"{name} is silent") for each in told)


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    link = alert["annotations"]["runbook_url"]
    assert link == f"docs/runbooks/{alert['alert']}.md"
    text = (ROOT / link).read_text(encoding="utf-8")
    assert text.startswith(f"# {alert['alert']}\n")
    assert [each for each in re.findall(r"^## (.+)$", text, re.MULTILINE) if each in PARTS] == list(PARTS)
    assert alert["labels"]["severity"] in ("page", "ticket")


def test_a_runbook_names_only_what_there_is() -> None:
    panels = {panel["title"] for board in boards().values() for panel in board["panels"]}
    sections = {f"*{board['title'].partition(': ')[2]}*" for board in boards().values()}
    for path in (ROOT / "docs" / "runbooks").glob("*.md"):
        assert path.stem == "README" or path.stem in NAMES, f"{path.name} is nobody's runbook"
        for panel in re.findall(r"\*\*(.+?)\*\*", path.read_text(encoding="utf-8")):
            assert panel in panels, f"{path.name} names a panel that is not there: {panel}"
    assert sections


def _promtool(*words: str) -> None:
    ran = subprocess.run([program("promtool"), *words], cwd=Path(RULES), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
