"""Where a request's CPU time goes: `python -m benchmarks.profile STAGE OPERATION [SECONDS]`, by py-spy.

Prints the functions that most time was spent in themselves, then those that most was spent in or below. py-spy stops
the program to look at it: shares are right, and throughput is not.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks import cost, crossfade
from benchmarks.load import saturate
from benchmarks.measure import pin, stand_back
from tests.standins.postgres import Postgres

_SHOWN: Final = 40
_RATE: Final = 300


def main(stage: str, action: str, seconds: int) -> None:
    pin(os.getpid(), 1)
    requests = cost.requests()[action]
    with Postgres() as server, ExitStack() as stack:
        stand_back(server.child.pid)
        dsn = crossfade.books(server, cost.BOOKS[action])
        upstream = stack.enter_context(cost.upstream_of(action))
        running = stack.enter_context(crossfade.proxy(upstream, dsn, stage))
        pin(running.child.pid, 0)
        address = crossfade.address(running)
        saturate(address, requests, 1)
        with tempfile.NamedTemporaryFile(prefix="crossfade-profile-") as file:
            command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(running.child.pid)]
            command += ["--duration", str(seconds), "--rate", str(_RATE), "--format", "raw", "--output", file.name]
            spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            saturate(address, requests, seconds + 1)
            spy.wait()
            _print(Path(file.name).read_text())


def _print(stacks: str) -> None:
    """`stacks`: a line each, frames from the outermost in with `;` between, then how often it was seen."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, seen = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] + ")" if ":" in frame else frame for frame in stack.split(";")]
        if "main (proxy/cli/main.py)" not in frames:
            continue  # idle threads
        own[frames[-1]] += int(seen)
        for frame in set(frames):
            within[frame] += int(seen)
    whole = max(1, own.total())
    for title, counts in (("in itself", own), ("in it and below", within)):
        print(f"\n% {title}")
        for frame, times in counts.most_common(_SHOWN):
            print(f"{times / whole * 100:5.1f} {frame}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 8)
