"""docs/getting-started.md, run as it stands: every command of it, in one shell, on free ports.

Only a move that is given up, as one is when a busy machine stands still for a second, is asked for again.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.standins.processes import free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What `make test` has done before.
SETUP = "make setup\n"
PORTS = ("4566", "5433", "8000", "8001")


def script() -> str:
    """All blocks in one, with other ports: the usual ones may be taken."""
    blocks = _BLOCK.findall(PAGE.read_text("utf-8"))
    assert blocks[0] == SETUP
    text = "".join(blocks[1:])
    assert all(port in text for port in PORTS)
    others = {port: str(free_port()) for port in PORTS}
    return re.sub("|".join(PORTS), lambda port: others[port[0]], text)


def patient(folder: Path) -> Path:
    """A folder with a `crossfade` that tries `stage` again; all else becomes the real one."""
    real = Path(sys.executable).with_name("crossfade")
    folder.mkdir()
    (folder / "crossfade").write_text(
        f'#!/bin/bash\n[ "$1" = stage ] || exec "{real}" "$@"\n'
        f'for n in 1 2 3 4 5 6 7 8 9; do "{real}" "$@" && exit; sleep 1; done; exec "{real}" "$@"\n'
    )
    (folder / "crossfade").chmod(0o755)
    return folder


def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CROSSFADE_"))}
    environment |= {"PYTHONPATH": str(ROOT)}
    # The page's programs are those of .venv; here, those beside this interpreter.
    text = script().replace("$PWD/.venv/bin", f"{patient(tmp_path / 'bin')}:{Path(sys.executable).parent}")
    output = tmp_path / "output"
    with output.open("w") as written:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=900)
        finally:
            with contextlib.suppress(ProcessLookupError):  # all of it has ended
                os.killpg(shell.pid, signal.SIGTERM)
    said = output.read_text("utf-8")
    assert code == 0, said[-4000:]
    assert said.count("450 calls, as it is used to") == 4
    assert re.search(r"shadow.*live", said)
