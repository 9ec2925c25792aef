"""Mapping files: TOML to a checked `ColumnMapping`, with every fault named by its place.

Reads text, not stores. The example to copy is `config/billio.toml`; what only a literal mapping may say (one that
rehearses a plan with its losses) stands in `config/billio-plan.toml`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from comparators.expectations import Expectation, parse_expectation
from comparators.rules import ItemRules, parse_rules
from proxy.dynamodb.schema import MOST_KEY_ATTRIBUTES
from proxy.mapping.attribute_columns import AttributeColumn, ServedIndex
from proxy.mapping.codecs import codec
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.composites import Composite
from proxy.mapping.index_key_limits import SAFE_KEY_BYTES
from proxy.mapping.references import Reference
from proxy.settings import Settings
from proxy.settings.validation import SettingsError

_MAX_IDENTIFIER: Final = 63
_KINDS: Final = {str: "a text", bool: "true or false", list: "a list", dict: "a table"}


class MappingError(ValueError):
    """A mapping file says something that cannot be. The text names the file, the place and the remedy."""


@dataclass(frozen=True, slots=True)
class LoadedMapping:
    """A mapping file: how the table maps, how its items compare, which differences are declared, and what refers to
    what."""

    mapping: ColumnMapping
    rules: Mapping[str, ItemRules]
    expected: tuple[Expectation, ...]
    references: tuple[Reference, ...] = ()


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
            self.fail(key, f"must be {_KINDS[kind]}, is {value!r}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self.get(key, str, default)
        if not value:
            self.fail(key, "is empty; give it a name")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """The attributes of an index's key: one text, or a list of them."""
        if not isinstance(self.content.get(key), list):
            return (self.text(key),)
        found = self.strings(key)
        if not 1 <= len(set(found)) == len(found) <= MOST_KEY_ATTRIBUTES or not all(found):
            self.fail(
                key, f"must be a name, or a list of 1 to {MOST_KEY_ATTRIBUTES} different names; is {list(found)!r}"
            )
        return found

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if key in self.content else None

    def identifier(self, key: str, name: str) -> str:
        """A name for SQL, which PostgreSQL would cut without a word where it is too long."""
        if not name or "\x00" in name or len(name.encode()) > _MAX_IDENTIFIER:
            self.fail(key, f"{name!r} is no name for SQL: it must have 1 to {_MAX_IDENTIFIER} bytes, none of them NUL")
        return name

    def strings(self, key: str, default: Iterable[str] | None = None) -> tuple[str, ...]:
        value = self.get(key, list, list(default) if default is not None else None)
        if not all(isinstance(each, str) for each in value):
            self.fail(key, f"must be a list of texts, is {value!r}")
        return tuple(value)

    def table(self, key: str, *, required: bool = False) -> _Place:
        return _Place(self.file, f"{self.path}.{key}".strip("."), self.get(key, dict, None if required else {}))

    def tables(self) -> Iterable[tuple[str, _Place]]:
        for key in self.content:
            yield key, self.table(key)


