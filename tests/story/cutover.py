"""Part three of the demo: the flag is flipped, and flipped back, while clients write; then what they were told is held
against what is there.

The gate opens on evidence that does not depend on the machine: before the load, each client acts alone, and every call
is compared before the next one is made. Under load on few keys most writes overlap, and an overlapping write proves
nothing.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests import equality
from tests.flips.clients import TABLE, Client, idle_clients
from tests.flips.history import History, violations
from tests.flips.table import final_items, make_table
from tests.proxy_process import ProxyProcess
from tests.standins.billio import dynamodb_client
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.story import events
from tests.story.logs import ServerLogs
from tests.story.patience import PATIENT, WAIT_SECONDS

Say = Callable[[str], None]

PROXIES: Final = 2
_SEED: Final = 20261122
_PAUSE_SECONDS: Final = 0.04
_BETWEEN_SECONDS: Final = 3.0
# Rounds in which each client acts once. Twelve are more than the gate's thresholds ask for; it is asked after each of
# the later ones, because it hears of a round a moment later.
_ROUNDS: Final = 12
_MOST_ROUNDS: Final = 60
_ATTEMPTS: Final = 10
# The way there, back, and there again.
MOVES: Final = ("live", "shadow", "live")
# What a demo's minute of traffic can show: a real cutover asks for a day, and for a rate of one in a thousand.
_GATE: Final = {
    "CROSSFADE_GATE__MIN_COMPARISONS": "3",
    "CROSSFADE_GATE__MIN_PATTERN_COMPARISONS": "1",
    "CROSSFADE_GATE__MAX_MISMATCH_RATE": "0.05",
    # How long something takes says nothing here, nor how often a write gives up over conflicts: each write under load
    # meets ten others on the same few keys. What fails before the load counts (`problems`).
    "CROSSFADE_GATE__LATENCY_FLOOR_SECONDS": "3600",
    "CROSSFADE_GATE__MAX_JOURNAL_SECONDS": "3600",
    "CROSSFADE_GATE__MAX_EVIDENCE_SECONDS": "3600",
    "CROSSFADE_GATE__MAX_OCC_EXHAUSTED": "1000000000",
    "CROSSFADE_GATE__MAX_MIRROR_ERROR_RATE": "1",
}
_STAGES: Final = {
    "CROSSFADE_STAGES__TABLE": "crossfade_stages",
    "CROSSFADE_FOLLOW_TABLES": "true",
    # A move is given up when a process has no turn for so long, and a lease is lost.
    "CROSSFADE_STAGES__HOLD_SECONDS": "60",
    "CROSSFADE_STAGES__LEASE_SECONDS": "60",
    # Nothing lingers in the stand-ins for longer.
    "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "1",
    "CROSSFADE_DSQL__SETTLE_SECONDS": "1",
}


def tell(stack: contextlib.ExitStack, postgres: Postgres, gate: Dsql, logs: ServerLogs, say: Say) -> dict[str, Any]:
    """Flip under load; what came of it, for the report."""
    store = logs.of("part-three-dynamodb", stack.enter_context(Ministack()))
    dsn = postgres.create_database()
    make_table(store.endpoint)
    proxies = [_proxy(stack, store, gate.dsn(dsn.rsplit("/", 1)[1]), logs, number) for number in range(PROXIES)]
    history, end = History(), threading.Event()
    make = [lambda here=here: dynamodb_client(here.data) for here in proxies]
    company = idle_clients(make, history, _SEED, end, _PAUSE_SECONDS)
    part: dict[str, Any] = {"proxies": proxies, "moves": [], "violations": [], "disagreements": [], "told": {}}
    part["shut"] = _open_gate(proxies, company, say)
    part["failed_alone"] = [each for proxy in proxies for each in events.mirror_errors(proxy.log_file)]
    if part["shut"]:
        part["mismatches"] = [each for proxy in proxies for each in proxy.mismatches()]
        return part
    with _load(company, end):
        say(f"  {len(company)} clients write and read {TABLE!r} through {PROXIES} proxies, on few keys, all at once\n")
        for to in MOVES:
            part["moves"].append({"to": to} | _move(proxies[0], to, say))
            if not part["moves"][-1]["moved"]:
                break
            time.sleep(_BETWEEN_SECONDS)
        say(_run("history", "--admin", proxies[0].admin)[1])
    for proxy in proxies:
        proxy.settle(WAIT_SECONDS)
    counts = history.counted()
    found = violations(history.events, final_items(store.endpoint))
    unequal = equality.disagreements(store.endpoint, dsn, TABLE)
    told = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("acknowledged", "refused", "unknown"))
    say(f"  What clients were told: {told}. Lost or undone: {len(found)}. Items that differ: {len(unequal)}.")
    for sentence in [*found, *unequal][:20]:
        say(f"    {sentence}")
    return part | {
        "told": dict(counts),
        "violations": found,
        "disagreements": unequal,
        "mismatches": [each for proxy in proxies for each in proxy.mismatches()],
    }


def problems(part: dict[str, Any]) -> list[str]:
    """What is not as it must be, one sentence each."""
    found = [f"part three: {sentence}" for sentence in (*part["violations"], *part["disagreements"])]
    if part["shut"]:
        found.append(f"part three: the gate for live stayed shut: {part['shut']}")
    if part["failed_alone"]:
        count, which = len(part["failed_alone"]), events.first(part["failed_alone"])
        found.append(f"part three: the mirror failed {count} times before there was any load: {which}")
    found += [
        f"part three: the move to {move['to']} was not made, though it was asked for {move['attempts']} times: "
        f"{' '.join(line.strip() for line in move['said'])}"
        for move in part["moves"]
        if not move["moved"]
    ]
    if part["mismatches"]:
        which = events.first(events.differences(part["mismatches"]))
        found.append(f"part three: {len(part['mismatches'])} differences came to mismatch: {which}")
    return found


def _proxy(stack: contextlib.ExitStack, store: Ministack, dsql: str, logs: ServerLogs, number: int) -> ProxyProcess:
    proxy = ProxyProcess(
        dynamodb=store.endpoint, dsql=dsql, mappings=[], stage="shadow", environment=PATIENT | _GATE | _STAGES
    )
    return logs.of(f"part-three-proxy-{number + 1}", stack.enter_context(proxy))


def _open_gate(proxies: list[ProxyProcess], company: list[Client], say: Say) -> str:
    """Have every client act until the gate for `live` is open; "" then, and else why it is shut."""
    calls = 0
    why = ""
    for number in range(1, _MOST_ROUNDS + 1):
        for client in company:
            client.act()
            calls += 1
            for proxy in proxies:
                proxy.settle(WAIT_SECONDS)
        if number == _ROUNDS:
            say(f"  {len(company)} clients have acted {calls} times, one at a time. Is the whole table equal?")
            why = _sweep(proxies[0], say)
            if why:
                return why
        if number >= _ROUNDS:
            status, why = _run("stage", TABLE, "live", "--admin", proxies[0].admin, "--dry-run")
            if status == 0:
                say(f"  the gate for live is open, after {calls} calls\n")
                return ""
            time.sleep(1)
    return " ".join(line.strip() for line in why.splitlines() if not line.lstrip().startswith("ok "))


def _sweep(proxy: ProxyProcess, say: Say) -> str:
    """Compare the whole table, as the gate asks for; "" where it is equal, and else what the command said."""
    say(f"  $ crossfade verify --table {TABLE}")
    done = proxy.run("verify", "--table", TABLE, seconds=WAIT_SECONDS)
    said = done.stdout + done.stderr
    say("".join(f"    {line}\n" for line in done.stdout.splitlines()))
    return "" if done.returncode == 0 else f"crossfade verify ended with status {done.returncode}: {said}"


@contextlib.contextmanager
def _load(company: list[Client], end: threading.Event) -> Iterator[None]:
    for each in company:
        each.thread.start()
    try:
        yield
    finally:
        end.set()
        for each in company:
            each.thread.join(WAIT_SECONDS)
    for each in company:
        if each.failure is not None:
            raise each.failure


def _move(proxy: ProxyProcess, to: str, say: Say) -> dict[str, Any]:
    """Ask for a move until it is made. One that is given up leaves everything as it was, so an operator asks again; on
    a busy machine that is when a process had no turn for a second."""
    attempts = 0
    while True:
        attempts += 1
        say(f"  $ crossfade stage {TABLE} {to}")
        status, text = _run("stage", TABLE, to, "--admin", proxy.admin, "--yes")
        say("".join(f"    {line}\n" for line in text.splitlines()))
        if status == 0 or attempts == _ATTEMPTS:
            return {"moved": status == 0, "attempts": attempts, "said": text.splitlines()}
        time.sleep(1)


def _run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("crossfade")), *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    return done.returncode, done.stdout + done.stderr
