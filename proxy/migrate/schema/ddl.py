"""The SQL that creates, widens and drops a document mapping's table. Text only, in DSQL's dialect."""

from __future__ import annotations

from proxy.dynamodb.schema import Index
from proxy.mapping.document_mapping import DocumentMapping, identifier
from proxy.mapping.index_key_limits import sql_index_columns
from proxy.stores.dsql.sql.statements import qualified, quoted


def create_table(mapping: DocumentMapping, schema: str) -> str:
    """Return CREATE TABLE IF NOT EXISTS: keys are NOT NULL, index keys may be NULL because an item may lack them."""
    lines = []
    for column in mapping.columns:
        required = column.name in mapping.key_columns or column.as_text
        lines.append(f"  {quoted(column.name)} {column.sql_type}{' NOT NULL' if required else ''}")
    keys = ", ".join(quoted(name) for name in mapping.key_columns)
    lines.append(f"  PRIMARY KEY ({keys})")
    body = ",\n".join(lines)
    return f"CREATE TABLE IF NOT EXISTS {qualified(schema, mapping.sql_table)} (\n{body}\n)"


def add_columns(mapping: DocumentMapping, schema: str, present: frozenset[str]) -> list[str]:
    """Return ALTER TABLE statements for index keys that a later UpdateTable added."""
    table = qualified(schema, mapping.sql_table)
    return [
        f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {column.sql_type}"
        for column in mapping.columns
        if column.name not in present
    ]


def create_indexes(mapping: DocumentMapping, schema: str) -> dict[str, str]:
    """Return CREATE INDEX ASYNC for each secondary index, by the SQL index's name.

    An index has its own keys and then the table's, as far as DSQL takes them, so that its order is total.
    """
    return {
        _index_name(mapping, index): _create_index(mapping, schema, index) for index in mapping.schema.indexes.values()
    }


def drop_index(name: str, schema: str) -> str:
    return f"DROP INDEX IF EXISTS {qualified(schema, name)}"


def drop_table(name: str, schema: str) -> str:
    return f"DROP TABLE IF EXISTS {qualified(schema, identifier(name))}"


def _create_index(mapping: DocumentMapping, schema: str, index: Index) -> str:
    span = mapping.span(index)
    columns = sql_index_columns((*span.own_columns, *mapping.key_columns))
    listed = ", ".join(quoted(name) for name in columns)
    present = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in span.present)
    name = quoted(_index_name(mapping, index))
    table = qualified(schema, mapping.sql_table)
    return f"CREATE INDEX ASYNC IF NOT EXISTS {name} ON {table} ({listed}) WHERE {present}"


def _index_name(mapping: DocumentMapping, index: Index) -> str:
    return identifier(f"{mapping.sql_table}.{index.name}")
