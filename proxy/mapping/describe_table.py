"""A DynamoDB table described from its mapping file, for when nobody else can: keys, types and indexes. Pure.

A mapping names the hash and range attributes of the table and of each index, and a column's type says the attribute's.
It does not say what an index projects: ALL is assumed, which is what the mapped SQL index has.
"""

from __future__ import annotations

from typing import Any

from proxy.mapping.column_mapping import ColumnMapping


def describe(mapping: ColumnMapping) -> dict[str, Any]:
    """As DescribeTable's `Table`."""
    by_column = {column.name: column for column in mapping.attribute_columns}
    types = {column.path[0]: column.codec.tag for column in mapping.attribute_columns if len(column.path) == 1}
    keys = (mapping.key,) if mapping.key is not None else tuple(by_column[n].path[0] for n in mapping.key_columns)
    used = dict.fromkeys(keys)
    indexes = []
    for name, index in mapping.indexes.items():
        used.update(dict.fromkeys((*index.hashes, *index.ranges)))
        indexes.append(
            {
                "IndexName": name,
                "KeySchema": _key_schema(index.hashes, index.ranges),
                "Projection": {"ProjectionType": "ALL"},
                "IndexStatus": "ACTIVE",
            }
        )
    # What is made of other attributes is text.
    definitions = [{"AttributeName": name, "AttributeType": types.get(name, "S")} for name in used]
    return {
        "TableName": mapping.table,
        "TableStatus": "ACTIVE",
        "KeySchema": _key_schema(keys[:1], keys[1:]),
        "AttributeDefinitions": definitions,
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    }


def _key_schema(hashes: tuple[str, ...], ranges: tuple[str, ...]) -> list[dict[str, str]]:
    roles = [*((name, "HASH") for name in hashes), *((name, "RANGE") for name in ranges)]
    return [{"AttributeName": name, "KeyType": role} for name, role in roles]
