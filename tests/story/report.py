"""The story's outcome as plain tables of at most 100 columns, from the proxy's published numbers alone."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.proxy_process import Sample

VERDICTS = ("agreed", "racing", "lagging", "expected", "mismatch", "unrepresentable", "mirror_error")
AGAINST = ("mismatch", "unrepresentable")
WIDTH = 100

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
    return table(["type", "operation", "compared", *(v.replace("_", " ") for v in VERDICTS)], rows, left=2)


def difference_table(by_field: dict[tuple[str, str], Counts]) -> str:
    """One line for each field and way of differing."""
    if not by_field:
        return "  no differences"
    rows = [[field or "(whole)", kind, *_numbers(counts)[1:]] for (field, kind), counts in by_field.items()]
    return table(["field", "difference", *(v.replace("_", " ") for v in VERDICTS)], rows, left=2)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Columns as wide as they need; the first `left` flush left, numbers flush right."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        placed = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return ("  " + " ".join(placed)).rstrip()

    rule = "  " + "─" * (len(line(["x" * width for width in widths])) - 2)
    return "\n".join([line(headers), rule, *(line(row) for row in rows)])


def _numbers(counts: Counts) -> list[str]:
    shown = [sum(counts.values()), *(counts.get(verdict, 0) for verdict in VERDICTS)]
    return [f"{number:,}" if number else "·" for number in shown]
