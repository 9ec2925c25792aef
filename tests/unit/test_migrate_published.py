"""How far a long command has come, as Prometheus reads it."""

import socket
import urllib.error
import urllib.request

import pytest

from proxy.cli.progress import ProgressSnapshot
from proxy.cli.progress_metrics import ProgressMetrics
from proxy.settings import Address
from proxy.settings.validation import SettingsError
from tests.standins.processes import LOOPBACK, free_port


def test_it_answers_while_the_command_runs_and_not_after() -> None:
    port, seen = free_port(), [7]
    with ProgressMetrics(
        "backfill", "t", lambda: ProgressSnapshot(seen[0], 100, 5, 2.5, 1, ""), Address(LOOPBACK, port)
    ):
        assert 'crossfade_job_items{table="t",what="backfill"} 7.0' in _text(port)
        seen[0] = 8
        text = _text(port)
        assert 'crossfade_job_items{table="t",what="backfill"} 8.0' in text
        assert 'crossfade_job_items_expected{table="t",what="backfill"} 100.0' in text
    with pytest.raises(urllib.error.URLError):
        _text(port)


def test_without_an_address_nothing_listens() -> None:
    with ProgressMetrics("verify", "t", lambda: ProgressSnapshot(0, None, 0, 0.0, 0, ""), None):
        pass


def test_an_address_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        address = Address(LOOPBACK, taken.getsockname()[1])
        with (
            pytest.raises(SettingsError, match="--metrics"),
            ProgressMetrics("verify", "t", lambda: ProgressSnapshot(0, None, 0, 0.0, 0, ""), address),
        ):
            pass


def _text(port: int) -> str:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=60) as answer:
        text: str = answer.read().decode()
    return text
