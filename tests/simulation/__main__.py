"""`python -m tests.simulation SEED` tells what happened in one simulation, `… FIRST LAST` runs many."""

import sys
import time
from collections import Counter

from tests.simulation.process import Silence
from tests.simulation.story import tell
from tests.simulation.world import simulate

seeds = [int(text) for text in sys.argv[1:]]
with Silence() as silence:
    if len(seeds) == 1:
        print(simulate(tell(seeds[0]), silence))
    else:
        started, verdicts, failed = time.perf_counter(), Counter[str](), 0
        for seed in range(*seeds):
            report = simulate(tell(seed), silence)
            verdicts += report.verdicts
            if report.violated:
                failed += 1
                if failed <= 12:
                    print(seed, report.violated.strip().splitlines()[0])
        seconds = time.perf_counter() - started
        print(f"{seeds[1] - seeds[0]} in {seconds:.1f} s, {failed} violated; {dict(verdicts)}")
