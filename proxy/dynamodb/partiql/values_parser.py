"""Reads the tokens of a statement one by one, and the values and paths among them. Knows no statements.

Source (developer guide): "PartiQL data types for DynamoDB". The words are AWS's (dynamodb-conformance, tier 3,
partiqlGrammar and partiqlFunctions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.expressions.ast import Path
from proxy.dynamodb.partiql.tokens import PartiQLToken, malformed, tokenize
from proxy.dynamodb.values import Item, Value, canonical, canonical_number

_MAX_DEPTH: Final = 32
_SET_TAGS: Final = {"S": "SS", "N": "NS", "B": "BS"}
_CONSTANTS: Final[dict[str, Value]] = {"TRUE": {"BOOL": True}, "FALSE": {"BOOL": False}, "NULL": {"NULL": True}}


class ValuesParser:
    """The tokens of one statement, and the parameters that its question marks stand for, in their order."""

    def __init__(self, statement: str, parameters: Sequence[Any]) -> None:
        self._tokens = tokenize(statement)
        self._position = 0
        self._parameters = parameters
        self._used = 0

    @property
    def token(self) -> PartiQLToken:
        """The next token."""
        return self._tokens[self._position]

    def ahead(self, count: int = 1) -> PartiQLToken:
        """The token so many after the next one."""
        return self._tokens[min(self._position + count, len(self._tokens) - 1)]

    def take(self) -> PartiQLToken:
        token = self.token
        if token.kind != "end":
            self._position += 1
        return token

    def take_word(self, *words: str) -> str | None:
        """The keyword, in capitals, if it is next; None, and nothing is taken, if it is not."""
        return self.take().text.upper() if self.token.is_word(*words) else None

    def take_mark(self, *marks: str) -> str | None:
        return self.take().text if self.token.is_mark(*marks) else None

    def expect_word(self, *words: str) -> str:
        word = self.take_word(*words)
        if word is None:
            raise malformed("Unexpected term" if self.token.kind == "end" else "Unexpected token")
        return word

    def expect_mark(self, mark: str) -> None:
        if self.take_mark(mark) is None:
            raise malformed("Unexpected term" if self.token.kind == "end" else "Unexpected token")

    def expect_end(self) -> None:
        """Raises ValidationException where something follows, or a parameter is left."""
        if self.token.kind != "end":
            raise malformed("Unexpected token after expression")
        if self._used < len(self._parameters):
            raise _miscounted()

    def name(self) -> str:
        """A name, quoted or not."""
        if self.token.kind not in ("name", "quoted"):
            raise malformed("Unexpected term" if self.token.kind == "end" else "Unexpected token")
        text = self.take().text
        if not text:
            raise validation("Path component cannot be an empty string")
        return text

    def path(self) -> Path:
        """A document path: a name, then names after dots and indexes or texts in brackets."""
        parts: list[str | int] = [self.name()]
        while self.token.is_mark(".", "["):
            if self.take().text == ".":
                if self.token.kind not in ("name", "quoted") or self.token.is_word("INNER"):
                    raise malformed("Invalid path dot component")
                parts.append(self.name())
                continue
            inside = self.take()
            if inside.kind == "number" and inside.text.isdigit():
                parts.append(int(inside.text))
            elif inside.kind == "text":
                parts.append(inside.text)
            else:
                raise malformed("Invalid path component")
            self.expect_mark("]")
        return Path(tuple(parts))

    def begins_value(self) -> bool:
        """Whether a value is next: a literal or a parameter, and no path."""
        token = self.token
        if token.kind in ("text", "number", "parameter"):
            return True
        if token.is_mark("-", "+"):
            return self.ahead().kind == "number"
        return token.is_mark("[", "{", "<<") or token.is_word(*_CONSTANTS)

    def value(self) -> Value:
        """A literal or a parameter, in canonical form."""
        if self.token.kind == "parameter":
            return self._parameter()
        value = self._literal("root", 0)
        return canonical(value)

    def item(self) -> Item:
        """The map of an INSERT."""
        if self.token.kind == "parameter":
            value = self._parameter()
            if "M" not in value:
                raise validation("INSERT takes a map as its value")
            found: Item = value["M"]
            return found
        if not self.token.is_mark("{"):
            raise malformed("Unexpected term")
        members: Item = {}
        for name in self._members():
            members[name] = self._member("root", 0)
        return members

    def _parameter(self) -> Value:
        self.take()
        if self._used >= len(self._parameters):
            raise _miscounted()
        value: Value = self._parameters[self._used]
        self._used += 1
        return canonical(value)

    def _member(self, where: str, depth: int) -> Value:
        if self.token.kind == "parameter":
            return self._parameter()
        if self.token.kind == "name" and self.ahead().is_mark("("):
            function = self.take()
            raise validation(f"Unsupported data type: {function.text} under key {where} at {function.place}")
        if not self.begins_value():
            raise malformed("Unexpected term")
        return canonical(self._literal(where, depth)) if depth == 0 else self._literal(where, depth)

    def _literal(self, where: str, depth: int) -> Value:
        if depth > _MAX_DEPTH:
            raise validation("Nesting Levels have exceeded supported limits")
        token = self.take()
        if token.kind == "text":
            return {"S": token.text}
        if token.kind == "number":
            return {"N": _number(token.text, where)}
        if token.is_mark("-", "+") and self.token.kind == "number":
            return {"N": _number(("-" if token.text == "-" else "") + self.take().text, where)}
        if token.is_word(*_CONSTANTS):
            return dict(_CONSTANTS[token.text.upper()])
        if token.is_mark("["):
            return {"L": self._elements("]", where, depth)}
        if token.is_mark("<<"):
            return self._set(where, depth)
        if token.is_mark("{"):
            self._position -= 1
            return {"M": {name: self._member(f"{where}.{name}", depth + 1) for name in self._members()}}
        raise malformed("Unexpected term" if token.kind == "end" else "Unexpected token")

    def _elements(self, closing: str, where: str, depth: int) -> list[Value]:
        elements: list[Value] = []
        if self.take_mark(closing) is not None:
            return elements
        while True:
            elements.append(self._member(f"{where}[{len(elements)}]", depth + 1))
            if self.take_mark(",") is None:
                self.expect_mark(closing)
                return elements

    def _set(self, where: str, depth: int) -> Value:
        elements = self._elements(">>", where, depth)
        if not elements:
            raise validation("Empty bags are not supported")
        tags = {tag for element in elements for tag in element}
        tag = tags.pop()
        if tags or tag not in _SET_TAGS:
            raise validation("Bags must hold texts alone, numbers alone or binary values alone")
        return {_SET_TAGS[tag]: [element[tag] for element in elements]}

    def _members(self) -> Any:
        """The names of a map, each before its value is read."""
        self.expect_mark("{")
        if self.take_mark("}") is not None:
            return
        while True:
            if self.token.kind not in ("text", "quoted"):
                raise malformed("Unexpected term")
            name = self.take().text
            self.expect_mark(":")
            yield name
            if self.take_mark(",") is None:
                self.expect_mark("}")
                return


def _number(text: str, where: str) -> str:
    try:
        return canonical_number(text)
    except DynamoDBError as error:
        raise validation(f"{error.message} under {where}") from error


def _miscounted() -> DynamoDBError:
    return validation("Number of parameters in request and statement don't match.")
