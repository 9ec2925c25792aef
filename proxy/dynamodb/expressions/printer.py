"""A tree back to text, with the names and values that the text refers to: what a request would carry."""

import re
from typing import Any, NamedTuple

from proxy.dynamodb.expressions.ast import (
    SECTIONS,
    Add,
    And,
    Arithmetic,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Placeholder,
    Projection,
    Remove,
    Set,
    Update,
)
from proxy.dynamodb.expressions.reserved_words import RESERVED
from proxy.dynamodb.values import Value


class Printed(NamedTuple):
    """An expression as a request carries it: its text, and the names and values that the text refers to."""

    text: str
    names: dict[str, str]
    values: dict[str, Value]


_BARE_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*", re.ASCII).fullmatch


def unparse(tree: Condition | Update | Projection) -> Printed:
    """A bound tree as a request would carry it; parsing the text with these names and values gives the tree again."""
    printer = ExpressionPrinter()
    if isinstance(tree, Update):
        text = printer.update(tree)
    elif isinstance(tree, Projection):
        text = ", ".join(map(printer.path, tree.paths))
    else:
        text = printer.condition(tree)
    return Printed(text, {key: name for name, key in printer.names.items()}, printer.values)


class ExpressionPrinter:
    """The expressions of one request, which share their names and values. `names` holds an alias for each name."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Value] = {}

    def parameters(self) -> dict[str, Any]:
        """The request's parameters that the expressions printed so far refer to."""
        names = {"ExpressionAttributeNames": {alias: name for name, alias in self.names.items()}} if self.names else {}
        return names | ({"ExpressionAttributeValues": dict(self.values)} if self.values else {})

    def condition(self, tree: Condition) -> str:
        if isinstance(tree, And):
            return " AND ".join(self._inner(term, And | Or) for term in tree.terms)
        if isinstance(tree, Or):
            return " OR ".join(self._inner(term, Or) for term in tree.terms)
        if isinstance(tree, Not):
            return "NOT " + self._inner(tree.term, And | Or)
        if isinstance(tree, ComparisonCondition):
            return f"{self.operand(tree.left)} {tree.operator} {self.operand(tree.right)}"
        if isinstance(tree, BetweenCondition):
            return f"{self.operand(tree.operand)} BETWEEN {self.operand(tree.low)} AND {self.operand(tree.high)}"
        if isinstance(tree, In):
            return f"{self.operand(tree.operand)} IN ({', '.join(map(self.operand, tree.options))})"
        return self.operand(tree)

    def _inner(self, term: Condition, wrapped: object) -> str:
        text = self.condition(term)
        return f"({text})" if isinstance(term, wrapped) else text  # type: ignore[arg-type]

    def update(self, tree: Update) -> str:
        sections: dict[str, list[str]] = {}
        for action in tree.actions:
            path = self.path(action.path)
            if isinstance(action, Set):
                sections.setdefault("SET", []).append(f"{path} = {self._set_value(action.value)}")
            elif isinstance(action, Remove):
                sections.setdefault("REMOVE", []).append(path)
            else:
                section = "ADD" if isinstance(action, Add) else "DELETE"
                sections.setdefault(section, []).append(f"{path} {self.operand(action.value)}")
        return " ".join(f"{section} {', '.join(actions)}" for section, actions in sections.items())

    def _set_value(self, value: Operand | Arithmetic) -> str:
        if isinstance(value, Arithmetic):
            return f"{self.operand(value.left)} {value.operator} {self.operand(value.right)}"
        return self.operand(value)

    def operand(self, operand: Operand) -> str:
        if isinstance(operand, Path):
            return self.path(operand)
        if isinstance(operand, Literal):
            key = f":v{len(self.values)}"
            self.values[key] = operand.value
            return key
        if isinstance(operand, Placeholder):
            return operand.name
        return f"{operand.function}({', '.join(map(self.operand, operand.operands))})"

    def path(self, path: Path) -> str:
        text = ""
        for part in path.parts:
            if type(part) is int:
                text += f"[{part}]"
            else:
                text += ("." if text else "") + self._name(str(part))
        return text

    def _name(self, name: str) -> str:
        if _BARE_NAME(name) and name.upper() not in RESERVED and name.upper() not in SECTIONS:
            return name
        return self.names.setdefault(name, f"#n{len(self.names)}")
