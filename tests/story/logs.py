"""The logs of the demo's servers, kept where it fails: each server removes its own files when it stops."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Protocol, TypeVar

KEPT: Final = Path(__file__).parents[2] / "demo-logs"


class Logging(Protocol):
    """A server with a log."""

    @property
    def log_file(self) -> Path: ...


T = TypeVar("T", bound=Logging)


class ServerLogs:
    """`keep` while the servers run."""

    def __init__(self) -> None:
        self._servers: dict[str, Logging] = {}

    def of(self, name: str, server: T) -> T:
        """The server, whose log is to be kept under this name."""
        self._servers[name] = server
        return server

    def keep(self) -> Path:
        """Copy every log, in place of those of a run before. Returns the folder."""
        shutil.rmtree(KEPT, ignore_errors=True)
        KEPT.mkdir()
        for name, server in self._servers.items():
            if server.log_file.exists():
                shutil.copyfile(server.log_file, KEPT / f"{name}.log")
        return KEPT
