"""`python -m benchmarks [--quick] [--only a,b,c,d] [--out FILE]`: measure, print, keep the figures as JSON."""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from benchmarks import cost
from benchmarks.measure import pin
from tests.standins.postgres import Postgres


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="a,b,c,d")
    parser.add_argument("--out", type=Path, default=Path(".crossfade/bench.json"))
    chosen = parser.parse_args()
    pin(os.getpid(), 1)
    with Postgres() as server:
        r = cost.compare(print, server, 1 if chosen.quick else 3, 2 if chosen.quick else 4)
    print(json.dumps(r, indent=1))


main()
