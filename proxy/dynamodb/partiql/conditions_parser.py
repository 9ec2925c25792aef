"""Reads a WHERE clause into a condition of `proxy.dynamodb.expressions`, with its values in place.

Sources (developer guide): "PartiQL arithmetic, comparison, and logical operators for DynamoDB", "Use PartiQL functions
with DynamoDB". Which functions and forms of IS there are: dynamodb-conformance, tier 2, whereFunctions.
"""

from __future__ import annotations

from typing import Final

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.expressions.ast import (
    CONDITION_FUNCTIONS,
    And,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    FunctionCall,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    joined,
)
from proxy.dynamodb.partiql.tokens import malformed
from proxy.dynamodb.partiql.values_parser import ValuesParser

_COMPARISONS: Final = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TYPES: Final = {
    "NULL": "NULL",
    "BOOL": "BOOL",
    "BOOLEAN": "BOOL",
    "STRING": "S",
    "NUMBER": "N",
    "NUMERIC": "N",
    "DECIMAL": "N",
    "BINARY": "B",
    "LIST": "L",
    "MAP": "M",
    "STRUCT": "M",
    "STRING_SET": "SS",
    "NUMBER_SET": "NS",
    "BINARY_SET": "BS",
}
_MAX_DEPTH: Final = 150


class ConditionsParser:
    """The conditions of one statement."""

    def __init__(self, tokens: ValuesParser) -> None:
        self._tokens = tokens
        self._depth = 0

    def condition(self) -> Condition:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise malformed("The condition is nested too deeply")
        terms = [self._conjunction()]
        while self._tokens.take_word("OR") is not None:
            terms.append(self._conjunction())
        self._depth -= 1
        return joined(Or, terms)

    def _conjunction(self) -> Condition:
        terms = [self._negation()]
        while self._tokens.take_word("AND") is not None:
            terms.append(self._negation())
        return joined(And, terms)

    def _negation(self) -> Condition:
        negations = 0
        while self._tokens.take_word("NOT") is not None:
            negations += 1
        found = self._predicate()
        return Not(found) if negations % 2 else found

    def _predicate(self) -> Condition:
        tokens = self._tokens
        if tokens.take_mark("(") is not None:
            found = self.condition()
            tokens.expect_mark(")")
            return found
        left = self.operand()
        mark = tokens.take_mark(*_COMPARISONS)
        if mark is not None:
            return _comparison(_COMPARISONS[mark], left, self.operand())
        if tokens.take_word("IS") is not None:
            negated = tokens.take_word("NOT") is not None
            found = self._is(left)
            return Not(found) if negated else found
        negated = tokens.token.is_word("NOT") and tokens.ahead().is_word("IN", "BETWEEN")
        if negated:
            tokens.take()
        if tokens.take_word("BETWEEN") is not None:
            low = self.operand()
            tokens.expect_word("AND")
            found = BetweenCondition(left, low, self.operand())
        elif tokens.take_word("IN") is not None:
            found = In(left, self._options())
        elif isinstance(left, FunctionCall) and left.function != "size":
            return left
        else:
            raise malformed("Unexpected term" if tokens.token.kind == "end" else "Unexpected token after expression")
        return Not(found) if negated else found

    def operand(self) -> Operand:
        """A path, a value or a function of either."""
        tokens = self._tokens
        if tokens.begins_value():
            return Literal(tokens.value())
        token = tokens.token
        if token.kind not in ("name", "quoted"):
            raise malformed("Unexpected term")
        if token.kind == "name" and tokens.ahead().is_mark("("):
            return self._function()
        return tokens.path()

    def _function(self) -> FunctionCall:
        tokens = self._tokens
        name = tokens.take()
        function = name.text.lower()
        if function not in CONDITION_FUNCTIONS:
            raise validation(f"Unrecognized function: {function} at {name.place}")
        tokens.expect_mark("(")
        operands: list[Operand] = []
        if tokens.take_mark(")") is None:
            operands.append(self.operand())
            while tokens.take_mark(",") is not None:
                operands.append(self.operand())
            tokens.expect_mark(")")
        if len(operands) != CONDITION_FUNCTIONS[function]:
            raise _arity(function, len(operands))
        return FunctionCall(function, tuple(operands))

    def _options(self) -> tuple[Operand, ...]:
        tokens = self._tokens
        if tokens.token.kind == "parameter":
            value = tokens.value()
            if "L" not in value:
                raise validation("IN takes a list of values")
            return tuple(Literal(each) for each in value["L"])
        closing = "]" if tokens.take_mark("[") is not None else ")"
        if closing == ")":
            tokens.expect_mark("(")
        options = [self.operand()]
        while tokens.take_mark(",") is not None:
            options.append(self.operand())
        tokens.expect_mark(closing)
        return tuple(options)

    def _is(self, left: Operand) -> Condition:
        if self._tokens.take_word("MISSING") is not None:
            return FunctionCall("attribute_not_exists", (left,))
        token = self._tokens.take()
        tag = _TYPES.get(token.text.upper()) if token.kind == "name" else None
        if tag is None:
            raise malformed("Unexpected term" if token.kind == "end" else "Unexpected token")
        return FunctionCall("attribute_type", (left, Literal({"S": tag})))


def _comparison(operator: str, left: Operand, right: Operand) -> Condition:
    """A condition that is compared with true or false is itself, or its opposite."""
    for call, other in ((left, right), (right, left)):
        if isinstance(call, FunctionCall) and call.function != "size":
            if operator not in ("=", "<>") or not isinstance(other, Literal) or "BOOL" not in other.value:
                raise validation(f"The function is not allowed to be used this way; function: {call.function}")
            return call if other.value["BOOL"] == (operator == "=") else Not(call)
    return ComparisonCondition(operator, left, right)


def _arity(function: str, count: int) -> DynamoDBError:
    return validation(
        "Incorrect number of operands for operator or function; "
        f"operator or function: {function}, number of operands: {count}"
    )


def names_of(operand: Operand) -> str | None:
    """The attribute that an operand is, where it is one as a whole."""
    return str(operand.parts[0]) if isinstance(operand, Path) and len(operand.parts) == 1 else None
