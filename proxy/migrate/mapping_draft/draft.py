"""Drafts a first mapping from a table's description and a sample of its items. Pure.

An attribute gets a column if a key or an index needs it, or if it is a scalar in at least half of the items. Everything
else stays in the JSON column. Columns are wide enough that nothing is lost: text, never varchar. A number in a key or
an index is numeric with twice the digits seen, because a value that does not fit there cannot be held at all. Any other
number is bigint if all were whole and small, because a value that does not fit stays in the JSON column. Limits:
"Cluster quotas and database limits in Amazon Aurora DSQL" (24 indexes per table, the primary key included; 255 columns;
8 columns per key).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.dynamodb.schema import Index, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.composites import Composite
from proxy.mapping.document_mapping import identifier
from proxy.mapping.index_key_limits import MAX_KEY_COLUMNS, sql_index_columns
from proxy.mapping.references import Reference
from proxy.migrate.mapping_draft.composite_detection import find_composite
from proxy.migrate.mapping_draft.profile import AttributeProfile, find_discriminator, profile_attributes

MOST_INDEXES: Final = 23
_MOST_COLUMNS: Final = 100
_SHARE: Final = 0.5
_SYSTEM: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_ANY_NUMBER: Final = "numeric(294,168)"  # every DynamoDB number fits
_NUMERIC: Final = (20, 4)
_WIDEST: Final = 60
_WHOLE_DIGITS: Final = 15  # bigint holds 18 digits; the next item may have more than the sample
_SQL_TYPES: Final = {"S": "text", "BOOL": "boolean", "B": "bytea"}
_COMPARATORS: Final = {
    "S": "string",
    "N": "number",
    "BOOL": "boolean",
    "B": "binary",
    "SS": "set",
    "NS": "set",
    "BS": "set",
    "L": "list",
    "M": "map",
}
_IMAGE: Final = frozenset({"url", "width", "height"})


@dataclass(frozen=True, slots=True)
class DraftColumn:
    """A column and the attribute that it holds."""

    name: str
    attribute: str
    sql_type: str
    binary: bool = False
    """Whether a column of text holds binary, as a key must have it."""


@dataclass(frozen=True, slots=True)
class DraftIndex:
    """A DynamoDB index and the SQL index that serves it. The `sparse` columns are not NULL in it."""

    name: str
    hashes: tuple[str, ...]
    ranges: tuple[str, ...]
    sql_index: str
    columns: tuple[str, ...]
    sparse: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted mapping. `left_out` says what exceeds DSQL's limits."""

    table: str
    sql_table: str
    json_column: str
    type_attribute: str | None
    composites: Mapping[str, Composite]
    key: str | None
    key_columns: tuple[str, ...]
    columns: tuple[DraftColumn, ...]
    indexes: tuple[DraftIndex, ...]
    comparators: Mapping[str, Mapping[str, str]]
    references: tuple[Reference, ...]
    items: int
    left_out: tuple[str, ...]


def draft_mapping(schema: TableSchema, items: Sequence[Item], sql_table: str | None = None) -> Draft:
    """Return a mapping that holds every item of the sample, as far as DSQL can hold it at all."""
    attributes = profile_attributes(items)
    composites = _composites(schema, items, attributes)
    key = schema.hash if schema.hash in composites and schema.range is None else None
    key_parts = frozenset(composites[key].parts) if key is not None else frozenset()
    type_attribute = find_discriminator(items, key_parts, composites)
    named = sql_table or snake_case(schema.name)
    keys = composites[key].parts if key is not None else schema.key_names
    needed = dict.fromkeys(keys)
    for index in schema.indexes.values():
        for name in index.key_names:
            needed.update(dict.fromkeys(composites[name].parts if name in composites else (name,)))
    for composite in composites.values():
        needed.update(dict.fromkeys(composite.parts))
    if type_attribute is not None:
        needed[type_attribute] = None
    wanted = [*needed, *(n for n, each in attributes.items() if n not in needed and _deserves_column(each, len(items)))]
    wanted = [name for name in wanted if name not in composites][: max(_MOST_COLUMNS, len(needed))]
    names = _column_names(wanted)
    columns = tuple(_column(names[n], n, attributes.get(n), schema, needed=n in needed) for n in wanted)
    key_columns = tuple(names[name] for name in keys)
    indexes, left_out = _indexes(schema, composites, names, key_columns, named)
    return Draft(
        table=schema.name,
        sql_table=named,
        json_column=_unique_name("data", set(names.values())),
        type_attribute=type_attribute,
        composites=composites,
        key=key,
        key_columns=key_columns,
        columns=columns,
        indexes=indexes,
        comparators=_comparators(items, attributes, type_attribute, {*composites, *keys}),
        references=_references(items, attributes, type_attribute, keys, composites),
        items=len(items),
        left_out=left_out,
    )


