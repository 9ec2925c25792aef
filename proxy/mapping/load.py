"""Mapping files: TOML to a checked `ColumnMapping`, with every fault named by its place.

Reads text, not stores. The format is described in `config/billio.toml`, which is the example to copy.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from comparators.expected import Expectation, expectation_from
from comparators.rules import ItemRules, rules_from
from proxy.mapping.codecs import codec
from proxy.mapping.columns import AttributeColumn, ColumnMapping, ServedIndex
from proxy.mapping.composites import Composite


class MappingError(ValueError):
    """A mapping file says something that cannot be. The text names the file, the place and the remedy."""


@dataclass(frozen=True, slots=True)
class MappedTable:
    """A mapping file: how the table maps, how its items compare, and which differences are declared."""

    mapping: ColumnMapping
    rules: Mapping[str, ItemRules]
    expected: tuple[Expectation, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of the file with the path that leads to it, to name faults by."""

    file: str
    path: str
    content: Mapping[str, Any]

    def fail(self, key: str, problem: str) -> NoReturn:
        where = f"{self.path}.{key}".strip(".")
        raise MappingError(f"{self.file}: {where}: {problem}")

    def only(self, *known: str) -> None:
        for key in self.content:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
                self.fail(key, f"unknown key; {hint}")

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.content.get(key, default)
        if key not in self.content and default is None:
            self.fail(key, "missing; it is required")
        if not isinstance(value, kind):
            self.fail(key, f"must be a {kind.__name__}, is {value!r}")
        return value

    def strings(self, key: str, default: Iterable[str] | None = None) -> tuple[str, ...]:
        value = self.get(key, list, list(default) if default is not None else None)
        if not all(isinstance(each, str) for each in value):
            self.fail(key, f"must be a list of strings, is {value!r}")
        return tuple(value)

    def table(self, key: str, *, required: bool = False) -> _Place:
        return _Place(self.file, f"{self.path}.{key}".strip("."), self.get(key, dict, None if required else {}))

    def tables(self) -> Iterable[tuple[str, _Place]]:
        for key in self.content:
            yield key, self.table(key)


