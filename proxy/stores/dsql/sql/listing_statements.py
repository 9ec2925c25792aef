"""A listing in SQL: one statement on one index, from a place on (keyset), never OFFSET. Text and parameters only.

PostgreSQL's `lower` folds ASCII alone under "C", the collation that Aurora DSQL has ("Supported data types in Aurora
DSQL", user guide), and ILIKE with it. So a title that is all ASCII is folded by `lower`, and any other by `translate`
and `replace` with the tables of `proxy.dynamodb.case_folding`, by which DynamoDB's half folds too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from proxy.dynamodb import errors
from proxy.dynamodb.case_folding import tables
from proxy.dynamodb.listing import Filter, Listing
from proxy.dynamodb.values import Value
from proxy.mapping.interface import Fault, IndexRange, SqlValues
from proxy.stores.dsql.sql.statements import Statements, after_row, quoted
from proxy.stores.errors import Refused
from proxy.stores.interface import Unrepresentable


@dataclass(frozen=True, slots=True)
class SQLQuery:
    """A statement with its parameters."""

    sql: str
    parameters: tuple[Any, ...]


@dataclass(slots=True)
class _Conditions:
    alternatives: list[str] = field(default_factory=list)
    """What the hash attribute may be in the index's columns. Each is a range of its own: DSQL has no BitmapOr."""
    terms: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    def mark(self, value: Any) -> str:
        self.parameters.append(value)
        return f"${len(self.parameters)}"


def page_statement(statements: Statements, listing: Listing, count: int) -> SQLQuery | None:
    """So many rows at most, from the listing's start on. None where no row can be in it.

    Raises Refused for what the mapping cannot answer, DynamoDBError for an operand that no row can have.
    """
    found = _conditions(statements, listing)
    if found is None:
        return None
    conditions, span = found
    sort = _column(statements, listing.sort)[0]
    keys = [key for key in statements.mapping.key_columns if key not in span.equal]
    behind = [""] if listing.start is None else _behind(statements, listing, span, keys, conditions)
    way = "" if listing.forward else " DESC"
    order = f"{quoted(sort)}{way}{'' if sort in span.present else ' NULLS LAST'}"
    limit = conditions.mark(count)
    ordered = f"ORDER BY {', '.join((order, *(f'{quoted(key)}{way}' for key in keys)))} LIMIT {limit}"
    ranges = [
        f"{statements.select_from} WHERE {' AND '.join((equal, *conditions.terms, *filter(None, (each,))))} {ordered}"
        for equal in conditions.alternatives
        for each in behind
    ]
    if len(ranges) == 1:
        return SQLQuery(ranges[0], tuple(conditions.parameters))
    together = " UNION ALL ".join(f"({each})" for each in ranges)
    return SQLQuery(f"SELECT * FROM ({together}) AS behind {ordered}", tuple(conditions.parameters))  # noqa: S608


def count_statement(statements: Statements, listing: Listing) -> SQLQuery | None:
    """How many rows there are."""
    found = _conditions(statements, listing)
    if found is None:
        return None
    counts = [
        f"SELECT count(*) AS rows FROM {statements.table} WHERE {' AND '.join((equal, *found[0].terms))}"  # noqa: S608
        for equal in found[0].alternatives
    ]
    if len(counts) == 1:
        return SQLQuery(counts[0], tuple(found[0].parameters))
    together = " UNION ALL ".join(counts)
    return SQLQuery(f"SELECT sum(rows)::bigint FROM ({together}) AS each", tuple(found[0].parameters))  # noqa: S608


def _conditions(statements: Statements, listing: Listing) -> tuple[_Conditions, IndexRange] | None:
    try:
        span = statements.mapping.span(listing.index)
    except KeyError:
        raise Refused("unserved_index", f"the mapping serves no index {listing.index.name!r}") from None
    alternatives = span.hash_values((listing.hash_value,))
    if alternatives is None:
        return None
    conditions = _Conditions()
    conditions.alternatives.extend(_equal(span, alternatives, conditions))
    conditions.terms.extend(f"{quoted(name)} IS NOT NULL" for name in span.present if name not in span.equal)
    for each in listing.filters:
        _filter(statements, each, conditions)
    return conditions, span


