"""Checks that migrations create the SQL indexes that a mapping relies on: by name, and on the right leading columns.

Parses the statements as text, in the few forms that migrations use. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from proxy.dynamodb.schema import Index
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.index_key_limits import sql_index_columns
from proxy.migrate.preflight.item_checks import ItemProblem, ProblemKind

_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\s"(.]+)'
_CREATE_INDEX: Final = re.compile(
    rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:ASYNC\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})"
    rf"\s+ON\s+(?:{_NAME}\s*\.\s*)?({_NAME})\s*\(([^)]*)\)",
    re.IGNORECASE,
)


def check_indexes(mapping: ColumnMapping, statements: Iterable[str]) -> Iterator[ItemProblem]:
    """Yield a problem for each DynamoDB index whose SQL index no statement creates, or creates on other columns."""
    made = {
        _unquoted(name): [
            _unquoted(re.split(r"\s+(?i:ASC|DESC|NULLS)\b", column.strip())[0]) for column in columns.split(",")
        ]
        for statement in statements
        for name, table, columns in _CREATE_INDEX.findall(statement)
        if _unquoted(table) == mapping.sql_table
    }
    for index, served in mapping.indexes.items():
        place = f"indexes.{index}.sql_index"
        span = mapping.span(Index(index, served.hashes, served.ranges, None, local=False))
        wanted = sql_index_columns(span.own_columns)
        columns = made.get(served.sql_index)
        if columns is None:
            yield ItemProblem(
                ProblemKind.INDEX, place, f"no migration creates {served.sql_index} on {mapping.sql_table}"
            )
        elif columns[: len(wanted)] != list(wanted):
            listed = ", ".join(wanted)
            yield ItemProblem(
                ProblemKind.INDEX, place, f"{served.sql_index} does not begin with {listed}, by which it is queried"
            )


def _unquoted(name: str) -> str:
    """Return a name as PostgreSQL stores it: an unquoted name in lower case."""
    name = name.strip()
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
