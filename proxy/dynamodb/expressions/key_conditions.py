"""What a Query asks of a key: its conditions on the hash attributes, and on the range attributes from the first on.

Sources (developer guide): "Key condition expressions for the Query operation", "Multi-attribute keys pattern". Which
conditions on several range attributes are refused, and in which words: dynamodb-conformance, tier 1,
multiAttributeGsiKey.
"""

from collections.abc import Iterator, Mapping, Sequence
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
    """What a Query asks of a key: a value of each hash attribute, and perhaps a range of the range attributes.

    The first range attributes equal the values `fixed`; `operator` and `operands` are the condition on the next one.
    `operator` is one of = < <= > >= BETWEEN begins_with, or None where no (other) range attribute has a condition;
    `operands` holds two values for BETWEEN, one for the others, none for None.
    """

    hash_values: tuple[Value, ...]
    operator: str | None = None
    operands: tuple[Value, ...] = ()
    fixed: tuple[Value, ...] = ()


KeyTerms: TypeAlias = Mapping[str, tuple[str, tuple[Value, ...]]]
"""A Query's conditions by attribute name: operator and operands as KeyCondition has them."""

KeyAttribute: TypeAlias = tuple[str, str]
"""A key attribute's name and type."""

_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_REFUSED_IN_KEYS = {Or: "OR", Not: "NOT", In: "IN"}


def key_condition(tree: Condition, hashes: Sequence[KeyAttribute], ranges: Sequence[KeyAttribute] = ()) -> KeyCondition:
    """What a bound KeyConditionExpression asks of a key, given its hash and range attributes.

    Raises ValidationException where the condition is not of the form that Query can serve: each hash attribute equal to
    a value, and conditions on the range attributes from the first on, of which only the last may be a range.
    """
    return assemble_key_condition(key_terms(tree), hashes, ranges)


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
    found: KeyTerms, hashes: Sequence[KeyAttribute], ranges: Sequence[KeyAttribute]
) -> KeyCondition:
    """A KeyCondition from conditions by attribute name: operator and operands as KeyCondition has them."""
    attributes = len(hashes) + len(ranges)
    if len(found) > attributes:
        raise validation(
            f"The number of query conditions ({len(found)}) exceeds the number of key attributes defined in the "
            f"schema ({attributes})"
        )
    for name, _ in hashes:
        if name not in found:
            raise validation(f"Query condition missed key schema element: {name}")
    conditioned = [name for name, _ in ranges if name in found]
    if len(hashes) + len(conditioned) < len(found):
        absent = next(name for name, _ in ranges if name not in found)
        raise validation(f"Query condition missed key schema element: {absent}")
    _check_prefix(found, [name for name, _ in ranges], conditioned)
    for name, wanted in hashes:
        operator, operands = found[name]
        if operator != "=":
            raise validation("Query key condition not supported")
        _check_key_operands(name, wanted, operands)
    hash_values = tuple(found[name][1][0] for name, _ in hashes)
    for name, wanted in ranges[: len(conditioned)]:
        _check_key_operands(name, wanted, found[name][1])
    if not conditioned:
        return KeyCondition(hash_values)
    *equalities, last = conditioned
    return KeyCondition(hash_values, *found[last], fixed=tuple(found[name][1][0] for name in equalities))


def _check_prefix(found: KeyTerms, ranges: Sequence[str], conditioned: Sequence[str]) -> None:
    """Range attributes have conditions from the first on, without a gap, and equalities up to the last."""
    if not conditioned:
        return
    before = ranges[: ranges.index(conditioned[-1])]
    unequal = [name for name in before if name not in found or found[name][0] != "="]
    if unequal:
        raise validation(
            f"RANGE key attributes {', '.join(unequal)} must have equality conditions specified in the query because a "
            f"condition is present on key attribute {conditioned[-1]}"
        )


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
