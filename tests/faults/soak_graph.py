"""The soak's samples as one SVG: a band for each series over time, with the faults behind them."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_WIDTH: Final = 900
_LEFT: Final = 70
_RIGHT: Final = 20
_BAND: Final = 90
_GAP: Final = 34
_TOP: Final = 64
_COLOURS: Final = {"dynamodb": "#d0702a", "dsql": "#2f6f9f"}
_SERIES: Final = (
    ("rss_mb", "memory of the proxy, MB (RSS)"),
    ("files", "open files and sockets"),
    ("tasks", "asyncio tasks"),
    ("journal", "keys in the journal"),
    ("p50_ms", "latency clients see, ms, median of each second"),
    ("p99_ms", "latency clients see, ms, 99th percentile of each second"),
    ("to_retry", "errors to retry that clients got, a second"),
)


def graph(found: Mapping[str, Any]) -> str:
    """An SVG document of a soak's result."""
    samples = found["samples"]
    last = max(each["second"] for each in samples)
    height = _TOP + len(_SERIES) * (_BAND + _GAP)
    parts = [
        _text(12, 22, f"Soak of {found['minutes']:g} minutes, seed {found['seed']}, {found['machine']}", bold=True),
        _text(12, 42, "shaded: a fault between the proxy and"),
        _text(262, 42, "DynamoDB (the authority)", colour=_COLOURS["dynamodb"]),
        _text(430, 42, "DSQL (the mirror)", colour=_COLOURS["dsql"]),
    ]
    for number, (name, title) in enumerate(_SERIES):
        parts.extend(_band(samples, name, title, last, _TOP + number * (_BAND + _GAP)))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f"{body}\n</svg>\n"
    )


def _band(samples: list[dict[str, Any]], name: str, title: str, last: float, top: int) -> Iterator[str]:
    values = [(each["second"], each[name]) for each in samples if each[name] is not None]
    most = max((value for _, value in values), default=1) or 1
    bottom = top + 16 + _BAND - 16

    def x(second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / last

    def y(value: float) -> float:
        return bottom - (_BAND - 20) * value / most

    yield _text(_LEFT, top + 8, title)
    for side, colour in _COLOURS.items():
        for begin, end in _spells(samples, side):
            yield (
                f'<rect x="{x(begin):.1f}" y="{top + 14}" width="{max(1.0, x(end) - x(begin)):.1f}" '
                f'height="{bottom - top - 14}" fill="{colour}" opacity="0.16"/>'
            )
    points = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in values)
    yield f'<polyline points="{points}" fill="none" stroke="#1f2430" stroke-width="1"/>'
    yield f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - _RIGHT}" y2="{bottom}" stroke="#9aa3b2"/>'
    yield _text(_LEFT - 8, top + 24, f"{most:g}", end=True)
    yield _text(_LEFT - 8, bottom, "0", end=True)
    for minute in range(0, int(last // 60) + 1, max(1, int(last // 600))):
        yield _text(int(x(minute * 60)), bottom + 13, f"{minute} min")


def _spells(samples: list[dict[str, Any]], side: str) -> Iterator[tuple[float, float]]:
    """Spans of seconds in which a side had a fault."""
    begin: float | None = None
    for each in samples:
        if side in each["faults"]:
            begin = each["second"] - 1 if begin is None else begin
        elif begin is not None:
            yield begin, each["second"]
            begin = None
    if begin is not None:
        yield begin, samples[-1]["second"]


def _text(x: int, y: int, text: str, *, end: bool = False, bold: bool = False, colour: str = "#1f2430") -> str:
    anchor = ' text-anchor="end"' if end else ""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{colour}"{anchor}{weight}>{escape(text)}</text>'
