"""(f) how long writes are held in a flip: with one proxy and with three, at 500 writes a second, there and back.

The stage table needs a DynamoDB that keeps conditions, ministack. The items are at the upstream that remembers, because
ministack does not bear 500 writes a second beside the proxies. The proxies share one CPU, and all the rest the other.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

from benchmarks import crossfade
from benchmarks.documents import put
from benchmarks.load import steady
from benchmarks.measure import pin
from tests.integration.scenes import swept
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

_PROXIES: Final = (1, 3)
_WRITES_A_SECOND: Final = 500
_KEYS: Final = 1000
_BETWEEN_SECONDS: Final = 1.0
_STAGES: Final = '[stages]\ntable = "crossfade_stages"\nlease_seconds = 5\npoll_seconds = 0.5\n'


def hold(say: Callable[[str], None], server: Postgres, flips: int) -> dict[str, Any]:
    """Number of proxies → milliseconds that writes were held in each flip, and what became of the writes."""
    return {str(number): _with(say, server, number, flips) for number in _PROXIES}


def _with(say: Callable[[str], None], server: Postgres, number: int, flips: int) -> dict[str, Any]:
    dsn = crossfade.books(server, _KEYS)
    swept(dsn, TABLE)
    with ExitStack() as stack:
        store = stack.enter_context(Ministack())
        upstream = stack.enter_context(crossfade.remembering(store.endpoint))
        proxies = [stack.enter_context(crossfade.proxy(upstream, dsn, "shadow", _STAGES)) for _ in range(number)]
        for each in proxies:
            pin(each.child.pid, 0)
        seconds = flips * (_BETWEEN_SECONDS + 1.5) + 3
        with ThreadPoolExecutor(number + 1) as threads:
            load = [threads.submit(_write, each, _WRITES_A_SECOND / number, seconds) for each in proxies]
            time.sleep(2)
            held = threads.submit(_flip, proxies[0], flips, seconds - 3).result()
            results = [each.result() for each in load]
        say(f"{number} proxies: writes held {sorted(held)} ms")
        for each in proxies:
            each.settle(120)
        return {
            "held_ms": sorted(held),
            "answered": sum(result.answered for result in results),
            "errors": sum(result.errors for result in results),
            "rate": sum(result.answered for result in results) / seconds,
        }


def _write(running: ProxyProcess, rate: float, seconds: float) -> Any:
    requests = [put(number) for number in range(_KEYS)]
    return steady(crossfade.address(running), requests, rate=rate, seconds=seconds, connections=32)


def _flip(running: ProxyProcess, flips: int, seconds: float) -> list[float]:
    held: list[float] = []
    until = time.monotonic() + seconds
    to = "live"
    while len(held) < flips and time.monotonic() < until:
        answer = _move(running, to)
        if answer.get("outcome") == "moved":
            held.append(answer["held_ms"])
            to = "shadow" if to == "live" else "live"
        time.sleep(_BETWEEN_SECONDS)
    return held


def _move(running: ProxyProcess, to: str) -> dict[str, Any]:
    body = json.dumps({"stage": to, "force": True, "because": "a benchmark"}).encode()
    request = urllib.request.Request(
        f"{running.admin}/v1/stages/{TABLE}", data=body, method="PUT", headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        refused: dict[str, Any] = json.load(error)
        return refused
