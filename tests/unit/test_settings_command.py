"""The command: what an operator sees of settings, right and wrong, without a proxy behind it."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from proxy.__main__ import main as begin
from proxy.cli.main import main
from proxy.version import VERSION

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("CROSSFADE_", "AWS_")):
            monkeypatch.delenv(name)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"crossfade {VERSION}\n"
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"crossfade {VERSION}\n"


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["--help"], {"aiohttp", "asyncpg", "botocore", "structlog"}),
        (["check", "--config", "config/crossfade.toml"], {"aiohttp", "asyncpg", "botocore", "structlog"}),
        (
            ["stage", "--admin", "http://127.0.0.1:1"],  # nobody is there, and no more is needed to find it out
            {"aioboto3", "aiohttp.web", "asyncpg", "botocore", "jinja2", "proxy.admin.console.pages", "structlog"},
        ),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_need(words: list[str], unneeded: set[str]) -> None:
    asked = (
        "import sys; from proxy.cli.main import main\n"
        f"try: main({words})\n"
        f"except SystemExit: pass\nprint(sorted({unneeded} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]", ran.stderr


def test_check_shows_what_would_run_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "crossfade.toml"
    config.write_text(
        f'stage = "shadow"\nmappings = ["{ROOT}/config/billio.toml"]\n[dsql]\ndsn = "postgresql://u:hunter2@db/postgres"\n'
    )
    monkeypatch.setenv("CROSSFADE_LISTEN", "127.0.0.1:9000")
    assert main(["check", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    shown = orjson.loads(out)
    assert shown["settings"]["listen"] == "127.0.0.1:9000"
    assert (shown["gate"]["advisory"], "latency" in shown["gate"]["stops"]) == (["sweep"], True)
    (mapping,) = shown["mappings"]
    assert mapping["sql_table"] == "items"
    assert mapping["stage"] == "shadow"
    assert "shelf-addedAt" in mapping["indexes"]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_fault_in_the_settings_is_one_message_and_no_traceback(command: str, tmp_path: Path) -> None:
    config = tmp_path / "crossfade.toml"
    config.write_text('lisen = "x"\n')
    ran = subprocess.run(
        [sys.executable, "-m", "proxy", command, "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr == (
        f"crossfade: {config}: lisen: there is no such setting (did you mean listen?); remove it or correct its name\n"
    )


def test_a_fault_in_a_mapping_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.toml").write_text("tabel = 'x'\n")
    config = tmp_path / "crossfade.toml"
    config.write_text('mappings = ["broken.toml"]\n')
    assert main(["check", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"crossfade: {tmp_path / 'broken.toml'}")
    assert said.count("\n") == 1


def test_a_mapping_that_is_not_there_names_the_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "crossfade.toml"
    config.write_text('mappings = ["missing.toml"]\n')
    assert main(["check", "--config", str(config)]) == 2
    path = tmp_path / "missing.toml"
    assert capsys.readouterr().err == (
        f"crossfade: mappings: {path}: there is no such file: correct its name in the settings\n"
    )


def test_arguments_that_are_wrong() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dance"])
    assert caught.value.code == 2


@pytest.fixture
def page() -> Iterator[str]:
    """An address that answers 200 on /ok and 503 elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/ok" else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_health_is_an_exit_code(page: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # which is not asked
    assert main(["health", f"{page}/ok"]) == 0
    assert main(["health", f"{page}/readyz"]) == 1
    assert main(["health", "http://127.0.0.1:1/"]) == 1
    assert main(["health", "file:///etc/hostname"]) == 2
    assert "503" in capsys.readouterr().err


def test_ctrl_c_while_the_command_loads_ends_it_without_a_word() -> None:
    # Loading is some tenths of a second; so that SIGINT comes in the middle of it, an import sends it.
    asked = (
        "import importlib.abc, os, signal, sys, proxy.__main__\n"
        "class Meets(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'proxy.settings': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Meets())\n"
        "sys.argv[1:] = ['version']\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored\n"
        "proxy.__main__.main()"
    )
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_before_anything_is_at_work_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("proxy.cli.main.load", interrupted)
    monkeypatch.setattr("sys.argv", ["crossfade", "check"])
    assert begin() == 130
