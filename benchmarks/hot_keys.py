"""How long writes are held in a flip while clients work on few keys, and in which phase: eleven clients, two proxies,
there and back. `python -m benchmarks.hot_keys --flips 40`.

Where most writes overlap, a flip drains what it finds half done: writes under way, their rehearsals, keys that another
process has just changed. Everything shares the machine here, clients and stores too, so the figures are upper bounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import quantiles
from typing import Any, Final

from tests.flips.clients import TABLE, Client, idle_clients
from tests.flips.history import History, violations
from tests.flips.table import final_items, make_table
from tests.integration.scenes import swept
from tests.proxy_process import ProxyProcess
from tests.standins.billio import dynamodb_client
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

PROXIES: Final = 2
_PAUSE_SECONDS: Final = 0.04
_BETWEEN_SECONDS: Final = 1.0
_SETTINGS: Final = {
    "CROSSFADE_STAGES__TABLE": "crossfade_stages",
    "CROSSFADE_FOLLOW_TABLES": "true",
    "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "1",
    "CROSSFADE_DSQL__SETTLE_SECONDS": "1",
    "CROSSFADE_LOG__LEVEL": "warning",
}


def hold(say: Callable[[str], None], server: Postgres, flips: int) -> dict[str, Any]:
    """Each flip's milliseconds by phase (`held_ms`: of all that hold writes), and the moves that were not made."""
    dsn = server.create_database()
    with ExitStack() as stack:
        gate = stack.enter_context(Dsql(server))
        store = stack.enter_context(Ministack())
        make_table(store.endpoint)
        dsql = gate.dsn(dsn.rsplit("/", 1)[1])
        swept(dsql, TABLE)
        proxies = [
            stack.enter_context(
                ProxyProcess(dynamodb=store.endpoint, dsql=dsql, mappings=[], stage="shadow", environment=_SETTINGS)
            )
            for _ in range(PROXIES)
        ]
        history = History()
        with _load(proxies, history) as clients:
            time.sleep(3)
            moved, kept = _flip(proxies[0], flips, say)
        for each in proxies:
            each.settle(300)
        lost = violations(history.events, final_items(store.endpoint))
        say(f"{clients} clients: {history.counted()}, lost or undone: {len(lost)}")
        return {"flips": moved, "kept": kept, "lost": len(lost)}


@contextmanager
def _load(proxies: list[ProxyProcess], history: History) -> Iterator[int]:
    end = threading.Event()
    make = [lambda here=here: dynamodb_client(here.data) for here in proxies]
    company: list[Client] = idle_clients(make, history, 1, end, _PAUSE_SECONDS)
    for each in company:
        each.thread.start()
    try:
        yield len(company)
    finally:
        end.set()
        for each in company:
            each.thread.join(60)


def _flip(proxy: ProxyProcess, flips: int, say: Callable[[str], None]) -> tuple[list[dict[str, float]], list[str]]:
    moved: list[dict[str, float]] = []
    kept: list[str] = []
    to = "live"
    while len(moved) < flips and len(kept) < flips:
        lines = _move(proxy, to)
        end = lines[-1].get("end", lines[-1])
        if end.get("outcome") == "moved":
            phases = _phases(lines[:-1], end)
            say(f"to {to}: " + ", ".join(f"{name} {ms:.0f}" for name, ms in phases.items()))
            moved.append(phases)
            to = "shadow" if to == "live" else "live"
        else:
            kept.append(str(end.get("detail")))
            say(f"to {to}: {kept[-1]}")
        time.sleep(_BETWEEN_SECONDS)
    return moved, kept


def _phases(steps: Sequence[Mapping[str, Any]], end: Mapping[str, Any]) -> dict[str, float]:
    """Milliseconds until writes were held (no client waits yet), until all had drained, and until all had switched. As
    the driver saw it: to one poll of 20 ms."""
    began = {
        phase: next((s["seconds"] for s in steps if s["phase"] == phase), 0.0) for phase in ("holding", "switched")
    }
    drained = (began["switched"] - began["holding"]) * 1000
    return {
        "ready_ms": began["holding"] * 1000,
        "drain_ms": drained,
        "switch_ms": max(0.0, end["held_ms"] - drained),
        "held_ms": end["held_ms"],
    }


def _move(proxy: ProxyProcess, to: str) -> list[dict[str, Any]]:
    body = json.dumps({"stage": to, "force": True, "because": "a benchmark"}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
    request = urllib.request.Request(f"{proxy.admin}/v1/stages/{TABLE}", data=body, method="PUT", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return [json.loads(line) for line in answer]
    except urllib.error.HTTPError as error:
        with error:
            return [json.load(error)]


def summary(found: Mapping[str, Any]) -> Iterator[str]:
    """A line a phase: the median, the 95th percentile and the longest."""
    flips = found["flips"]
    for name in ("ready_ms", "drain_ms", "switch_ms", "held_ms") if len(flips) > 1 else ():
        values = sorted(flip[name] for flip in flips)
        cuts = quantiles(values, n=20, method="inclusive")
        yield f"{name:10} p50 {cuts[9]:5.0f}  p95 {cuts[18]:5.0f}  longest {values[-1]:5.0f}"
    short = sum(flip["held_ms"] < 250 for flip in flips)
    not_made, lost = len(found["kept"]), found["lost"]
    yield f"{len(flips)} flips, {short} below 250 ms; {not_made} not made; {lost} writes lost or undone"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_keys")
    parser.add_argument("--flips", type=int, default=40)
    chosen = parser.parse_args()
    with Postgres() as server:
        found = hold(lambda line: print(line, file=sys.stderr, flush=True), server, chosen.flips)
    print("\n".join(summary(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
