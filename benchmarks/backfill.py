"""(e) backfill and verify of a whole table: items a second, peak memory, and what verify moves out of DSQL.

Beside a script that one would write instead. DynamoDB is a server that reads from memory (`scanned`): its speed must
not be the limit. Bytes are counted by a relay that stands before PostgreSQL and takes part only in that pass.
"""

import asyncio
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import crossfade
from benchmarks.measure import pin, spread
from tests.proxy_process import settings_text
from tests.standins.postgres import Postgres
from tests.standins.processes import free_port
from tests.story.migrations import apply

_MAPPING: Final = crossfade.ROOT / "config" / "billio.toml"
_MIGRATIONS: Final = crossfade.ROOT / "config" / "migrations"
_SAMPLE_SECONDS: Final = 0.05
_LIMIT_SECONDS: Final = 900


def compare(say: Callable[[str], None], items: int, passes: int) -> dict[str, Any]:
    """Rates over the passes, by program; then one pass of verify with its bytes counted.

    PostgreSQL is one of its own: here it works as hard as the program, and must not stand back.
    """
    with Postgres() as server:
        return _compare(say, server, items, passes)


def _compare(say: Callable[[str], None], server: Postgres, items: int, passes: int) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {"script": [], "backfill": [], "backfill again": [], "verify": []}
    with ExitStack() as stack:
        port = free_port()
        upstream = stack.enter_context(crossfade.program("scanned", str(port), str(items)))
        pin(upstream.pid, 1)
        endpoint = f"http://127.0.0.1:{port}"
        dsn = ""
        for number in range(passes):
            dsn = _database(server)
            runs["script"].append(_run(server, ["-m", "benchmarks.script", endpoint, dsn]))
            _expect(server, dsn, items)
            dsn = _database(server)
            for name, command in (("backfill", "backfill"), ("backfill again", "backfill"), ("verify", "verify")):
                runs[name].append(_run(server, ["-m", "proxy", command], endpoint, dsn))
                _expect(server, dsn, items)
            say(f"(e) pass {number + 1}: " + ", ".join(f"{n} {items / r[-1].seconds:,.0f}/s" for n, r in runs.items()))
        relay = stack.enter_context(relayed(server.port))
        _run(server, ["-m", "proxy", "verify"], endpoint, dsn.replace(f":{server.port}/", f":{relay.port}/"))
        size = _ask(dsn, "SELECT sum(length(i::text)) FROM items i")
    return {
        "items": items,
        "rates": {name: spread([items / run.seconds for run in some]) for name, some in runs.items()},
        "cpu_us": {name: spread([run.cpu / items * 1e6 for run in some]) for name, some in runs.items()},
        "server_cpu_us": {name: spread([run.server_cpu / items * 1e6 for run in some]) for name, some in runs.items()},
        "mb": {name: max(run.mb for run in some) for name, some in runs.items()},
        "verify": {"trips": relay.trips, "bytes_out": relay.bytes_out, "bytes_in": relay.bytes_in, "table": size},
    }


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds, start of the interpreter included; CPU seconds of the program and of PostgreSQL's backends; peak
    resident memory in MB (10⁶ bytes)."""

    seconds: float
    cpu: float
    server_cpu: float
    mb: float


def _run(server: Postgres, command: Sequence[str], endpoint: str = "", dsn: str = "") -> Run:
    with tempfile.TemporaryDirectory(prefix="crossfade-bench-") as folder:
        arguments = [sys.executable, *command]
        if endpoint:
            settings = Path(folder, "crossfade.toml")
            text = settings_text(
                dynamodb=endpoint, dsql=dsn, journal=Path(folder, "j"), stage="dualwrite", mappings=[_MAPPING]
            )
            settings.write_text(text, "utf-8")
            arguments += ["--config", str(settings), "--quiet"]
        began, children, backends = time.monotonic(), _children(), _backends(server)
        child = subprocess.Popen(arguments, cwd=crossfade.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        pin(child.pid, 0)
        most = 0.0
        while child.poll() is None:
            with suppress(psutil.NoSuchProcess):
                most = max(most, psutil.Process(child.pid).memory_info().rss / 1e6)
            time.sleep(_SAMPLE_SECONDS)
            if time.monotonic() - began > _LIMIT_SECONDS:
                child.kill()
        seconds = time.monotonic() - began
        said = child.stdout.read().decode() if child.stdout is not None else ""
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {said}")
        # What is connected to a backend has gone; it goes a moment later.
        time.sleep(0.5)
        return Run(seconds, _children() - children, _backends(server) - backends, most)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _backends(server: Postgres) -> float:
    """CPU seconds of all backends that have ended."""
    used = psutil.Process(server.child.pid).cpu_times()
    return float(used.children_user + used.children_system)


def _database(server: Postgres) -> str:
    dsn = server.create_database()
    apply(_MIGRATIONS, dsn)
    return dsn


def _expect(server: Postgres, dsn: str, items: int) -> None:
    found = _ask(dsn, "SELECT count(*) FROM items")
    if found != items:
        raise RuntimeError(f"{found} rows of {items}: what was measured is not a backfill ({server.port})")


def _ask(dsn: str, question: str) -> int:
    import asyncpg

    async def ask() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return int(await connection.fetchval(question))
        finally:
            await connection.close()

    return asyncio.run(ask())


@dataclass(slots=True)
class Relay:
    """Counts what passes. `trips` is how often the server began to answer after a client's bytes."""

    port: int
    trips: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    _asked: dict[int, bool] = field(default_factory=dict)

    async def serve(self, to: int, stop: asyncio.Event, ready: threading.Event) -> None:
        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", to)
            me = id(writer)
            await asyncio.gather(self._pass(reader, back, me, out=False), self._pass(there, writer, me, out=True))

        server = await asyncio.start_server(one, "127.0.0.1", self.port)
        ready.set()
        async with server:
            await stop.wait()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, me: int, *, out: bool) -> None:
        try:
            while data := await source.read(65_536):
                if out:
                    self.bytes_out += len(data)
                    self.trips += self._asked.pop(me, False)
                else:
                    self.bytes_in += len(data)
                    self._asked[me] = True
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


@contextmanager
def relayed(to: int) -> Iterator[Relay]:
    """A relay before a port, on a thread of its own."""
    relay = Relay(free_port())
    ready = threading.Event()
    holder: dict[str, Any] = {}

    async def main() -> None:
        holder["loop"], holder["stop"] = asyncio.get_running_loop(), asyncio.Event()
        await relay.serve(to, holder["stop"], ready)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError("the relay did not start")
    try:
        yield relay
    finally:
        holder["loop"].call_soon_threadsafe(holder["stop"].set)
        thread.join(10)
