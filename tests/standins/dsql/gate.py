"""Start the gate as a process of its own in front of a `Postgres`, and change its settings while it runs."""

import json
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK, Child, StandinError, accepts_connections, free_port
from tests.standins.standin import Standin

_ROOT = Path(__file__).parents[3]
_READY_SECONDS = 120


class Dsql(Standin):
    """A stand-in for Aurora DSQL: `with Postgres() as server, Dsql(server) as gate: connect(gate.dsn("postgres"))`.

    It keeps no data; the databases are the PostgreSQL's. Connect without TLS (`ssl=False`). `settings` are those of
    `GateSettings`, by name.
    """

    name = "the DSQL gate"

    def __init__(self, backend: Postgres, *, port: int = 0, **settings: Any) -> None:
        self.port = port or free_port()
        self._backend = backend
        self._settings = settings
        self._directory = Path(tempfile.mkdtemp(prefix="crossfade-dsql-"))

    @property
    def log_file(self) -> Path:
        """Where the gate's log goes."""
        return self._directory / "server.log"

    def dsn(self, database: str = "postgres", user: str = "admin") -> str:
        """`postgresql://…` for a database of the PostgreSQL behind it. DSQL itself has only `postgres`."""
        return f"postgresql://{user}@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> Self:
        """Start the gate and wait until it listens (about 1 s)."""
        arguments = [str(self.port), str(self._backend.sockets), str(self._backend.port), str(self._control)]
        self._child = Child(
            self.name,
            [sys.executable, "-m", "tests.standins.dsql.server", *arguments, json.dumps(self._settings)],
            log_file=self.log_file,
            directory=_ROOT,
        )
        self._child.wait_ready(lambda: accepts_connections(self.port), _READY_SECONDS)
        return self

    def stop(self) -> None:
        """End it and remove its files."""
        if self._child is not None:
            self._child.stop(seconds=2)
        shutil.rmtree(self._directory, ignore_errors=True)

    def change(self, **settings: Any) -> dict[str, Any]:
        """Change settings, from now on; what the gate has counted."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)
            line.connect(str(self._control))
            line.sendall(json.dumps(settings).encode() + b"\n")
            with line.makefile() as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
        if "error" in answer:
            raise StandinError(answer["error"])
        return answer

    @property
    def _control(self) -> Path:
        return self._directory / "control"
