"""An array as PostgreSQL reads it in a text: `{"a","b",NULL}` ("Arrays", 8.15.6, "Array Input and Output Syntax")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_BETWEEN: Final = "\x1f"
_NULL: Final = "\x1e"


def array_literal(texts: Sequence[str | None]) -> str:
    """For texts without the character NUL; None is NULL."""
    whole = _BETWEEN.join([_NULL if text is None else text for text in texts])
    if whole.count(_BETWEEN) != max(0, len(texts) - 1) or whole.count(_NULL) != texts.count(None):
        # Characters that hardly any text has: then one by one.
        return "{" + ",".join("NULL" if text is None else f'"{_escaped(text)}"' for text in texts) + "}"
    if not texts:
        return "{}"
    # All at once: what is done to each element costs as much as all the rest.
    return "{" + f'"{_escaped(whole)}"'.replace(_BETWEEN, '","').replace(f'"{_NULL}"', "NULL") + "}"


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace('"', '\\"')
