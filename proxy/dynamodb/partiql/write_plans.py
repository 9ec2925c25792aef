"""Statements that write one item, and EXISTS, as the operations that they are: PutItem, UpdateItem, DeleteItem,
ConditionCheck.

Sources: developer guide, "PartiQL insert statements", "… update statements", "… delete statements", "Performing
transactions with PartiQL". An INSERT of a key that is there is a DuplicateItemException; an UPDATE of one that is not
fails its condition; a DELETE of one that is not does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.dynamodb.errors import DynamoDBError, validation
from proxy.dynamodb.expressions.ast import And, ComparisonCondition, Condition, FunctionCall, Literal, Path, joined
from proxy.dynamodb.expressions.printer import ExpressionPrinter
from proxy.dynamodb.partiql.conditions_parser import names_of
from proxy.dynamodb.partiql.statements import ExistsStatement, InsertStatement, UpdateStatement, WriteStatement
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item

DUPLICATE_ITEM = "Duplicate primary key exists in table"


@dataclass(frozen=True, slots=True)
class WritePlan:
    """One write: its kind in a transaction (Put, Update, Delete, ConditionCheck) and its parameters, without what a
    request asks beside them."""

    kind: str
    request: Mapping[str, Any]
    is_insert: bool = False

    @property
    def action(self) -> str:
        """The operation that does it alone."""
        return f"{self.kind}Item"


def plan_write(statement: WriteStatement, schema: TableSchema) -> WritePlan:
    """Raises ValidationException."""
    printer = ExpressionPrinter()
    if isinstance(statement, InsertStatement):
        absent = FunctionCall("attribute_not_exists", (Path((schema.hash,)),))
        request = {"TableName": schema.name, "Item": statement.item}
        return WritePlan("Put", request | _conditioned(printer, [absent]), is_insert=True)
    key, conditions = split_key(statement.where, schema)
    request = {"TableName": schema.name, "Key": key}
    returning = {} if statement.returning is None else {"ReturnValues": statement.returning}
    if isinstance(statement, UpdateStatement):
        update = {"UpdateExpression": printer.update(statement.actions)}
        present = FunctionCall("attribute_exists", (Path((schema.hash,)),))
        return WritePlan("Update", request | update | _conditioned(printer, [present, *conditions]) | returning)
    return WritePlan("Delete", request | _conditioned(printer, conditions) | returning)


def plan_exists(statement: ExistsStatement, schema: TableSchema) -> WritePlan:
    """Raises ValidationException."""
    key, conditions = split_key(statement.select.where, schema)
    if not conditions:
        raise validation("EXISTS() must contain a single item read with additional condition")
    request = {"TableName": schema.name, "Key": key}
    return WritePlan("ConditionCheck", request | _conditioned(ExpressionPrinter(), conditions))


def split_key(where: Condition | None, schema: TableSchema) -> tuple[Item, list[Condition]]:
    """The key that a WHERE names, and its other conditions. Raises ValidationException where it names none."""
    key: Item = {}
    others: list[Condition] = []
    for term in and_terms(where):
        name, literal = equality(term)
        if name in schema.key_names and name not in key and literal is not None:
            key[str(name)] = literal.value
        else:
            others.append(term)
    if len(key) < len(schema.key_names):
        raise missing_key()
    return key, others


def missing_key() -> DynamoDBError:
    return validation("Where clause does not contain a mandatory equality on all key attributes")


def and_terms(where: Condition | None) -> tuple[Condition, ...]:
    """The conditions of a WHERE that must all hold."""
    if where is None:
        return ()
    if isinstance(where, And):
        return tuple(each for term in where.terms for each in and_terms(term))
    return (where,)


def equality(term: Condition) -> tuple[str | None, Literal | None]:
    """The attribute and the value of `attribute = value`, written either way; None for any other condition."""
    if isinstance(term, ComparisonCondition) and term.operator == "=":
        for one, other in ((term.left, term.right), (term.right, term.left)):
            name = names_of(one)
            if name is not None and isinstance(other, Literal):
                return name, other
    return None, None


def _conditioned(printer: ExpressionPrinter, conditions: list[Condition]) -> dict[str, Any]:
    condition = {"ConditionExpression": printer.condition(joined(And, conditions))} if conditions else {}
    return condition | printer.parameters()
