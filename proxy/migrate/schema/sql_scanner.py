"""Divides SQL text into statements, as PostgreSQL's own scanner and psql do ("Lexical Structure", PostgreSQL manual).

Knows comments, which nest, the strings that take backslashes (E'…'), dollar quotes, and parentheses, in which a
semicolon ends nothing. It understands no statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# What begins something else than plain text. A dollar quote begins only where no identifier goes on, and so does the E
# of a string with escapes.
_NEXT: Final = re.compile(
    r"""(?P<escaped>(?<![\w$])[eE]')|(?P<text>')|(?P<name>")|(?P<dollar>(?<![\w$])\$(?:[^\W\d]\w*)?\$)"""
    r"""|(?P<line>--)|(?P<block>/\*)|(?P<open>\()|(?P<close>\))|(?P<end>;)"""
)
_PLAIN_STRING: Final = re.compile(r"'(?:[^']|'')*'")
_ESCAPED_STRING: Final = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_NAME: Final = re.compile(r'"(?:[^"]|"")*"')
_COMMENT_MARK: Final = re.compile(r"/\*|\*/")
BYTE_ORDER_MARK: Final = "\ufeff"


class UnfinishedError(ValueError):
    """Something begins and does not end: what it is, and in which line it begins."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(f"{what} that begins in line {line} does not end")


def split_statements(text: str) -> Iterator[str]:
    """Give the statements of a text, without comments and without the semicolons between them.

    A byte order mark at the beginning is left out. Raises UnfinishedError.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    current: list[str] = []
    position = depth = 0
    while (found := _NEXT.search(text, position)) is not None:
        current.append(text[position : found.start()])
        begin, position = found.start(), found.end()
        match found.lastgroup:
            case "end" if not depth:
                yield "".join(current).strip()
                current = []
                continue
            case "line":
                newline = text.find("\n", position)
                position = len(text) if newline < 0 else newline
                current.append(" ")
                continue
            case "block":
                position = _end_of_comment(text, begin)
                current.append(" ")
                continue
            case "escaped":
                position = _end(_ESCAPED_STRING, text, begin + 1, begin, "a string")
            case "text":
                position = _end(_PLAIN_STRING, text, begin, begin, "a string")
            case "name":
                position = _end(_NAME, text, begin, begin, "a quoted name")
            case "dollar":
                closing = text.find(found[0], position)
                if closing < 0:
                    raise UnfinishedError(f"the body quoted by {found[0]}", _line(text, begin))
                position = closing + len(found[0])
            case "open":
                depth += 1
            case "close":
                depth = max(0, depth - 1)
        current.append(text[begin:position])
    current.append(text[position:])
    yield "".join(current).strip()


def _end(pattern: re.Pattern[str], text: str, at: int, begin: int, what: str) -> int:
    found = pattern.match(text, at)
    if found is None:
        raise UnfinishedError(what, _line(text, begin))
    return found.end()


def _end_of_comment(text: str, begin: int) -> int:
    """Return the place after a comment: one within it has to end first."""
    depth, position = 1, begin + 2
    while depth:
        found = _COMMENT_MARK.search(text, position)
        if found is None:
            raise UnfinishedError("a comment", _line(text, begin))
        depth += 1 if found[0] == "/*" else -1
        position = found.end()
    return position


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
