"""A stand-in for Aurora DSQL: ministack's gate in front of a `Postgres`, refusing what DSQL refuses.

What it does not imitate: conflicts are decided where PostgreSQL decides them (a writer waits, then gets 40001), not at
COMMIT; transactions are not cut at 300 s; and it lags behind DSQL of late 2026 in places. docs/ names them.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Self

from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK, Child, accepts_connections, free_port, standins_python
from tests.standins.standin import Standin

_SERVER = Path(__file__).with_name("dsql_server.py")
_READY_SECONDS = 120


class Dsql(Standin):
    """The gate: `with Postgres() as server, Dsql(server) as gate: connect(gate.dsn("postgres"))`.

    It keeps no data; the databases are the PostgreSQL's. Connect without TLS (`ssl=False`).
    """

    name = "the DSQL gate"

    def __init__(self, backend: Postgres, *, port: int = 0) -> None:
        self.port = port or free_port()
        self._backend = backend
        self._directory = Path(tempfile.mkdtemp(prefix="crossfade-dsql-"))

    @property
    def log_file(self) -> Path:
        """Where the gate's log goes."""
        return self._directory / "server.log"

    def dsn(self, database: str = "postgres") -> str:
        """`postgresql://…` for a database of the PostgreSQL behind it. DSQL itself has only `postgres`."""
        return f"postgresql://admin@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> Self:
        """Start the gate and wait until it listens (about 0.5 s)."""
        self._child = Child(
            self.name,
            [standins_python(), str(_SERVER), str(self.port), str(self._backend.port)],
            log_file=self.log_file,
            directory=self._directory,
        )
        self._child.wait_ready(lambda: accepts_connections(self.port), _READY_SECONDS)
        return self

    def stop(self) -> None:
        """End it and remove its files."""
        if self._child is not None:
            self._child.stop(seconds=2)
        shutil.rmtree(self._directory, ignore_errors=True)
