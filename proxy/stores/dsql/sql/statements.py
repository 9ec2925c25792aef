"""The SQL that Crossfade sends, all of it, made from a mapping's names. Text only: no connection, no values.

Every form here is one that Aurora DSQL takes ("Supported SQL for Aurora DSQL", user guide): no SAVEPOINT, no array
parameters, FOR UPDATE on one table with equality on the whole key. A test holds all of it against those rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal

from proxy.mapping.interface import Column, IndexRange, TableMapping

SEGMENT_MINE: Final = '"crossfade mine"'
SEGMENT_END: Final = '"crossfade end"'
"""Columns beside a segment's rows: whether the row is of the segment, and whether it is the last that was looked at."""

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
    column_names: str = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        columns, keys = self.mapping.columns, self.mapping.key_columns
        set_(self, "table", qualified(self.schema, self.mapping.sql_table))
        set_(self, "column_list", ", ".join(_read(column) for column in columns))
        set_(self, "column_names", ", ".join(quoted(column.name) for column in columns))
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

        Parameters: the hash columns of each alternative, the operands of the bounds, the cursor (the columns of the
        order), then for a segment its count, its number and how many rows to look at, then the number of rows.

        Alternatives are a range each, put together: an OR would take a BitmapOr, which DSQL has not.
        """
        parameter = count(1)
        equal = [[f"{quoted(name)} = ${next(parameter)}" for name in span.equal] for _ in range(alternatives)]
        conditions = [f"{quoted(name)} IS NOT NULL" for name in span.present if name not in span.equal]
        conditions.extend(f"{quoted(column)} {comparison} ${next(parameter)}" for column, comparison in bounds)
        order = self.order_columns(span)
        if cursor:
            conditions.append(after_row([(name, f"${next(parameter)}") for name in order], descending=descending))
        direction = " DESC" if descending else ""
        ordered = ", ".join(f"{quoted(name)}{direction}" for name in order)
        if segmented:
            return self._segment(conditions, ordered, parameter)
        limit = f"ORDER BY {ordered} LIMIT ${next(parameter)}"
        ranges = [f"{self.select_from}{_where([*each, *conditions])} {limit}" for each in equal]
        if len(ranges) == 1:
            return ranges[0]
        together = " UNION ALL ".join(f"({each})" for each in ranges)
        return f"SELECT * FROM ({together}) AS alternatives {limit}"  # noqa: S608

    def scan(self, *, segmented: bool, cursor: bool) -> str:
        """All rows in key order, from a cursor; of one segment, where asked for.

        Parameters: the cursor's key columns, then for a segment its count, its number and how many rows to look at,
        then the number of rows.
        """
        parameter = count(1)
        keys = self.mapping.key_columns
        ordered = ", ".join(quoted(name) for name in keys)
        conditions = [after_row([(name, f"${next(parameter)}") for name in keys])] if cursor else []
        if segmented:
            return self._segment(conditions, ordered, parameter)
        return f"{self.select_from}{_where(conditions)} ORDER BY {ordered} LIMIT ${next(parameter)}"

    def _segment(self, conditions: list[str], ordered: str, parameter: Iterator[int]) -> str:
        """The rows of a segment among so many rows, and the last of those: SEGMENT_END says where to go on.

        No statement looks for a segment's next row through the whole table.
        """
        mine = self._in_segment(parameter)
        looked_at = f"${next(parameter)}::bigint"
        rows = f"SELECT * FROM {self.table}{_where(conditions)} ORDER BY {ordered} LIMIT {looked_at}"  # noqa: S608
        return (
            f"SELECT {self.column_names}, {SEGMENT_MINE}, {SEGMENT_END} FROM (SELECT {self.column_list}, "  # noqa: S608
            f"{mine} AS {SEGMENT_MINE}, row_number() OVER (ORDER BY {ordered}) = {looked_at} AS {SEGMENT_END} "
            f"FROM ({rows}) AS looked_at) AS numbered WHERE {SEGMENT_MINE} OR {SEGMENT_END} "
            f"ORDER BY {ordered} LIMIT ${next(parameter)}"
        )

    def order_columns(self, span: IndexRange) -> tuple[str, ...]:
        """The sort columns, then what of the key is not fixed already: a total order, and never an empty one."""
        sorts = tuple(sort.name for sort in span.sorts)
        keys = tuple(name for name in self.mapping.key_columns if name not in (*sorts, *span.equal))
        return tuple(dict.fromkeys((*span.scanned, *sorts, *keys))) or self.mapping.key_columns

    def _in_segment(self, parameter: Iterator[int]) -> str:
        """Segments by 16 bits of a hash of the key's last column, which has more different values than the first.

        A hash that the manual promises (PostgreSQL, "Binary String Functions"): two proxies that scan one table
        segment by segment must agree on what is in each, whichever version of the server answers them.
        """
        hashed = f"sha256(convert_to({quoted(self.mapping.key_columns[-1])}::text, 'UTF8'))"
        number = f"get_byte({hashed}, 0) * 256 + get_byte({hashed}, 1)"
        return f"({number}) % ${next(parameter)}::int = ${next(parameter)}::int"


def after_row(place: Sequence[tuple[str, str]], *, descending: bool = False) -> str:
    """The rows after one, whose columns and their parameters are given in the order's order.

    PostgreSQL looks a row comparison up in its B-tree ("Multicolumn Indexes"); of DSQL's index that is not known. The
    bound on the first column follows from it, and is looked up either way.
    """
    names, marks = ", ".join(quoted(name) for name, _ in place), ", ".join(mark for _, mark in place)
    first, mark = place[0]
    comparison = "<" if descending else ">"
    if len(place) == 1:
        return f"{quoted(first)} {comparison} {mark}"
    return f"{quoted(first)} {comparison}= {mark} AND ({names}) {comparison} ({marks})"


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _read(column: Column) -> str:
    name = quoted(column.name)
    return f"{name}::text AS {name}" if column.as_text else name


def _read_for_guard(column: Column) -> str:
    return f"{quoted(column.name)}::text" if column.as_text else quoted(column.name)


def _guard_cast(column: Column) -> str:
    return "::text" if column.as_text else ""


def _parameter(column: Column, number: int) -> str:
    return f"${number}::text::{column.sql_type}" if column.as_text else f"${number}"
