"""A SELECT as the reads that it is: a GetItem, Queries (one for each value of the partition key) or a Scan, and what of
their items it shows.

The reads take the table's or index's key from the WHERE, and no more: the whole WHERE is looked at again on each item
that they give. So `Limit` counts items read, as DynamoDB's does. Source (developer guide): "PartiQL select statements
for DynamoDB". What an index refuses, and in which words: dynamodb-conformance, tier 2, indexQualifier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any, Final

from proxy.dynamodb.errors import validation
from proxy.dynamodb.expressions import evaluate
from proxy.dynamodb.expressions.ast import (
    And,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    FunctionCall,
    In,
    Literal,
    Operand,
    Or,
    Path,
    condition_paths,
    joined,
    top_level,
)
from proxy.dynamodb.expressions.printer import ExpressionPrinter
from proxy.dynamodb.partiql.conditions_parser import names_of
from proxy.dynamodb.partiql.statements import SelectStatement
from proxy.dynamodb.partiql.write_plans import and_terms, equality
from proxy.dynamodb.schema import Index, TableSchema
from proxy.dynamodb.values import Item, Value, equal, order

MOST_HASH_VALUES: Final = 50
"""Values of a partition key in one statement ("PartiQL arithmetic, comparison, and logical operators", IN)."""
_INVALID: Final = "One or more parameter values were invalid: "
_SEVERAL_KEYS: Final = (
    "PartiQL statements cannot be executed on tables with multi-attribute HASH keys or multi-attribute RANGE keys."
)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The reads of one SELECT, in order, without limit and cursor."""

    action: str
    requests: tuple[Mapping[str, Any], ...]
    where: Condition | None
    columns: tuple[Path, ...] | None
    held: frozenset[str] | None
    """The attributes that the index holds; None for all."""

    def rows(self, items: Iterable[Item]) -> list[Item]:
        """What the statement shows of the items that a read gave."""
        found = []
        for item in items:
            held = item if self.held is None else {name: item[name] for name in item if name in self.held}
            if self.where is None or evaluate.matches(self.where, held):
                found.append(held if self.columns is None else _columns(self.columns, item))
        return found


def plan_select(statement: SelectStatement, schema: TableSchema, *, consistent: bool) -> ReadPlan:
    """Raises ValidationException."""
    index = _index(statement, schema)
    if index is not None and consistent and not index.local:
        raise validation("Strongly consistent read is not supported on Global Secondary Indexes")
    (hash_name,), ranges = schema.index_keys(index)
    range_name = ranges[0] if ranges else None
    hash_values = _hash_values(statement.where, hash_name)
    if hash_values is not None and any(schema.types[hash_name] not in value for value in hash_values):
        raise validation(f"{_INVALID}Condition parameter type does not match schema type")
    _check_projected(statement, schema, index, keyed=_keyed(statement.where, hash_name))
    held = None if index is None else schema.held_names(index)
    forward, hash_values = _ordered(statement, hash_name, range_name, hash_values)
    base: dict[str, Any] = {"TableName": schema.name}
    if index is not None:
        base["IndexName"] = index.name
        if statement.columns is not None and held is not None and not top_level(statement.columns) <= held:
            base["Select"] = "ALL_ATTRIBUTES"
    if consistent:
        base["ConsistentRead"] = True
    key = single_key(statement, schema)
    if key is not None:
        request = {"TableName": schema.name, "Key": key, **({"ConsistentRead": True} if consistent else {})}
        return ReadPlan("GetItem", (request,), statement.where, statement.columns, held)
    if hash_values is None:
        return ReadPlan("Scan", (base,), statement.where, statement.columns, held)
    range_term = None
    if len(hash_values) == 1 and range_name is not None:
        range_term = _range_term(statement.where, range_name, schema.types[range_name])
    requests = tuple(base | _query(hash_name, value, range_term, forward=forward) for value in hash_values)
    return ReadPlan("Query", requests, statement.where, statement.columns, held)


def single_key(statement: SelectStatement, schema: TableSchema, *, alone: bool = False) -> Item | None:
    """The key of the one item that the statement reads from the table; with `alone`, only where its WHERE says nothing
    else."""
    if statement.index is not None:
        return None
    terms = and_terms(statement.where)
    key: Item = {}
    for term in terms:
        name, literal = equality(term)
        if name in schema.key_names and name not in key and literal is not None:
            key[str(name)] = literal.value
    if len(key) < len(schema.key_names) or (alone and len(terms) > len(key)):
        return None
    return key if all(schema.types[name] in value for name, value in key.items()) else None


def check_source(statement: SelectStatement, schema: TableSchema) -> None:
    """Raises ValidationException for an index that the table does not have, or that PartiQL does not read."""
    _index(statement, schema)


def _index(statement: SelectStatement, schema: TableSchema) -> Index | None:
    if statement.index is None:
        return None
    index = schema.indexes.get(statement.index)
    if index is None:
        raise validation("The table does not have the specified index")
    if len(index.hashes) > 1 or len(index.ranges) > 1:
        raise validation(_SEVERAL_KEYS)
    return index


