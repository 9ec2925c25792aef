"""Parses JSON of any size without holding the interpreter: what would take long is parsed in small steps.

orjson holds the interpreter until it is done: 13 MB of small attributes take it 160 ms (measured), in which no other
thread has a turn. Python's own decoder is ten times as slow, and gives way every 5 ms: so it parses what is long and
dense, in a thread (`proxy.off_loop`). No meaning is read here.
"""

from __future__ import annotations

import json
from json.decoder import py_scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any, Final, NoReturn

import orjson

SMALL: Final = 256 * 1024
"""Up to here, whatever is computed from the bytes takes a few milliseconds."""
# A value of a dense body costs orjson about 0.4 µs, mostly to allocate it (measured): these are 10 ms.
_MAX_VALUES: Final = 25_000
_COUNTED: Final = 1024 * 1024


def is_dense(body: bytes) -> bool:
    """Whether so many values are in the body that one call of a parser would take long."""
    commas = 0
    for start in range(0, len(body), _COUNTED):
        commas += body.count(b",", start, start + _COUNTED)
        if commas > _MAX_VALUES:
            return True
    return False


def parse(body: bytes) -> Any:
    """Parse in one call, or in steps if that would take long. Raises ValueError, RecursionError.

    In steps it takes seconds, in which the caller's thread does nothing else.
    """
    return parse_in_steps(body) if len(body) > SMALL and is_dense(body) else orjson.loads(body)


def parse_in_steps(body: bytes) -> Any:
    """Parse in Python, where any thread gets its turn in between. Raises ValueError, RecursionError."""
    return _Decoder().decode(body.decode())


class _Decoder(json.JSONDecoder):
    def __init__(self) -> None:
        super().__init__(strict=False, parse_constant=_refuse)
        # What the C scanner would do, step by step.
        self.parse_string = py_scanstring
        self.scan_once = py_make_scanner(self)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
