"""How a place inside an item is written, unambiguously, and how a pattern of places is read.

A path is steps: `.name` into a map (no dot before the first), `[n]` into a list. A name stands bare where it is made
of harmless characters (`type:id`, `added-at`); any other (empty, with a dot, bracket, quote, backslash, blank,
control character, `*` or `?`) is written as a JSON string: `"a.b".c`. Two different places never share a path.
"""

import json
import re
from functools import lru_cache

_BARE = re.compile(r'[^.\[\]"\\*?\s\x00-\x1f\x7f]+')
_STEP = re.compile(r'"(?:[^"\\]|\\.)*"|\[[0-9]+\]|[^.\[\]"]+')
_ONE_STEP = r'(?:"(?:[^"\\]|\\.)*"|[^.\[\]"]*)'


@lru_cache(maxsize=4096)
def name(text: str) -> str:
    """One name as a path writes it."""
    return text if _BARE.fullmatch(text) else json.dumps(text)


def member(path: str, text: str) -> str:
    """The path of the map entry called `text` inside `path`."""
    return f"{path}.{name(text)}" if path else name(text)


def element(path: str, index: int) -> str:
    """The path of the list element at `index`, counted from 0, inside `path`."""
    return f"{path}[{index}]"


def steps(path: str) -> tuple[str | int, ...]:
    """The names and indexes a path is made of: the inverse of `member` and `element`."""
    found: list[str | int] = []
    for text in _STEP.findall(path):
        if text[0] == "[":
            found.append(int(text[1:-1]))
        else:
            found.append(json.loads(text) if text[0] == '"' else text)
    return tuple(found)


@lru_cache(maxsize=1024)
def pattern(text: str) -> re.Pattern[str]:
    """A pattern of paths. `*` stands for one step or a part of it (`image.*`, `platforms[*]`), `**` for anything.

    Deliberately narrow: `image` is that attribute as a whole and not what lies in it, so that a pattern never explains
    away more than it names.
    """
    parts = re.split(r"(\*\*|\*)", text)
    spelt = {"**": ".*", "*": _ONE_STEP}
    return re.compile("".join(spelt.get(part) or re.escape(part) for part in parts), re.DOTALL)
