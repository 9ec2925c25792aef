"""A relation as SQL in DSQL's dialect, one statement after another, and the conditions that other forms quote.

Text only. `crossfade migrate` wants one statement a file: this is for reading, and for tools that take a schema.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.migrate.mapping_export.relation import ExportedColumn, ExportedIndex, ExportedRelation
from proxy.stores.dsql.sql.statements import quoted


def render_sql(relation: ExportedRelation) -> str:
    """Return the statements that make the table, its indexes and its checks."""
    return "\n".join(_lines(relation)) + "\n"


def presence_of(index: ExportedIndex) -> str:
    """Return the condition of a partial index: the rows that DynamoDB's sparse index has."""
    return " AND ".join(f"{quoted(name)} IS NOT NULL" for name in index.present)


def check_of(relation: ExportedRelation, column: ExportedColumn) -> str:
    """Return the CHECK that keeps a column for the item types that may have it."""
    if relation.type_column is None:
        raise ValueError(f"{column.name}: `only` names item types, and the mapping has no column for them")
    types = ", ".join(literal(each) for each in column.only)
    return f"{quoted(column.name)} IS NULL OR {quoted(relation.type_column)} IN ({types})"


def literal(text: str) -> str:
    """Return a SQL string literal. NUL, which PostgreSQL does not take, is in no mapping's names."""
    return "'" + text.replace("'", "''") + "'"


def _lines(relation: ExportedRelation) -> Iterator[str]:
    yield f"CREATE TABLE {quoted(relation.sql_table)} ("
    for column in relation.columns:
        yield f"  {quoted(column.name)} {column.declared}{'' if column.nullable else ' NOT NULL'},"
    yield f"  {quoted(relation.json_column)} jsonb NOT NULL DEFAULT '{{}}'::jsonb,"
    for column in relation.columns:
        if column.only:
            yield f"  CONSTRAINT {quoted(f'chk_{column.name}')} CHECK ({check_of(relation, column)}),"
    yield f"  PRIMARY KEY ({', '.join(map(quoted, relation.key))})"
    yield ");"
    for index in relation.indexes:
        where = f" WHERE {presence_of(index)}" if index.present else ""
        columns = ", ".join(map(quoted, index.columns))
        yield f"CREATE INDEX ASYNC {quoted(index.name)} ON {quoted(relation.sql_table)} ({columns}){where};"
