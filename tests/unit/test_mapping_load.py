"""Mapping files: every option does what it says, and every fault is told with file, place and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comparators.rules import Comparator
from proxy.dynamodb.schema import Key
from proxy.mapping.load import MappingError, load, parse
from proxy.mapping.references import Reference

CONFIG = Path(__file__).resolve().parents[2] / "config"

WHOLE: dict[str, Any] = {
    "table": "things",
    "sql_table": "thing",
    "composites": {"pk": "{kind}#{id}"},
    "key": {"composite": "pk", "columns": ["kind", "id"]},
    "columns": {
        "kind": {"type": "text"},
        "id": {"type": "text"},
        "made_at": {"attribute": "at", "type": "timestamptz"},
    },
    "indexes": {"by-kind": {"hash": "kind", "range": "at", "sql_index": "idx_kind"}},
}


def text_of(attribute: object) -> dict[str, object]:
    """A text column for an attribute."""
    return {"type": "text", "attribute": attribute}


def changed(path: str, value: Any, **more: Any) -> dict[str, Any]:
    """The whole mapping with one place of it set (a dotted path; None takes it away), and other top-level keys."""
    *tables, last = path.split(".")

    def copy(table: dict[str, Any]) -> dict[str, Any]:
        return {key: copy(each) if isinstance(each, dict) else each for key, each in table.items()}

    content = {**copy(WHOLE), **more}
    target = content
    for name in tables:
        target = target.setdefault(name, {})
    if value is None:
        del target[last]
    else:
        target[last] = value
    return content


def test_the_shipped_mappings_load() -> None:
    billio, plan = load(CONFIG / "billio.toml"), load(CONFIG / "billio-plan.toml")
    assert (billio.mapping.literal, billio.mapping.on_loss) == (False, "park")
    assert (plan.mapping.literal, plan.mapping.on_loss) == (True, "write")
    for table in (billio, plan):
        assert set(table.rules) == {"*", "Book", "VideoGame", "Feature", "TvSeries", "TvSeason"}
        assert table.rules["Book"].attributes["movedAt"].comparator is Comparator.TIMESTAMP
        assert table.rules["Book"].attributes["author"].comparator is Comparator.STRING
        assert table.mapping.columns[-1].name == "data"
        assert table.mapping.columns[-1].as_text


def test_what_is_left_out_has_its_default() -> None:
    mapping = parse(WHOLE, "f.toml").mapping
    assert (mapping.table, mapping.sql_table, mapping.json_name, mapping.type_attribute) == (
        "things",
        "thing",
        "data",
        "type",
    )
    assert (mapping.on_loss, mapping.literal, mapping.update_replaces_json) == ("park", False, False)
    assert mapping.fields == {"kind", "id", "at", "pk"}
    assert mapping.indexed == {"kind", "at"}


def test_each_option_is_taken() -> None:
    table = parse(
        changed(
            "columns.kind.required",
            True,
            json_column="rest",
            type_attribute="kind",
            types={"*": {"at": {"comparator": "timestamp", "tolerance_ms": 5}}, "Mug": {"tags": "unordered_list"}},
            expected=[{"because": "rounded", "field": "at", "type": "Mug"}],
        ),
        "f.toml",
    )
    mapping = table.mapping
    assert (mapping.json_name, mapping.type_attribute) == ("rest", "kind")
    assert mapping.type_of({"pk": {"S": "Mug#1"}}) == "Mug"
    assert table.rules["Mug"].attributes["at"].tolerance_ms == 5
    assert table.rules["Mug"].attributes["tags"].comparator is Comparator.UNORDERED_LIST
    [expected] = table.expected
    assert (expected.table, expected.type, expected.because) == ("things", "Mug", "rounded")


def test_a_required_column_that_an_item_lacks_is_a_fault() -> None:
    mapping = parse(changed("columns.size", {"type": "integer", "required": True}), "f.toml").mapping
    key = Key("things", '{"pk":{"S":"Mug#1"}}')
    item = {"pk": {"S": "Mug#1"}, "kind": {"S": "Mug"}, "id": {"S": "1"}}
    [lacking] = mapping.encode(key, item).faults
    assert (lacking.field, "NOT NULL" in lacking.reason) == ("size", True)
    [unfit] = mapping.encode(key, {**item, "size": {"N": "0.5"}}).faults
    assert (unfit.field, "fraction" in unfit.reason) == ("size", True)
    assert mapping.encode(key, {**item, "size": {"N": "5"}}).faults == ()


@pytest.mark.parametrize(
    ("content", "place", "remedy"),
    [
        (changed("tabel", "x"), "tabel", "did you mean 'table'?"),
        (changed("zzz", 1), "zzz", "known here: table, sql_table"),
        (changed("table", None), "table", "missing; it is required"),
        (changed("table", ""), "table", "give it a name"),
        (changed("table", 5), "table", "must be a text, is 5"),
        (changed("sql_table", "x" * 64), "sql_table", "1 to 63 bytes"),
        (changed("sql_table", None), "sql_table", "missing"),
        (changed("json_column", "id"), "json_column", "choose another name"),
        (changed("json_column", ["data"]), "json_column", "must be a text"),
        (changed("type_attribute", 1), "type_attribute", "must be a text"),
        (changed("literal", "yes"), "literal", "must be true or false"),
        (changed("on_loss", "drop"), "on_loss", 'must be "park" or "write"'),
        (changed("on_loss", "write"), "literal", "must be true where on_loss"),
        (changed("partial_update", "all", literal=True), "partial_update", 'must be "merge" or "replace"'),
        (changed("partial_update", "replace"), "literal", "they lose data"),
        # composites
        (changed("composites", []), "composites", "must be a table"),
        (changed("composites.pk", 5), "composites.pk", "must be a text"),
        (changed("composites.pk", "{kind}{id}"), "composites.pk", "with text between them"),
        (changed("composites.pk", "{kind}#{kind}"), "composites.pk", "name each part once"),
        (changed("composites.pk", "{kind}#{name}"), "composites.pk", "'name' is no column's attribute; add a column"),
        (changed("columns.id.type", "boolean"), "composites.pk", "parts are texts or numbers"),
        # binary
        (changed("columns.id.holds", "B"), "composites.pk", "parts are texts or numbers"),
        (changed("columns.made_at.holds", "B"), "columns.made_at.holds", 'is for type = "text" alone'),
        (changed("columns.id.holds", "S"), "columns.id.holds", 'can be "B"'),
        (
            changed("key", {"columns": ["x"]}) | {"columns": changed("columns.x", {"type": "bytea"})["columns"]},
            "key.columns",
            'DSQL takes in no key: write type = "text", holds = "B"',
        ),
        (
            changed("indexes.by-kind.range", "x") | {"columns": changed("columns.x", {"type": "bytea"})["columns"]},
            "indexes.by-kind.range",
            'holds = "B"',
        ),
        (
            changed("indexes.by-kind.hash", "x") | {"columns": changed("columns.x", {"type": "bytea"})["columns"]},
            "indexes.by-kind.hash",
            'holds = "B"',
        ),
        # the key
        (changed("key", None), "key", "missing"),
        (changed("key.colums", ["id"]), "key.colums", "did you mean 'columns'?"),
        (changed("key.columns", []), "key.columns", "name the columns"),
        (changed("key.columns", "id"), "key.columns", "must be a list"),
        (changed("key.columns", ["id", 5]), "key.columns", "must be a list of texts"),
        (changed("key.columns", ["id", "no"]), "key.columns", "'no' is no column; known: kind, id, made_at"),
        (changed("key.columns", ["kind", "id", "id"]), "key.columns", "name each once"),
        (changed("key.columns", ["id"]), "key.columns", "must hold exactly kind, id, or two items share a row"),
        (changed("key.columns", ["kind", "id", "made_at"]), "key.columns", "at is no part of 'pk'"),
        (changed("key.columns", ["made_at"], literal=True), "key.columns", "at is no part of 'pk'"),
        (changed("key.composite", "sk"), "key.composite", "add its template there"),
        (changed("key.composite", ["pk"]), "key.composite", "must be a text"),
        (changed("key", {"columns": ["kind", "id", "made_at"]}), "key.columns", "a hash and at most a range"),
        # columns
        (changed("columns", None), "columns", "missing"),
        (changed("columns.id", "text"), "columns.id", "must be a table"),
        (changed("columns.id.typ", "text"), "columns.id.typ", "did you mean 'type'?"),
        (changed("columns.id.type", None), "columns.id.type", "missing"),
        (changed("columns.id.type", "string"), "columns.id.type", "known: text, varchar(n)"),
        (changed("columns.id.type", "varchar(0)"), "columns.id.type", "1 to 65535 characters"),
        (changed("columns.id.required", 1), "columns.id.required", "must be true or false"),
        (changed("columns.id.only", "a"), "columns.id.only", "must be a list"),
        (changed("columns.id.only", []), "columns.id.only", "is empty; name the item types"),
        (changed("columns.made_at.only", ["a"], literal=True), "columns.made_at.only", "not for literal mappings"),
        (changed("columns.id.attribute", 5), "columns.id.attribute", "must be a name, or"),
        (changed("columns.id.attribute", []), "columns.id.attribute", "must be a name, or"),
        (changed("columns.id.attribute", ["a", "b", "c"]), "columns.id.attribute", "must be a name, or"),
        (
            changed("columns.x", text_of(["m", "x"])),
            "columns.x.attribute",
            "for literal mappings",
        ),
        (
            changed("columns.x", text_of("at")),
            "columns.x.attribute",
            "in column 'made_at' already",
        ),
        (changed("columns.x", text_of("pk")), "columns.x.attribute", "leave out one of the two"),
        (
            changed("columns.x", text_of(["at", "x"]), literal=True),
            "columns.x.attribute",
            "in column 'made_at' already",
        ),
        (changed("columns." + "x" * 64, {"type": "text"}), "columns." + "x" * 64, "no name for SQL"),
        # indexes
        (changed("indexes.by-kind", []), "indexes.by-kind", "must be a table"),
        (changed("indexes.by-kind.hsh", "kind"), "indexes.by-kind.hsh", "did you mean 'hash'?"),
        (changed("indexes.by-kind.hash", None), "indexes.by-kind.hash", "missing"),
        (changed("indexes.by-kind.hash", "colour"), "indexes.by-kind.hash", "add a column for it"),
        (changed("indexes.by-kind.range", "colour"), "indexes.by-kind.range", "add a column, or the order is lost"),
        (changed("indexes.by-kind.range", 7), "indexes.by-kind.range", "must be a text"),
        (changed("indexes.by-kind.sql_index", None), "indexes.by-kind.sql_index", "missing"),
        (changed("indexes.by-kind.sort", "made_at"), "indexes.by-kind.sort", "is for literal mappings"),
        (changed("indexes.by-kind.sort", "at", literal=True), "indexes.by-kind.sort", "'at' is no column; known:"),
        (changed("indexes.by-kind.sort", [], literal=True), "indexes.by-kind.sort", "must be a text"),
        (changed("indexes.by-kind.column", "kind"), "indexes.by-kind.column", "is for literal mappings"),
        (changed("indexes.by-kind.column", "no", literal=True), "indexes.by-kind.column", "'no' is no column"),
        (changed("indexes.by-kind.column", "kind", literal=True), "indexes.by-kind.groups", "give both or neither"),
        (changed("indexes.by-kind.groups", {"a": ["b"]}), "indexes.by-kind.groups", "give both or neither"),
        (
            changed("indexes.x", {"hash": "h", "sql_index": "i", "column": "kind", "groups": {"a": "b"}}, literal=True),
            "indexes.x.groups.a",
            "must be a list",
        ),
        # what only a literal mapping may say, and what it says wrongly
        (changed("derived.group", {"from": "kind", "values": {"Mug": "cup"}}), "derived", "is for literal mappings"),
        (changed("derived.group", {"from": "kind"}, literal=True), "derived.group.values", "missing"),
        (
            changed("derived.group", {"from": "no", "values": {}}, literal=True),
            "derived.group.from",
            "must be a",
        ),
        (changed("derived.at", {"from": "kind", "values": {}}, literal=True), "derived.at.from", "must be neither"),
        (
            changed("derived.group", {"from": "kind", "values": {"Mug": 5}}, literal=True),
            "derived.group.values.Mug",
            "must be a text",
        ),
        # comparators and expectations
        (changed("types.Mug", {"at": "timestmp"}), "types: Mug.at", "use one of"),
        (changed("types", []), "types", "must be a table"),
        (changed("types.Mug", "number"), "types: Mug", "expected a table"),
        (changed("types.Mug", {"at": {"comparator": "number", "tolerance_ms": 5}}), "types: Mug.at", "use one of"),
        (changed("expected", {}), "expected", "must be a list"),
        (changed("expected", ["x"]), "expected[0]", "must be a table"),
        (changed("expected", [{"field": "at"}]), "expected[0]", "say in `because`"),
        (changed("expected", [{"because": "x"}]), "expected[0]", "narrow it"),
        (changed("expected", [{"because": "x", "kind": "odd"}]), "expected[0].kind", "use one of"),
        (changed("expected", [{"because": "x", "feild": "at"}]), "expected[0]", "use one of"),
    ],
)
def test_a_fault_names_file_place_and_remedy(content: dict[str, Any], place: str, remedy: str) -> None:
    with pytest.raises(MappingError) as fault:
        parse(content, "things.toml")
    assert str(fault.value).startswith(f"things.toml: {place}")
    assert remedy in str(fault.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"table = ", "is not TOML"), (b"a = 1\na = 2", "is not TOML"), (b"\xff\xfe", "is not TOML")],
)
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: bytes, reason: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(text)
    with pytest.raises(MappingError, match=reason) as fault:
        load(path)
    assert str(path) in str(fault.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "not-there.toml", tmp_path):
        with pytest.raises(MappingError, match="cannot be read") as fault:
            load(path)
        assert str(path) in str(fault.value)


def test_references_are_read() -> None:
    references = {"parent": {"to": "id", "type": "Folder"}, "owner": {"to": "name"}}
    read = parse({**WHOLE, "references": references}, "things.toml").references
    assert read == (Reference("parent", "id", "Folder"), Reference("owner", "name", ""))
    item: dict[str, Any] = {"id": {"S": "7"}, "parent": {"S": "1"}, "owner": {"BOOL": True}}
    assert [each.pointed_to(item) for each in read] == ["1", None]
    assert [each.stands_for(item, "Folder") for each in read] == ["7", None]
    assert read[0].stands_for(item, "File") is None
    with pytest.raises(MappingError, match=r"references\.parent\.to: missing"):
        parse({**WHOLE, "references": {"parent": {"type": "Folder"}}}, "things.toml")
