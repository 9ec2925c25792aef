"""Part three of the demo: the flag is flipped, and flipped back, while clients write; then what they were told is held
against what is there.
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
from tests.flips.clients import TABLE, clients
from tests.flips.history import History, violations
from tests.flips.table import final_items, make_table
from tests.proxy_process import ProxyProcess
from tests.standins.billio import dynamodb_client
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

Say = Callable[[str], None]

PROXIES: Final = 2
_SEED: Final = 20261122
_PAUSE_SECONDS: Final = 0.04
_BETWEEN_SECONDS: Final = 3.0
_GATE_SECONDS: Final = 90.0
# The way there, back, and there again.
MOVES: Final = ("live", "shadow", "live")
# What a demo's minute of traffic can show: a real cutover asks for a day, and for a rate of one in a thousand.
GATE: Final = {
    "CROSSFADE_GATE__MIN_COMPARISONS": "3",
    "CROSSFADE_GATE__MIN_PATTERN_COMPARISONS": "1",
    "CROSSFADE_GATE__MAX_MISMATCH_RATE": "0.05",
    "CROSSFADE_GATE__MAX_LATENCY_FACTOR": "50",
    "CROSSFADE_GATE__MAX_JOURNAL_SECONDS": "30",
    "CROSSFADE_GATE__MAX_EVIDENCE_SECONDS": "60",
}


def tell(stack: contextlib.ExitStack, postgres: Postgres, gate: Dsql, say: Say) -> dict[str, Any]:
    """Flip under load; what came of it, for the report."""
    store = stack.enter_context(Ministack())
    dsn = postgres.create_database()
    make_table(store.endpoint)
    proxies = [
        stack.enter_context(
            ProxyProcess(
                dynamodb=store.endpoint,
                dsql=gate.dsn(dsn.rsplit("/", 1)[1]),
                mappings=[],
                stage="shadow",
                environment=GATE | {"CROSSFADE_STAGES__TABLE": "crossfade_stages", "CROSSFADE_FOLLOW_TABLES": "true"},
            )
        )
        for _ in range(PROXIES)
    ]
    history = History()
    moves: list[dict[str, Any]] = []
    with _load(proxies, history) as said:
        say(f"  {said} clients write and read {TABLE!r} through {PROXIES} proxies, on few keys, without a pause\n")
        waited = _gate_opens(proxies[0])
        say(f"  the gate for live is open after {waited:.0f} s of traffic\n")
        for to in MOVES:
            moves.append({"to": to} | _move(proxies[0], to, say))
            time.sleep(_BETWEEN_SECONDS)
        say(_run("history", "--admin", proxies[0].admin)[1])
    for proxy in proxies:
        proxy.settle(120)
    final = final_items(store.endpoint)
    counts = history.counted()
    found = violations(history.events, final)
    unequal = equality.disagreements(store.endpoint, dsn, TABLE)
    told = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("acknowledged", "refused", "unknown"))
    say(f"  What clients were told: {told}. Lost or undone: {len(found)}. Items that differ: {len(unequal)}.")
    for sentence in [*found, *unequal][:20]:
        say(f"    {sentence}")
    return {
        "moves": moves,
        "told": dict(counts),
        "violations": found,
        "disagreements": unequal,
        "mismatches": [each for proxy in proxies for each in proxy.mismatches()],
        "proxies": proxies,
    }


def problems(part: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    found = [f"part three: {sentence}" for sentence in (*part["violations"], *part["disagreements"])]
    found += [f"part three: the move to {move['to']} was not made" for move in part["moves"] if not move["moved"]]
    if part["mismatches"]:
        found.append(f"part three: {len(part['mismatches'])} differences came to mismatch")
    return found


@contextlib.contextmanager
def _load(proxies: list[ProxyProcess], history: History) -> Iterator[int]:
    end = threading.Event()
    make = [lambda here=here: dynamodb_client(here.data) for here in proxies]
    company = clients(make, history, _SEED, end, _PAUSE_SECONDS)
    try:
        yield len(company)
    finally:
        end.set()
        for each in company:
            each.thread.join(60)
    for each in company:
        if each.failure is not None:
            raise each.failure


def _gate_opens(proxy: ProxyProcess) -> float:
    """Wait until nothing stands between the table and `live`; how long that took. Goes on when it takes too long: the
    move then says why."""
    began = time.monotonic()
    while time.monotonic() - began < _GATE_SECONDS:
        if _run("stage", TABLE, "live", "--admin", proxy.admin, "--dry-run")[0] == 0:
            break
        time.sleep(2)
    return time.monotonic() - began


def _move(proxy: ProxyProcess, to: str, say: Say) -> dict[str, Any]:
    asked = ["stage", TABLE, to, "--admin", proxy.admin, "--yes"]
    say(f"  $ crossfade stage {TABLE} {to}")
    status, text = _run(*asked)
    say("".join(f"    {line}\n" for line in text.splitlines()))
    return {"moved": status == 0, "said": text.splitlines()}


def _run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("crossfade")), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr
