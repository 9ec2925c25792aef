"""The soak: `python -m tests.faults.soak --minutes 30`. Mixed load through a real proxy, with faults by a seed on both
sides, while its memory, files, tasks, journal and latency are sampled every second.

It ends with status 1 if the stores are not equal in the end, a comparison was a false mismatch, a client got anything
but an answer of DynamoDB's, or something grew that must not. The graph is `soak_graph`'s.
"""

import argparse
import itertools
import json
import platform
import random
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.faults.fault_proxy import NONE, Fault, FaultProxy
from tests.faults.soak_graph import graph
from tests.faults.under_fault import DECIDED, RETRYABLE, own_faults, recovered, story, tell
from tests.integration.scenes import Scene, scene
from tests.standins.billio import billio_table
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK

WORKERS = 4
STORIES = 40  # so many sets of keys: the stores must not grow, or their slowness would be measured
HEALTHY_END = 0.15  # the last part of the run has no faults
GROWTH_MB = 30.0
GROWTH_FILES = 40
GROWTH_TASKS = 20
# What DynamoDB answers to transactions that meet; several workers tell the same story.
MEETING = {"TransactionConflictException", "TransactionInProgressException"}
ENVIRONMENT = {
    "CROSSFADE_DYNAMODB__TIMEOUT_SECONDS": "2",
    "CROSSFADE_DYNAMODB__CONNECT_TIMEOUT_SECONDS": "1",
    "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "3",
    "CROSSFADE_DSQL__TIMEOUT_SECONDS": "1",
    "CROSSFADE_DSQL__SETTLE_SECONDS": "3",
    "CROSSFADE_MIRROR__REHEARSE_TIMEOUT_SECONDS": "1",
    "CROSSFADE_MIRROR__BREAKER__RESET_SECONDS": "1",
    "CROSSFADE_MIRROR__ALONE": "true",
}
FAULTS: dict[str, tuple[Fault, Fault]] = {
    "slow": (Fault(jitter=0.1), Fault(delay=0.05, jitter=0.1)),
    "too late": (NONE, Fault(delay=2.5)),
    "cut": (NONE, Fault(after=200, end="cut")),
    "request cut": (Fault(after=300, end="cut"), NONE),
    "reset": (NONE, Fault(after=500, end="reset")),
    "half-open": (NONE, Fault(after=900, end="half_open")),
    "requests swallowed": (Fault(end="swallow"), NONE),
    "answers swallowed": (NONE, Fault(end="swallow")),
    "dripping": (NONE, Fault(piece=8, delay=0.01)),
}


@dataclass(slots=True)
class Load:
    """What the workers were answered, second by second."""

    seconds: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, code: str, seconds: float) -> None:
        with self.lock:
            self.seconds.append(seconds)
            self.codes[code] += 1

    def taken(self) -> tuple[list[float], Counter[str]]:
        """What came since the last time this was asked."""
        with self.lock:
            seconds, codes = sorted(self.seconds), Counter(self.codes)
            self.seconds.clear()
            self.codes.clear()
        return seconds, codes


def work(here: Scene, load: Load, stopping: threading.Event, number: int, pause: float) -> None:
    client = here.client()
    for turn in itertools.count(number):
        for call in story(turn % STORIES, 12):
            if stopping.is_set():
                return
            (answer,) = tell(client, [call])
            load.note(answer.code, answer.seconds)
            time.sleep(pause)


def trouble(sides: dict[str, FaultProxy], seconds: float, seed: int, now: dict[str, str]) -> None:
    """Faults by a seed, one or two at a time, healthy in between, and a healthy end."""
    dice = random.Random(seed)
    end = time.monotonic() + seconds * (1 - HEALTHY_END)
    while time.monotonic() < end:
        time.sleep(dice.uniform(3, 8))
        for side in dice.sample(sorted(sides), dice.choice((1, 1, 2))):
            name = dice.choice([*FAULTS, "refused"])
            now[side] = name
            if name == "refused":
                sides[side].refuse()
            else:
                up, down = FAULTS[name]
                sides[side].fault(up=up, down=down)
        time.sleep(dice.uniform(1, 5))
        for side in sides:
            sides[side].clear()
            now[side] = ""


