"""`python -m tests.fuzz --minutes 10`: the suite's fuzzers and properties for longer than a suite may take.

For half of the time stories for the DSQL store and ministack (tests/property/test_store_as_dynamodb.py), then rounds:
anything at all on the wire (tests/faults/test_wire_fuzz*.py), and every property with examples drawn by chance, where
the suite has the same ones each time. What fails is printed as pytest prints it, with what repeats it. Ends with what
was run; with 1 if something failed.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import SEARCH

_ROOT = Path(__file__).parents[1]
_WIRE = ("tests/faults/test_wire_fuzz.py", "tests/faults/test_wire_fuzz_signed.py")
_PROPERTIES = ("tests/property", "tests/unit", "tests/items/test_checked.py")
_ROUND = 60  # random examples of each kind in one round
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-s", "--no-header", "-p", "no:cacheprovider", "-n", "0")


def main() -> int:
    """0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    started, rounds = time.monotonic(), 0
    print(f"== stories for the DSQL store and ministack, {minutes / 2:g} minutes", flush=True)
    failed = _run("tests/property/test_store_as_dynamodb.py", "-k", "test_fuzz", FUZZ_MINUTES=str(minutes / 2))
    while not failed and (not rounds or time.monotonic() - started < 60 * minutes):
        rounds += 1
        print(f"== the wire, round {rounds}: {_ROUND} random examples of each kind", flush=True)
        failed = _run(*_WIRE, FUZZ_EXAMPLES=str(_ROUND))
        print(f"== the properties, round {rounds}", flush=True)
        failed |= _run(*_PROPERTIES, "-m", "hypothesis", f"--hypothesis-profile={SEARCH}")
    spent = time.monotonic() - started
    found = "something was found" if failed else "all well"
    print(f"== {spent / 60:.1f} minutes, {rounds} rounds on the wire and of properties: {found}")
    return 1 if failed else 0


def _run(*arguments: str, **variables: str) -> bool:
    """Whether it failed. It ends by itself: each part has its own limits."""
    done = subprocess.run([*_PYTEST, *arguments], cwd=_ROOT, env=os.environ | variables, check=False)
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
