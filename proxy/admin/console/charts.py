"""Samples and latencies as the coordinates of a drawing: columns, a lane of marks, an area, and ticks.

Pure geometry, in units of the drawing: x from 0 to COLUMNS, y from 0 (top) to HEIGHT. Templates draw it, a style sheet
colours it; text is beside the drawing, so that it can be read at any size.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy import formatting as words
from proxy.admin.console.samples import EVERY_SECONDS, Latency, Sample
from proxy.admin.console.texts import ALARMING, CONCLUSIVE, VERDICTS

COLUMNS: Final = 90
HEIGHT: Final = 100.0
# The window grows with the age of the process, so that little of it is empty.
_WINDOWS: Final = (900, 1800, 3600, 7200)
COUNTS: Final = tuple(step * 10.0**power for power in range(1, 9) for step in (1, 2, 5))
AGES: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 10_800.0, 43_200.0, 86_400.0, 604_800.0)
_LEAST_SHARE: Final = 2.0
_FASTEST, _SLOWEST = 0.0005, 10.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a column: its verdict's tone, and its position."""

    tone: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class StackedBar:
    """One span of time: its pieces, from the bottom up."""

    x: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A span of time in which the stores disagreed, and how often."""

    x: int
    count: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on an axis, in percent of its length, and its label."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """One row of the chart as a table: when, and what there was."""

    at: float
    compared: int
    alarming: int
    keys: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Comparisons over time. `seconds` is how much of it is drawn, `ran` for how much of that the process ran, `top`
    what the highest column stands for, `alarmed_at` when the stores last disagreed (Unix seconds; 0: not in this time).
    """

    columns: tuple[StackedBar, ...]
    marks: tuple[Mark, ...]
    totals: Counter[str]
    top: str
    seconds: float
    ran: float
    spans: tuple[TimeBucket, ...]
    alarmed_at: float

    @property
    def all(self) -> int:
        return sum(self.totals.values())

    @property
    def telling(self) -> int:
        """How many said something: the rest were races, or the mirror did not answer."""
        return sum(self.totals[verdict] for verdict in CONCLUSIVE)

    @property
    def alarming(self) -> int:
        return sum(self.totals[verdict] for verdict in ALARMING)


@dataclass(frozen=True, slots=True)
class Area:
    """One quantity over time, as a path to fill, and the same without its base to stroke."""

    fill: str
    stroke: str
    top: str
    highest: float


