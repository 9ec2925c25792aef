"""The results as one SVG: CPU a request beside the other programs, and memory while the mirror is down."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_WIDTH: Final = 860
_BAR: Final = 18
_LEFT: Final = 190
_INK: Final = "#1f2430"
_COLOURS: Final = {
    "nginx proxy_pass": "#9aa3b2",
    "nginx mirror": "#9aa3b2",
    "off": "#2f6f9f",
    "dualwrite": "#2f6f9f",
    "shadow": "#d0702a",
    "handwritten": "#6b4f7d",
}
_PLOT_HEIGHT: Final = 150


def plot(results: Mapping[str, Any]) -> str:
    """An SVG document of what was measured."""
    parts: list[str] = []
    height = 20
    for action, programs in results.get("cost", {}).items():
        parts.append(_text(12, height + 12, f"{action}: CPU µs a request (median, range)", bold=True))
        height += 26
        most = max(found["cpu_us"]["high"] for found in programs.values())
        for name, found in programs.items():
            parts.extend(_bar(name, found["cpu_us"], most, height))
            height += _BAR + 6
        height += 16
    if "outage" in results:
        parts.extend(_memory(results["outage"], height))
        height += _PLOT_HEIGHT + 70
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f"{body}\n</svg>\n"
    )


def _bar(name: str, cpu: Mapping[str, float], most: float, top: int) -> Iterator[str]:
    scale = (_WIDTH - _LEFT - 90) / most
    width = cpu["median"] * scale
    middle = top + _BAR / 2
    low, high = _LEFT + cpu["low"] * scale, _LEFT + cpu["high"] * scale
    yield _text(_LEFT - 10, top + 14, name, end=True)
    yield f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS.get(name, _INK)}"/>'
    yield f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="{_INK}" stroke-width="1.5"/>'
    yield _text(round(max(high, _LEFT + width)) + 8, top + 14, f"{cpu['median']:,.0f}")


def _memory(outage: Mapping[str, Any], top: int) -> Iterator[str]:
    samples = outage["memory"]
    longest = max(sample["seconds"] for sample in samples) or 1.0
    most = max(sample["mb"] for sample in samples) * 1.2
    writes = f"{outage['writes']:,} writes to 1,000 keys"
    yield _text(12, top + 12, f"The mirror down: resident memory in MB over {writes}", bold=True)
    base, left, right = top + 30 + _PLOT_HEIGHT, 60, _WIDTH - 30

    def x(seconds: float) -> float:
        return float(left + (right - left) * seconds / longest)

    def y(mb: float) -> float:
        return float(base - _PLOT_HEIGHT * mb / most)

    path = " ".join(f"{'L' if n else 'M'}{x(s['seconds']):.1f} {y(s['mb']):.1f}" for n, s in enumerate(samples))
    yield f'<path d="M{left} {top + 30}V{base}H{right}" stroke="{_INK}" fill="none"/>'
    yield f'<path d="{path}" stroke="#d0702a" stroke-width="2" fill="none"/>'
    last = samples[-1]["mb"]
    yield _text(left - 8, round(y(last)) + 4, f"{last:.0f}", end=True)
    yield _text(left - 8, base + 4, "0", end=True)
    yield _text(right, base + 18, f"{longest:.0f} s", end=True)


def _text(x: int, y: int, text: str, *, end: bool = False, bold: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{_INK}"{anchor}{weight}>{text}</text>'