def _equal(span: IndexRange, alternatives: Any, conditions: _Conditions) -> list[str]:
    return [
        " AND ".join(f"{quoted(name)} = {conditions.mark(value)}" for name, value in zip(span.equal, each, strict=True))
        for each in alternatives
    ]


def _filter(statements: Statements, wanted: Filter, conditions: _Conditions) -> None:
    column, encode = _column(statements, wanted.attribute)
    name = quoted(column)
    if wanted.contains is not None:
        table = tables()
        single, folded = conditions.mark(table.single), conditions.mark(table.folded)
        needle = conditions.mark(wanted.contains)
        conditions.terms.append(f"strpos({_folded(name, single, folded)}, {needle}) > 0")
    for value, comparison in ((wanted.equals, "="), (wanted.low, ">="), (wanted.high, "<=")):
        if value is not None:
            operand = _operand(encode, value, wanted.attribute)
            conditions.terms.append(f"{name} {comparison} {conditions.mark(operand)}")


def _folded(name: str, single: str, folded: str) -> str:
    lowered = f"lower({name})"
    several, replaced = _several(name)
    expanded = f"CASE WHEN translate({name}, {several}, '') <> {name} THEN {replaced} ELSE {name} END"
    beyond_ascii = f"translate({expanded}, {single}::text, {folded}::text)"
    return f"CASE WHEN octet_length({name}) = char_length({name}) THEN {lowered} ELSE {beyond_ascii} END"


@cache
def _several(name: str) -> tuple[str, str]:
    """The characters that fold to more than one, as a literal, and the column with each of them replaced."""
    replaced = name
    for character, becomes in tables().several:
        replaced = f"replace({replaced}, '{character}', '{becomes}')"
    return "'" + "".join(character for character, _ in tables().several) + "'", replaced


def _behind(
    statements: Statements, listing: Listing, span: IndexRange, keys: list[str], conditions: _Conditions
) -> list[str]:
    """What stands behind the start: its sort value, then the key. Rows without a sort value come last, either way.

    They are a range of their own: with an OR of the two PostgreSQL reads the index from its beginning, and throws away
    all that the pages before have shown.
    """
    start = listing.start or {}
    sort, encode = _column(statements, listing.sort)
    values = _key_values(statements, listing)
    place = [(key, conditions.mark(values[key])) for key in keys]
    if listing.sort in start:
        held = conditions.mark(_operand(encode, start[listing.sort], listing.sort))
        with_value = after_row([(sort, held), *place], descending=not listing.forward)
        filtered = any(each.attribute == listing.sort for each in listing.filters)
        return [with_value] if sort in span.present or filtered else [with_value, f"{quoted(sort)} IS NULL"]
    return [f"{quoted(sort)} IS NULL AND {after_row(place, descending=not listing.forward)}"]


def _key_values(statements: Statements, listing: Listing) -> dict[str, Any]:
    key = listing.schema.key_of(listing.start or {})
    mapping = statements.mapping
    values: SqlValues | None = mapping.key_values(key)
    if values is None:
        raise Unrepresentable(key, (Fault(listing.schema.hash, "no row can have the start key"),))
    return dict(zip(mapping.key_columns, values, strict=True))


def _column(statements: Statements, attribute: str) -> tuple[str, Callable[[Value], Any]]:
    held = statements.mapping.held_in(attribute)
    if held is None:
        remedy = "give it one under [columns] of the mapping file"
        raise Refused("unlisted", f"no column holds {attribute!r}: {remedy}")
    return held


def _operand(encode: Callable[[Value], Any], value: Value, attribute: str) -> Any:
    operand = encode(value)
    if operand is None:
        raise errors.validation(f"no item can have this value of {attribute}")
    return operand