def snake_case(name: str) -> str:
    """Return `movedAt` as `moved_at`, `type:shelf` as `type_shelf`; the result is always a valid SQL name."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    plain = re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
    return identifier(plain or "column") if not plain[:1].isdigit() else identifier("_" + plain)


def _composites(
    schema: TableSchema, items: Sequence[Item], attributes: Mapping[str, AttributeProfile]
) -> dict[str, Composite]:
    """Find composites among the table's key, the indexes' hashes, and attributes of most items.

    Sort attributes stay columns.
    """
    hashes = dict.fromkeys(name for index in schema.indexes.values() for name in index.hashes)
    sorts = {name for index in schema.indexes.values() for name in index.ranges}
    if schema.range is None:
        hashes = {schema.hash: None, **hashes}
    else:
        sorts |= {schema.hash, schema.range}
    others = [name for name, each in attributes.items() if _deserves_column(each, len(items))]
    indexed = {*hashes, *sorts}
    usable = frozenset(n for n, each in attributes.items() if each.uniform and each.tag in ("S", "N"))
    found: dict[str, Composite] = {}
    for name in dict.fromkeys((*hashes, *others)):
        if name in sorts or any(name in composite.parts for composite in found.values()):
            continue
        composite = find_composite(name, items, indexed=name in indexed, parts=usable - found.keys() - {schema.hash})
        if composite is not None and len(composite.parts) < MAX_KEY_COLUMNS:
            found[name] = composite
    return found


def _deserves_column(attribute: AttributeProfile, items: int) -> bool:
    return attribute.tag in ("S", "N", "BOOL", "B") and attribute.tags[attribute.tag] >= items * _SHARE


def _column_names(attributes: Iterable[str]) -> dict[str, str]:
    """A column's name for each attribute, no two alike."""
    taken: set[str] = set(_SYSTEM)
    names = {}
    for attribute in attributes:
        names[attribute] = _unique_name(snake_case(attribute), taken)
        taken.add(names[attribute])
    return names


def _unique_name(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name[:50]}_{number}", number + 1
    return candidate


def _column(
    column: str, name: str, attribute: AttributeProfile | None, schema: TableSchema, *, needed: bool
) -> DraftColumn:
    """The column of an attribute, which a key or an index may need."""
    sql_type = _sql_type(name, attribute, schema, wide=needed)
    if needed and sql_type == "bytea":  # DSQL takes none in a key
        return DraftColumn(column, name, "text", binary=True)
    return DraftColumn(column, name, sql_type)


def _sql_type(name: str, attribute: AttributeProfile | None, schema: TableSchema, *, wide: bool) -> str:
    tag = schema.types.get(name) or (attribute.tag if attribute is not None else "S")
    if tag != "N":
        return _SQL_TYPES[tag]
    if attribute is not None and attribute.timestamp:
        return "timestamptz"
    before, after = (attribute.before, attribute.after) if attribute is not None else (0, 0)
    if not wide and not after and before <= _WHOLE_DIGITS:
        return "bigint"
    scale = max(_NUMERIC[1], 2 * after)
    precision = max(_NUMERIC[0], 2 * max(before, 2) + scale)
    return _ANY_NUMBER if precision > _WIDEST else f"numeric({precision},{scale})"


