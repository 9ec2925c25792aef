"""What is shown of a difference, and which differences are declared beforehand."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from comparators.difference import Difference, Kind, Value
from comparators.expectations import DifferenceContext, Expectation, find_expectation, parse_expectation
from comparators.redact import Redactor
from comparators.rules import declared_entries, parse_rules

REDACTOR = Redactor(b"0123456789abcdef")
FOUND = Difference("image.url", "image", Kind.VALUE, {"S": "secret one"}, {"S": "secret two"}, "Book", "Items[0]")
QUERY = DifferenceContext("items", "Query")


def redact(value: Value) -> dict[str, Any]:
    redacted = REDACTOR.redact(value)
    assert redacted is not None
    return redacted


def test_shapes_are_coarse() -> None:
    assert redact({"S": "Y"})["shape"] == redact({"S": "No"})["shape"] == {"length": 8}
    assert redact({"S": "x" * 8})["shape"] == {"length": 8}
    assert redact({"S": "x" * 9})["shape"] == {"length": 16}
    assert redact({"N": "8"})["shape"] == redact({"N": "10"})["shape"] == {"digits": "few", "fraction": False}
    assert redact({"N": "8.50"})["shape"] == {"digits": "few", "fraction": True}
    assert redact({"N": "1700000000000"})["shape"] == {"digits": "double", "fraction": False}
    assert redact({"N": "12345678901234567"})["shape"] == {"digits": "wide", "fraction": False}
    assert redact({"NS": ["1", "2"]})["shape"] == {"members": 2}
    assert redact({"M": {"secret": {"S": "x"}}})["shape"] == {"keys": 1}
    assert redact({"BOOL": True})["shape"] == {}
    assert REDACTOR.redact(None) is None


def test_hashes_follow_the_value_and_the_key() -> None:
    assert redact({"N": "54321"})["hash"] == redact({"N": "54321.00"})["hash"] != redact({"N": "54322"})["hash"]
    assert redact({"N": "54321"})["hash"] != redact({"S": "54321"})["hash"]
    assert redact({"SS": ["a", "b"]})["hash"] == redact({"SS": ["b", "a"]})["hash"] != redact({"SS": ["ab"]})["hash"]
    assert redact({"B": "AQ=="})["hash"] == redact({"B": "AQ"})["hash"]
    assert redact({"L": [{"S": "a"}, {"S": "b"}]})["hash"] != redact({"L": [{"S": "b"}, {"S": "a"}]})["hash"]
    assert Redactor(b"another key of 16").redact({"N": "54321"}) != redact({"N": "54321"})
    assert redact({"N": "54321"})["hash"].isalpha()


@pytest.mark.parametrize(
    "few", [{"BOOL": True}, {"BOOL": False}, {"NULL": True}, {"N": "8"}, {"N": "8.50"}, {"N": "1984"}, {"N": "0"}]
)
def test_a_value_that_is_one_of_few_has_no_hash(few: Value) -> None:
    """A single row whose rating is known would decode the same letters in all rows."""
    shown = redact(few)
    assert (shown["type"], shown["hash"]) == (next(iter(few)), None)
    found = replace(FOUND, path="rating", field="rating", authority=few, mirror={"N": "9"})
    assert REDACTOR.show(found, values=False)["authority"] == shown


def test_a_letter_decodes_no_other_attribute_and_no_other_table() -> None:
    def letters(table: str, field: str) -> str:
        found = replace(FOUND, path=field, field=field)
        return str(REDACTOR.show(found, values=False, table=table)["authority"]["hash"])

    assert letters("items", "title") == letters("items", "title")
    places = [letters(*place) for place in (("items", "title"), ("items", "notes"), ("other", "title"), ("a", "b.c"))]
    assert len({*places, letters("a.b", "c")}) >= 4
    key = {"id": {"S": "secret one"}, "title": {"S": "secret one"}}
    shown = REDACTOR.show_key(key, values=False, table="items")
    assert shown is not None
    assert shown["id"]["hash"] != shown["title"]["hash"] == letters("items", "title")


@pytest.mark.parametrize(
    ("path", "declared", "shown"),
    [
        ("image.url", ("url",), "image.url"),
        ("image.url", (), "image.~"),
        ("scores.anna[3].points", ("points",), "scores.~"),
        ("scores.anna", ("image",), "scores.~"),
        ("platforms[2]", (), "platforms[2]"),
        ("title", (), "title"),
    ],
)
def test_names_of_map_entries_are_content_unless_declared(path: str, declared: tuple[str, ...], shown: str) -> None:
    found = replace(FOUND, path=path, field=path.partition(".")[0].partition("[")[0])
    said = str(REDACTOR.show(found, values=False, declared=declared)["path"])
    assert said.startswith(shown)
    assert "anna" not in said
    assert ("~" in said) == ("~" in shown)
    assert REDACTOR.show(found, values=True)["path"] == path


def test_what_a_mapping_declares_of_map_entries() -> None:
    rules = parse_rules(
        {
            "Book": {
                "image": "image",
                "meta": {
                    "comparator": "map",
                    "fields": {"etag": "ignore", "by": {"comparator": "map", "fields": {"name": "exact"}}},
                },
            }
        }
    )
    assert declared_entries(rules["Book"]) == {"url", "width", "height", "etag", "by", "name"}
    assert declared_entries(rules["*"]) == frozenset()


def test_the_answer_s_own_places_are_the_stores_words() -> None:
    found = Difference("CancellationReasons[1].Code", "", Kind.ERROR_CODE, {"S": "A"}, {"S": "B"})
    assert REDACTOR.show(found, values=False)["path"] == "CancellationReasons[1].Code"


def test_keys_too_short_or_too_long_are_refused() -> None:
    for key in (b"", b"x" * 15, b"x" * 65):
        with pytest.raises(ValueError, match="16 to 64 bytes"):
            Redactor(key)


def test_show_hides_values_and_keys_unless_told() -> None:
    found = replace(FOUND, key={"id": {"S": "secret id"}})
    shown = REDACTOR.show(found, values=False, declared={"url"})
    assert (shown["path"], shown["field"], shown["kind"], shown["type"]) == ("image.url", "image", "value", "Book")
    assert b"secret" not in orjson.dumps(shown)
    open_ = REDACTOR.show(found, values=True)
    assert (open_["authority"], open_["mirror"]) == ({"S": "secret one"}, {"S": "secret two"})
    assert open_["key"] == {"id": {"S": "secret id"}}


def test_show_hides_names_that_are_likely_content() -> None:
    found = replace(FOUND, path='scores."anna@example.org"[3]', field="scores")
    shown = REDACTOR.show(found, values=False)
    assert shown["path"].startswith("scores.~")
    assert shown["path"].endswith("[3]")
    assert "anna" not in str(shown)
    assert REDACTOR.show(found, values=True)["path"] == found.path


def test_show_says_the_stores_own_words() -> None:
    count = Difference("Count", "", Kind.COUNT, {"N": "5"}, {"N": "4"})
    assert REDACTOR.show(count, values=False)["authority"] == {"N": "5"}
    code = Difference("", "", Kind.OUTCOME, None, {"S": "ValidationException"})
    assert REDACTOR.show(code, values=False)["mirror"] == {"S": "ValidationException"}
    message = Difference("message", "", Kind.ERROR_MESSAGE, {"S": "secret"}, {"S": "other"})
    assert "secret" not in str(REDACTOR.show(message, values=False))
    place = Difference("Items[2]", "", Kind.ORDER, {"N": "2"}, {"N": "7"})
    assert REDACTOR.show(place, values=False)["mirror"] == {"N": "7"}
    order = Difference("tags", "tags", Kind.ORDER, {"L": [{"S": "secret"}]}, {"L": [{"S": "secret"}]})
    assert "secret" not in str(REDACTOR.show(order, values=False))


@pytest.mark.parametrize(
    ("expected", "explains"),
    [
        ({"field": "image"}, True),
        ({"field": "image.url"}, False),
        ({"path": "image.url"}, True),
        ({"path": "image.*"}, True),
        ({"path": "image"}, False),
        ({"path": "**", "type": "Bo*"}, True),
        ({"kind": "value", "operation": "Query", "table": "it*"}, True),
        ({"kind": "precision"}, False),
        ({"field": "image", "operation": "Scan"}, False),
        ({"field": "image", "type": "Film"}, False),
        ({"field": "image", "table": "others"}, False),
    ],
)
def test_expectations_explain_what_they_name(expected: dict[str, str], explains: bool) -> None:
    expectation = parse_expectation("expected[0]", {"because": "the importer trims it", **expected})
    assert expectation.explains(FOUND, QUERY) is explains
    assert find_expectation([expectation], FOUND, QUERY) is (expectation if explains else None)


def test_the_first_expectation_explains() -> None:
    other, first, second = (
        Expectation("a", kind=Kind.ORDER),
        Expectation("b", field="image"),
        Expectation("c", path="**"),
    )
    assert find_expectation([other, first, second], FOUND, QUERY) is first


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"because": "x", "fild": "image"}, r"expected\[0\]: an expectation has no 'fild'; use one of because, table"),
        ({"field": "image"}, "say in `because`"),
        ({"because": "  ", "field": "image"}, "say in `because`"),
        ({"because": "x", "table": "items"}, "would explain every difference"),
        ({"because": "x", "kind": "valu"}, "there is no kind 'valu'; use one of missing, extra"),
        ({"because": "x", "field": 5}, r"expected\[0\]\.field: expected a text"),
    ],
)
def test_expectations_are_strict(written: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_expectation("expected[0]", written)
