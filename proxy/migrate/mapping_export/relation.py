"""A mapping as a relation: what a data layer that speaks SQL must know of the table, in one record.

Pure. The renderers beside this module write the record in the words of an ORM or of SQL; none of them reads the
mapping itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from comparators.rules import ANY, Comparator, Rule
from proxy.mapping.attribute_columns import AttributeColumn, ServedIndex
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.load import LoadedMapping

_TYPE: Final = re.compile(r"(?P<name>[a-z]+)(?:\((?P<first>\d+)(?:, *(?P<second>\d+))?\))?")
_WORD: Final = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedColumn:
    """A column and the attribute that it holds."""

    name: str
    """The column's name in SQL."""
    attribute: str
    """The attribute's name in DynamoDB; the renderers make the property's name of it."""
    sql_type: str
    """The SQL type without its arguments: `text`, `numeric`, `timestamptz`, …"""
    arguments: tuple[int, ...] = ()
    """The type's arguments: a length, or precision and scale."""
    nullable: bool = True
    """Whether the column may be NULL."""
    binary_as_text: bool = False
    """Whether the text is binary in the alphabet that sorts as its bytes do."""
    only: tuple[str, ...] = ()
    """The item types that may have a value in the column, by a CHECK; empty for all."""
    refers_to: str = ""
    """What the column refers to, for people: DSQL has no foreign keys (decision 020)."""

    @property
    def declared(self) -> str:
        """The SQL type as a column's declaration has it."""
        return f"{self.sql_type}({', '.join(map(str, self.arguments))})" if self.arguments else self.sql_type


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedIndex:
    """A SQL index that serves one of DynamoDB's."""

    name: str
    """The index's name in SQL."""
    serves: str
    """The name of DynamoDB's index."""
    columns: tuple[str, ...]
    """The columns in order; the key's come last, so that the order is total."""
    present: tuple[str, ...]
    """The columns that are not NULL in the index, which is as sparse as DynamoDB's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAttribute:
    """An attribute that the mapping names and that has no column: it is in the JSON column."""

    name: str
    comparator: Comparator


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRelation:
    """What a new data layer needs to know of one table."""

    table: str
    """The table's name in DynamoDB."""
    sql_table: str
    """The table's name in SQL."""
    columns: tuple[ExportedColumn, ...]
    key: tuple[str, ...]
    """The columns of the primary key, in order."""
    json_column: str
    indexes: tuple[ExportedIndex, ...]
    composites: tuple[tuple[str, str], ...]
    """DynamoDB's composed attributes and their templates: rows do not hold them."""
    type_column: str | None
    """The column that holds the item type; None where the mapping has none."""
    item_types: tuple[tuple[str, tuple[ExportedAttribute, ...]], ...]
    """Each item type that the mapping names, with its attributes in the JSON column."""


def relation_of(loaded: LoadedMapping) -> ExportedRelation:
    """Return the relation that a mapping file describes. Raises ValueError for a literal mapping, which loses data."""
    mapping = loaded.mapping
    if mapping.literal:
        raise ValueError("it is a literal mapping, which rehearses a plan with its losses: export a lossless one")
    references = {each.attribute: f"{each.to} of {each.item_type or 'an item'}" for each in loaded.references}
    in_columns = {column.path[0]: column for column in mapping.attribute_columns}
    in_json = _attributes(loaded, set(in_columns) | set(mapping.composites))
    type_column = in_columns.get(mapping.type_attribute)
    return ExportedRelation(
        table=mapping.table,
        sql_table=mapping.sql_table,
        columns=tuple(_column(mapping, each, references) for each in mapping.attribute_columns),
        key=mapping.key_columns,
        json_column=mapping.json_name,
        indexes=_indexes(mapping, in_columns),
        composites=tuple((name, each.template) for name, each in mapping.composites.items()),
        type_column=None if type_column is None else type_column.name,
        item_types=in_json,
    )


def camel_case(text: str) -> str:
    """Return a property's name for TypeScript: `added_at` and `addedAt` are `addedAt`, `2nd-name` is `_2ndName`."""
    first, *others = _WORD.findall(text) or ["column"]
    name = first[0].lower() + first[1:] + "".join(each[0].upper() + each[1:] for each in others)
    return name if not name[0].isdigit() else f"_{name}"


def _column(mapping: ColumnMapping, column: AttributeColumn, references: dict[str, str]) -> ExportedColumn:
    matched = _TYPE.fullmatch(column.codec.sql_type)
    if matched is None:  # `codec` takes no other form
        raise ValueError(f"{column.codec.sql_type!r} is not a column type")
    return ExportedColumn(
        name=column.name,
        attribute=column.path[0],
        sql_type=matched["name"],
        arguments=tuple(int(each) for each in (matched["first"], matched["second"]) if each),
        nullable=not column.required and column.name not in mapping.key_columns,
        binary_as_text=column.codec.tag == "B" and matched["name"] == "text",
        only=tuple(sorted(column.only)),
        refers_to=references.get(column.path[0], ""),
    )


def _indexes(mapping: ColumnMapping, in_columns: dict[str, AttributeColumn]) -> tuple[ExportedIndex, ...]:
    def columns_of(attribute: str) -> tuple[str, ...]:
        composite = mapping.composites.get(attribute)
        parts = composite.parts if composite is not None else (attribute,)
        return tuple(in_columns[part].name for part in parts)

    def index_of(name: str, served: ServedIndex) -> ExportedIndex:
        own = tuple(column for attribute in (*served.hashes, *served.ranges) for column in columns_of(attribute))
        columns = tuple(dict.fromkeys((*own, *mapping.key_columns)))
        present = tuple(dict.fromkeys(each for each in own if each not in mapping.key_columns))
        return ExportedIndex(name=served.sql_index, serves=name, columns=columns, present=present)

    return tuple(index_of(name, served) for name, served in mapping.indexes.items())


def _attributes(loaded: LoadedMapping, held: set[str]) -> tuple[tuple[str, tuple[ExportedAttribute, ...]], ...]:
    """The attributes in the JSON column by item type; those of "*" belong to each type."""

    def named(rules: dict[str, Rule]) -> tuple[ExportedAttribute, ...]:
        return tuple(ExportedAttribute(name=n, comparator=r.comparator) for n, r in rules.items() if n not in held)

    common = dict(loaded.rules[ANY].attributes) if ANY in loaded.rules else {}
    types = [name for name in loaded.rules if name != ANY]
    return tuple((name, named(common | dict(loaded.rules[name].attributes))) for name in types)
