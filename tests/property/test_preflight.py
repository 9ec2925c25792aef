"""Preflight finds every trouble that is planted in a clean table, each in its place and count, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.load import parse
from proxy.migrate.preflight.cross_item_checks import CrossItemChecks
from proxy.migrate.preflight.item_checks import ProblemKind
from proxy.migrate.preflight.preflight import Preflight, PreflightReport

CONTENT: dict[str, Any] = {
    "table": "things",
    "sql_table": "things",
    "type_attribute": "kind",
    "composites": {"pk": "{kind}#{id}", "kind:shelf": "{kind}:{shelf}"},
    "key": {"composite": "pk", "columns": ["kind", "id"]},
    "columns": {
        "kind": {"type": "text"},
        "id": {"type": "text"},
        "shelf": {"type": "text"},
        "name": {"type": "text", "required": True},
        "code": {"type": "varchar(10)", "required": True},
        "size": {"type": "numeric(6,2)"},
        "made": {"type": "timestamptz"},
        "colour": {"type": "text"},
        "parent": {"type": "text"},
    },
    "indexes": {
        "by-size": {"hash": "kind", "range": "size", "sql_index": "idx_size"},
        "by-shelf": {"hash": "kind:shelf", "range": "made", "sql_index": "idx_shelf"},
    },
    "references": {"parent": {"to": "id", "type": "Folder"}},
}
MAPPED = parse(CONTENT, "things.toml")
LITERAL = parse({**CONTENT, "literal": True, "on_loss": "write", "key": {"composite": "pk", "columns": ["id"]}}, "x")


def schema_with(*indexes: tuple[str, str, str]) -> TableSchema:
    """The table's schema; more indexes than the mapping's where asked for."""
    served = [("by-size", "kind", "size"), ("by-shelf", "kind:shelf", "made"), *indexes]
    types = {"pk": "S", "kind": "S", "size": "N", "kind:shelf": "S", "made": "N", "name": "S"}
    return TableSchema.from_description(
        {
            "TableName": "things",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in types.items()],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": name,
                    "KeySchema": [
                        {"AttributeName": hash_name, "KeyType": "HASH"},
                        {"AttributeName": range_name, "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
                for name, hash_name, range_name in served
            ],
        }
    )


SCHEMA = schema_with()
Item = dict[str, dict[str, Any]]
TEXTS = st.text("abcdeé€𝄞 :#", max_size=12)


@st.composite
def clean_tables(draw: st.DrawFn) -> list[Item]:
    """Folders and files in them, with all that a lossless mapping takes: odd attributes, missing ones, any text."""
    folders = draw(st.integers(1, 3))
    items: list[Item] = []
    for number in range(draw(st.integers(folders, 12))):
        kind = "Folder" if number < folders else "File"
        item: Item = {
            "kind": {"S": kind},
            "id": {"S": f"{number}:{draw(TEXTS)}"},
            "shelf": {"S": draw(TEXTS)},
            "name": {"S": draw(TEXTS)},
            "code": {"S": draw(TEXTS)[:10]},
            "size": {"N": draw(st.sampled_from(("0", "1.5", "-9999.99", "42")))},
            "made": {"N": str(draw(st.integers(0, 4_000_000_000_000)))},
        }
        item["pk"] = {"S": f"{kind}#{item['id']['S']}"}
        item["kind:shelf"] = {"S": f"{kind}:{item['shelf']['S']}"}
        if draw(st.booleans()):
            item["colour"] = {"S": draw(TEXTS)}
        if draw(st.booleans()):
            item["odd"] = draw(st.sampled_from(({"SS": ["b", "a"]}, {"B": "AAE="}, {"N": "1" * 38}, {"S": "a\x00b"})))
        if items:
            item["parent"] = {"S": items[draw(st.integers(0, min(len(items), folders) - 1))]["id"]["S"]}
        items.append(item)
    return items


def rename(item: Item, identifier: str) -> None:
    item["id"] = {"S": identifier}
    item["pk"] = {"S": f"{item['kind']['S']}#{identifier}"}


# What is done to an item, and what preflight must say of it. Only files are changed: others refer to folders.
PLANTS: dict[str, tuple[Callable[[Item], object], set[tuple[ProblemKind, str]]]] = {
    "another type": (lambda item: item.update(code={"N": "7"}), {(ProblemKind.TYPE, "code")}),
    "too many decimals": (lambda item: item.update(size={"N": "0.001"}), {(ProblemKind.NUMBER, "size")}),
    "too large a number": (lambda item: item.update(size={"N": "10000"}), {(ProblemKind.NUMBER, "size")}),
    "no time": (lambda item: item.update(made={"N": "1E+20"}), {(ProblemKind.NUMBER, "made")}),
    "too long a text": (lambda item: item.update(code={"S": "12345678901"}), {(ProblemKind.TEXT, "code")}),
    "NUL in a column": (lambda item: item.update(name={"S": "a\x00b"}), {(ProblemKind.NUL, "name")}),
    "a long key": (lambda item: rename(item, "x" * 1020), {(ProblemKind.KEY_BYTES, "id")}),
    "long JSON": (lambda item: item.update(big={"S": "\x01" * 200_000}), {(ProblemKind.JSON_BYTES, "data")}),
    "a long row": (
        lambda item: item.update(big={"S": "\x01" * 360_000}),
        {(ProblemKind.JSON_BYTES, "data"), (ProblemKind.ROW_BYTES, "data")},
    ),
    "nothing where something must be": (lambda item: item.pop("name"), {(ProblemKind.MISSING, "name")}),
    "a composite of other parts": (
        lambda item: item.update({"kind:shelf": {"S": "other"}}),
        {(ProblemKind.FORM, "kind:shelf")},
    ),
    "a key that says otherwise": (lambda item: item.update(pk={"S": "File"}), {(ProblemKind.FORM, "pk")}),
    "a reference to nothing": (lambda item: item.update(parent={"S": "nowhere"}), {(ProblemKind.DANGLING, "parent")}),
    "aside of its column": (lambda item: item.update(colour={"SS": ["red"]}), {(ProblemKind.ASIDE, "colour")}),
}


def examined(mapped: Any, items: list[Item], schema: TableSchema = SCHEMA, **how: bool) -> PreflightReport:
    with CrossItemChecks() as census:
        preflight = Preflight(mapped.mapping, schema, census, mapped.references, **how)
        for start in range(0, len(items), 5):
            preflight.check_items(items[start : start + 5])
        return preflight.report(values=True)


def counted(report: PreflightReport) -> dict[tuple[ProblemKind, str], int]:
    return {(each.kind, each.attribute): each.items for each in report.findings}


@settings(max_examples=60, deadline=None)
@given(clean_tables())
def test_nothing_is_found_in_a_clean_table(items: list[Item]) -> None:
    report = examined(MAPPED, items)
    assert report.findings == ()
    assert report.items == len(items)


@settings(max_examples=120, deadline=None)
@given(clean_tables(), st.data())
def test_every_planted_trouble_is_found_and_nothing_else(items: list[Item], data: st.DataObject) -> None:
    planted = deepcopy(items)
    wanted: Counter[tuple[ProblemKind, str]] = Counter()
    keys: dict[tuple[ProblemKind, str], list[Item]] = {}
    for item in planted:
        if item["kind"]["S"] == "File" and data.draw(st.booleans()):
            plant, troubles = PLANTS[data.draw(st.sampled_from(sorted(PLANTS)))]
            plant(item)
            wanted.update(troubles)
            for trouble in troubles:
                keys.setdefault(trouble, []).append({"pk": item["pk"]})
    report = examined(MAPPED, planted)
    assert counted(report) == wanted
    for finding in report.findings:
        here = keys[finding.kind, finding.attribute]
        assert len(finding.examples) == min(3, len(here))
        assert all(example in here for example in finding.examples)
        assert finding.types == {"File": len(here)}
    assert bool(report.losses) is any(kind.loses for kind, _ in wanted)


@settings(max_examples=60, deadline=None)
@given(clean_tables(), st.data())
def test_keys_that_become_one_row_are_found(items: list[Item], data: st.DataObject) -> None:
    """A plan that keeps the id alone: two items of different types with one id."""
    items = [{name: value for name, value in item.items() if name != "odd"} for item in items]
    twins = []
    for item in items:
        if item["kind"]["S"] == "File" and data.draw(st.booleans()):
            twin = deepcopy(item) | {"kind": {"S": "Link"}}
            rename(twin, item["id"]["S"])
            twin["kind:shelf"] = {"S": f"Link:{twin['shelf']['S']}"}
            twins.append(twin)
    # The same item read twice, as from two backup files, is no second item.
    report = examined(LITERAL, [*items, *twins, *items[:1]])
    wanted = {(ProblemKind.DUPLICATE, "pk"): 2 * len(twins)} if twins else {}
    assert counted(report) == wanted


def test_an_index_that_nothing_serves_is_found() -> None:
    report = examined(MAPPED, [], schema_with(("by-name", "kind", "name")))
    [finding] = report.losses
    assert (finding.kind, finding.attribute, finding.items) == (ProblemKind.INDEX, "indexes.by-name", 0)


def test_what_a_sample_cannot_tell_is_said_and_not_guessed() -> None:
    item = {"kind": {"S": "File"}, "id": {"S": "1"}, "pk": {"S": "File#1"}, "name": {"S": ""}, "code": {"S": ""}}
    lost = item | {"parent": {"S": "not in the sample"}}
    report = examined(MAPPED, [lost], whole=False)
    assert report.findings == ()
    assert report.unchecked == ("whether parent refers to an item that exists: this takes the whole table",)
    assert counted(examined(MAPPED, [lost])) == {(ProblemKind.DANGLING, "parent"): 1}


def test_memory_is_bounded_by_findings_and_not_by_names() -> None:
    """Attribute names come from the data: of ten thousand that would change only some are kept apart."""
    items = [
        {"kind": {"S": "File"}, "id": {"S": f"{n}"}, "pk": {"S": f"File#{n}"}, "name": {"S": "n"}, "code": {"S": "c"}}
        | {f"name{n}": {"SS": ["a"]}}
        for n in range(2000)
    ]
    report = examined(LITERAL, items)
    assert len(report.findings) < 600
    assert sum(each.items for each in report.findings) == 2000
