"""The whole size: `python -m tests.verdicts` counts 100,000 comparisons and 1,000 corruptions, and writes the matrix.

    --comparisons N   under heavy writes (100,000)
    --planted N       corruptions (1,000)
    --write PATH      the page to write (docs/verdicts.md)

Ends with 1 if a mismatch was false, a corruption missed, any other verdict wrong, or a fault not found by some story.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

from tests.simulation.process import Silence
from tests.verdicts import scenes
from tests.verdicts.bugs import BUGS, Bug, Caught, story
from tests.verdicts.matrix import PLANTED, Matrix

Scene = Callable[[int, Path], Matrix]

_BATCH = 8
_CALLS = 5_000
_POSITION = re.compile(r"\[\d+\]")
_PAGE = """# Verdicts, against the truth

A `mismatch` must be one, and every disagreement must be called one. This page counts both, on comparisons whose truth
is known. It is generated; do not edit it:

    {command}

{comparisons:,} comparisons in {seconds:.0f} s on {cores} cores: **{false} false `mismatch`** under heavy writes, and
**{missed} of {planted:,} planted corruptions missed**. (Where the processes do not ask each other, {alone_false} of
{alone:,} comparisons under heavy writes are called a `mismatch` and are none.)

## What was so, and what was said

The layer is the real one (`proxy/shadow`, its journal on SQLite, DynamoDB's semantics), in two or three processes over
two stores in memory, under a virtual clock where a seed decides who runs next. Clients write and read few keys with few
values, so that writes meet, cancel each other out and repeat. DynamoDB answers old by up to half a second, its indexes
by up to four; in one world of five, calls to either store are refused, lost, cut after they took effect, or take effect
seconds later. The truth is worked out beside the layer, from what each request met (`tests/verdicts/scenes.py`).

{table}

"Written by others" counts every comparison during which another request wrote one of its keys (of a page: any key of
the table), in any process: there `agreed`, `racing` and `lagging` are all true to say. Corruptions are planted in rows
at rest, while others of the table are written, and one read is made that shows them.

## Faults of meaning

Each of these was planted in the mirror's executor alone; an ordinary story (two processes, eight items, three calls a
second) came upon it. "Found" says in how many of {seeds} stories of at most {calls:,} calls; "calls" is the median of
those. What a fault makes differ while others write the same key is `racing`, and is not counted as found.

{bugs}
"""


def main() -> int:
    options = _options()
    started = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count(), initializer=_quiet) as workers:

        def run(scene: str, wanted: int) -> Matrix:
            return _until(wanted, lambda numbers: workers.map(partial(_scene, scene), numbers))

        matrix = run("at_rest", 500)
        matrix.merge(run("planted", options.planted))
        matrix.merge(run("heavy", options.comparisons))
        unasked = run("heavy_unasked", options.comparisons // 20)
        seeds = range(5)
        caught = {
            bug.name: list(workers.map(partial(_story, number), seeds, [_CALLS] * len(seeds)))
            for number, bug in enumerate(BUGS)
        }
    for line in matrix.wrong[:20]:
        print(line)
    for name, found in caught.items():
        if None in found:
            print(f"not found by every story: {name}")
    text = _PAGE.format(
        command="make verdicts",
        comparisons=matrix.total,
        seconds=time.monotonic() - started,
        cores=os.cpu_count(),
        false=matrix.false_mismatches,
        missed=matrix.missed,
        planted=matrix.of(PLANTED),
        alone=unasked.total,
        alone_false=unasked.false_mismatches,
        table=matrix.table(),
        seeds=len(seeds),
        calls=_CALLS,
        bugs=_bugs(caught),
    )
    options.write.write_text(text, "utf-8")
    print(matrix.table())
    return 1 if matrix.wrong or any(None in found for found in caught.values()) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.verdicts")
    parser.add_argument("--comparisons", type=int, default=100_000)
    parser.add_argument("--planted", type=int, default=1_000)
    parser.add_argument("--write", type=Path, default=Path("docs/verdicts.md"))
    return parser.parse_args()


def _until(wanted: int, run: Callable[[Iterable[int]], Iterable[Matrix]]) -> Matrix:
    """Worlds, one seed after another, until there are so many comparisons."""
    matrix = Matrix()
    for first in count(0, _BATCH):
        for each in run(range(first, first + _BATCH)):
            matrix.merge(each)
        print(f"{matrix.total:>9,} of {wanted:,}", file=sys.stderr)
        if matrix.total >= wanted:
            return matrix
    raise AssertionError("seeds do not end")


def _quiet() -> None:
    Silence().__enter__()


def _scene(name: str, seed: int) -> Matrix:
    scene: Scene = getattr(scenes, name)
    with tempfile.TemporaryDirectory() as folder:
        return scene(seed, Path(folder))


def _story(number: int, seed: int, calls: int) -> Caught | None:
    bug: Bug = BUGS[number]
    with tempfile.TemporaryDirectory() as folder:
        return story(bug, Path(folder), seed, calls)


def _bugs(caught: dict[str, list[Caught | None]]) -> str:
    rows = ["| fault | found | calls | first seen in, as |", "| --- | ---: | ---: | --- |"]
    for name, each in caught.items():
        found = sorted((one for one in each if one is not None), key=lambda one: one.calls)
        if not found:
            rows.append(f"| {name} | 0 of {len(each)} | | |")
            continue
        middle = found[len(found) // 2]
        places = dict.fromkeys(_POSITION.sub("[…]", f"{one.action} ({one.where})") for one in found)
        rows.append(f"| {name} | {len(found)} of {len(each)} | {middle.calls} | {', '.join(places)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
