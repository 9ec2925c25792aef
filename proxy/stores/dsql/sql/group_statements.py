"""The SQL of guarded writes of many rows at once: one statement inserts, updates or deletes a group of rows.

Each row is guarded by itself, as `Statements` guards one: a row that is no longer as it was read stays as it is, and is
missing from what the statement returns. Rows go out as one text a column, as in `bulk_statements`, so that it is one
statement however many rows there are. Text only: no connection, no values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.mapping.interface import Column, TableMapping
from proxy.stores.dsql.sql.statements import qualified, quoted

# No column of DynamoDB's making is called like these.
_PLACE = '"crossfade place"'


@dataclass(frozen=True, slots=True)
class GroupStatements:
    """The statements for one mapping, made once.

    The first parameter is the array of the rows' places in the group; the statement returns, as `place`, those that it
    wrote. Every parameter is an array written as one text.
    """

    schema: str
    mapping: TableMapping
    insert: str = field(init=False)
    """Further parameters: one array for each column. Rows whose key is there stay as they are. The statement returns
    the key columns of the rows that it wrote, not their places."""
    update: str = field(init=False)
    """Further parameters: the key columns, the other columns as wanted, the other columns as read."""
    delete: str = field(init=False)
    """Further parameters: the key columns, the other columns as read."""
    keys: tuple[int, ...] = field(init=False)
    """The places of the key columns among the columns, in the order of the key."""
    others: tuple[int, ...] = field(init=False)
    """The places of the other columns."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        columns = self.mapping.columns
        table = qualified(self.schema, self.mapping.sql_table)
        keys = tuple(
            next(n for n, column in enumerate(columns) if column.name == name) for name in self.mapping.key_columns
        )
        others = tuple(n for n in range(len(columns)) if n not in keys)
        set_(self, "keys", keys)
        set_(self, "others", others)
        names = ", ".join(quoted(column.name) for column in columns)
        conflict = ", ".join(quoted(columns[n].name) for n in keys)
        given = ", ".join(f"${n}::text::{column.sql_type}[]" for n, column in enumerate(columns, 1))
        set_(
            self,
            "insert",
            f"INSERT INTO {table} ({names}) SELECT * FROM unnest({given}) "  # noqa: S608
            f"ON CONFLICT ({conflict}) DO NOTHING RETURNING {conflict}",
        )
        by_key = " AND ".join(f'held.{quoted(columns[n].name)} = wanted."crossfade key {n}"' for n in keys)
        guard = "".join(
            f" AND held.{quoted(columns[n].name)}{_as_read(columns[n])} IS NOT DISTINCT FROM wanted.{_read(n)}"
            for n in others
        )
        changes = ", ".join(f"{quoted(columns[n].name)} = wanted.{_new(n)}" for n in others)
        set_(
            self,
            "update",
            f"UPDATE {table} AS held SET {changes} "  # noqa: S608
            f"FROM {self._wanted(keys, others, others)} WHERE {by_key}{guard} RETURNING wanted.{_PLACE} AS place",
        )
        set_(
            self,
            "delete",
            f"DELETE FROM {table} AS held USING {self._wanted(keys, (), others)} "  # noqa: S608
            f"WHERE {by_key}{guard} RETURNING wanted.{_PLACE} AS place",
        )

    def _wanted(self, keys: Iterable[int], new: Iterable[int], read: Iterable[int]) -> str:
        """The parameters as rows: place, key, new values, values as read."""
        columns = self.mapping.columns
        typed = [("int", _PLACE)]
        typed += [(columns[n].sql_type, f'"crossfade key {n}"') for n in keys]
        typed += [(columns[n].sql_type, _new(n)) for n in new]
        typed += [("text" if columns[n].as_text else columns[n].sql_type, _read(n)) for n in read]
        arrays = ", ".join(f"${n}::text::{kind}[]" for n, (kind, _) in enumerate(typed, 1))
        return f"unnest({arrays}) AS wanted({', '.join(name for _, name in typed)})"


def _new(n: int) -> str:
    return f'"crossfade new {n}"'


def _read(n: int) -> str:
    return f'"crossfade read {n}"'


def _as_read(column: Column) -> str:
    return "::text" if column.as_text else ""