def _hash_values(where: Condition | None, hash_name: str) -> tuple[Value, ...] | None:
    """The values of the partition key that a WHERE is about, each once; None where it may be about any."""
    found: tuple[Value, ...] | None = None
    for term in and_terms(where):
        values: list[Value] | None = None
        name, literal = equality(term)
        if name == hash_name and literal is not None:
            values = [literal.value]
        elif isinstance(term, In) and names_of(term.operand) == hash_name:
            literals = [each.value for each in term.options if isinstance(each, Literal)]
            values = literals if len(literals) == len(term.options) else None
        elif isinstance(term, Or):
            branches = [_hash_values(branch, hash_name) for branch in term.terms]
            if all(branch is not None for branch in branches):
                values = [value for branch in branches for value in branch or ()]
        if values is not None and (found is None or len(values) < len(found)):
            found = _distinct(values)
    if found is not None and len(found) > MOST_HASH_VALUES:
        raise validation(f"A statement takes at most {MOST_HASH_VALUES} values of the partition key")
    return found


def _keyed(where: Condition | None, hash_name: str) -> bool:
    """Whether a condition on the partition key stands by itself, and not in a branch of an OR."""
    return any(
        equality(term)[0] == hash_name or (isinstance(term, In) and names_of(term.operand) == hash_name)
        for term in and_terms(where)
    )


def _distinct(values: Iterable[Value]) -> tuple[Value, ...]:
    found: list[Value] = []
    for value in values:
        if not any(equal(value, other) for other in found):
            found.append(value)
    return tuple(found)


def _check_projected(statement: SelectStatement, schema: TableSchema, index: Index | None, *, keyed: bool) -> None:
    held = None if index is None else schema.held_names(index)
    if index is None or held is None:
        return
    if not index.local and statement.columns is not None:
        missing = [name for name in dict.fromkeys(str(path.parts[0]) for path in statement.columns) if name not in held]
        if missing:
            raise validation(f"{_INVALID}Global secondary index {index.name} does not project [{', '.join(missing)}]")
    if keyed and statement.where is not None:
        paths = condition_paths(statement.where)
        filtered = [name for name in dict.fromkeys(str(path.parts[0]) for path in paths) if name not in held]
        if filtered:
            raise validation(
                f"{_INVALID}Secondary index {index.name} does not project one or more filter attributes: "
                f"[{', '.join(filtered)}]"
            )


def _ordered(
    statement: SelectStatement, hash_name: str, range_name: str | None, hash_values: tuple[Value, ...] | None
) -> tuple[bool, tuple[Value, ...] | None]:
    """Which way the sort key goes, and the values of the partition key in their order."""
    if not statement.order:
        return True, hash_values
    if statement.where is None:
        raise validation("Must have WHERE clause in the statement when using ORDER BY clause.")
    if hash_values is None:
        raise validation(
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause."
        )
    for term in statement.order:
        if term.name not in (hash_name, range_name):
            raise validation(f"Variable reference {term.name} in ORDER BY clause must be part of the primary key")
    if len(hash_values) > 1 and statement.order[0].name != hash_name:
        raise validation(
            "Crossfade: ORDER BY the sort key takes one value of the partition key; order by the partition key first"
        )
    ways = {term.name: term.ascending for term in statement.order}
    in_order = sorted(hash_values, key=cmp_to_key(_ascending))
    if not ways.get(hash_name, True):
        in_order.reverse()
    return ways.get(range_name or "", True), tuple(in_order)


def _ascending(one: Value, other: Value) -> int:
    return order(one, other) or 0


def _range_term(where: Condition | None, name: str, tag: str) -> Condition | None:
    """The first condition on the sort key that a Query takes."""
    for term in and_terms(where):
        attribute, operands = _range_parts(term, tag)
        values = [each.value for each in operands if isinstance(each, Literal)]
        known = attribute == name and len(values) == len(operands)
        if known and all(tag in value and value[tag] != "" for value in values):
            return term
    return None


def _range_parts(term: Condition, tag: str) -> tuple[str | None, tuple[Operand, ...]]:
    """The attribute and the operands of a condition of a form that a Query takes of a sort key; None for another."""
    if isinstance(term, ComparisonCondition) and term.operator != "<>":
        left = names_of(term.left)
        return (left, (term.right,)) if left is not None else (names_of(term.right), (term.left,))
    if isinstance(term, BetweenCondition):
        return names_of(term.operand), (term.low, term.high)
    if isinstance(term, FunctionCall) and term.function == "begins_with" and tag != "N":
        return names_of(term.operands[0]), term.operands[1:]
    return None, ()


def _query(hash_name: str, value: Value, range_term: Condition | None, *, forward: bool) -> dict[str, Any]:
    terms: list[Condition] = [ComparisonCondition("=", Path((hash_name,)), Literal(value))]
    if range_term is not None:
        terms.append(range_term)
    printer = ExpressionPrinter()
    request: dict[str, Any] = {"KeyConditionExpression": printer.condition(joined(And, terms)), **printer.parameters()}
    return request if forward else request | {"ScanIndexForward": False}


def _columns(columns: tuple[Path, ...], item: Item) -> Item:
    """Each column that the item has, named by the last name of its path."""
    row: Item = {}
    for path in columns:
        value = evaluate.lookup(path, item)
        if value is not None:
            row[next(part for part in reversed(path.parts) if isinstance(part, str))] = value
    return row
