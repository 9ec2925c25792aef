"""Paths: how a place inside an item is written, and how a pattern of paths is read.

A path consists of steps: `.name` into a map (without the dot at the beginning), `[n]` into a list. A name of plain
characters is written as it is (`type:id`, `added-at`). Any other name (empty, or with a dot, bracket, quote, backslash,
blank, control character, `*` or `?`) is written as a JSON string: `"a.b".c`. Different places have different paths.
"""

import json
import re
from functools import lru_cache

_BARE = re.compile(r'[^.\[\]"\\*?\s\x00-\x1f\x7f]+')
_STEP = re.compile(r'"(?:[^"\\]|\\.)*"|\[[0-9]+\]|[^.\[\]"]+')
_ONE_STEP = r'(?:"(?:[^"\\]|\\.)*"|[^.\[\]"]*)'


@lru_cache(maxsize=4096)
def name(text: str) -> str:
    """Return a name as a path writes it."""
    return text if _BARE.fullmatch(text) else json.dumps(text)


def member(path: str, text: str) -> str:
    """Return the path of the map entry named `text` inside `path`."""
    return f"{path}.{name(text)}" if path else name(text)


def element(path: str, index: int) -> str:
    """Return the path of the list element at `index`, counted from 0, inside `path`."""
    return f"{path}[{index}]"


def steps(path: str) -> tuple[str | int, ...]:
    """Return the names and indexes of a path: the inverse of `member` and `element`."""
    found: list[str | int] = []
    for text in _STEP.findall(path):
        if text[0] == "[":
            found.append(int(text[1:-1]))
        else:
            found.append(json.loads(text) if text[0] == '"' else text)
    return tuple(found)


@lru_cache(maxsize=1024)
def pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression for a glob of paths: `*` matches one step or a part of it (`image.*`,
    `platforms[*]`), `**` matches anything.

    Deliberately narrow: `image` matches that attribute as a whole and nothing inside it, so that an expectation never
    covers more than it names.
    """
    parts = re.split(r"(\*\*|\*)", text)
    spelt = {"**": ".*", "*": _ONE_STEP}
    return re.compile("".join(spelt.get(part) or re.escape(part) for part in parts), re.DOTALL)
