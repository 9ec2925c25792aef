"""The identity of a mapping: what it is, and not the file that it stands in.

Two mappings with one digest write the same rows and serve the same indexes. Comments, order and comparators have no
part in it. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import orjson

from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import TableMapping


def mapping_digest(mapping: TableMapping) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of what the mapping says."""
    text = orjson.dumps(_content(mapping), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16]


class MappingDigests:
    """The digests of tables' mappings, each worked out once."""

    def __init__(self, mapping_of: Callable[[str], TableMapping | None]) -> None:
        self._mapping_of = mapping_of
        self._known: dict[str, tuple[TableMapping, str]] = {}

    def of(self, table: str) -> str:
        """Return the digest of a table's mapping; "" where it is not known."""
        mapping = self._mapping_of(table)
        if mapping is None:
            return ""
        known = self._known.get(table)
        if known is None or known[0] is not mapping:
            known = self._known[table] = (mapping, mapping_digest(mapping))
        return known[1]


def _content(mapping: TableMapping) -> dict[str, Any]:
    content: dict[str, Any] = {
        "table": mapping.table,
        "sql_table": mapping.sql_table,
        "columns": [[column.name, column.sql_type] for column in mapping.columns],
        "key": mapping.key_columns,
    }
    if isinstance(mapping, ColumnMapping):
        return content | {
            "attributes": [
                [column.name, column.path, column.codec.tag, column.required, sorted(column.only)]
                for column in mapping.attribute_columns
            ],
            "composites": {name: composite.template for name, composite in mapping.composites.items()},
            "json": mapping.json_name,
            "type": mapping.type_attribute,
            "indexes": {
                name: [each.sql_index, *_key(each.hashes, each.ranges), each.sort, each.column, dict(each.groups)]
                for name, each in mapping.indexes.items()
            },
            "derived": {name: [source, dict(values)] for name, (source, values) in mapping.derived.items()},
            "literal": [mapping.literal, mapping.update_replaces_json, mapping.on_loss],
        }
    if isinstance(mapping, DocumentMapping):
        schema = mapping.schema
        indexes = {name: _key(index.hashes, index.ranges) for name, index in schema.indexes.items()}
        return content | {"document": indexes, "types": dict(schema.types)}
    raise TypeError(f"{type(mapping).__name__} is no mapping that has a digest")


def _key(hashes: tuple[str, ...], ranges: tuple[str, ...]) -> list[Any]:
    """One hash and one range attribute by their names alone: a digest that was recorded before an index could have
    several is the same today."""
    return [each[0] if len(each) == 1 else each or None for each in (hashes, ranges)]
