"""Rows of many keys in one statement: a join with the keys, which looks each one up by the primary key.

`(k1, k2) IN ((…), …)` would take a BitmapOr, which is not among DSQL's plan nodes, or else a scan of the table.
Text and values only: sends nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from proxy.mapping.interface import Column, SqlValues
from proxy.stores.dsql.sql.statements import Statements, quoted


def select_many(statements: Statements, rows: int, *, lock: bool = False) -> str:
    """Rows of so many keys, whose values are the parameters, key after key; `lock` takes them FOR UPDATE.

    Any predicate may stand in a FOR UPDATE, joins too, since August 2026 ("Concurrency control in Aurora DSQL").
    """
    mapping = statements.mapping
    by_name = {column.name: column for column in mapping.columns}
    keys = [by_name[name] for name in mapping.key_columns]
    # The table's columns are named bare: no column of DynamoDB's making is called like these.
    wanted = [f'"crossfade key {n}"' for n in range(len(keys))]
    values = ", ".join(
        "(" + ", ".join(f"${row * len(keys) + n + 1}::{_plain_type(each)}" for n, each in enumerate(keys)) + ")"
        for row in range(rows)
    )
    join = " AND ".join(f"held.{quoted(each.name)} = {name}" for each, name in zip(keys, wanted, strict=True))
    sql = (
        f"SELECT {statements.column_list} FROM (VALUES {values}) AS wanted ({', '.join(wanted)}) "  # noqa: S608
        f"JOIN {statements.table} AS held ON {join}"
    )
    return f"{sql} FOR UPDATE OF held" if lock else sql


def many_parameters(statements: Statements, keys: Sequence[SqlValues]) -> tuple[int, list[Any]]:
    """For how many keys the statement is, and its parameters.

    A power of two keeps the number of prepared statements small; what is too many is NULL, which no key is.
    """
    capacity = 1 << (len(keys) - 1).bit_length()
    missing = (capacity - len(keys)) * len(statements.mapping.key_columns)
    return capacity, [value for values in keys for value in values] + [None] * missing


def rows_by_key(statements: Statements, rows: Iterable[asyncpg.Record]) -> dict[tuple[Any, ...], asyncpg.Record]:
    """The rows by their keys' values, as `comparable` has them."""
    names = [column.name for column in statements.mapping.columns]
    places = [names.index(name) for name in statements.mapping.key_columns]
    return {comparable(row[place] for place in places): row for row in rows}


def comparable(values: Iterable[Any]) -> tuple[Any, ...]:
    """Key values in one form, whether sent or read: asyncpg reads a uuid as an object and takes it as text."""
    return tuple(str(value) if isinstance(value, uuid.UUID) else value for value in values)


def _plain_type(column: Column) -> str:
    """The type to cast a key's value to: a cast to varchar(n) would cut without a word what is longer."""
    return "text" if column.sql_type.startswith("varchar") else column.sql_type
