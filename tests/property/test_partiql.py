"""Whatever a condition or an update of DynamoDB's expressions says, a PartiQL statement says, and is read as such."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.dynamodb.expressions.ast import (
    Add,
    And,
    Arithmetic,
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
    Remove,
    Set,
    Update,
)
from proxy.dynamodb.partiql.parser import parse_statement
from proxy.dynamodb.partiql.statements import InsertStatement, SelectStatement, UpdateStatement
from proxy.dynamodb.values import Value
from tests.strategies import conditions, items, updates


class _Writer:
    """Writes statements, with their values as parameters or, where PartiQL has a form for them, as literals."""

    def __init__(self, *, literals: bool) -> None:
        self._literals = literals
        self.parameters: list[Value] = []

    def condition(self, tree: Condition) -> str:
        if isinstance(tree, And | Or):
            word = " AND " if isinstance(tree, And) else " OR "
            return word.join(f"({self.condition(term)})" for term in tree.terms)
        if isinstance(tree, Not):
            return f"NOT ({self.condition(tree.term)})"
        if isinstance(tree, ComparisonCondition):
            return f"{self.operand(tree.left)} {tree.operator} {self.operand(tree.right)}"
        if isinstance(tree, BetweenCondition):
            return f"{self.operand(tree.operand)} BETWEEN {self.operand(tree.low)} AND {self.operand(tree.high)}"
        if isinstance(tree, In):
            return f"{self.operand(tree.operand)} IN [{', '.join(map(self.operand, tree.options))}]"
        return self.operand(tree)

    def operand(self, operand: Operand | Arithmetic) -> str:
        if isinstance(operand, Path):
            return path_text(operand)
        if isinstance(operand, Literal):
            return self.value(operand.value)
        if isinstance(operand, Arithmetic):
            return f"{self.operand(operand.left)} {operand.operator} {self.operand(operand.right)}"
        assert isinstance(operand, FunctionCall)
        return f"{operand.function}({', '.join(map(self.operand, operand.operands))})"

    def action(self, action: Any) -> str:
        path = path_text(action.path)
        if isinstance(action, Remove):
            return f"REMOVE {path}"
        if isinstance(action, Set):
            return f"SET {path} = {self.operand(action.value)}"
        function = "set_add" if isinstance(action, Add) else "set_delete"
        return f"SET {path} = {function}({path}, {self.operand(action.value)})"

    def value(self, value: Value) -> str:
        [(tag, content)] = value.items()
        if self._literals:
            if tag == "S":
                return _quoted(content)
            if tag in ("N", "BOOL"):
                return str(content)
            if tag == "NULL":
                return "NULL"
            if tag == "L":
                return f"[{', '.join(map(self.value, content))}]"
            if tag == "M":
                return "{" + ", ".join(f"{_quoted(name)}: {self.value(each)}" for name, each in content.items()) + "}"
            if tag in ("SS", "NS"):
                return f"<<{', '.join(self.value({tag[0]: each}) for each in content)}>>"
        self.parameters.append(value)
        return "?"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def path_text(path: Path) -> str:
    first, *rest = path.parts
    names = [f"[{part}]" if isinstance(part, int) else f'."{_doubled(part)}"' for part in rest]
    return f'"{_doubled(str(first))}"' + "".join(names)


def _doubled(name: str) -> str:
    return name.replace('"', '""')


@given(conditions(), st.booleans())
def test_a_condition_is_read_as_it_was_meant(condition: Condition, literals: bool) -> None:
    writer = _Writer(literals=literals)
    where = writer.condition(condition)
    found = parse_statement(f'SELECT * FROM "T" WHERE {where}', writer.parameters)
    assert isinstance(found, SelectStatement)
    assert found.where == condition


@given(updates(), st.booleans())
def test_an_update_is_read_as_it_was_meant(update: Update, literals: bool) -> None:
    # PartiQL adds to a number by arithmetic.
    assume(not any(isinstance(action, Add) and "N" in action.value.value for action in update.actions))  # type: ignore[union-attr]
    writer = _Writer(literals=literals)
    actions = " ".join(map(writer.action, update.actions))
    found = parse_statement(f'UPDATE "T" {actions}', writer.parameters)
    assert isinstance(found, UpdateStatement)
    assert found.actions == update


@given(items(), st.booleans())
def test_an_item_is_read_as_it_was_meant(item: dict[str, Value], literals: bool) -> None:
    writer = _Writer(literals=literals)
    text = writer.value({"M": item})
    found = parse_statement(f'INSERT INTO "T" VALUE {text}', writer.parameters)
    assert found == InsertStatement("T", item)
