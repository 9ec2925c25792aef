"""A load of one's own: at a fixed rate, or so many requests as fast as they are answered. Latencies, not only counts.

`python -m benchmarks.steady PLAN`, a JSON file (see `Plan`); the result is one line of JSON on stdout. At a rate, a
request's time runs from the moment it was due, not from when a connection came free: otherwise a server that stalls
would hide its stall from whoever waits (Gil Tene's «coordinated omission»). How late the latest was sent is said beside
them: so long the load itself stood still, and what it measured then is its own.
"""

import asyncio
import gc
import json
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools
import uvloop


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` requests a second for `seconds` (0: as fast as answered), or until `count` are answered."""

    address: str
    requests: list[str]  # whole HTTP requests, taken in turn
    rate: float
    seconds: float
    count: int
    connections: int


class _Connection(asyncio.Protocol):
    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream's

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._load.lost()

    def on_message_complete(self) -> None:
        self._load.answered(self, self._parser.get_status_code())


class _Load:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = [text.encode() for text in plan.requests]
        self._next = 0
        self._free: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self.seconds: list[float] = []
        self.errors = 0
        self.sent = 0
        self.late = 0.0
        self._ended = asyncio.Event()

    async def run(self) -> float:
        """Seconds it took."""
        loop = asyncio.get_running_loop()
        host, port = self._plan.address.split(":")
        for _ in range(self._plan.connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), host, int(port))
            self._free.append(connection)
        started = time.perf_counter()
        if self._plan.rate:
            await self._at_a_rate(started)
        else:
            self._end = started + self._plan.seconds
            while self._free:
                self._send(self._free.pop(), time.perf_counter())
            await self._ended.wait()
        return time.perf_counter() - started

    async def _at_a_rate(self, started: float) -> None:
        gap, due = 1 / self._plan.rate, started
        end = started + self._plan.seconds
        while due < end:
            now = time.perf_counter()
            self.late = max(self.late, now - due)
            while due <= now and due < end:
                if self._free:
                    self._send(self._free.pop(), due)
                else:
                    self._waiting.append(due)
                due += gap
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        for _ in range(500):
            if len(self._free) == self._plan.connections:
                return
            await asyncio.sleep(0.01)
        self.errors += self._plan.connections - len(self._free)

    def _send(self, connection: _Connection, due: float) -> None:
        connection.due = due
        connection.transport.write(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)
        self.sent += 1

    def answered(self, connection: _Connection, status: int) -> None:
        now = time.perf_counter()
        self.seconds.append(now - connection.due)
        self.errors += status != 200
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        elif self._plan.rate or self._enough(now):
            self._free.append(connection)
            if not self._plan.rate and len(self._free) == self._plan.connections:
                self._ended.set()
        else:
            self._send(connection, now)

    def _enough(self, now: float) -> bool:
        return self.sent >= self._plan.count if self._plan.count else now >= self._end

    def lost(self) -> None:
        self.errors += 1
        self._ended.set()


async def _main(plan: Plan) -> dict[str, Any]:
    load = _Load(plan)
    # Nothing here is a cycle, and a collection would stop the clock for all that is under way.
    gc.disable()
    took = await load.run()
    found = sorted(load.seconds)

    def at(share: float) -> float:
        return round(found[min(len(found) - 1, int(len(found) * share))] * 1000, 3) if found else 0.0

    milliseconds = {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "most": at(1.0)}
    late = round(load.late * 1000, 3)
    return {
        "answered": len(found),
        "errors": load.errors,
        "seconds": took,
        "milliseconds": milliseconds,
        "late": late,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_main(Plan(**json.loads(Path(sys.argv[1]).read_text()))))))
