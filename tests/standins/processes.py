"""Start a server as a child process, wait until it is ready, and make sure that it ends.

Knows nothing of what the servers are. Everything here blocks for at most the seconds it is given: call it through
`asyncio.to_thread` where a running event loop must not notice.
"""

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
LEASH = Path(__file__).with_name("leash.py")
# Below the kernel's ephemeral range: a port stays ours while its server is down between kill() and restart(), and
# a client that dials a dead server can never be connected to itself.
_PORTS = range(20000, 32000)
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 4000

# The kernel sends the death signal when the *thread* that started the child ends, not the process. A test that
# restarts a server from a worker thread would lose it with that thread, so one lasting thread starts every child.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="standin-starter")


class StandinError(RuntimeError):
    """A stand-in could not be started, or ended by itself. The message says which, and quotes the end of its log."""


def standins_python() -> str:
    """The interpreter of `.venv/standins`, where ministack lives apart from the product's own dependencies."""
    python = Path(sys.prefix) / "standins" / "bin" / "python"
    if not python.exists():
        raise StandinError(f"{python} is missing: run `make setup`")
    return str(python)


def bare_environment() -> dict[str, str]:
    """The environment of a program that must find its settings without this process's: commands are found, and where a
    PYTHONPATH says that another checkout than the installed one is tested, its modules."""
    return {"PATH": "/usr/bin:/bin"} | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


class _Claims:
    """The ports that this process has been given: nobody else who asks here gets one of them while it lives.

    Nobody listens on a port between free_port() and its server's bind, or while a killed server is down, so another
    test process would find it free. Each byte of one file stands for a port; the lock on it goes with the process.
    """

    def __init__(self) -> None:
        path = Path(tempfile.gettempdir()) / f"crossfade-ports-{os.getuid()}"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._given: set[int] = set()

    def take(self, port: int) -> bool:
        """Whether it is this process's from now on, and was nobody's before."""
        if port in self._given:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        self._given.add(port)
        return True


_claims = _Claims()


def free_port() -> int:
    """A TCP port on 127.0.0.1 below the ephemeral range, on which nobody listens and which no other test is given."""
    for _ in range(1000):
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            if _claims.take(port):
                return port
    raise StandinError(f"no free port found between {_PORTS.start} and {_PORTS.stop}")


def accepts_connections(port: int) -> bool:
    """Whether something listens on 127.0.0.1:port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


class Child:
    """One child process in a session of its own, with its output in a log file.

    `death_signal` is what the kernel sends it when this process dies without having stopped it.
    """

    __slots__ = ("_process", "log_file", "name")

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: tuple[int, int] | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log_file = log_file
        uid, gid = user or (-1, -1)
        tie = [str(int(death_signal)), str(os.getpid()), str(uid), str(gid)]
        leashed = [sys.executable, "-I", "-S", str(LEASH), *tie, *command]

        def start() -> subprocess.Popen[bytes]:
            with log_file.open("ab") as log:
                return subprocess.Popen(
                    leashed,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(environment) if environment is not None else None,
                    cwd=directory,
                    start_new_session=True,
                )

        self._process = _starter.submit(start).result()

    @property
    def pid(self) -> int:
        """The process id; also the id of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        if self._process.returncode is not None:
            return False
        # WNOWAIT leaves a dead child unreaped: until kill() its id, and so its group's, cannot become somebody else's.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def exit_status(self) -> int | None:
        """The status it ended with once stop() or kill() has returned; minus the signal's number if that ended it."""
        return self._process.returncode

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return once `ready()` is true; StandinError if the child ends first or `seconds` pass."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                self.kill()
                raise StandinError(f"{self.name} ended with status {self._process.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StandinError(f"{self.name} was not ready after {seconds:g} s\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, signal_number: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """Ask it to end, and kill its whole group if it has not after `seconds`. Doing so twice does no harm."""
        deadline = time.monotonic() + seconds
        if self.running:
            os.kill(self.pid, signal_number)
        while self.running and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group, at once; returns when the child is gone. Doing so twice does no harm."""
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(60)

    def signal(self, signal_number: signal.Signals) -> None:
        """Send a signal to it and all that it has started: SIGSTOP makes a server hang, SIGCONT wakes it.

        The group would not do: each of PostgreSQL's backends makes a session of its own.
        """
        server = psutil.Process(self._process.pid)
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # a backend may end meanwhile
                process.send_signal(signal_number)

    def log_tail(self) -> str:
        """The last lines of its output."""
        with contextlib.suppress(FileNotFoundError):
            return self.log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return ""
