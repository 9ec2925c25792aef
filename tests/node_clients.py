"""Run the Node clients of tests/node: Dynamoose by commands, the SDKs' smoke test in one go.

Raises ClientsMissingError, with what to install, where Node or its packages are not there: such a test fails, it does
not pass over what it cannot see.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "node"
_SECONDS = 120


class ClientsMissingError(RuntimeError):
    """Node, or the packages in tests/node, are not installed."""


def dynamoose(endpoint: str, table: str, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answer to each command: `{"ok": …}` or `{"error": code, "message": …}` (see tests/node/billio.js)."""
    asked = "".join(json.dumps(command) + "\n" for command in commands)
    return [json.loads(line) for line in _node("billio.js", endpoint, table, stdin=asked).splitlines()]


def sdk_smoke(endpoint: str, table: str, version: str) -> list[tuple[str, dict[str, Any]]]:
    """Every (operation, answer) of the smoke test by AWS SDK `v2` or `v3`."""
    answers = json.loads(_node("sdks.js", endpoint, table, version))
    return [(operation, answer) for operation, answer in answers]


def _node(script: str, *arguments: str, stdin: str = "") -> str:
    node = shutil.which("node")
    if node is None:
        raise ClientsMissingError("Node 20 or newer is needed (Debian: apt-get install nodejs npm), then `make node`")
    if not (FOLDER / "node_modules" / "dynamoose").is_dir():
        raise ClientsMissingError("the packages in tests/node are not installed: run `make node`")
    done = subprocess.run(
        [node, script, *arguments], cwd=FOLDER, input=stdin, capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr.strip()}")
    return done.stdout
