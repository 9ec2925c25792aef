"""What people write into the history: one line of visible text, so that an entry shows what it says.

A control character ends a line or moves a terminal's cursor, and a bidirectional one turns a name around: all of
Unicode's category C is refused on the way in, and replaced on the way out, because others write the stage table too.
Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from proxy.problems import Problem

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def check_history_text(**texts: str) -> None:
    """Raises Problem for a text that has an invisible character; the texts go by the names of their members."""
    for name, text in texts.items():
        for each in text:
            if _is_invisible(each):
                raise Problem(
                    400, f"{name}: the character U+{ord(each):04X} is not visible: write one line of plain text"
                )


def printable_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of the history with every invisible character of its texts replaced."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in entry.items()}


def printable(text: str) -> str:
    """Return a text with every invisible character replaced."""
    return text if text.isprintable() else "".join(_REPLACEMENT if _is_invisible(each) else each for each in text)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character).startswith("C")
