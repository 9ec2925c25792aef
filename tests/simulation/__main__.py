"""Simulations from the command line.

`python -m tests.simulation SEED` tells what happened in one, `… FIRST LAST` runs many, `… --minutes 10` as many as fit,
from `--first` on (the time of day in seconds, if it is not given, so that no run repeats another's). Ends with what was
run, and with 1 if a story ended badly.
"""

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.simulation.process import Silence
from tests.simulation.story import tell
from tests.simulation.world import simulate

_PROGRESS_SECONDS = 15
_TOLD = 12


def main() -> int:
    """0 if every story ended well."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", type=int, nargs="*", metavar="SEED", help="one seed, or the first and the last")
    parser.add_argument("--minutes", type=float, help="as many seeds as fit into this time")
    parser.add_argument("--first", type=int, help="the first seed of --minutes")
    asked = parser.parse_args()
    if asked.minutes is not None:
        first = int(time.time()) if asked.first is None else asked.first
        return many(_until(first, 60 * asked.minutes))
    if len(asked.seeds) == 2:
        return many(range(*asked.seeds))
    if len(asked.seeds) != 1:
        parser.error("give one seed, the first and the last, or --minutes")
    with Silence() as silence:
        report = simulate(tell(asked.seeds[0]), silence)
    print(report)
    return 1 if report.violated else 0


def many(seeds: Iterable[int]) -> int:
    """Run them all, and say now and then how far it is."""
    started, verdicts, failed, number, first, last = time.perf_counter(), Counter[str](), 0, 0, 0, 0
    told = started
    with Silence() as silence:
        for last in seeds:
            first = first if number else last
            report = simulate(tell(last), silence)
            number += 1
            verdicts += report.verdicts
            if report.violated:
                failed += 1
                if failed <= _TOLD:
                    print(f"seed {last}: {report.violated.strip().splitlines()[0]}", flush=True)
            if (now := time.perf_counter()) - told >= _PROGRESS_SECONDS:
                told = now
                print(f"{now - started:5.0f} s: {number:,} stories, {failed} ended badly", flush=True)
    seconds = time.perf_counter() - started
    counted = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(verdicts.items()))
    print(f"{number:,} stories in {seconds:.1f} s, seeds {first} to {last}, {failed} ended badly; verdicts: {counted}")
    if failed:
        print("one of them in full: python -m tests.simulation SEED")
    return 1 if failed else 0


def _until(first: int, seconds: float) -> Iterator[int]:
    end = time.monotonic() + seconds
    return itertools.takewhile(lambda _: time.monotonic() < end, itertools.count(first))


if __name__ == "__main__":
    sys.exit(main())
