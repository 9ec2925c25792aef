"""Puts one request's names and values in a parsed tree, and makes the checks that need no item.

Sources (developer guide): "Condition and filter expressions, operators, and functions", "Using update expressions".
"""

from collections.abc import Iterable, Sequence
from typing import NoReturn

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.expressions.ast import (
    CONDITION_FUNCTIONS,
    UPDATE_FUNCTIONS,
    Action,
    Add,
    And,
    Arithmetic,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    Delete,
    FunctionCall,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Placeholder,
    Remove,
    Set,
    Update,
    value_paths,
)
from proxy.dynamodb.expressions.parameters import Parameter, invalid
from proxy.dynamodb.expressions.placeholders import Bindings
from proxy.dynamodb.values import TYPES, kind, order, show

_LONG_TYPES = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "SS": "STRING_SET",
    "NS": "NUMBER_SET",
    "BS": "BINARY_SET",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
    "L": "LIST",
    "M": "MAP",
}
_ORDERED = frozenset("SNB")
_UNSIZED = frozenset(("N", "BOOL", "NULL"))
_SETS = frozenset(("SS", "NS", "BS"))


class Binder:
    """Puts one request's names and values in a parsed tree, and refuses what is wrong whatever the item holds."""

    __slots__ = ("names", "parameter", "values")

    def __init__(self, parameter: Parameter, given: Bindings) -> None:
        self.parameter = parameter
        self.names = given.names
        self.values = given.values

    def condition(self, tree: Condition) -> Condition:
        if isinstance(tree, ComparisonCondition):
            return self._comparison(tree)
        if isinstance(tree, And):
            return And(tuple([self.condition(term) for term in tree.terms]))
        if isinstance(tree, FunctionCall):
            return self._predicate(tree)
        if isinstance(tree, Or):
            return Or(tuple([self.condition(term) for term in tree.terms]))
        if isinstance(tree, Not):
            return Not(self.condition(tree.term))
        if isinstance(tree, BetweenCondition):
            return self._between(tree)
        operand = self.operand(tree.operand)
        options = tuple([self.operand(option) for option in tree.options])
        self._check_distinct("IN", operand, options)
        return In(operand, options)

    def update(self, tree: Update) -> Update:
        paths = [self.path(action.path) for action in tree.actions]
        try:
            values = [None if isinstance(action, Remove) else self._value(action.value) for action in tree.actions]
        except DynamoDBError:
            # DynamoDB misses names before it misses values, wherever in the text they stand.
            for action in tree.actions:
                if not isinstance(action, Remove):
                    for path in value_paths(action.value):
                        self.path(path)
            raise
        self.check_disjoint(paths)
        bound: list[Action] = []
        for action, path, value in zip(tree.actions, paths, values, strict=True):
            if value is None:
                bound.append(Remove(path))
            elif isinstance(action, Set):
                self._check_set_value(value)
                bound.append(Set(path, value))
            else:
                assert isinstance(value, Literal)
                self._check_section_type("ADD" if isinstance(action, Add) else "DELETE", value)
                bound.append(Add(path, value) if isinstance(action, Add) else Delete(path, value))
        return Update(tuple(bound))

    def path(self, path: Path) -> Path:
        parts = path.parts
        for part in parts:
            if type(part) is str and part[0] == "#":
                break
        else:
            return path
        return Path(tuple([self._name(part) if type(part) is str else part for part in parts]))

    def operand(self, operand: Operand) -> Operand:
        if isinstance(operand, Path):
            return self.path(operand)
        if isinstance(operand, Placeholder):
            value = self.values.get(operand.name)
            if value is None:
                raise self._invalid(
                    f"An expression attribute value used in expression is not defined; attribute value: {operand.name}"
                )
            return Literal(value)
        if isinstance(operand, FunctionCall):
            bound = FunctionCall(operand.function, tuple([self.operand(each) for each in operand.operands]))
            if operand.function == "size":
                self._check_arity(bound)
                self._check_type(bound.operands[0], "size", refused=_UNSIZED)
            return bound
        return operand

    def check_disjoint(self, paths: Sequence[Path]) -> None:
        """No path may be another's ancestor or its equal, nor take for a list what another takes for a map."""
        if len({path.parts[0] for path in paths}) == len(paths):
            return
        first: DynamoDBError | None = None
        earlier: list[Path] = []
        for path in paths:
            for other in earlier:
                relation = _relation(other.parts, path.parts)
                if relation is None:
                    continue
                error = self._invalid(
                    f"Two document paths {relation} with each other; must remove or rewrite one of these paths; "
                    f"path one: {other}, path two: {path}"
                )
                if relation == "overlap":
                    raise error
                first = first or error
            earlier.append(path)
        if first is not None:
            raise first

    def _name(self, name: str) -> str:
        if name[0] != "#":
            return name
        meant = self.names.get(name)
        if meant is None:
            raise self._invalid(
                f"An expression attribute name used in the document path is not defined; attribute name: {name}"
            )
        return meant

    def _comparison(self, tree: ComparisonCondition) -> ComparisonCondition:
        operator = tree.operator
        left, right = self.operand(tree.left), self.operand(tree.right)
        self._check_distinct(operator, left, (right,))
        if operator not in ("=", "<>"):
            self._check_type(left, operator, allowed=_ORDERED)
            self._check_type(right, operator, allowed=_ORDERED)
        return ComparisonCondition(operator, left, right)

    def _between(self, tree: BetweenCondition) -> BetweenCondition:
        operand, low, high = self.operand(tree.operand), self.operand(tree.low), self.operand(tree.high)
        self._check_distinct("BETWEEN", operand, (low, high))
        for each in (operand, low, high):
            self._check_type(each, "BETWEEN", allowed=_ORDERED)
        if isinstance(low, Literal) and isinstance(high, Literal):
            compared = order(low.value, high.value)
            if compared is None or compared > 0:
                rule = (
                    "same data type for lower and upper bounds"
                    if compared is None
                    else "upper bound to be greater than or equal to lower bound"
                )
                raise self._invalid(
                    f"The BETWEEN operator requires {rule}; "
                    f"lower bound operand: AttributeValue: {show(low.value)}, "
                    f"upper bound operand: AttributeValue: {show(high.value)}"
                )
        return BetweenCondition(operand, low, high)

    def _predicate(self, tree: FunctionCall) -> FunctionCall:
        function = tree.function
        bound = FunctionCall(function, tuple([self.operand(operand) for operand in tree.operands]))
        self._check_arity(bound)
        operands = bound.operands
        self._check_distinct(function, operands[0], operands[1:])
        if function in ("attribute_exists", "attribute_not_exists"):
            self._check_is_path(operands[0], function)
        elif function == "begins_with":
            for operand in operands:
                self._check_type(operand, function, allowed=frozenset("SB"))
        elif function == "attribute_type":
            self._check_named_type(operands[1])
        return bound

    def _value(self, value: Operand | Arithmetic) -> Operand | Arithmetic:
        if isinstance(value, Arithmetic):
            return Arithmetic(value.operator, self.operand(value.left), self.operand(value.right))
        return self.operand(value)

    def _check_set_value(self, value: Operand | Arithmetic) -> None:
        if isinstance(value, Arithmetic):
            for side in (value.left, value.right):
                self._check_set_value(side)
                self._check_type(side, value.operator, allowed=frozenset("N"))
        elif isinstance(value, FunctionCall):
            self._check_arity(value)
            for operand in value.operands:
                self._check_set_value(operand)
            if value.function == "if_not_exists":
                self._check_is_path(value.operands[0], value.function)
            else:
                for operand in value.operands:
                    self._check_type(operand, value.function, allowed=frozenset("L"))

    def _check_section_type(self, section: str, literal: Literal) -> None:
        tag = kind(literal.value)
        if tag not in _SETS and not (section == "ADD" and tag == "N"):
            raise self._invalid(
                "Incorrect operand type for operator or function; "
                f"operator: {section}, operand type: {_LONG_TYPES[tag]}, typeSet: ALLOWED_FOR_{section}_OPERAND"
            )

    def _check_arity(self, call: FunctionCall) -> None:
        wanted = CONDITION_FUNCTIONS.get(call.function) or UPDATE_FUNCTIONS[call.function]
        if len(call.operands) != wanted:
            raise self._invalid(
                "Incorrect number of operands for operator or function; "
                f"operator or function: {call.function}, number of operands: {len(call.operands)}"
            )

    def _check_is_path(self, operand: Operand, function: str) -> None:
        if not isinstance(operand, Path):
            raise self._invalid(f"Operator or function requires a document path; operator or function: {function}")

    def _check_named_type(self, operand: Operand) -> None:
        known = _known_type(operand)
        if known != "S":
            self._wrong_type("attribute_type", known or "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")
        assert isinstance(operand, Literal)
        named = operand.value["S"]
        if named not in TYPES:
            raise self._invalid(
                f"Invalid attribute type name found; type: {named}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
            )

    def _check_type(
        self,
        operand: Operand,
        function: str,
        *,
        allowed: frozenset[str] | None = None,
        refused: frozenset[str] = frozenset(),
    ) -> None:
        known = _known_type(operand)
        if known is not None and (known in refused or (allowed is not None and known not in allowed)):
            self._wrong_type(function, known)

    def _check_distinct(self, operator: str, first: Operand, rest: Iterable[Operand]) -> None:
        if isinstance(first, Path) and first in rest:
            raise self._invalid(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {operator}, first operand: {first}"
            )

    def _wrong_type(self, function: str, found: str) -> NoReturn:
        raise self._invalid(
            f"Incorrect operand type for operator or function; operator or function: {function}, operand type: {found}"
        )

    def _invalid(self, reason: str) -> DynamoDBError:
        return invalid(self.parameter, reason)


def _known_type(operand: Operand) -> str | None:
    """The type that an operand has whatever the item holds, if there is one."""
    if isinstance(operand, Literal):
        return kind(operand.value)
    if isinstance(operand, FunctionCall):
        return {"size": "N", "list_append": "L"}.get(operand.function)
    return None


def _relation(one: tuple[str | int, ...], two: tuple[str | int, ...]) -> str | None:
    for mine, theirs in zip(one, two, strict=False):
        if type(mine) is not type(theirs):
            return "conflict"
        if mine != theirs:
            return None
    return "overlap"
