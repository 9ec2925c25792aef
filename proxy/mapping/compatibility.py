"""Whether a mapping file is for the table that it names: its keys, their types and its indexes against DescribeTable.

A mapping cannot check this when it is read, because DynamoDB is not asked then. Says what is wrong; decides nothing.
"""

from __future__ import annotations

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.attribute_columns import AttributeColumn
from proxy.mapping.column_mapping import ColumnMapping


def misfits(mapping: ColumnMapping, schema: TableSchema) -> tuple[str, ...]:
    """What does not fit, each with its place in the mapping file and the remedy; empty where all does."""
    by_name = {column.name: column for column in mapping.attribute_columns}
    by_attribute = {column.path[0]: column for column in mapping.attribute_columns if len(column.path) == 1}
    keys = (mapping.key,) if mapping.key is not None else tuple(by_name[n].path[0] for n in mapping.key_columns)
    found = []
    if keys != schema.key_names:
        wanted = _listed(schema.key_names)
        found.append(f"key: it is for {_listed(keys)}; the table has {wanted}: name these, in this order")
    found.extend(_wrong_types("key", schema.key_names, schema, by_attribute))
    for name, index in schema.indexes.items():
        served = mapping.indexes.get(name)
        if served is None:
            found.append(f"indexes.{name}: missing; queries of it cannot be answered: add it")
        elif (served.hashes, served.ranges) != (index.hashes, index.ranges):
            roles = f"hash {_listed(index.hashes)}" + (f", range {_listed(index.ranges)}" if index.ranges else "")
            found.append(f"indexes.{name}: the table's index is on {roles}; give these as hash and range")
        else:
            found.extend(_wrong_types(f"indexes.{name}", index.key_names, schema, by_attribute))
    found.extend(
        f"indexes.{name}: the table has no such index; leave it out"
        for name in mapping.indexes
        if name not in schema.indexes
    )
    return tuple(found)


def _wrong_types(
    place: str, names: tuple[str, ...], schema: TableSchema, by_attribute: dict[str, AttributeColumn]
) -> list[str]:
    return [
        f"{place}: {name} is of type {schema.types[name]}, its column {column.name} is {column.codec.sql_type}"
        for name in names
        if (column := by_attribute.get(name)) is not None and column.codec.tag != schema.types[name]
    ]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
