"""Rows that a mapping did not write: hand-made SQL, another program, or an older mapping has.

Reads the JSON column of any row exactly, whatever wrote it, and names what cannot be read as an item. Pure.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final

import orjson

# A double gives back 15 significant digits; a token this long may hold more. PostgreSQL prints jsonb with a blank after
# each colon and comma, and every digit of a number, without an exponent ("8.14. JSON Types").
_LONG_NUMBER: Final = re.compile(r"(?:[:,\[] ?|^)-?[\d.]{16,}")


class UnreadableRow(Exception):
    """A row that cannot be read as an item. `column` is the column at fault; the text is the reason, without values."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def parse_object(column: str, text: str) -> dict[str, Any]:
    """The JSON object in a row's JSON column, its numbers exact: int, float, or Decimal where a float would round.

    Raises UnreadableRow for JSON that is no object, or that nobody can parse.
    """
    try:
        parsed = exact(text) if _LONG_NUMBER.search(text) else orjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableRow(column, "its JSON cannot be parsed") from error
    if not isinstance(parsed, dict):
        raise UnreadableRow(column, f"its JSON is {_KINDS.get(type(parsed), 'a number')}, not an object")
    return parsed


def exact(text: str) -> Any:
    """JSON with every number as it is written. Raises ValueError."""
    return json.loads(text, parse_float=Decimal, parse_int=_whole)


def same_json(one: str, other: str) -> bool:
    """Whether two texts hold the same JSON, numbers to the last digit."""
    if one == other:
        return True
    if _LONG_NUMBER.search(one) or _LONG_NUMBER.search(other):
        return bool(exact(one) == exact(other))
    return bool(orjson.loads(one) == orjson.loads(other))


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < 40 else Decimal(digits)  # more digits than any Number has


_KINDS: Final = {str: "a string", list: "an array", bool: "a boolean", type(None): "null"}