def load(path: Path, max_key_bytes: int = SAFE_KEY_BYTES) -> LoadedMapping:
    """Read one mapping file; `max_key_bytes` is what a key of the SQL table may have. Raises MappingError."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MappingError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: is not TOML: {error}") from error
    return parse(content, str(path), max_key_bytes)


def parse(content: Mapping[str, Any], file: str, max_key_bytes: int = SAFE_KEY_BYTES) -> LoadedMapping:
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
        "references",
    )
    literal = top.get("literal", bool, False)
    composites = _composites(top.table("composites"))
    columns = _columns(top.table("columns", required=True), composites, literal=literal)
    by_name = {c.name: c for c in columns}
    json_name = top.identifier("json_column", top.text("json_column", "data"))
    if json_name in by_name:
        top.fail("json_column", f"{json_name!r} is a column of an attribute already; choose another name")
    by_attribute = {c.path[0]: c for c in columns if len(c.path) == 1}
    _check_parts(top.table("composites"), composites, by_attribute)
    key_columns, key = _key(top.table("key", required=True), by_name, composites, literal=literal)
    indexes, indexed = _indexes(top.table("indexes"), by_name, composites, by_attribute, literal=literal)
    derived = _derived(top, {*by_attribute, *composites}, literal=literal)
    on_loss = top.get("on_loss", str, "park")
    if on_loss not in ("park", "write"):
        top.fail("on_loss", f'must be "park" or "write", is {on_loss!r}')
    update = top.get("partial_update", str, "merge")
    if update not in ("merge", "replace"):
        top.fail("partial_update", f'must be "merge" or "replace", is {update!r}')
    if not literal and (on_loss == "write" or update == "replace"):
        top.fail("literal", 'must be true where on_loss is "write" or partial_update is "replace": they lose data')
    chosen: Literal["park", "write"] = "write" if on_loss == "write" else "park"
    mapping = ColumnMapping(
        table=top.text("table"),
        sql_table=top.identifier("sql_table", top.text("sql_table")),
        key=key,
        attribute_columns=columns,
        key_columns=key_columns,
        composites=composites,
        json_name=json_name,
        type_attribute=top.text("type_attribute", "type"),
        indexes=indexes,
        indexed=frozenset(indexed),
        derived=derived,
        on_loss=chosen,
        literal=literal,
        update_replaces_json=update == "replace",
        max_key_bytes=max_key_bytes,
    )
    return LoadedMapping(mapping, _rules(top), _expected(top, mapping.table), _references(top))


def _composites(place: _Place) -> dict[str, Composite]:
    composites = {}
    for name in place.content:
        try:
            composites[name] = Composite.from_template(place.get(name, str))
        except ValueError as error:
            place.fail(name, str(error))
    return composites


def _columns(place: _Place, composites: Mapping[str, Composite], *, literal: bool) -> tuple[AttributeColumn, ...]:
    """Each attribute in one column and no other, so that each value is stored once and read back once."""
    columns: list[AttributeColumn] = []
    holder: dict[tuple[str, ...], str] = {}
    for name, each in place.tables():
        column = _column(place.identifier(name, name), each)
        if column.only and literal:
            each.fail("only", "is not for literal mappings: what a constraint refuses shows when it is rehearsed")
        if len(column.path) > 1 and not literal:
            each.fail("attribute", "a part of a map is for literal mappings: what else the map holds would be lost")
        if column.path[0] in composites:
            each.fail("attribute", f"{column.path[0]!r} is made of others under [composites]; leave out one of the two")
        for path, other in holder.items():
            if path[: len(column.path)] == column.path[: len(path)]:
                each.fail("attribute", f"{column.path[0]!r} is in column {other!r} already; leave out one of the two")
        holder[column.path] = name
        columns.append(column)
    return tuple(columns)


def _column(name: str, place: _Place) -> AttributeColumn:
    place.only("attribute", "type", "holds", "required", "only")
    holds = place.optional_text("holds")
    if holds not in (None, "B") or (holds == "B" and place.get("type", str) != "text"):
        place.fail("holds", 'is for type = "text" alone, and can be "B": binary as text, as a key must have it')
    try:
        chosen = codec(place.get("type", str), holds)
    except ValueError as error:
        place.fail("type", str(error))
    path = place.content.get("attribute", name)
    names = tuple(path) if isinstance(path, list) else (path,)
    if not names or len(names) > 2 or not all(isinstance(each, str) and each for each in names):
        place.fail("attribute", f'must be a name, or ["map", "name"] for an attribute inside a map; is {path!r}')
    only = frozenset(place.strings("only", ()))
    if "only" in place.content and not only:
        place.fail("only", "is empty; name the item types that may have a value here, or leave it out")
    return AttributeColumn(name, names, chosen, place.get("required", bool, False), only)


def _check_parts(
    place: _Place, composites: Mapping[str, Composite], by_attribute: Mapping[str, AttributeColumn]
) -> None:
    for name, composite in composites.items():
        for part in composite.parts:
            column = by_attribute.get(part)
            if column is None:
                place.fail(name, f"its part {part!r} is no column's attribute; add a column for it")
            if column.codec.tag not in ("S", "N"):
                kind = column.codec.sql_type
                place.fail(name, f"its part {part!r} is in a column of type {kind}; parts are texts or numbers")


def _key(
    place: _Place, by_name: Mapping[str, AttributeColumn], composites: Mapping[str, Composite], *, literal: bool
) -> tuple[tuple[str, ...], str | None]:
    place.only("columns", "composite")
    names = place.strings("columns")
    if not names:
        place.fail("columns", "is empty; name the columns of the primary key")
    for name in names:
        if name not in by_name:
            place.fail("columns", f"{name!r} is no column; known: {', '.join(by_name)}")
        if len(by_name[name].path) > 1:
            place.fail("columns", f"{name!r} holds a part of a map; a key's attribute is a column of its own")
    if len(set(names)) < len(names):
        place.fail("columns", "names a column twice; name each once")
    for name in names:
        _check_key_type(place, "columns", by_name[name])
    held = {by_name[name].path[0] for name in names}
    composite = place.optional_text("composite")
    if composite is None:
        if len(names) > 2:
            place.fail("columns", "a DynamoDB key has a hash and at most a range attribute, in this order")
        return names, None
    if composite not in composites:
        place.fail("composite", f"{composite!r} is not under [composites]; add its template there")
    parts = composites[composite].parts
    strange = held - set(parts)
    if strange:
        place.fail("columns", f"{', '.join(sorted(strange))} is no part of {composite!r}, which finds the row")
    if not literal and held != set(parts):
        place.fail("columns", f"must hold exactly {', '.join(parts)}, or two items share a row")
    return names, composite


def _check_key_type(place: _Place, key: str, column: AttributeColumn) -> None:
    """DSQL answers `0A000 datatype bytea is not supported in a key`, and its keys are all that bytea could be in."""
    if column.codec.sql_type == "bytea":
        remedy = 'write type = "text", holds = "B", and make the SQL column text'
        place.fail(key, f"{column.name!r} is bytea, which DSQL takes in no key: {remedy}")


def _indexes(
    top: _Place,
    by_name: Mapping[str, AttributeColumn],
    composites: Mapping[str, Composite],
    by_attribute: Mapping[str, AttributeColumn],
    *,
    literal: bool,
) -> tuple[dict[str, ServedIndex], set[str]]:
    served: dict[str, ServedIndex] = {}
    indexed: set[str] = set()
    for name, place in top.tables():
        place.only("hash", "range", "sql_index", "sort", "column", "groups")
        hashes = place.names("hash")
        ranges = place.names("range") if "range" in place.content else ()
        column, sort = place.optional_text("column"), place.optional_text("sort")
        for key, chosen in (("column", column), ("sort", sort)):
            if chosen is not None and not literal:
                place.fail(key, "is for literal mappings: the index would answer otherwise than DynamoDB's")
            if chosen is not None and chosen not in by_name:
                place.fail(key, f"{chosen!r} is no column; known: {', '.join(by_name)}")
        if (column is None) is not ("groups" not in place.content):
            place.fail("groups", "goes with `column`: which of its values represent a hash value; give both or neither")
        for key, chosen, several in (("column", column, hashes), ("sort", sort, ranges)):
            if chosen is not None:
                if len(several) > 1:
                    place.fail(key, "replaces one attribute, and the index has several here; leave it out")
                _check_key_type(place, key, by_name[chosen])
        for each in hashes:
            if column is None and each not in by_attribute and each not in composites:
                place.fail("hash", f"{each!r} is neither a column's attribute nor a composite; add a column for it")
        for each in ranges:
            if sort is None and each not in by_attribute:
                place.fail("range", f"{each!r} is no column's attribute; add a column, or the order is lost")
        for key, each in (*(("hash", name) for name in hashes), *(("range", name) for name in ranges)):
            if each in by_attribute:
                _check_key_type(place, key, by_attribute[each])
        groups = {value: place.table("groups").strings(value) for value in place.table("groups").content}
        served[name] = ServedIndex(place.text("sql_index"), hashes, ranges, sort, column, groups)
        indexed.update(hashes, ranges)
        for each in hashes:
            if each in composites:
                indexed.update(composites[each].parts)
    return served, indexed


def _derived(top: _Place, made: set[str], *, literal: bool) -> dict[str, tuple[str, dict[str, str]]]:
    derived: dict[str, tuple[str, dict[str, str]]] = {}
    for name, place in top.table("derived").tables():
        if not literal:
            top.fail("derived", "is for literal mappings: a derived attribute loses what the item really said")
        place.only("from", "values")
        source = place.text("from")
        if source not in made or name in made:
            place.fail("from", "must be a column's attribute or a composite, and what it gives must be neither")
        values = place.table("values", required=True)
        derived[name] = (source, {key: values.get(key, str) for key in values.content})
    return derived


def _rules(top: _Place) -> Mapping[str, ItemRules]:
    try:
        return parse_rules(top.get("types", dict, {}))
    except ValueError as error:
        raise MappingError(f"{top.file}: types: {error}") from error


def _references(top: _Place) -> tuple[Reference, ...]:
    references = []
    for attribute, place in top.table("references").tables():
        place.only("to", "type")
        references.append(Reference(attribute, place.text("to"), place.optional_text("type") or ""))
    return tuple(references)


def _expected(top: _Place, table: str) -> tuple[Expectation, ...]:
    expectations = []
    for position, content in enumerate(top.get("expected", list, [])):
        place = f"{top.file}: expected[{position}]"
        if not isinstance(content, dict):
            raise MappingError(f"{place}: must be a table, is {content!r}")
        try:
            expectations.append(parse_expectation(place, {"table": table, **content}))
        except ValueError as error:
            raise MappingError(str(error)) from error
    return tuple(expectations)


def load_mappings(settings: Settings) -> dict[str, LoadedMapping]:
    """The mapping files by table. Raises SettingsError, naming the file and the place."""
    mapped: dict[str, LoadedMapping] = {}
    for path in settings.mappings or ():
        if not path.is_file():
            raise SettingsError([f"mappings: {path}: there is no such file: correct its name in the settings"])
        try:
            table = load(path, settings.dsql.max_key_bytes)
        except MappingError as error:
            raise SettingsError([str(error)]) from error
        if table.mapping.table in mapped:
            raise SettingsError([f"{path}: table {table.mapping.table!r} has a mapping already; name one file a table"])
        mapped[table.mapping.table] = table
    return mapped
