"""How the console says numbers, times and values: short, plain, and so that a column of them can be compared.

Pure. It knows the redacted form of a value (`comparators.redact`) and no page.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

SHOWN_CHARACTERS: Final = 300
_BEFORE_CHARACTERS: Final = 40
# Between a number and its unit: narrow, and no place to break a line.
NARROW: Final = "\u202f"
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_TYPES: Final = {
    "S": "text",
    "N": "number",
    "B": "binary",
    "BOOL": "boolean",
    "NULL": "null",
    "SS": "set of texts",
    "NS": "set of numbers",
    "BS": "set of binaries",
    "L": "list",
    "M": "map",
}
_DIGITS: Final = {"few": "up to 4 digits", "double": "5 to 15 digits", "wide": "more than 15 digits"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A side of a difference: what it is, what it says, and (redacted) the letters that stand for its content."""

    type: str
    text: str
    hash: str = ""
    absent: bool = False


def count(number: float) -> str:
    """12,345."""
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """84 ms, 2.5 s, 40 s, 3 min, 2 h 5 min, 4 d 2 h; a number and its unit stay on one line."""
    if seconds < 0.9995:
        return _with_unit(seconds * 1000, "ms")
    if seconds < _MINUTE:
        return _with_unit(seconds, "s")
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f}{NARROW}min"
    if seconds < _DAY:
        return _two(seconds, _HOUR, "h", _MINUTE, "min")
    return _two(seconds, _DAY, "d", _HOUR, "h")


def ago(at: float, now: float) -> str:
    """How long before `now` it was, as in "3 min ago"."""
    return "just now" if now - at < 2 else f"{duration(float(round(now - at)))} ago"


def moment(at: float, now: float) -> str:
    """18:02 today, else with its date; UTC, which is what logs and dashboards have."""
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%-d %b %Y, %H:%M")


def iso(at: float) -> str:
    """For the `datetime` of a <time>."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def percent(share: float) -> str:
    """A share of one as a percentage that never says 100 % or 0 % of what is not all or nothing."""
    if share in (0.0, 1.0):
        return f"{share * 100:.0f}{NARROW}%"
    for digits in (1, 2, 3, 4):
        text = f"{share * 100:.{digits}f}"
        if float(text) not in (0.0, 100.0):
            return f"{text}{NARROW}%"
    return f"<{NARROW}0.0001{NARROW}%" if share < 0.5 else f">{NARROW}99.9999{NARROW}%"


def sentence(text: str) -> str:
    """With a capital and a full stop, whoever wrote it."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def side(value: Mapping[str, Any] | None) -> Shown:
    """One side of a difference: a typed value, its redacted form, or None for nothing there."""
    if value is None:
        return Shown("", "nothing", absent=True)
    if "hash" in value and "shape" in value:
        letters = value["hash"] or ""
        return Shown(_TYPES.get(value["type"], value["type"]), _shape(value["type"], value["shape"]), letters)
    if len(value) != 1:
        return Shown("", json.dumps(value, ensure_ascii=False))
    ((tag, held),) = value.items()
    return Shown(_TYPES.get(tag, tag), held if tag == "S" else _plain(value))


def sides(authority: Mapping[str, Any] | None, mirror: Mapping[str, Any] | None) -> tuple[Shown, Shown]:
    """Both sides of a difference. Long texts begin shortly before the place where they part."""
    one, other = side(authority), side(mirror)
    if one.hash or other.hash or max(len(one.text), len(other.text)) <= SHOWN_CHARACTERS:
        return one, other
    shorter = min(len(one.text), len(other.text))
    alike = next((n for n, (a, b) in enumerate(zip(one.text, other.text, strict=False)) if a != b), shorter)
    skipped = max(0, alike - _BEFORE_CHARACTERS) if alike > _BEFORE_CHARACTERS * 2 else 0
    return _cut(one, skipped), _cut(other, skipped)


def key(parts: Mapping[str, Mapping[str, Any]] | None) -> str:
    """A key as `type:id = Book:17`, redacted parts as their letters."""
    if not parts:
        return ""
    said = []
    for name, value in parts.items():
        shown = side(value)
        said.append(f"{name} = {shown.hash or _cut(shown, 0).text}")
    return " · ".join(said)


def _shape(tag: str, shape: Mapping[str, Any]) -> str:
    if tag in ("S", "B") and "length" in shape:
        return f"up to {count(shape['length'])} characters"
    if tag == "N":
        return _DIGITS.get(shape.get("digits", ""), "") + (", with a fraction" if shape.get("fraction") else "")
    for name, word in (("members", "member"), ("keys", "key")):
        if name in shape:
            return f"{count(shape[name])} {word}{'' if shape[name] == 1 else 's'}"
    return ""


def _plain(value: Mapping[str, Any]) -> str:
    """A typed value as people write it: `["PC", 3]`, `{url: "…"}`."""
    ((tag, held),) = value.items()
    if tag == "L":
        return f"[{', '.join(map(_plain, held))}]"
    if tag == "M":
        return f"{{{', '.join(f'{name}: {_plain(each)}' for name, each in held.items())}}}"
    if tag in ("SS", "NS", "BS"):
        return f"{{{', '.join(_plain({tag[0]: each}) for each in held)}}}"
    return str(held) if tag in ("N", "B") else json.dumps(held, ensure_ascii=False)


def _cut(shown: Shown, skipped: int) -> Shown:
    text = shown.text
    if len(text) <= SHOWN_CHARACTERS:
        return shown
    end = skipped + SHOWN_CHARACTERS
    rest = f"… ({count(len(text))} characters)" if end < len(text) else ""
    return replace(shown, text=f"{'…' if skipped else ''}{text[skipped:end]}{rest}")


def _with_unit(number: float, unit: str) -> str:
    return f"{number:.1f}".removesuffix(".0") + NARROW + unit if number < 9.95 else f"{number:.0f}{NARROW}{unit}"


def _two(seconds: float, large: float, unit: str, small: float, smaller: str) -> str:
    whole, rest = divmod(seconds, large)
    more = f" {rest // small:.0f}{NARROW}{smaller}" if rest >= small else ""
    return f"{whole:.0f}{NARROW}{unit}{more}"