def sample(here: Scene, process: psutil.Process, load: Load, now: dict[str, str], began: float) -> dict[str, Any]:
    seconds, codes = load.taken()
    metrics = here.proxy.metrics()
    retried = sum(codes[code] for code in RETRYABLE)
    return {
        "second": round(time.monotonic() - began, 1),
        "rss_mb": round(process.memory_info().rss / 2**20, 2),
        "files": process.num_fds(),
        "tasks": int(metrics["crossfade_tasks"][0][1]),
        "journal": int(metrics["crossfade_journal_keys"][0][1]),
        "answers": len(seconds),
        "to_retry": retried,
        "p50_ms": round(1000 * seconds[len(seconds) // 2], 2) if seconds else None,
        "p99_ms": round(1000 * seconds[int(len(seconds) * 0.99)], 2) if seconds else None,
        "faults": {side: name for side, name in now.items() if name},
        "codes": dict(codes),
    }


def soak(minutes: float, seed: int, pause: float) -> dict[str, Any]:
    """Run it; gives samples and what was wrong in the end."""
    wrong: list[str] = []
    samples: list[dict[str, Any]] = []
    with (
        Ministack() as ministack,
        Postgres(settings={"synchronous_commit": "on"}) as postgres,
        FaultProxy(ministack.port, seed=seed) as before_dynamodb,
        FaultProxy(postgres.port, seed=seed) as before_dsql,
    ):
        billio_table(ministack.endpoint)
        rows = postgres.create_database()
        dsn = rows.replace(str(postgres.port), str(before_dsql.port))
        endpoint = f"http://{LOOPBACK}:{before_dynamodb.port}"
        with scene(endpoint, dsn, rows=rows, environment=ENVIRONMENT) as through:
            here = Scene(through.proxy, ministack.endpoint, rows)
            process = psutil.Process(here.proxy.child.pid)
            load, stopping, now = Load(), threading.Event(), dict.fromkeys(("dynamodb", "dsql"), "")
            began = time.monotonic()
            with ThreadPoolExecutor(WORKERS + 1) as pool:
                running = [pool.submit(work, here, load, stopping, number, pause) for number in range(WORKERS)]
                sides = {"dynamodb": before_dynamodb, "dsql": before_dsql}
                running.append(pool.submit(trouble, sides, minutes * 60, seed, now))
                try:
                    while time.monotonic() - began < minutes * 60:
                        time.sleep(1)
                        samples.append(sample(here, process, load, now, began))
                finally:
                    stopping.set()
                for future in running:
                    future.result(60)
            try:
                recovered(here)
            except (AssertionError, RuntimeError) as error:
                wrong.append(str(error)[:2000])
            wrong += own_faults(here)[:5]
            verdicts = here.verdicts()
            kinds = here.proxy.metrics()
            shed = sum(value for _, value in kinds.get("crossfade_shed_total", ()))
    wrong += judged(samples)
    total: Counter[str] = Counter()
    for each in samples:
        total.update(each["codes"])
    return {
        "minutes": minutes,
        "seed": seed,
        "machine": f"{platform.machine()}, {psutil.cpu_count()} CPUs, Python {platform.python_version()}",
        "answers": dict(total),
        "verdicts": verdicts,
        "shed": shed,
        "wrong": wrong,
        "samples": samples,
    }


def judged(samples: list[dict[str, Any]]) -> list[str]:
    """What grew, and what clients should not have been answered."""
    wrong = []
    answered = set().union(*(each["codes"] for each in samples))
    if strange := answered - DECIDED - RETRYABLE - MEETING:
        wrong.append(f"clients were answered {sorted(strange)}")
    # Compare quarters: the first holds what warms up, the last is the one that a leak would raise.
    quarter = max(1, len(samples) // 4)
    for name, most in (("rss_mb", GROWTH_MB), ("files", GROWTH_FILES), ("tasks", GROWTH_TASKS)):
        second = statistics.median(each[name] for each in samples[quarter : 2 * quarter])
        last = statistics.median(each[name] for each in samples[-quarter:])
        if last - second > most:
            wrong.append(f"{name} grew from {second} to {last}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between two calls of a worker")
    parser.add_argument("--out", type=Path, default=Path(".cache/soak"), help="folder for soak.json and soak.svg")
    parser.add_argument("--graph", type=Path, help="where else the graph goes")
    chosen = parser.parse_args()
    print(f"soak: {chosen.minutes:g} minutes, seed {chosen.seed}", flush=True)
    found = soak(chosen.minutes, chosen.seed, chosen.pause)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "soak.json").write_text(json.dumps(found, indent=1), "utf-8")
    for place in filter(None, (chosen.out / "soak.svg", chosen.graph)):
        place.write_text(graph(found), "utf-8")
    print({name: value for name, value in found.items() if name != "samples"})
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
