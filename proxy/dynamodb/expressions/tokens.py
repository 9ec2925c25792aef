"""The tokens of DynamoDB's expression language: names, placeholders, numbers and marks, with where they stand."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?P<name>[a-zA-Z][a-zA-Z0-9_]*|\#[a-zA-Z0-9_]+)|(?P<value>:[a-zA-Z0-9_]+)|(?P<index>[0-9]+)"
    r"|(?P<mark><>|<=|>=|[<>=()\[\],.+-])|(?P<stray>\S)",
    re.ASCII,
)
END = "<EOF>"


class Token(NamedTuple):
    kind: str  # name, value, index, mark, word, stray or end
    text: str
    start: int
    end: int


def tokenize(text: str, words: Iterable[str]) -> list[Token]:
    """The tokens of a text and one of kind `end`. `words`, in capitals, are names in any case that are keywords."""
    tokens = [_token(match, words) for match in _TOKEN.finditer(text)]
    tokens.append(Token("end", END, len(text), len(text)))
    return tokens


def _token(match: "re.Match[str]", words: Iterable[str]) -> Token:
    text, sort = match[0], match.lastgroup
    assert sort is not None
    word = text.upper()
    if sort == "name" and word in words:
        return Token("word", word, match.start(), match.end())
    return Token(sort, text, match.start(), match.end())
