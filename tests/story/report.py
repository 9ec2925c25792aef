"""The story's outcome as plain tables of at most 100 columns, from the proxy's published numbers alone."""

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.proxy_process import Sample

VERDICTS = ("agreed", "racing", "lagging", "expected", "mismatch", "unrepresentable", "undecided", "mirror_error")
AGAINST = ("mismatch", "unrepresentable")
WIDTH = 100
_ZERO = "·"

Counts = dict[str, int]


def compared(samples: Iterable[Sample]) -> dict[tuple[str, str], Counts]:
    """(type, operation) → verdict → how many, from `crossfade_comparisons_total`."""
    found: dict[tuple[str, str], Counts] = defaultdict(dict)
    for labels, value in samples:
        found[labels["type"], labels["operation"]][labels["verdict"]] = int(value)
    return dict(sorted(found.items()))


def differences(samples: Iterable[Sample]) -> dict[tuple[str, str], Counts]:
    """(field, kind) → verdict → how many, from `crossfade_differences_total`."""
    found: dict[tuple[str, str], Counts] = defaultdict(lambda: defaultdict(int))
    for labels, value in samples:
        found[labels["field"], labels["kind"]][labels["verdict"]] += int(value)
    return {names: dict(counts) for names, counts in sorted(found.items())}


def total(counts: Iterable[Counts]) -> Counts:
    """The sum over all, by verdict."""
    summed: Counts = dict.fromkeys(VERDICTS, 0)
    for each in counts:
        for verdict, count in each.items():
            summed[verdict] = summed.get(verdict, 0) + count
    return summed


def comparison_table(by_operation: dict[tuple[str, str], Counts]) -> str:
    """One line for each type and operation, and their sum."""
    rows: list[list[str]] = []
    last = None
    for (kind, operation), counts in by_operation.items():
        rows.append([kind if kind != last else "", operation, *_numbers(counts)])
        last = kind
    rows.append(["all", "", *_numbers(total(by_operation.values()))])
    return _without_zeros(["type", "operation", "compared", *VERDICTS], rows)


def difference_table(by_field: dict[tuple[str, str], Counts]) -> str:
    """One line for each field and way of differing."""
    if not by_field:
        return " no differences"
    rows = [[field or "(whole)", kind, *_numbers(counts)[2:]] for (field, kind), counts in by_field.items()]
    return _without_zeros(["field", "difference", *VERDICTS[1:]], rows)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Columns as wide as they need; the first `left` flush left, numbers flush right, a last one of text wrapped."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    room = WIDTH - 1 - sum(width + 1 for width in widths[:-1])
    if left == len(headers):
        widths[-1] = min(widths[-1], room)

    def lines(cells: Sequence[str]) -> Iterator[str]:
        wrapped = textwrap.wrap(cells[-1], widths[-1]) or [""]
        for number, part in enumerate(wrapped):
            placed = [cell if number == 0 else "" for cell in cells[:-1]] + [part]
            yield (" " + " ".join(_placed(placed, widths, left))).rstrip()

    rule = " " + "─" * (sum(widths) + len(widths) - 1)
    return "\n".join([*lines(headers), rule, *(line for row in rows for line in lines(row))])


def _placed(cells: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.ljust(width) if column < left else cell.rjust(width)


def _without_zeros(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table without what is rare (the undecided, and failures of the mirror) where there was none of it: it is wide
    enough."""
    rare = ("undecided", "mirror_error")
    kept = [n for n, name in enumerate(headers) if name not in rare or any(row[n] != _ZERO for row in rows)]
    shown = ["error" if headers[n] == "mirror_error" else headers[n] for n in kept]
    return table(shown, [[row[n] for n in kept] for row in rows], left=2)


def _numbers(counts: Counts) -> list[str]:
    shown = [sum(counts.values()), *(counts.get(verdict, 0) for verdict in VERDICTS)]
    return [f"{number:,}" if number else _ZERO for number in shown]
