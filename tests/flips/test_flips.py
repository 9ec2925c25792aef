"""Three proxies behind a round-robin, writers on few keys, flips to `live` and back; meanwhile one proxy after another
is killed and started again, or stopped for longer than its lease. What was acknowledged must be there.

`FLIPS` of them (`make flips`: 20). `FLIP_SEED` replays one: it fixes the choices, but what happens when depends on the
machine.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import equality
from tests.flips.clients import TABLE, clients
from tests.flips.history import Event, History, violations
from tests.flips.table import final_items, make_table
from tests.integration.scenes import Scene, scene, swept

PROXIES = 3
FLIPS = int(os.environ.get("FLIPS", "4"))
SEED = int(os.environ.get("FLIP_SEED", "1"))
LEASE_SECONDS = 2.0
PAUSE_SECONDS = 0.03
SECONDS_A_FLIP = 60.0

SETTINGS = {
    "CROSSFADE_STAGES__TABLE": "crossfade_stages",
    "CROSSFADE_STAGES__LEASE_SECONDS": str(LEASE_SECONDS),
    "CROSSFADE_STAGES__POLL_SECONDS": "0.2",
    "CROSSFADE_STAGES__HOLD_SECONDS": "2",
    "CROSSFADE_FOLLOW_TABLES": "true",
    # What a killed proxy had sent must have landed when the next one looks, on a busy machine too.
    "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "1",
    "CROSSFADE_DSQL__SETTLE_SECONDS": "1",
    "CROSSFADE_SHUTDOWN__CONVERGE_SECONDS": "5",
}


@dataclass
class Moves:
    """What became of each move."""

    moved: list[float] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def move(admin: str, to: str) -> tuple[int, dict[str, Any]]:
    """Ask a proxy to move the table; its answer, whatever it is."""
    body = json.dumps({"stage": to, "force": True, "because": "a test"}).encode()
    request = urllib.request.Request(
        f"{admin}/v1/stages/{TABLE}", data=body, method="PUT", headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@contextmanager
def cluster(dynamodb: str, database: str, dsql: str) -> Iterator[list[Scene]]:
    make_table(dynamodb)
    swept(dsql, TABLE)
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                scene(dynamodb, dsql, rows=database, stage="shadow", billio=False, environment=SETTINGS)
            )
            for _ in range(PROXIES)
        ]


def trouble(proxies: list[Scene], dice: random.Random, stop: threading.Event) -> None:
    """One proxy at a time is killed and comes back, or stands still for longer than its lease."""
    while not stop.wait(dice.uniform(0.3, 1.5)):
        proxy = dice.choice(proxies).proxy
        if dice.random() < 0.6:
            proxy.kill()
            time.sleep(dice.uniform(0, 1))
            proxy.restart(ready=False)
        else:
            os.kill(proxy.child.pid, signal.SIGSTOP)
            time.sleep(LEASE_SECONDS * dice.uniform(0.2, 2))
            os.kill(proxy.child.pid, signal.SIGCONT)


def flip(proxies: list[Scene], dice: random.Random, moves: Moves) -> None:
    """Until there were enough, through any proxy that answers; for a bounded time."""
    stage, deadline = "shadow", time.monotonic() + SECONDS_A_FLIP * FLIPS
    while len(moves.moved) < FLIPS and time.monotonic() < deadline:
        to = "live" if stage == "shadow" else "shadow"
        try:
            status, answer = move(dice.choice(proxies).proxy.admin, to)
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.3)  # its proxy was killed meanwhile: whether it was moved, the next one tells
            continue
        if status == 200 and answer["outcome"] == "moved":
            moves.moved.append(answer.get("held_ms") or 0.0)
            stage = to
        elif status == 200:
            stage = to  # it stands there already: a driver that died had been carried on
        else:
            moves.kept.append(str(answer.get("detail", answer)))
            time.sleep(0.3)


def test_no_acknowledged_write_is_lost(dynamodb: str, database: str, dsql_database: str) -> None:
    print(f"seed {SEED}")
    history, moves = History(), Moves()
    calm, end = threading.Event(), threading.Event()
    with cluster(dynamodb, database, dsql_database) as proxies:
        make = [lambda here=here: here.client(seconds=8) for here in proxies]
        company = clients(make, history, SEED, end, PAUSE_SECONDS)
        chaos = threading.Thread(target=trouble, args=(proxies, random.Random(f"{SEED} trouble"), calm), daemon=True)
        chaos.start()
        try:
            flip(proxies, random.Random(f"{SEED} flips"), moves)
        finally:
            calm.set()
            chaos.join(300)
            end.set()
            for each in company:
                each.thread.join(300)
        assert not chaos.is_alive()
        assert [each.failure for each in company if each.failure is not None] == []
        for here in proxies:
            here.proxy.settle(300)
        found = violations(history.events, final_items(dynamodb))
        print(f"{len(moves.moved)} flips held writes {sorted(moves.moved)} ms; {history.counted()}; kept: {moves.kept}")
        assert found == []
        assert equality.disagreements(dynamodb, database, TABLE) == []
        assert len(moves.moved) == FLIPS
        verdicts = [here.verdicts().get("mismatch", 0) for here in proxies]
        assert sum(verdicts) == 0


def event(kind: str, key: str, value: Any, result: Any = "acknowledged", at: float = 0.0) -> Event:
    return Event("someone", kind, key, value, result, at, at + 0.5)


@pytest.mark.parametrize(
    ("events", "final", "told"),
    [
        ([event("add", "set-0", "a")], {}, "set-0: a was acknowledged and is lost"),
        ([event("add", "set-0", "a", "refused")], {"set-0": {"seen": ["a"]}}, "set-0: a is there and nobody asked"),
        ([event("count", "counter-1", 1)] * 3, {"counter-1": {"n": "2"}}, "counter-1: 3 increments"),
        ([event("count", "counter-1", 1)], {"counter-1": {"n": "2"}}, "counter-1: 1 increments"),
        ([event("count", "left-0", 1)], {"left-0": {"n": "1"}}, "in part: left-0 is 1, right-0 is 0"),
        (
            [event("write", "register-0", 2), event("read", "register-0", 1, at=1)],
            {"register-0": {"v": "2"}},
            "register-0: someone read 1 after 2",
        ),
        (
            [event("read", "register-0", 2), event("read", "register-0", None, at=1)],
            {"register-0": {"v": "2"}},
            "register-0: someone read None after 2",
        ),
        ([event("write", "register-0", 2)], {}, "register-0: it had reached 2, and ends as 0"),
        ([event("raise", "chain-0", 1)] * 2, {"chain-0": {"v": "1"}}, "chain-0: 2 writers were told"),
        ([event("raise", "chain-0", 1)], {"chain-0": {"v": "2"}}, "chain-0: it ends as 2"),
        ([event("raise", "chain-0", 1)], {}, "chain-0: it was raised to 1, and ends as 0"),
    ],
)
def test_the_checker_sees_what_is_wrong(events: list[Event], final: dict[str, Any], told: str) -> None:
    (found,) = violations(events, final)
    assert found.startswith(told) or told in found


def test_the_checker_lets_the_unknown_be() -> None:
    events = [
        event("add", "set-0", "a", "unknown"),
        event("count", "counter-0", 1, "unknown"),
        event("count", "left-0", 1, "unknown"),
        event("raise", "chain-0", 1, "unknown"),
        event("read", "register-0", None),
        event("write", "register-0", 1, "unknown"),
    ]
    everything: dict[str, dict[str, Any]] = {
        "set-0": {"seen": ["a"]},
        "counter-0": {"n": "1"},
        "left-0": {"n": "1"},
        "right-0": {"n": "1"},
        "chain-0": {"v": "1"},
        "register-0": {"v": "1"},
    }
    assert violations(events, {}) == []
    assert violations(events, everything) == []
