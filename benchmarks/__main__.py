"""`python -m benchmarks [--quick] [--only a,b,…] [--results FILE]`: measure, print, keep figures as JSON.

`--only` measures some parts and leaves the others as FILE has them; `--only ""` prints what FILE has. `--publish` puts
the figures into docs/performance.md.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import backfill, cost, flips, hot_keys, items, nginx, outage, scrape, tracing, waiting
from benchmarks.load import wrk_available
from benchmarks.measure import pin, stand_back
from benchmarks.plot import plot
from benchmarks.report import lines
from tests.standins.postgres import Postgres

_DOCS: Final = Path("docs")
_START: Final = "<!-- figures: written by `make bench PUBLISH=1` -->"
_END: Final = "<!-- end of figures -->"


def main() -> int:
    """The exit code of the command: 0, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="less of everything: a look, not a measurement")
    parser.add_argument(
        "--only", default="a,b,c,d,backfill,flips,hot,tracing,items,scrape", help="the parts to measure"
    )
    parser.add_argument("--results", type=Path, help="by default .crossfade/benchmarks.json, or benchmarks-quick.json")
    parser.add_argument("--publish", action="store_true", help="put the results into docs/performance.md and its plot")
    chosen = parser.parse_args()
    kept: Path = chosen.results or Path(".crossfade", "benchmarks-quick.json" if chosen.quick else "benchmarks.json")
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    parts = [part for part in chosen.only.split(",") if part]
    if parts:
        _measure(results, parts, quick=chosen.quick)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(lines(results)))
    if chosen.publish:
        _publish(results)
    return 0


def _publish(results: dict[str, Any]) -> None:
    """Replace what stands between the page's marks by these figures, and draw them."""
    page = _DOCS / "performance.md"
    before, start, rest = page.read_text(encoding="utf-8").partition(_START)
    _, end, after = rest.partition(_END)
    page.write_text("\n".join((before + start, *lines(results), end + after)), encoding="utf-8")
    (_DOCS / "performance.svg").write_text(plot(results), encoding="utf-8")


def _measure(results: dict[str, Any], parts: list[str], *, quick: bool) -> None:
    if not wrk_available():
        _say("wrk is missing (Debian: wrk): a slower load of our own takes its place, and throughputs are lower")
    if not nginx.available():
        _say("nginx is missing (Debian: nginx-light): its rows are left out, a Python server is the upstream")
    # Everything but the programs under measurement shares the other CPU.
    pin(os.getpid(), 1)
    results["machine"] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "day": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
    }
    with Postgres() as server:
        stand_back(server.child.pid)
        measures: dict[str, tuple[str, Callable[[], Any]]] = {
            "a": ("cost", lambda: cost.compare(_say, server, *((1, 1.0) if quick else (3, 2.0)))),
            "b": ("waiting", lambda: waiting.wait(_say, server, *((2, 1.0) if quick else (9, 1.5)))),
            "c": ("outage", lambda: outage.survive(_say, server, 10_000 if quick else 200_000)),
            "d": ("growth", lambda: cost.grow(_say, server, *((1, 1.0) if quick else (3, 2.0)), quick=quick)),
            "tracing": ("tracing", lambda: tracing.trace(_say, server, *((1, 1.0) if quick else (3, 2.0)))),
            "items": (
                "items",
                lambda: items.combine(_say, server, *((10_000, 1, 1.0) if quick else (100_000, 3, 3.0))),
            ),
            "flips": ("flips", lambda: flips.hold(_say, server, 4 if quick else 20)),
            "hot": ("hot_keys", lambda: hot_keys.hold(_say, server, 8 if quick else 40)),
            "scrape": ("scrape", lambda: scrape.scrape(_say, 1_000 if quick else 10_000, 5 if quick else 50)),
            "backfill": ("backfill", lambda: backfill.compare(_say, *((20_000, 1) if quick else (200_000, 2)))),
        }
        for part in parts:
            name, measure = measures[part]
            results[name] = measure()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