def _indexes(
    schema: TableSchema,
    composites: Mapping[str, Composite],
    names: Mapping[str, str],
    key_columns: tuple[str, ...],
    sql_table: str,
) -> tuple[tuple[DraftIndex, ...], tuple[str, ...]]:
    made: list[DraftIndex] = []
    left_out: list[str] = []
    taken: set[str] = set()
    for index in schema.indexes.values():
        own = _index_columns(index, composites, names)
        columns = sql_index_columns((*own, *key_columns))
        if len(made) == MOST_INDEXES:
            left_out.append(f"index {index.name}: DSQL allows {MOST_INDEXES} beside the primary key")
            continue
        sql_index = _unique_name(identifier(f"idx_{sql_table}_{snake_case(index.name)}"), taken)
        taken.add(sql_index)
        sparse = tuple(column for column in own if column not in key_columns)
        made.append(DraftIndex(index.name, index.hashes, index.ranges, sql_index, columns, sparse))
    return tuple(made), tuple(left_out)


def _index_columns(index: Index, composites: Mapping[str, Composite], names: Mapping[str, str]) -> tuple[str, ...]:
    hashed = [part for name in index.hashes for part in (composites[name].parts if name in composites else (name,))]
    return tuple(names[name] for name in (*hashed, *index.ranges))


def _comparators(
    items: Sequence[Item], attributes: Mapping[str, AttributeProfile], type_attribute: str | None, made: set[str]
) -> dict[str, dict[str, str]]:
    """Return the comparators of attributes, under the types that have them, or under "*"."""
    owners: dict[str, set[str]] = {}
    for item in items:
        item_type = item.get(type_attribute, {}).get("S", "*") if type_attribute is not None else "*"
        for name in item:
            owners.setdefault(name, set()).add(item_type)
    types = sorted(set().union(*owners.values())) if owners else []
    # Every type in the sample is declared: only a declared type can be moved by itself and has a line in reports.
    found: dict[str, dict[str, str]] = {"*": {}, **{each: {} for each in types if each != "*"}}
    for name, each in attributes.items():
        comparator = _comparator(each)
        if name in made or name == type_attribute or comparator is None:
            continue
        here = owners[name]
        for owner in ["*"] if len(here) * 2 > len(types) or "*" in here else sorted(here):
            found.setdefault(owner, {})[name] = comparator
    return found


def _comparator(attribute: AttributeProfile) -> str | None:
    """Return the comparator for the type of most values; values of other types still compare by their own type."""
    if attribute.timestamp:
        return "timestamp"
    if attribute.tag == "M" and attribute.entries >= _IMAGE:
        return "image"
    return _COMPARATORS.get(attribute.tag)


def _references(
    items: Sequence[Item],
    attributes: Mapping[str, AttributeProfile],
    type_attribute: str | None,
    keys: Sequence[str],
    composites: Mapping[str, Composite],
) -> tuple[Reference, ...]:
    """Return attributes all of whose values in the sample are ids of items of one type."""
    identifiers = [name for name in keys if name != type_attribute]
    if type_attribute is None or len(identifiers) != 1:
        return ()
    [to] = identifiers
    by_type: dict[str, set[str]] = {}
    for item in items:
        known_here = by_type.setdefault(item[type_attribute]["S"], set())
        if "S" in item.get(to, {}):
            known_here.add(item[to]["S"])
    found = []
    for name, each in attributes.items():
        if name in keys or name in composites or name == type_attribute or not each.uniform or each.tag != "S":
            continue
        values = {item[name]["S"] for item in items if name in item}
        targets = [item_type for item_type, known in by_type.items() if values <= known]
        if len(values) > 1 and len(targets) == 1:
            found.append(Reference(name, to, targets[0]))
    return tuple(found)
