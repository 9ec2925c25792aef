"""Run the Node clients of tests/node: Dynamoose and Drizzle by commands, the SDKs' smoke test in one go.

Raises ClientsMissingError, with what to install, where Node or its packages are not there: such a test fails, it does
not pass over what it cannot see.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "node"
_SECONDS = 400
# A program whose package has another name.
_PACKAGES = {"tsc": "typescript"}


class ClientsMissingError(RuntimeError):
    """Node, or the packages in tests/node, are not installed."""


def dynamoose(
    endpoint: str, table: str, commands: list[dict[str, Any]], environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The answer to each command: `{"ok": …}` or `{"error": code, "message": …}` (see tests/node/billio.js).

    `environment` may have CLIENT_KEY and CLIENT_SECRET to sign with, and Node's own NODE_EXTRA_CA_CERTS.
    """
    asked = "".join(json.dumps(command) + "\n" for command in commands)
    told = _node("billio.js", endpoint, table, stdin=asked, environment=environment)
    return [json.loads(line) for line in told.splitlines()]


def sdk_smoke(
    endpoint: str, table: str, version: str, environment: Mapping[str, str] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Every (operation, answer) of the smoke test by AWS SDK `v2` or `v3`; `environment` as in `dynamoose`."""
    answers = json.loads(_node("sdks.js", endpoint, table, version, environment=environment))
    return [(operation, answer) for operation, answer in answers]


def drizzle(dsn: str, commands: list[list[Any]]) -> list[dict[str, Any]]:
    """The new data layer's answer to each command: `{"ok": …}` or `{"error": code}` (see tests/node/drizzle)."""
    asked = "".join(json.dumps(command) + "\n" for command in commands)
    words = package_command("tsx", "drizzle/main.ts")
    told = _run(words, "drizzle/main.ts", stdin=asked, environment={"DSQL_URL": dsn})
    return [json.loads(line) for line in told.splitlines()]


def package_command(name: str, *arguments: str) -> list[str]:
    """The command line of a program that a package in tests/node brings. Raises ClientsMissingError."""
    node = _installed()
    manifest = FOLDER / "node_modules" / _PACKAGES.get(name, name) / "package.json"
    programs = json.loads(manifest.read_text("utf-8"))["bin"]
    return [node, str(manifest.parent / (programs if isinstance(programs, str) else programs[name])), *arguments]


def _node(script: str, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
    return _run([_installed(), script, *arguments], script, stdin=stdin, environment=environment)


def _installed() -> str:
    """Node's path."""
    node = shutil.which("node")
    if node is None:
        raise ClientsMissingError("Node 20 or newer is needed (Debian: apt-get install nodejs npm), then `make node`")
    if not (FOLDER / "node_modules" / "dynamoose").is_dir():
        raise ClientsMissingError("the packages in tests/node are not installed: run `make node`")
    return node


def _run(words: list[str], script: str, *, stdin: str, environment: Mapping[str, str] | None) -> str:
    done = subprocess.run(
        words,
        cwd=FOLDER,
        env=os.environ | (environment or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr.strip()}")
    return done.stdout
