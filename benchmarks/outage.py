"""(c) an outage of the mirror: memory while 200,000 writes go to 1,000 keys, and the time to drain when it returns."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from benchmarks import crossfade
from benchmarks.documents import put
from benchmarks.hindered import become
from benchmarks.load import result_of, steadily, steady
from benchmarks.measure import memory_mb, pin
from tests.standins.postgres import Postgres
from tests.standins.processes import free_port

_KEYS: Final = 1000
_SAMPLE_SECONDS: Final = 0.5
_DRAIN_SECONDS: Final = 120


def survive(say: Callable[[str], None], server: Postgres, writes: int) -> dict[str, Any]:
    """Memory in MB by writes answered, and how the journal drained."""
    dsn = crossfade.books(server, _KEYS)
    requests = [put(number) for number in range(_KEYS)]
    with ExitStack() as stack:
        upstream = stack.enter_context(crossfade.remembering())
        port, control = free_port(), free_port()
        stack.enter_context(crossfade.program("hindered", str(port), str(server.port), str(control)))
        running = stack.enter_context(crossfade.proxy(upstream, dsn.replace(f":{server.port}/", f":{port}/"), "shadow"))
        pid = running.child.pid
        pin(pid, 0)
        steady(crossfade.address(running), requests, count=_KEYS)
        running.settle(60)
        become(control, "dead")
        before = memory_mb(pid)
        started = time.monotonic()
        load = steadily(crossfade.address(running), requests, count=writes, connections=16)
        memory = [{"seconds": 0.0, "mb": before}]
        while load.poll() is None:
            time.sleep(_SAMPLE_SECONDS)
            memory.append({"seconds": time.monotonic() - started, "mb": memory_mb(pid)})
        done = result_of(load)
        held = running.status()["journal"]["keys"]
        become(control, "healthy")
        returned = time.monotonic()
        while (keys := running.status()["journal"]["keys"]) and time.monotonic() < returned + _DRAIN_SECONDS:
            time.sleep(0.1)
        drained = time.monotonic() - returned
        after = memory_mb(pid)
    tenth = memory[max(1, len(memory) // 10)]["mb"]
    say(
        f"{done.answered} writes in {done.seconds:.0f} s: {before:.1f} MB before, {tenth:.1f} after a tenth, "
        f"{memory[-1]['mb']:.1f} at the end; {held} keys drained in {drained:.1f} s, {keys} left"
    )
    return {
        "writes": done.answered,
        "errors": done.errors,
        "seconds": done.seconds,
        "memory": memory,
        "mb": {"before": before, "after a tenth": tenth, "at the end": memory[-1]["mb"], "drained": after},
        "keys": held,
        "drain_seconds": drained,
        "left": keys,
    }