def load(path: Path) -> MappedTable:
    """Read one mapping file. Raises MappingError."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MappingError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: is not TOML: {error}") from error
    return parse(content, str(path))


def parse(content: Mapping[str, Any], file: str) -> MappedTable:
    """A mapping from a parsed file. Raises MappingError."""
    top = _Place(file, "", content)
    top.only(
        "table",
        "sql_table",
        "key",
        "json_column",
        "type_attribute",
        "on_loss",
        "literal",
        "partial_update",
        "composites",
        "columns",
        "indexes",
        "derived",
        "types",
        "expected",
    )
    literal = top.get("literal", bool, False)
    composites = _composites(top.table("composites"))
    columns = tuple(_column(name, place) for name, place in top.table("columns", required=True).tables())
    by_name = {c.name: c for c in columns}
    key_columns, key = _key(top, by_name, composites)
    attributes = {c.path[0] for c in columns if len(c.path) == 1}
    for name, composite in composites.items():
        for part in composite.parts:
            if part not in attributes:
                top.table("composites").fail(name, f"its part {part!r} is no column's attribute; add a column for it")
    indexes, indexed = _indexes(top, by_name, composites, attributes)
    derived = _derived(top, literal)
    on_loss = top.get("on_loss", str, "park")
    if on_loss not in ("park", "write"):
        top.fail("on_loss", f'must be "park" or "write", is {on_loss!r}')
    update = top.get("partial_update", str, "merge")
    if update not in ("merge", "replace"):
        top.fail("partial_update", f'must be "merge" or "replace", is {update!r}')
    if not literal and (on_loss == "write" or update == "replace"):
        top.fail("literal", 'must be true where on_loss is "write" or partial_update is "replace": they lose data')
    chosen: Literal["park", "write"] = "write" if on_loss == "write" else "park"
    if not literal and key is not None and {by_name[c].path[0] for c in key_columns} != set(key.parts):
        top.table("key").fail("columns", f"must hold exactly {', '.join(key.parts)}, or two items share a row")
    mapping = ColumnMapping(
        table=top.get("table", str),
        sql_table=top.get("sql_table", str),
        key=key,
        attribute_columns=columns,
        key_columns=key_columns,
        composites=composites,
        json_name=top.get("json_column", str, "data"),
        type_attribute=top.get("type_attribute", str, "type"),
        indexes=indexes,
        indexed=frozenset(indexed),
        derived=derived,
        on_loss=chosen,
        literal=literal,
        update_replaces_json=update == "replace",
    )
    return MappedTable(mapping, _rules(top), _expected(top, mapping.table))


def _composites(place: _Place) -> dict[str, Composite]:
    composites = {}
    for name in place.content:
        try:
            composites[name] = Composite.from_template(place.get(name, str))
        except ValueError as error:
            place.fail(name, str(error))
    return composites


def _column(name: str, place: _Place) -> AttributeColumn:
    place.only("attribute", "type", "required")
    try:
        chosen = codec(place.get("type", str))
    except ValueError as error:
        place.fail("type", str(error))
    path = place.content.get("attribute", name)
    names = tuple(path) if isinstance(path, list) else (path,)
    if not names or len(names) > 2 or not all(isinstance(each, str) and each for each in names):
        place.fail("attribute", f'must be a name, or ["map", "name"] for an attribute inside a map; is {path!r}')
    return AttributeColumn(name, names, chosen, place.get("required", bool, False))


def _key(
    top: _Place, by_name: Mapping[str, AttributeColumn], composites: Mapping[str, Composite]
) -> tuple[tuple[str, ...], Composite | None]:
    place = top.table("key", required=True)
    place.only("columns", "composite")
    names = place.strings("columns")
    for name in names:
        if name not in by_name:
            place.fail("columns", f"{name!r} is no column; known: {', '.join(by_name)}")
    composite = place.content.get("composite")
    if composite is None:
        return names, None
    if composite not in composites:
        place.fail("composite", f"{composite!r} is not under [composites]")
    return names, composites[composite]


def _indexes(
    top: _Place, by_name: Mapping[str, AttributeColumn], composites: Mapping[str, Composite], attributes: set[str]
) -> tuple[dict[str, ServedIndex], set[str]]:
    served: dict[str, ServedIndex] = {}
    indexed: set[str] = set()
    for name, place in top.table("indexes").tables():
        place.only("hash", "range", "sql_index", "sort", "column", "groups")
        hash_name, range_name = place.get("hash", str), place.content.get("range")
        groups = {value: place.table("groups").strings(value) for value in place.table("groups").content}
        column, sort = place.content.get("column"), place.content.get("sort")
        for key, chosen in (("column", column), ("sort", sort)):
            if chosen is not None and chosen not in by_name:
                place.fail(key, f"{chosen!r} is no column; known: {', '.join(by_name)}")
        if column is None and hash_name not in attributes and hash_name not in composites:
            place.fail("hash", f"{hash_name!r} is neither a column's attribute nor a composite")
        if sort is None and range_name is not None and range_name not in attributes:
            place.fail("range", f"{range_name!r} is no column's attribute; add a column, or the order is lost")
        served[name] = ServedIndex(place.get("sql_index", str), sort, column, groups)
        indexed.add(hash_name)
        if range_name is not None:
            indexed.add(range_name)
        if hash_name in composites:
            indexed.update(composites[hash_name].parts)
    return served, indexed


def _derived(top: _Place, literal: bool) -> dict[str, tuple[str, dict[str, str]]]:
    derived: dict[str, tuple[str, dict[str, str]]] = {}
    for name, place in top.table("derived").tables():
        if not literal:
            top.fail("derived", "is for literal mappings: a derived attribute loses what the item really said")
        place.only("from", "values")
        values = place.table("values", required=True)
        derived[name] = (place.get("from", str), {key: values.get(key, str) for key in values.content})
    return derived


def _rules(top: _Place) -> Mapping[str, ItemRules]:
    try:
        return rules_from(top.get("types", dict, {}))
    except ValueError as error:
        raise MappingError(f"{top.file}: types: {error}") from error


def _expected(top: _Place, table: str) -> tuple[Expectation, ...]:
    expectations = []
    for position, content in enumerate(top.get("expected", list, [])):
        place = f"{top.file}: expected[{position}]"
        if not isinstance(content, dict):
            raise MappingError(f"{place}: must be a table, is {content!r}")
        try:
            expectations.append(expectation_from(place, {"table": table, **content}))
        except ValueError as error:
            raise MappingError(str(error)) from error
    return tuple(expectations)
