"""Debian's Prometheus as a child process, scraping what it is told to, and its HTTP API."""

import json
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.standins.processes import LOOPBACK, Child, free_port

REMEDY = "install Prometheus (Debian: apt-get update && apt-get install prometheus; `make setup` does it for root)"
RULES = Path(__file__).parents[2] / "dashboards" / "prometheus"
EVERY_SECONDS = 1


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; AssertionError with the remedy, for a skipped test proves nothing."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: {REMEDY}"
    return found


class Prometheus:
    """`with Prometheus(["127.0.0.1:8001"]) as it: it.now("up")`. It scrapes each second and evaluates the rules."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = list(targets)
        self._folder = Path(tempfile.mkdtemp(prefix="crossfade-prometheus-"))
        self._address = f"{LOOPBACK}:{free_port()}"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{self._address}"

    def __enter__(self) -> Self:
        every = f"{EVERY_SECONDS}s"
        settings = {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": [str(RULES / "recording.yml"), str(RULES / "alerts.yml")],
            "scrape_configs": [{"job_name": "crossfade", "static_configs": [{"targets": self._targets}]}],
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        self._child = Child(
            "prometheus",
            [
                program("prometheus"),
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={self._address}",
            ],
            log_file=self._folder / "log",
        )
        self._child.wait_ready(self._ready, 120)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._child is not None:
            self._child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def now(self, query: str) -> list[dict[str, Any]]:
        """The series of an instant query. AssertionError for one that Prometheus refuses."""
        found: list[dict[str, Any]] = self._ask("query", query=query)["result"]
        return found

    def over(self, query: str, seconds: float) -> list[dict[str, Any]]:
        """The series of a query over the last seconds, a point each second."""
        now = time.time()
        found: list[dict[str, Any]] = self._ask(
            "query_range", query=query, start=str(now - seconds), end=str(now), step=str(EVERY_SECONDS)
        )["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule as Prometheus has it, with its health."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """Each target's last error by its address; "" for one that was scraped."""
        return {each["labels"]["instance"]: each["lastError"] for each in self._ask("targets")["activeTargets"]}

    def scrape_seconds(self) -> float:
        """How long the slowest scrape of the last minute took."""
        return max(float(each["value"][1]) for each in self.now("max_over_time(scrape_duration_seconds[1m])"))

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=20) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None
