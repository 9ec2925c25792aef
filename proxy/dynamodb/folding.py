"""Unicode case folding, as Python's `str.casefold` has it (Unicode, "Default Case Folding", C + F), and the tables by
which anything else can fold the same way. Pure.

No language is asked for: `I` folds to `i` in Turkish too, `İ` to `i` and a dot above, `ß` to `ss`, `ς` to `σ`. Accents
stay, and so does a character's being composed or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

# No character beyond the first two planes has a case (a test asks all of Unicode).
_LAST: Final = 0x1FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class FoldingTables:
    """Beyond ASCII: each character of `single` folds to the one at its place in `folded`; those of `several` fold to
    more than one."""

    single: str
    folded: str
    several: tuple[tuple[str, str], ...]


def fold(text: str) -> str:
    return text.casefold()


@cache
def tables() -> FoldingTables:
    """The tables of this Python's Unicode, `A` to `Z` among them."""
    single: list[str] = []
    folded: list[str] = []
    several: list[tuple[str, str]] = []
    for code in range(_LAST + 1):
        if code in _SURROGATES:
            continue
        character = chr(code)
        becomes = character.casefold()
        if becomes == character:
            continue
        if len(becomes) == 1:
            single.append(character)
            folded.append(becomes)
        else:
            several.append((character, becomes))
    return FoldingTables("".join(single), "".join(folded), tuple(several))
