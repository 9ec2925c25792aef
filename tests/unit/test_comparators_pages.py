"""What two pages of a Query or Scan differ by, above all where order and boundary mean nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from comparators.comparison import Comparison
from comparators.difference import Item, Kind
from comparators.pages import compare_pages
from comparators.rules import ItemRules
from comparators.shapes import ItemShape, PageShape

ITEMS = ItemShape(("id",), lambda _item: ItemRules("Book"))
INDEX = PageShape(ITEMS, ("at",))
SCAN = PageShape(ITEMS, ())


def item(name: str, **more: str) -> Item:
    """`3a` is the item of that id whose sort key is 3."""
    return {"id": {"S": name}, "type": {"S": "Book"}, "at": {"N": name[0]}, **{k: {"S": v} for k, v in more.items()}}


def cursor(name: str) -> Item:
    return item(name)


def page(names: str | Sequence[Item], last: str | None = None, **more: Any) -> dict[str, Any]:
    items = [item(name) for name in names.split()] if isinstance(names, str) else list(names)
    end = {} if last is None else {"LastEvaluatedKey": cursor(last)}
    return {"Items": items, "Count": len(items), "ScannedCount": len(items), **end, **more}


def kinds(comparison: Comparison) -> list[tuple[str, str, str | None]]:
    return [
        (found.kind.value, found.path, found.key["id"]["S"] if found.key else None) for found in comparison.differences
    ]


def notes(comparison: Comparison) -> list[tuple[str, str]]:
    return [(found.kind.value, found.path) for found in comparison.notes]


def undecided(comparison: Comparison) -> tuple[list[str], list[str]]:
    """The ids only the authority shows, and those only the mirror shows."""
    entries = [(entry.key, entry.mirror is None) for entry in comparison.undecided]
    return (
        [key["id"]["S"] for key, ours in entries if key and ours],
        [key["id"]["S"] for key, ours in entries if key and not ours],
    )


def test_equal_pages_agree_whatever_their_spelling_and_capacity() -> None:
    assert compare_pages(page("1 2", "2"), page("1 2", "2"), INDEX) == Comparison(compared=2)
    spelt = page("1 2", "2", ConsumedCapacity={"CapacityUnits": 1})
    spelt["Items"][0]["at"] = {"N": "1.0"}
    spelt["LastEvaluatedKey"]["at"] = {"N": "2.0"}
    comparison = compare_pages(page("1 2", "2"), spelt, INDEX)
    assert comparison.agreed
    assert comparison == Comparison(compared=2)


def test_order_within_ties_is_no_order() -> None:
    comparison = compare_pages(page("1 2a 2b 2c 3"), page("1 2c 2a 2b 3"), INDEX)
    assert comparison == Comparison(compared=5)


def test_a_difference_inside_an_item_names_the_item() -> None:
    comparison = compare_pages(page([item("1"), item("2", x="a")]), page([item("1"), item("2", x="b")]), INDEX)
    (found,) = comparison.differences
    assert (found.path, found.field, found.kind, found.within) == ("x", "x", Kind.VALUE, "Items[1]")
    assert comparison.keys() == ({"id": {"S": "2"}},)
    assert comparison.differing[0].mirror == item("2", x="b")


def test_a_lost_item_is_one_difference_and_what_follows_from_it_is_a_note() -> None:
    comparison = compare_pages(page("1 2 3", "3"), page("1 3 4", "4"), INDEX)
    assert kinds(comparison) == [("missing", "", "2")]
    assert notes(comparison) == [("boundary", "LastEvaluatedKey")]
    assert undecided(comparison) == ([], ["4"])
    assert comparison.compared == 2


def test_an_item_too_many() -> None:
    comparison = compare_pages(page("1 2 3"), page("1 2 2x 3"), INDEX)
    assert kinds(comparison) == [("extra", "", "2x")]
    assert notes(comparison) == []


def test_a_page_without_cursor_covers_everything() -> None:
    comparison = compare_pages(page("1 2 3", "3"), page("1 2"), INDEX)
    assert kinds(comparison) == [("missing", "", "3")]
    assert notes(comparison) == [("boundary", "LastEvaluatedKey")]


def test_a_cursor_beyond_the_last_item_alone_is_a_difference() -> None:
    comparison = compare_pages(page("1 2", "2"), page("1 2"), INDEX)
    assert kinds(comparison) == [("cursor", "LastEvaluatedKey", None)]


def test_a_boundary_inside_a_tie_is_no_difference_but_is_told() -> None:
    comparison = compare_pages(page("1 2a 2b", "2b"), page("1 2a 2c", "2c"), INDEX)
    assert comparison.differences == ()
    assert undecided(comparison) == (["2b"], ["2c"])
    assert notes(comparison) == [("tie", "LastEvaluatedKey")]
    assert not comparison.agreed
    assert comparison.keys() == ({"id": {"S": "2b"}}, {"id": {"S": "2c"}})


def test_a_start_inside_a_tie_may_shift_the_whole_page() -> None:
    after = replace(INDEX, start=cursor("2b"))
    comparison = compare_pages(page("2c 3 4", "4"), page("3 4 5", "5"), after)
    assert comparison.differences == ()
    assert undecided(comparison) == (["2c"], ["5"])
    assert notes(comparison) == [("boundary", "LastEvaluatedKey")]


def test_a_start_in_a_tie_excuses_nothing_after_the_tie() -> None:
    after = replace(INDEX, start=cursor("2b"))
    comparison = compare_pages(page("2c 3 4 5", "5"), page("2a 3 5 6", "6"), after)
    assert kinds(comparison) == [("missing", "", "4")]
    assert undecided(comparison) == (["2c"], ["2a", "6"])


def test_a_shifted_cursor_needs_a_shift() -> None:
    after = replace(INDEX, start=cursor("2b"))
    comparison = compare_pages(page("3 4", "4"), page("3 4", "5"), after)
    assert kinds(comparison) == [("cursor", "LastEvaluatedKey", None)]


def test_backwards() -> None:
    back = replace(INDEX, forward=False)
    comparison = compare_pages(page("5 4 3", "3"), page("5 3 2", "2"), back)
    assert kinds(comparison) == [("missing", "", "4")]
    assert undecided(comparison) == ([], ["2"])


def test_without_ties_a_page_covers_its_own_end() -> None:
    table = replace(INDEX, ties=False)
    comparison = compare_pages(page("1 2a", "2a"), page("1 2b", "2b"), table)
    assert kinds(comparison) == [("missing", "", "2a"), ("extra", "", "2b")]
    assert comparison.undecided == ()
    after = replace(table, start=cursor("2a"))
    assert kinds(compare_pages(page("2b 3"), page("3"), after)) == [("missing", "", "2b")]


def test_without_ties_a_cursor_has_no_excuse() -> None:
    table = replace(INDEX, ties=False)
    told = [("cursor", "LastEvaluatedKey", None)]
    assert kinds(compare_pages(page("1 2a", "2a"), page("1 2a", "2b"), table)) == told
    after = replace(table, start=cursor("1"))
    limited = replace(after, limit=9)
    assert kinds(compare_pages(page("2", "3", ScannedCount=9), page("2", "4", ScannedCount=9), limited)) == told
    part_of_key = PageShape(ItemShape(("id", "at"), lambda _item: ItemRules()), ("at",))
    assert kinds(compare_pages(page("1 2", "2"), page("1 2", "3"), part_of_key)) == told


def test_a_cursor_follows_a_changed_sort_key() -> None:
    moved = {**item("3"), "at": {"N": "9"}}
    mirror = {**page([item("1"), item("2"), moved]), "LastEvaluatedKey": moved}
    comparison = compare_pages(page("1 2 3", "3"), mirror, INDEX)
    assert kinds(comparison) == [("value", "at", "3")]
    assert notes(comparison) == [("boundary", "LastEvaluatedKey")]


def test_a_filter_may_hide_the_shift_of_a_page_that_starts_in_a_tie() -> None:
    after = replace(INDEX, start=cursor("2b"))
    comparison = compare_pages(page("3", "4", ScannedCount=5), page("3", "5", ScannedCount=5), after)
    assert comparison.agreed
    assert notes(comparison) == [("boundary", "LastEvaluatedKey")]


def test_runs_that_turn_round_are_several() -> None:
    comparison = compare_pages(page("1 2 3 4 5 6 7"), page("4 5 6 7 3 2 1"), INDEX)
    assert [key for _, _, key in kinds(comparison)] == ["3", "2", "1"]


def test_moved_items_are_told_once_a_run() -> None:
    comparison = compare_pages(page("1 2 3 4 5 6 7"), page("3 4 5 6 7 1 2"), INDEX)
    assert kinds(comparison) == [("order", "Items[0]", "1")]
    assert (comparison.differences[0].authority, comparison.differences[0].mirror) == ({"N": "0"}, {"N": "5"})
    assert len(comparison.differing) == 2
    two = compare_pages(page("1 2 3 4 5 6 7"), page("7 2 3 1 4 5 6"), INDEX)
    assert [kind for kind, _, _ in kinds(two)] == ["order", "order"]
    assert {key for _, _, key in kinds(two)} == {"1", "7"}


def test_an_item_that_moved_for_its_sort_key_is_told_by_that() -> None:
    mirror = page([item("1"), item("3"), item("4"), {**item("2"), "at": {"N": "5"}}])
    comparison = compare_pages(page("1 2 3 4"), mirror, INDEX)
    assert kinds(comparison) == [("value", "at", "2")]


def test_number_sort_keys_tie_by_value_and_binary_by_bytes() -> None:
    numbers = [[{**item("1a"), "at": {"N": "1.0"}}, item("1b")], [item("1b"), item("1a")]]
    assert compare_pages(page(numbers[0]), page(numbers[1]), INDEX).agreed
    raw = [
        [{**item(name), "at": {"B": text}} for name, text in pairs]
        for pairs in ((("1a", "AQ=="), ("1b", "AQ")), (("1b", "AQ=="), ("1a", "AQ==")))
    ]
    assert compare_pages(page(raw[0]), page(raw[1]), INDEX).agreed


def test_a_key_shown_twice_is_extra_even_at_the_boundary() -> None:
    comparison = compare_pages(page("1 2a", "2a"), page("1 2a 2a", "2a"), INDEX)
    assert kinds(comparison) == [("extra", "", "2a")]


def test_an_unpaged_scan_is_a_set() -> None:
    assert compare_pages(page("1 2 3"), page("3 1 2"), SCAN) == Comparison(compared=3)
    comparison = compare_pages(page("1 2 3"), page("3 1 4"), SCAN)
    assert kinds(comparison) == [("missing", "", "2"), ("extra", "", "4")]


def test_a_paged_scan_leaves_alone_what_only_one_shows() -> None:
    comparison = compare_pages(page("1 2", "2"), page([item("1", x="y"), item("7")], "7"), SCAN)
    assert kinds(comparison) == [("extra", "x", "1")]
    assert undecided(comparison) == (["2"], ["7"])
    assert comparison.compared == 1
    assert notes(comparison) == [("boundary", "LastEvaluatedKey")]
    last = compare_pages(page("1"), page("2"), replace(SCAN, start=cursor("5")))
    assert last.differences == ()
    assert undecided(last) == (["1"], ["2"])
    onward = compare_pages(page("1", "1"), page("1"), replace(SCAN, start=cursor("5")))
    assert onward.agreed
    assert notes(onward) == [("boundary", "LastEvaluatedKey")]


def test_a_scan_that_ends_early_in_one_store_lacks_the_rest() -> None:
    comparison = compare_pages(page("1 2", "2"), page("1"), SCAN)
    assert kinds(comparison) == [("missing", "", "2")]


def test_a_segment_decides_nothing_about_absence() -> None:
    comparison = compare_pages(page("1 2"), page("3", Count=1, ScannedCount=1), replace(SCAN, segment=True))
    assert comparison.differences == ()
    assert undecided(comparison) == (["1", "2"], ["3"])
    counted = compare_pages(
        {"Count": 2, "ScannedCount": 2}, {"Count": 1, "ScannedCount": 1}, replace(SCAN, segment=True)
    )
    assert counted.differences == ()
    ended = compare_pages(page("1", "1"), page("1"), replace(SCAN, segment=True))
    assert ended.agreed
    assert notes(ended) == [("boundary", "LastEvaluatedKey")]
    assert notes(counted) == [("tie", "Count")]


def test_an_index_without_sort_key_is_one_tie() -> None:
    hash_only = PageShape(ITEMS, ())
    assert compare_pages(page("1 2 3"), page("2 3 1"), hash_only).agreed
    assert undecided(compare_pages(page("1 2", "2"), page("2 3", "3"), hash_only)) == (["1"], ["3"])


def test_cursors_must_have_the_same_attributes_and_index_key() -> None:
    mirror = page("1 2a", "2a")
    del mirror["LastEvaluatedKey"]["type"]
    assert kinds(compare_pages(page("1 2a", "2a"), mirror, INDEX)) == [("cursor", "LastEvaluatedKey", None)]
    mirror = page("1 2a", "2a")
    mirror["LastEvaluatedKey"]["type"] = {"S": "Film"}
    assert kinds(compare_pages(page("1 2a", "2a"), mirror, INDEX)) == [("cursor", "LastEvaluatedKey", None)]


def test_counts() -> None:
    assert kinds(compare_pages({"Count": 5, "ScannedCount": 5}, {"Count": 4, "ScannedCount": 4}, INDEX)) == [
        ("count", "Count", None)
    ]
    unlike = compare_pages(page("1 2", ScannedCount=9), page("1 2", ScannedCount=8), INDEX)
    assert kinds(unlike) == [("count", "ScannedCount", None)]
    assert kinds(compare_pages(page("1 2"), page("1 2", Count=3, ScannedCount=3), INDEX)) == [("count", "Count", None)]
    paged = compare_pages(
        {"Count": 5, "ScannedCount": 9, "LastEvaluatedKey": cursor("3a")},
        {"Count": 4, "ScannedCount": 9, "LastEvaluatedKey": cursor("3b")},
        INDEX,
    )
    assert paged.differences == ()
    assert notes(paged) == [("tie", "Count"), ("tie", "LastEvaluatedKey")]
    lacking = {"ScannedCount": 9, "LastEvaluatedKey": cursor("3a")}
    assert kinds(compare_pages({**lacking, "Count": 5}, lacking, INDEX)) == [("count", "Count", None)]
    beside = compare_pages(page("1 2", "2"), page("1 2", "2", Count=3), INDEX)
    assert ("count", "Count", None) in kinds(beside)
    filtered = compare_pages(page("1 2a", "2a", ScannedCount=5), page("1 2a", "2a", ScannedCount=6), INDEX)
    assert filtered.agreed
    assert notes(filtered) == [("tie", "ScannedCount")]


def test_a_lost_item_that_a_filter_hid_shows_in_what_was_scanned() -> None:
    comparison = compare_pages(page("1 2", ScannedCount=5), page("1", ScannedCount=4), INDEX)
    assert kinds(comparison) == [("missing", "", "2")]


def test_items_or_none_at_all() -> None:
    (found,) = compare_pages(page("1"), {"Count": 1, "ScannedCount": 1}, INDEX).differences
    assert (found.path, found.kind) == ("Items", Kind.MISSING)


def without_key(names: str, last: str | None = None, **more: str) -> dict[str, Any]:
    whole = page(names, last)
    whole["Items"] = [{"at": one["at"], **{k: {"S": v} for k, v in more.items()}} for one in whole["Items"]]
    return whole


def test_without_keys_items_pair_by_content() -> None:
    assert compare_pages(without_key("1 2a 2b 3"), without_key("1 2c 2d 3"), INDEX).agreed
    comparison = compare_pages(without_key("1 2 3"), without_key("1 2 3", x="y"), INDEX)
    assert [(one.path, one.within) for one in comparison.differences] == [
        ("x", "Items[0]"),
        ("x", "Items[1]"),
        ("x", "Items[2]"),
    ]
    assert comparison.keys() == ()
    lost = compare_pages(without_key("1 2 3"), without_key("1 3"), INDEX)
    assert kinds(lost) == [("missing", "", None)]
    boundary = compare_pages(without_key("1 2a", "2a"), without_key("1 2b", "2b", z="z"), INDEX)
    assert kinds(boundary) == [("extra", "z", None)]
    assert boundary.uncompared == 2
    after = replace(INDEX, start=cursor("2b"))
    shifted = compare_pages(without_key("2c 3 4", "4"), without_key("3 4 5", "5"), after)
    assert shifted.differences == ()
    assert shifted.uncompared == 2
    assert notes(shifted) == [("boundary", "LastEvaluatedKey")]


def test_without_the_sort_key_a_paged_answer_is_undecided() -> None:
    authority, mirror = page("1 2", "2"), page("1 3", "3")
    for one in (*authority["Items"], *mirror["Items"]):
        del one["at"]
    comparison = compare_pages(authority, mirror, INDEX)
    assert comparison.differences == ()
    assert undecided(comparison) == (["2"], ["3"])
    assert notes(comparison) == [("boundary", "LastEvaluatedKey")]


def _large_page(rows: range, end: int | None) -> dict[str, Any]:
    items = [{"pk": {"S": "a"}, "sk": {"N": str(n)}, "text": {"S": "x" * 100_000}} for n in rows]
    page: dict[str, Any] = {"Items": items, "Count": len(items), "ScannedCount": len(items)}
    if end is not None:
        page["LastEvaluatedKey"] = {"pk": {"S": "a"}, "sk": {"N": str(end)}}
    return page


@pytest.mark.parametrize("limit", [None, 50])
@pytest.mark.parametrize("end", [10, None])
def test_a_page_that_ends_at_1_mb_may_end_an_item_apart(limit: int | None, end: int | None) -> None:
    shape = PageShape(ItemShape(("pk", "sk"), lambda _: ItemRules()), ("sk",), ties=False, limit=limit)
    found = compare_pages(_large_page(range(10), 9), _large_page(range(11), end), shape)
    assert found.differences == ()
    assert [note.kind for note in found.notes] == [Kind.BOUNDARY]
    assert [entry.key for entry in found.undecided] == [{"pk": {"S": "a"}, "sk": {"N": "10"}}]


def test_a_page_that_ends_at_its_limit_ends_there_in_both_stores() -> None:
    shape = PageShape(ItemShape(("pk", "sk"), lambda _: ItemRules()), ("sk",), ties=False, limit=10)
    found = compare_pages(_large_page(range(10), 9), _large_page(range(11), 10), shape)
    assert Kind.CURSOR in [difference.kind for difference in found.differences]