@dataclass(frozen=True, slots=True)
class Reach:
    """From the median to the 99th percentile on the logarithmic axis, in percent of it, and both as words."""

    store: str
    left: float
    right: float
    p50: str
    p99: str
    count: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One operation, with the reach of each store that was asked it."""

    operation: str
    dynamodb: Reach | None
    dsql: Reach | None


def window(since: float, now: float) -> float:
    """How many seconds to draw for a process that has run since then."""
    return next((each for each in _WINDOWS if now - since <= each), _WINDOWS[-1])


def agreement(ring: Sequence[Sample], since: float, now: float) -> Agreement:
    """The verdicts of the window, by column."""
    seconds = window(since, now)
    width = seconds / COLUMNS
    held: list[Counter[str]] = [Counter() for _ in range(COLUMNS)]
    for x, sample in _placed(ring, seconds, now):
        for verdict, count in sample.verdicts.items():
            held[x][verdict] += count
    most = max((sum(each.values()) for each in held), default=0)
    rate, top = _ceiling(most / width)
    columns = tuple(StackedBar(x, _pieces(each, rate * width)) for x, each in enumerate(held) if each)
    marks = tuple(Mark(x, bad) for x, each in enumerate(held) if (bad := sum(each[v] for v in ALARMING)))
    alarmed = max((each.at for _, each in _placed(ring, seconds, now) if ALARMING & each.verdicts.keys()), default=0.0)
    totals: Counter[str] = Counter()
    for each in held:
        totals.update(each)
    return Agreement(
        columns, marks, totals, f"{top}/s", seconds, min(seconds, now - since), _spans(ring, seconds, now), alarmed
    )


def area(
    ring: Sequence[Sample],
    since: float,
    now: float,
    of: Callable[[Sample], float],
    ceilings: Sequence[float],
    say: Callable[[float], str],
) -> Area:
    """`of` each sample over time; the highest of those in one column. `say` words the ceiling, one of `ceilings`."""
    seconds = window(since, now)
    highest: dict[int, float] = {}
    for x, sample in _placed(ring, seconds, now):
        highest[x] = max(highest.get(x, 0.0), of(sample))
    most = max(highest.values(), default=0.0)
    ceiling = next((each for each in ceilings if most <= each), ceilings[-1])
    points = [(x, HEIGHT - HEIGHT * value / ceiling) for x, value in sorted(highest.items())]
    steps = " ".join(
        f"{'M' if not n else 'V'}{f'{x} ' if not n else ''}{y:.2f}H{x + 1}" for n, (x, y) in enumerate(points)
    )
    fill = f"{steps}V{HEIGHT:g}H{points[0][0]}Z" if points else ""
    return Area(fill, steps, say(ceiling), most)


def times(seconds: float, now: float) -> tuple[Tick, ...]:
    """Where to write the time below a drawing."""
    return tuple(
        Tick(share * 100, words.moment(now - seconds * (1 - share), now)[:5]) for share in (0.0, 0.25, 0.5, 0.75)
    )


def latencies(found: Mapping[tuple[str, str], Latency]) -> tuple[Compared, ...]:
    """Operations that either store was asked, the slowest first."""
    names = {operation for _, operation in found}
    rows = [
        Compared(name, _reach("dynamodb", found.get(("dynamodb", name))), _reach("dsql", found.get(("dsql", name))))
        for name in names
    ]
    return tuple(sorted(rows, key=lambda row: (row.dynamodb is None or row.dsql is None, row.operation)))


def latency_ticks() -> tuple[Tick, ...]:
    """The logarithmic axis of `latencies`."""
    return tuple(Tick(_log(at), words.duration(at)) for at in (0.001, 0.01, 0.1, 1.0))


def _placed(ring: Iterable[Sample], seconds: float, now: float) -> Iterable[tuple[int, Sample]]:
    """Each sample of the window with its column. Columns stand still as time goes on: they begin at whole widths."""
    width = seconds / COLUMNS
    last = int(now // width)
    for sample in ring:
        x = COLUMNS - 1 - (last - int(sample.at // width))
        if 0 <= x < COLUMNS:
            yield x, sample


def _pieces(counts: Counter[str], full: float) -> tuple[Piece, ...]:
    found = []
    bottom = HEIGHT
    for verdict, (tone, _) in VERDICTS.items():
        if counts[verdict]:
            # One in a million must be seen too.
            height = max(_LEAST_SHARE if tone == "alarm" else 0.4, HEIGHT * counts[verdict] / full)
            bottom = max(0.0, bottom - height)
            found.append(Piece(tone, round(bottom, 2), round(height, 2)))
    return tuple(found)


def _ceiling(most: float) -> tuple[float, str]:
    """The next round number, and how it is written: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0, "1"
    power = 10.0 ** math.floor(math.log10(most))
    ceiling = next(step * power for step in (1, 2, 5, 10) if most <= step * power * 1.0000001)
    return ceiling, f"{ceiling:,.0f}" if ceiling >= 1 else f"{ceiling:g}"


def _spans(ring: Sequence[Sample], seconds: float, now: float) -> tuple[TimeBucket, ...]:
    """The same by sixths of the window, for those who read a table rather than a drawing."""
    width = seconds / 6
    found = []
    for n in range(6):
        begin = now - seconds + n * width
        here = [sample for sample in ring if begin < sample.at <= begin + width]
        if here:
            found.append(
                TimeBucket(
                    begin,
                    sum(sum(sample.verdicts.values()) for sample in here),
                    sum(sample.verdicts.get(verdict, 0) for sample in here for verdict in ALARMING),
                    max(sample.keys for sample in here),
                    max(sample.oldest_seconds for sample in here),
                )
            )
    return tuple(found)


def _reach(store: str, latency: Latency | None) -> Reach | None:
    if latency is None:
        return None
    return Reach(
        store,
        round(_log(latency.p50), 2),
        round(_log(latency.p99), 2),
        words.duration(latency.p50),
        words.duration(latency.p99),
        words.count(latency.count),
    )


def _log(seconds: float) -> float:
    held = min(max(seconds, _FASTEST), _SLOWEST)
    return 100 * math.log(held / _FASTEST) / math.log(_SLOWEST / _FASTEST)


assert all(window / COLUMNS % EVERY_SECONDS == 0 for window in _WINDOWS), "a column holds whole samples"
