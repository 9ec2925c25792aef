"""(b) what a client waits: in `off`, and in `shadow` with the mirror healthy, slowed to a second, hung, and dead; then
in `live`, where the mirror is DynamoDB, the same four.

At half the rate that is answered with a healthy mirror, four reads to a write, over 1,000 keys. Every state has a proxy
of its own. In `off` the same rate is sent. Rounds are short and many, each in an order of its own: what else the
machine does falls on all states alike, and the median of the rounds' percentiles does not hang on one that was
disturbed. No round and no request is left out. Beside them stands how late the load itself was, and for how long the
proxy wanted a CPU that others had: what is not above those is not the proxy's doing.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from benchmarks import crossfade
from benchmarks.documents import Request, get, put
from benchmarks.hindered import become
from benchmarks.load import steady
from benchmarks.measure import pin, spread, stand_back, waited_seconds
from tests.proxy_process import ProxyProcess
from tests.standins.postgres import Postgres
from tests.standins.processes import free_port

STATES: Final = ("off", "healthy", "slow", "hung", "dead")
FIGURES: Final = ("p50", "p99", "p999", "late", "waited")
_KEYS: Final = 1000
_WARM_SECONDS: Final = 2.0
_MOST_SECONDS: Final = 3.0
_REST_SECONDS: Final = 5.0
_CONNECTIONS: Final = 32
_LINE: Final = {"healthy": "healthy", "slow": "slow 1.0", "hung": "hung", "dead": "dead"}


def wait(say: Callable[[str], None], server: Postgres, rounds: int, seconds: float) -> dict[str, Any]:
    """State → p50, p99, p999 in milliseconds over the rounds; and the rate; for `shadow`, and under `live` for that.

    `late` is the load's own worst lateness in a round, in milliseconds, and `waited` for how many milliseconds of each
    second the proxy wanted a CPU.
    """
    found = _wait(say, server, rounds, seconds, "shadow")
    # Under `live` PostgreSQL is what a client waits for, and must not stand back as the mirror does.
    with Postgres() as authority:
        return found | {"live": _wait(say, authority, rounds, seconds, "live")}


def _wait(say: Callable[[str], None], server: Postgres, rounds: int, seconds: float, stage: str) -> dict[str, Any]:
    dsn = crossfade.books(server, _KEYS)
    requests = [put(number) if number % 5 == 0 else get(number) for number in range(_KEYS)]
    with ExitStack() as stack:
        upstream = stack.enter_context(crossfade.remembering())
        proxies = {}
        for state in STATES:
            port, control = free_port(), free_port()
            # The relay stands before the mirror: DSQL in `shadow`, DynamoDB in `live`.
            mirror = upstream.rpartition(":")[2] if stage == "live" else str(server.port)
            relay = stack.enter_context(crossfade.program("hindered", str(port), mirror, str(control)))
            stand_back(relay.pid)
            dynamodb = f"127.0.0.1:{port}" if stage == "live" else upstream
            dsql = dsn if stage == "live" else dsn.replace(f":{server.port}/", f":{port}/")
            at = "off" if state == "off" else stage
            proxies[state] = stack.enter_context(crossfade.proxy(dynamodb, dsql, at))
            pin(proxies[state].child.pid, 0)
            steady(crossfade.address(proxies[state]), requests, count=200)
            if state != "off":
                become(control, _LINE[state])
        rate = _most(proxies["healthy"], requests) / 2
        say(f"half of what {stage} answers, four reads to a write: {rate:.0f} /s")
        for state in STATES:
            # The breaker has opened, or the rows are in the caches, before anything is counted.
            steady(crossfade.address(proxies[state]), requests, rate=rate, seconds=_WARM_SECONDS)
        found: dict[str, list[dict[str, float]]] = {state: [] for state in STATES}
        errors = dict.fromkeys(STATES, 0)
        order = random.Random(rounds)  # the same each time
        for _ in range(rounds):
            for state in order.sample(STATES, len(STATES)):
                pid = proxies[state].child.pid
                waited = waited_seconds(pid)
                result = steady(
                    crossfade.address(proxies[state]), requests, rate=rate, seconds=seconds, connections=_CONNECTIONS
                )
                times = result.milliseconds | {
                    "late": result.late,
                    "waited": (waited_seconds(pid) - waited) / result.seconds * 1000,
                }
                _rest(proxies[state], state)
                found[state].append(times)
                errors[state] += result.errors
                told = "  ".join(f"{name} {times[name]:7.2f}" for name in FIGURES)
                say(f"{state:>12} {told}  most {times['most']:7.2f}")
        for state in ("slow", "hung", "dead"):
            proxies[state].kill()  # there is nothing to wait for
    return {
        "rate": rate,
        "states": {
            state: {name: spread([one[name] for one in found[state]]) for name in FIGURES} | {"errors": errors[state]}
            for state in STATES
        },
    }


def _rest(running: ProxyProcess, state: str) -> None:
    """What a proxy leaves behind would be the next one's to bear: they share a CPU. Keys of a mirror that is not well
    stay in the journal, and cost next to nothing there."""
    if state == "healthy":
        running.settle(60)
        return
    until = time.monotonic() + _REST_SECONDS
    while running.status()["behind"] and time.monotonic() < until:
        time.sleep(0.05)


def _most(running: ProxyProcess, requests: Sequence[Request]) -> float:
    """Requests a second that a proxy answers. What is left behind the answers is not waited for: here the mirror has
    what the load leaves of one CPU, and would be what is measured."""
    # Few connections: with many, the loop falls behind and comparisons are shed.
    started = time.perf_counter()
    result = steady(crossfade.address(running), requests, seconds=_MOST_SECONDS, connections=8)
    rate = result.answered / (time.perf_counter() - started)
    running.settle(60)
    return rate
