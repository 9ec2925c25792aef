"""The tokens of a PartiQL statement: names, quoted names, texts, numbers, parameters and marks, with their places.

Comments are no tokens. Knows no grammar. The words for what is no token are AWS's (dynamodb-conformance, tier 3,
partiqlGrammar).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from proxy.dynamodb.errors import DynamoDBError, validation

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<text>'(?:[^']|'')*')
    |(?P<parameter>\?)
    |(?P<mark><<|>>|<>|<=|>=|!=|[-+*=<>()\[\]{},.:])""",
    re.VERBOSE | re.DOTALL,
)
_MAX_EXPONENT: Final = 2**31 - 1


class PartiQLToken(NamedTuple):
    """`text` is a name or text without its quotes, a mark or a number as it is written."""

    kind: str  # name, quoted, text, number, parameter, mark or end
    text: str
    place: str  # line:column:length, as DynamoDB's messages name it

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these keywords, in any case."""
        return self.kind == "name" and self.text.upper() in words

    def is_mark(self, *marks: str) -> bool:
        return self.kind == "mark" and self.text in marks


def malformed(detail: str = "") -> DynamoDBError:
    """The refusal of what the grammar has no reading of."""
    return validation(f"Statement wasn't well formed, can't be processed: {detail}")


def tokenize(statement: str) -> list[PartiQLToken]:
    """The tokens and one of kind `end`. Raises ValidationException."""
    tokens: list[PartiQLToken] = []
    position, line, line_start = 0, 1, 0
    while position < len(statement):
        match = _TOKEN.match(statement, position)
        if match is None:
            raise malformed()
        kind, raw = match.lastgroup or "", match[0]
        if kind != "space":
            place = f"{line}:{position - line_start + 1}:{len(raw)}"
            tokens.append(PartiQLToken(kind, _plain(kind, raw), place))
        newlines = raw.count("\n")
        if newlines:
            line += newlines
            line_start = position + raw.rindex("\n") + 1
        position = match.end()
    tokens.append(PartiQLToken("end", "", f"{line}:{position - line_start + 1}:0"))
    return tokens


def _plain(kind: str, raw: str) -> str:
    if kind == "quoted":
        return raw[1:-1].replace('""', '"')
    if kind == "text":
        return raw[1:-1].replace("''", "'")
    if kind == "number":
        _check_exponent(raw)
    return raw


def _check_exponent(raw: str) -> None:
    """The exponent, and the digits after the point less the exponent, fit 32 bits."""
    mantissa, _, exponent = raw.lower().partition("e")
    if not exponent:
        return
    power = int(exponent) if len(exponent) < 30 else _MAX_EXPONENT + 1
    scale = len(mantissa.partition(".")[2]) - power
    if not -_MAX_EXPONENT <= power <= _MAX_EXPONENT or not -_MAX_EXPONENT <= scale <= _MAX_EXPONENT:
        raise malformed()
