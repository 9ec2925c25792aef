"""`crossfade serve` as an operator runs it: started, asked, told to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from proxy.cli.main import main
from tests.standins.billio import dynamodb_client
from tests.standins.dynamodb import ACCESS_KEY, REGION, SECRET_KEY
from tests.standins.processes import free_port

ROOT = Path(__file__).parent.parent.parent


def serve(folder: Path, endpoint: str, data: int, admin: int) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CROSSFADE_"))}
    environment = kept | {
        "CROSSFADE_LISTEN": f"127.0.0.1:{data}",
        "CROSSFADE_ADMIN__LISTEN": f"127.0.0.1:{admin}",
        "CROSSFADE_DYNAMODB__ENDPOINT_URL": endpoint,
        "CROSSFADE_DYNAMODB__REGION": REGION,
        "CROSSFADE_DYNAMODB__ACCESS_KEY_ID": ACCESS_KEY,
        "CROSSFADE_DYNAMODB__SECRET_ACCESS_KEY": SECRET_KEY,
        "CROSSFADE_JOURNAL__PATH": str(folder / "journal.sqlite"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "proxy", "serve"]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until_ready(running: subprocess.Popen[str], admin: int, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while main(["health", f"http://127.0.0.1:{admin}/readyz"]) != 0:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(number: signal.Signals, dynamodb: str, tmp_path: Path) -> None:
    data, admin = free_port(), free_port()
    running = serve(tmp_path, dynamodb, data, admin)
    try:
        until_ready(running, admin)
        client = dynamodb_client(f"http://127.0.0.1:{data}")
        assert client.list_tables()["TableNames"] == []
        running.send_signal(number)
        out, said = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 0
    assert f"data http://127.0.0.1:{data}  admin http://127.0.0.1:{admin}\n" in said
    events = [orjson.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == ["started", "stopping", "stopped"]


@pytest.mark.parametrize("setting", ["listen", "admin.listen"])
def test_an_address_that_is_taken_is_one_message_that_names_the_setting(
    setting: str, dynamodb: str, tmp_path: Path
) -> None:
    taken = int(dynamodb.rpartition(":")[2])
    ports = (taken, free_port()) if setting == "listen" else (free_port(), taken)
    running = serve(tmp_path, dynamodb.replace(str(taken), str(free_port())), *ports)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 1
    assert said == (
        f"crossfade: {setting} = '127.0.0.1:{taken}': Address already in use: choose another, or stop what uses it\n"
    )
