"""The SQL that Crossfade sends, all of it, made from a mapping's names. Text only: no connection, no values.

Every form here is one that Aurora DSQL takes ("Supported SQL for Aurora DSQL", user guide): no SAVEPOINT, no array
parameters, FOR UPDATE on one table with equality on the whole key. A test holds all of it against those rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from proxy.mapping.interface import Column, IndexRange, TableMapping

Comparison = Literal["=", "<", "<=", ">", ">="]


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def qualified(schema: str, table: str) -> str:
    return f"{quoted(schema)}.{quoted(table)}"


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements for one mapping, made once. Parameters come in the order of columns, then of guard columns."""

    schema: str
    mapping: TableMapping
    table: str = field(init=False)
    select: str = field(init=False)
    select_from: str = field(init=False)
    insert: str = field(init=False)
    update: str = field(init=False)
    delete: str = field(init=False)
    other_columns: tuple[int, ...] = field(init=False)
    column_list: str = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        columns, keys = self.mapping.columns, self.mapping.key_columns
        set_(self, "table", qualified(self.schema, self.mapping.sql_table))
        set_(self, "column_list", ", ".join(_read(column) for column in columns))
        by_key = " AND ".join(f"{quoted(name)} = ${n}" for n, name in enumerate(keys, 1))
        set_(self, "select_from", f"SELECT {self.column_list} FROM {self.table}")  # noqa: S608
        select = f"{self.select_from} WHERE {by_key}"
        set_(self, "select", select)
        names = ", ".join(quoted(column.name) for column in columns)
        marks = ", ".join(_parameter(column, n) for n, column in enumerate(columns, 1))
        set_(
            self,
            "insert",
            f"INSERT INTO {self.table} ({names}) VALUES ({marks}) "  # noqa: S608
            f"ON CONFLICT ({', '.join(quoted(k) for k in keys)}) DO NOTHING",
        )
        others = tuple(n for n, column in enumerate(columns) if column.name not in keys)
        set_(self, "other_columns", others)
        changes = ", ".join(
            f"{quoted(columns[n].name)} = {_parameter(columns[n], p)}" for p, n in enumerate(others, len(keys) + 1)
        )
        update_guard = self._guard(others, len(keys) + len(others) + 1)
        set_(self, "update", f"UPDATE {self.table} SET {changes} WHERE {by_key}{update_guard}")  # noqa: S608
        delete_guard = self._guard(others, len(keys) + 1)
        set_(self, "delete", f"DELETE FROM {self.table} WHERE {by_key}{delete_guard}")  # noqa: S608

    def _guard(self, others: tuple[int, ...], first: int) -> str:
        """The row must still be what was read: this is what keeps a late write off a row that has moved on."""
        columns = self.mapping.columns
        return "".join(
            f" AND {_read_for_guard(columns[n])} IS NOT DISTINCT FROM ${p}{_guard_cast(columns[n])}"
            for p, n in enumerate(others, first)
        )

    def range(
        self,
        span: IndexRange,
        alternatives: int,
        bounds: tuple[tuple[str, Comparison], ...],
        *,
        cursor: bool,
        descending: bool,
        segmented: bool = False,
    ) -> str:
        """Rows of an index in order, from a cursor. A bound is a column and how it compares.

        Parameters: the hash columns of each alternative, the operands of the bounds, the cursor (sort columns, then
        key columns), segment count and number if segmented, the number of rows.
        """
        parameter = count(1)
        conditions = []
        if span.equal:
            groups = [
                " AND ".join(f"{quoted(name)} = ${next(parameter)}" for name in span.equal) for _ in range(alternatives)
            ]
            conditions.append(groups[0] if len(groups) == 1 else "(" + " OR ".join(f"({g})" for g in groups) + ")")
        conditions.extend(f"{quoted(name)} IS NOT NULL" for name in span.present if name not in span.equal)
        conditions.extend(f"{quoted(column)} {comparison} ${next(parameter)}" for column, comparison in bounds)
        order = self.order_columns(span)
        if cursor:
            names = ", ".join(quoted(name) for name in order)
            marks = ", ".join(f"${next(parameter)}" for _ in order)
            conditions.append(f"({names}) {'<' if descending else '>'} ({marks})")
        if segmented:
            conditions.append(self._in_segment(parameter))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        direction = " DESC" if descending else ""
        ordered = ", ".join(f"{quoted(name)}{direction}" for name in order)
        return (
            f"SELECT {self.column_list} FROM {self.table}{where} "  # noqa: S608
            f"ORDER BY {ordered} LIMIT ${next(parameter)}"
        )

    def scan(self, *, segmented: bool, cursor: bool) -> str:
        """All rows in key order, from a cursor; of one segment, where asked for.

        Parameters: the cursor's key columns, then segment count and number if segmented, then the number of rows.
        """
        parameter = count(1)
        keys = self.mapping.key_columns
        names = ", ".join(quoted(name) for name in keys)
        conditions = []
        if cursor:
            conditions.append(f"({names}) > ({', '.join(f'${next(parameter)}' for _ in keys)})")
        if segmented:
            conditions.append(self._in_segment(parameter))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {self.column_list} FROM {self.table}{where} ORDER BY {names} LIMIT ${next(parameter)}"  # noqa: S608

    def order_columns(self, span: IndexRange) -> tuple[str, ...]:
        """The sort columns, then what of the key is not fixed already: a total order, and never an empty one."""
        sorts = tuple(sort.name for sort in span.sorts)
        keys = tuple(name for name in self.mapping.key_columns if name not in (*sorts, *span.equal))
        return (*sorts, *keys) or self.mapping.key_columns

    def _in_segment(self, parameter: Iterator[int]) -> str:
        """Segments by 16 bits of a hash of the key's last column, which has more different values than the first.

        A hash that the manual promises (PostgreSQL, "Binary String Functions"): two proxies that scan one table
        segment by segment must agree on what is in each, whichever version of the server answers them.
        """
        hashed = f"sha256(convert_to({quoted(self.mapping.key_columns[-1])}::text, 'UTF8'))"
        number = f"get_byte({hashed}, 0) * 256 + get_byte({hashed}, 1)"
        return f"({number}) % ${next(parameter)}::int = ${next(parameter)}::int"


def _read(column: Column) -> str:
    name = quoted(column.name)
    return f"{name}::text AS {name}" if column.as_text else name


def _read_for_guard(column: Column) -> str:
    return f"{quoted(column.name)}::text" if column.as_text else quoted(column.name)


def _guard_cast(column: Column) -> str:
    return "::text" if column.as_text else ""


def _parameter(column: Column, number: int) -> str:
    return f"${number}::text::{column.sql_type}" if column.as_text else f"${number}"
