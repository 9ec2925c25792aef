"""What a Query asks of a key: its condition on the hash key, and at most one on the range key.

Source (developer guide): "Key condition expressions for the Query operation".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from proxy.dynamodb.errors import validation
from proxy.dynamodb.expressions.ast import (
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
)
from proxy.dynamodb.expressions.parameters import invalid
from proxy.dynamodb.values import Value


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """What a Query asks of a key: one value of the hash key, and perhaps a range of the range key.

    `operator` is one of = < <= > >= BETWEEN begins_with, or None for the whole hash key; `operands` holds two values
    for BETWEEN, one for the others, none for None.
    """

    hash_value: Value
    operator: str | None = None
    operands: tuple[Value, ...] = ()


KeyTerms: TypeAlias = Mapping[str, tuple[str, tuple[Value, ...]]]
"""A Query's conditions by attribute name: operator and operands as KeyCondition has them."""

_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_REFUSED_IN_KEYS = {Or: "OR", Not: "NOT", In: "IN"}


def key_condition(tree: Condition, hash_key: tuple[str, str], range_key: tuple[str, str] | None = None) -> KeyCondition:
    """What a bound KeyConditionExpression asks of a key, given the (name, type) of its one or two attributes.

    Raises ValidationException where the condition is not of the form that Query can serve: the hash key equal to a
    value, and at most one condition on the range key ("Key condition expressions for the Query operation").
    """
    return assemble_key_condition(key_terms(tree), hash_key, range_key)


def key_terms(tree: Condition) -> KeyTerms:
    """The conditions of a bound KeyConditionExpression. Raises ValidationException for what is no condition on keys."""
    found: dict[str, tuple[str, tuple[Value, ...]]] = {}
    for term in _key_terms(tree):
        name, operator, operands = _key_term(term)
        if name in found:
            raise invalid("KeyConditionExpression", "KeyConditionExpressions must only contain one condition per key")
        found[name] = (operator, operands)
    return found


def assemble_key_condition(
    found: KeyTerms,
    hash_key: tuple[str, str],
    range_key: tuple[str, str] | None,
) -> KeyCondition:
    """A KeyCondition from conditions by attribute name: operator and operands as KeyCondition has them."""
    attributes = 1 if range_key is None else 2
    if len(found) > attributes:
        raise validation(
            f"The number of query conditions ({len(found)}) exceeds the number of key attributes defined in the "
            f"schema ({attributes})"
        )
    name, wanted = hash_key
    if name not in found:
        raise validation(f"Query condition missed key schema element: {name}")
    if len(found) == 2:
        assert range_key is not None
        if range_key[0] not in found:
            raise validation(f"Query condition missed key schema element: {range_key[0]}")
    operator, operands = found[name]
    if operator != "=":
        raise validation("Query key condition not supported")
    _check_key_operands(name, wanted, operands)
    if len(found) == 1:
        return KeyCondition(operands[0])
    assert range_key is not None
    range_operator, range_operands = found[range_key[0]]
    _check_key_operands(*range_key, range_operands)
    return KeyCondition(operands[0], range_operator, range_operands)


def _check_key_operands(name: str, wanted: str, operands: tuple[Value, ...]) -> None:
    for operand in operands:
        if wanted not in operand:
            raise validation(
                "One or more parameter values were invalid: Condition parameter type does not match schema type"
            )
        if operand[wanted] == "":
            what = "string" if wanted == "S" else "binary"
            raise validation(
                "One or more parameter values are not valid. "
                f"The AttributeValue for a key attribute cannot contain an empty {what} value. Key: {name}"
            )


def _key_terms(tree: Condition) -> Iterator[Condition]:
    if isinstance(tree, And):
        for term in tree.terms:
            yield from _key_terms(term)
    else:
        yield tree


def _key_term(term: Condition) -> tuple[str, str, tuple[Value, ...]]:
    operands: tuple[Operand, ...]
    if isinstance(term, ComparisonCondition):
        operator, operands = term.operator, (term.left, term.right)
        refused = "<>" if operator == "<>" else None
    elif isinstance(term, BetweenCondition):
        operator, operands, refused = "BETWEEN", (term.operand, term.low, term.high), None
    elif isinstance(term, FunctionCall):
        operator, operands = term.function, term.operands
        refused = None if operator == "begins_with" else operator
    else:
        operator, operands, refused = "", (), _REFUSED_IN_KEYS[type(term)]
    if refused is not None:
        raise validation(f"Invalid operator used in KeyConditionExpression: {refused}")
    if any(isinstance(operand, FunctionCall) for operand in operands):
        raise validation("KeyConditionExpressions cannot contain nested operations")
    if operator in ("BETWEEN", "begins_with") and not isinstance(operands[0], Path):
        raise validation(
            "Invalid condition in KeyConditionExpression: "
            f"{operator} operator must have the key attribute as its first operand"
        )
    paths = [operand for operand in operands if isinstance(operand, Path)]
    values = tuple(operand.value for operand in operands if isinstance(operand, Literal))
    if not paths:
        raise validation("Invalid condition in KeyConditionExpression: No key attribute specified")
    if len(paths) > 1:
        raise validation("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
    if len(paths[0].parts) > 1:
        raise validation("KeyConditionExpressions cannot have conditions on nested attributes")
    if not isinstance(operands[0], Path):
        operator = _MIRRORED[operator]
    return str(paths[0].parts[0]), operator, values
