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
# In about the order in which titles have them; and the letters of Latin, Greek and Cyrillic.
_COMMON: Final = " etaoinsrhldcumfpgwybvkxjqz0123456789.,:;'!?&-()/"
_NEAR: Final = range(0x80, 0x530)
_SURROGATES: Final = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class FoldingTables:
    """Each character of `single` folds to the one at its place in `folded`; those of `several` fold to more than one.

    Who looks a character up goes through `single` from its beginning, as PostgreSQL's `translate` does: so those that
    titles are made of stand first, though most of them fold to themselves.
    """

    single: str
    folded: str
    several: tuple[tuple[str, str], ...]


def fold(text: str) -> str:
    return text.casefold()


@cache
def tables() -> FoldingTables:
    """The tables of this Python's Unicode."""
    everything = [chr(code) for code in range(_LAST + 1) if code not in _SURROGATES]
    changing = {character: character.casefold() for character in everything if character.casefold() != character}
    several = tuple((character, becomes) for character, becomes in changing.items() if len(becomes) > 1)
    letters = (character for character in map(chr, _NEAR) if character.isalpha() and len(character.casefold()) == 1)
    first = dict.fromkeys((*_COMMON, *_COMMON.upper(), *letters))
    rest = (character for character, becomes in changing.items() if len(becomes) == 1 and character not in first)
    single = "".join((*first, *rest))
    return FoldingTables(single, "".join(changing.get(character, character) for character in single), several)
