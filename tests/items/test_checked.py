"""Fields, filters, cursors and patches, by themselves."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dynamodb.expressions.evaluate import update as apply_update
from proxy.dynamodb.expressions.parse import parse_update
from proxy.dynamodb.expressions.placeholders import bindings
from proxy.dynamodb.values import Item
from proxy.items.cursors import Cursors
from proxy.items.errors import Code, ItemsAPIError
from proxy.items.item_validation import shown_item, validate_new, validate_patch
from proxy.items.json_values import parsed, written
from proxy.items.queries import asked, page_size
from proxy.items.type_definitions import KINDS
from proxy.items.update_expressions import update_of

UUID = "7e02ff05-b7c1-4ce2-bf76-95f56fced11D"
BOOK: dict[str, Any] = {"type": "Book", "shelf": "Read", "title": "Dune"}


def new(given: Any) -> Item:
    return validate_new(given, lambda: UUID, lambda: {"N": "1700000000000"})


def broken(given: Any) -> list[tuple[str, str]]:
    with pytest.raises(ItemsAPIError) as refused:
        new(given)
    assert refused.value.code is Code.INVALID
    return [(each.field, each.rule) for each in refused.value.broken]


def test_a_new_item_gets_what_it_lacks_and_keeps_what_it_has() -> None:
    item = new({**BOOK, "rating": Decimal("8.50"), "author": "Frank Herbert", "tags": ["sf"], "notes": None})
    assert item == {
        "type:id": {"S": f"Book:{UUID}"},
        "type:shelf": {"S": "Book:Read"},
        "type": {"S": "Book"},
        "id": {"S": UUID},
        "shelf": {"S": "Read"},
        "title": {"S": "Dune"},
        "rating": {"N": "8.5"},
        "author": {"S": "Frank Herbert"},
        "tags": {"L": [{"S": "sf"}]},
        "addedAt": {"N": "1700000000000"},
        "movedAt": {"N": "1700000000000"},
    }
    assert new({**BOOK, "type": "Feature"})["category"] == {"S": "watching"}
    given = {**BOOK, "id": UUID.lower(), "addedAt": "2024-05-01T14:00:00.123456+02:00"}
    assert new(given)["addedAt"] == {"N": "1714564800123.456"}
    assert shown_item(new(given))["addedAt"] == "2024-05-01T12:00:00.123456Z"
    assert shown_item(new(given))["movedAt"] == "2023-11-14T22:13:20.000Z"


def test_every_broken_rule_is_told_with_its_field() -> None:
    assert broken({"type": "Book", "title": ""}) == [
        ("title", "a text of 1 to 250 characters"),
        ("shelf", "must be given"),
    ]
    rating = "a number from 0 to 10, with at most 3 decimals"
    for value in (11, -1, Decimal("8.1234"), "8", True):
        assert broken({**BOOK, "rating": value}) == [("rating", rating)]
    assert broken({**BOOK, "seriesId": UUID}) == [("seriesId", "only on a TvSeason")]
    assert broken({**BOOK, "category": "watching"}) == [("category", "is 'none' for a Book")]
    assert broken({**BOOK, "type:id": "Book:1"}) == [("type:id", "is made of other fields")]
    assert broken({**BOOK, "id": "1"}) == [("id", "a UUID")]
    assert broken({**BOOK, "movedAt": "2024-05-01"}) == [("movedAt", "a time as in 2024-05-01T12:00:00Z")]
    assert broken({**BOOK, "image": {"width": 3}})[0][0] == "image"
    assert broken({**BOOK, "notes": "a\x00b"}) == [("notes", "no character NUL")]
    assert broken({**BOOK, "title": "\ud800"}) == [("title", "whole Unicode characters")]
    assert broken({**BOOK, "x": 10**200})[0][0] == "x"
    assert broken({"type": "Song"})[0][0] == "type"
    assert broken([])[0] == ("", "an object")
    with pytest.raises(ItemsAPIError, match="the body: an object"):
        new([])
    season = {"type": "TvSeason", "shelf": "s", "title": "t", "seasonNumber": Decimal("1.5")}
    assert broken(season) == [("seasonNumber", "a whole number from 0 to 100000")]


def test_numbers_keep_every_digit_on_their_way() -> None:
    body = b'{"type": "Book", "shelf": "s", "title": "t", "exact": 12345678901234567890.123456789}'
    item = new(parsed(body))
    assert item["exact"] == {"N": "12345678901234567890.123456789"}
    assert b'"exact":12345678901234567890.123456789' in written(shown_item(item))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=6,
)
FREE = st.dictionaries(st.sampled_from(("x", "y", "image-like")), JSON, max_size=3)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396's own words."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


@settings(max_examples=150, deadline=None)
@given(FREE, FREE)
def test_a_patch_is_a_merge_patch(held: dict[str, Any], given_patch: dict[str, Any]) -> None:
    item = new({**BOOK, **held})
    patch = validate_patch("Book", UUID, given_patch, lambda: {"N": "1"})
    if not (patch.set or patch.removed or patch.merged):
        assert given_patch == {}
        return
    request = update_of("Book", patch, item)
    names, values = request["ExpressionAttributeNames"], request.get("ExpressionAttributeValues")
    after = dict(item)
    if "UpdateExpression" in request:
        after, _ = apply_update(parse_update(request["UpdateExpression"], bindings(names, values)), item)
    before = {name: value for name, value in shown_item(item).items() if name in held}
    shown = {name: value for name, value in shown_item(after).items() if name in held or name in given_patch}
    assert shown == merge(before, given_patch)
    assert {n: v for n, v in after.items() if n in item and n not in given_patch} == {
        n: v for n, v in item.items() if n not in given_patch
    }


def test_a_shelf_that_is_named_moves_the_item_and_nothing_else_does() -> None:
    patch = validate_patch("Book", UUID, {"shelf": "Reading"}, lambda: {"N": "5"})
    assert patch.set == {"shelf": {"S": "Reading"}, "type:shelf": {"S": "Book:Reading"}, "movedAt": {"N": "5"}}
    dated = validate_patch("Book", UUID, {"shelf": "Reading", "movedAt": "1970-01-01T00:00:01Z"}, lambda: {"N": "5"})
    assert dated.set["movedAt"] == {"N": "1000"}
    assert "movedAt" not in validate_patch("Book", UUID, {"title": "x"}, lambda: {"N": "5"}).set
    for wrong in ({"shelf": None}, {"type": "Feature"}, {"id": "other"}, {"movedAt": None}, {"category": None}):
        with pytest.raises(ItemsAPIError):
            validate_patch("Book", UUID, wrong, lambda: {"N": "5"})


PLACES = st.dictionaries(
    st.sampled_from(sorted(KINDS)), st.fixed_dictionaries({"type:id": st.fixed_dictionaries({"S": st.text()})})
)


@settings(max_examples=100, deadline=None)
@given(PLACES, st.data())
def test_a_cursor_comes_back_and_no_changed_one_does(places: dict[str, Item], data: st.DataObject) -> None:
    cursors, query = Cursors(b"secret"), {"asked": 1}
    cursor = cursors.cursor(query, places)
    assert Cursors(b"secret").places(query, cursor) == places
    at = data.draw(st.integers(0, len(cursor) - 2))  # the last character's spare bits say nothing
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != cursor[at] and c != "="))
    for wrong, asked_again in (
        (cursor[:at] + other + cursor[at + 1 :], query),
        (cursor[:at], query),
        (cursor, {"asked": 2}),
    ):
        with pytest.raises(ItemsAPIError) as refused:
            cursors.places(asked_again, wrong)
        assert refused.value.code is Code.CURSOR
    with pytest.raises(ItemsAPIError):
        Cursors(b"another").places(query, cursor)


def test_filters_are_checked_by_name() -> None:
    with pytest.raises(ItemsAPIError) as refused:
        asked({"type": "Book", "minRating": "x", "sortBy": "moved", "startDate": "yesterday", "shelf": ""})
    assert [each.field for each in refused.value.broken] == ["shelf", "startDate", "minRating", "sortBy"]
    for wrong in ("0", "501", "1.5", "x", True, "²"):
        with pytest.raises(ItemsAPIError):
            page_size(wrong)
    assert (page_size("500"), page_size(None), page_size(7)) == (500, 20, 7)
