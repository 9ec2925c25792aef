"""What values and items differ by, rule by rule."""

from typing import Any

import pytest

from comparators import paths
from comparators.canonical_forms import sort_form
from comparators.difference import Item, Kind, Value
from comparators.items import compare_items
from comparators.rules import Comparator, ItemRules, Rule, parse_rules, picker
from comparators.values import ValueDifference, collect_differences

Found = list[tuple[str, str]]


def compared(authority: Value | None, mirror: Value | None, rule: Rule | None = None) -> list[ValueDifference]:
    found: list[ValueDifference] = []
    collect_differences(found, "at", authority, mirror, rule or Rule())
    return found


def differ(authority: Value | None, mirror: Value | None, rule: Rule | None = None) -> Found:
    return [(path, kind.value) for path, kind, _, _ in compared(authority, mirror, rule)]


def n(text: str) -> Value:
    return {"N": text}


def s(text: str) -> Value:
    return {"S": text}


def lst(*texts: str) -> Value:
    return {"L": [s(text) for text in texts]}


@pytest.mark.parametrize(
    ("authority", "mirror", "kinds"),
    [
        ("5", "5.00", []),
        ("5", "+5e0", []),
        ("0", "-0", []),
        ("1E+2", "100", []),
        ("8.5", "8", ["precision"]),
        ("8.5", "9", ["precision"]),
        ("8.5", "7", ["value"]),
        ("8", "9", ["value"]),
        ("15", "10", ["value"]),
        ("0.333", "0.33", ["precision"]),
        ("0.335", "0.34", ["precision"]),
        ("0.333", "0.34", ["value"]),
        ("1E-130", "0", ["precision"]),
        ("5", "5.000000000000000000000000000001", ["precision"]),
        # a double keeps 15 to 17 digits of these
        ("12345678901234567890", "12345678901234567000", ["precision"]),
        ("12345678901234567890", "12345678901234600000", ["precision"]),
        ("12345678901234567890", "12345678901000000000", ["value"]),
        ("-5", "5", ["value"]),
        ("-8.5", "-8", ["precision"]),
        ("-0.4", "0", ["precision"]),
        ("-0.4", "1", ["value"]),
        # one apart in the last of 38 digits, which the default arithmetic of 28 digits would not see
        ("1.2345678901234567890123456789012345678", "1.2345678901234567890123456789012345679", ["precision"]),
        ("0.12345678901234567890123456789012345678", "0.123456789012345678901234567891", ["precision"]),
        ("120345678901234567890123456789012345678.4", "120345678901234567890123456789012345678", ["precision"]),
        ("100000000000000.50000000000000000000001", "100000000000001", ["precision"]),
        ("100000000000000.4999999999999999999999999", "100000000000001", ["value"]),
        ("5", "five", ["value"]),
        ("1000", "1_000", ["value"]),
        ("NaN", "NaN", []),
        ("9.9999999999999999999999999999999999999E+125", "1E+126", ["precision"]),
    ],
)
def test_numbers_compare_by_value_and_name_lost_digits(authority: str, mirror: str, kinds: list[str]) -> None:
    assert [kind for _, kind in differ(n(authority), n(mirror))] == kinds
    assert [kind for _, kind in differ(n(mirror), n(authority))] == kinds


def test_number_exact_also_minds_the_text() -> None:
    rule = Rule(Comparator.NUMBER_EXACT)
    assert differ(n("5"), n("5.00"), rule) == [("at", "spelling")]
    assert differ(n("8.5"), n("8"), rule) == [("at", "value")]
    assert differ(n("5"), n("5"), rule) == []


def test_exact_reports_what_differs_in_spelling_only_once_and_what_differs_in_value_where_it_lies() -> None:
    rule = Rule(Comparator.EXACT)
    assert differ({"M": {"a": n("1.0"), "b": n("2")}}, {"M": {"a": n("1"), "b": n("2.0")}}, rule) == [
        ("at", "spelling")
    ]
    assert differ({"M": {"a": n("1.0"), "b": n("2")}}, {"M": {"a": n("1"), "b": n("3")}}, rule) == [("at.b", "value")]
    assert differ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}, rule) == [("at", "spelling")]


def test_binary_compares_bytes() -> None:
    assert differ({"B": "AQ=="}, {"B": "AQ"}) == []
    assert differ({"B": "AQ=="}, {"B": "Ag=="}) == [("at", "value")]
    assert differ({"B": "AQ=="}, {"B": "!!"}) == [("at", "value")]


def test_types_never_agree() -> None:
    assert differ(n("5"), s("5")) == [("at", "type")]
    assert differ({"NULL": True}, s("")) == [("at", "type")]
    assert differ({"SS": ["a"]}, lst("a"), Rule(Comparator.SET)) == [("at", "type")]
    assert differ(n("1700000000000"), s("2023-11-14T22:13:20Z"), Rule(Comparator.TIMESTAMP)) == [("at", "type")]


def test_key_values_sort_as_dynamodb_sorts_them() -> None:
    sorted_: list[list[Value]] = [
        [n("-10"), n("-9.5"), n("0"), n("9"), n("10"), n("1E+2")],
        [s(""), s("Z"), s("a"), s("aa"), s("é"), s("\uffff"), s("\U0001f600")],
        [{"B": text} for text in ("AQ==", "AQE=", "Ag==", "fw==", "gA==")],
    ]
    for values in sorted_:
        backwards = list(reversed(values))
        assert sorted(backwards, key=sort_form) == values


def test_booleans() -> None:
    assert differ({"BOOL": True}, {"BOOL": False}) == [("at", "value")]


def test_null_and_missing_are_one_only_by_rule_and_then_at_any_depth() -> None:
    lax = Rule(null_is_missing=True)
    assert differ({"NULL": True}, None) == [("at", "missing")]
    assert differ(None, {"NULL": True}) == [("at", "extra")]
    assert differ({"NULL": True}, None, lax) == []
    assert differ({"NULL": True}, s("x"), lax) == [("at", "extra")]
    deep: Value = {"L": [{"M": {"a": {"NULL": True}}}]}
    assert differ(deep, {"L": [{"M": {}}]}) == [("at[0].a", "missing")]
    assert differ(deep, {"L": [{"M": {}}]}, lax) == []
    assert differ({"L": [*deep["L"], n("1")]}, {"L": [{"M": {}}]}, lax) == [("at[1]", "missing")]
    assert differ({"L": [n("1"), *deep["L"]]}, {"L": [{"M": {}}]}, lax) == [("at[0]", "missing")]
    assert differ({"L": [{"M": {}}]}, {"L": [n("1"), *deep["L"]]}, lax) == [("at[0]", "extra")]
    beside: Value = {"L": [{"M": {"a": {"NULL": True}, "b": n("1")}}]}
    assert differ(beside, {"L": [{"M": {"b": n("2")}}]}, lax) == [("at[0].b", "value")]
    assert differ({"M": {"m": {"M": {"a": {"NULL": True}}}}}, {"M": {"m": {"M": {}}}}, lax) == []


def test_sets_show_on_each_side_the_members_only_it_has() -> None:
    assert compared({"NS": ["1", "2.0"]}, {"NS": ["2", "1e0"]}) == []
    assert compared({"SS": ["a", "b"]}, {"SS": ["c", "b", "d"]}) == [
        ("at", Kind.MEMBERSHIP, {"SS": ["a"]}, {"SS": ["c", "d"]})
    ]
    assert compared({"BS": ["AQ==", "Ag=="]}, {"BS": ["AQ"]}) == [("at", Kind.MEMBERSHIP, {"BS": ["Ag=="]}, None)]


@pytest.mark.parametrize(
    ("authority", "mirror", "found"),
    [
        ("abc", "abd", [("at[2]", "value")]),
        ("abcde", "abde", [("at[2]", "missing")]),
        ("abcde", "bcde", [("at[0]", "missing")]),
        ("abcde", "ace", [("at[1]", "missing"), ("at[3]", "missing")]),
        ("abde", "abcde", [("at[2]", "extra")]),
        ("ab", "abab", [("at[2]", "extra"), ("at[3]", "extra")]),
        ("", "a", [("at[0]", "extra")]),
        ("abc", "axyc", [("at[1]", "value"), ("at[2]", "extra")]),
        ("abc", "bca", [("at", "order")]),
        ("abc", "xyz", [("at[0]", "value"), ("at[1]", "value"), ("at[2]", "value")]),
    ],
)
def test_lists_name_the_element(authority: str, mirror: str, found: Found) -> None:
    assert differ(lst(*authority), lst(*mirror)) == found


def test_list_elements_are_equal_however_they_are_spelt() -> None:
    assert differ({"L": [n("1.0"), n("2"), n("3")]}, {"L": [n("1"), n("3.0")]}) == [("at[1]", "missing")]


def test_unordered_lists_count_duplicates() -> None:
    rule = Rule(Comparator.UNORDERED_LIST)
    assert differ(lst(*"abca"), lst(*"caab"), rule) == []
    assert differ(lst(*"abca"), lst(*"cab"), rule) == [("at[3]", "missing")]
    assert differ(lst(*"ab"), lst(*"bc"), rule) == [("at[0]", "missing"), ("at[1]", "extra")]


def test_timestamps_within_tolerance() -> None:
    rule = Rule(Comparator.TIMESTAMP, tolerance_ms=2)
    assert differ(n("1700000000000"), n("1700000000002"), rule) == []
    assert differ(n("1700000000000"), n("1700000000003"), rule) == [("at", "value")]
    assert differ(n("1700000000000"), n("1700000000000.5"), Rule(Comparator.TIMESTAMP)) == [("at", "precision")]
    assert differ(s("2023-11-14T22:13:20Z"), s("2023-11-14T23:13:20.002+01:00"), rule) == []
    assert differ(s("2023-11-14T22:13:20Z"), s("2023-11-14T22:13:20.003"), rule) == [("at", "value")]
    assert differ(s("2023-11-14T22:13:20Z"), s("yesterday"), rule) == [("at", "value")]


def test_a_rule_that_does_not_fit_hides_nothing() -> None:
    timestamp, unordered = Rule(Comparator.TIMESTAMP, tolerance_ms=1e9), Rule(Comparator.UNORDERED_LIST)
    assert differ({"M": {"a": n("1")}}, {"M": {"a": n("2")}}, timestamp) == [("at.a", "value")]
    assert differ(s("ab"), s("ba"), unordered) == [("at", "value")]


def test_images_compare_size_as_numbers_and_every_other_key() -> None:
    image = {"url": s("https://example.org/a.png"), "width": n("640"), "height": n("480.0")}
    rule = Rule(Comparator.IMAGE)
    assert differ({"M": image}, {"M": {**image, "width": n("640.0"), "height": n("480")}}, rule) == []
    other = {**image, "width": n("64"), "etag": s("x")}
    assert differ({"M": image}, {"M": other}, rule) == [("at.width", "value"), ("at.etag", "extra")]


def test_map_fields_have_rules_of_their_own() -> None:
    rule = Rule(Comparator.MAP, fields={"etag": Rule(Comparator.IGNORE)})
    assert differ({"M": {"etag": s("a"), "b": s("c")}}, {"M": {"b": s("d")}}, rule) == [("at.b", "value")]


def test_items_say_field_path_type_and_key() -> None:
    rules = ItemRules("Book", {"notes": Rule(Comparator.IGNORE)})
    authority: Item = {"id": s("1"), "a.b": {"M": {"x": n("1")}}, "notes": s("x"), "gone": n("1")}
    mirror: Item = {"id": s("1"), "a.b": {"M": {"x": n("2")}}, "new": s("")}
    found = compare_items(authority, mirror, rules, within="Items[4]", key={"id": s("1")})
    assert [(one.path, one.field, one.kind) for one in found] == [
        ('"a.b".x', "a.b", Kind.VALUE),
        ("gone", "gone", Kind.MISSING),
        ("new", "new", Kind.EXTRA),
    ]
    assert {(one.type, one.within, str(one.key)) for one in found} == {("Book", "Items[4]", str({"id": s("1")}))}


def test_a_whole_item_is_one_difference() -> None:
    (found,) = compare_items({"id": s("1"), "b": n("2")}, None, ItemRules())
    assert (found.path, found.field, found.kind, found.mirror) == ("", "", Kind.MISSING, None)
    (found,) = compare_items(None, {"id": s("1"), "b": n("2")}, ItemRules())
    assert (found.kind, found.authority, found.mirror) == (Kind.EXTRA, None, {"M": {"id": s("1"), "b": n("2")}})
    assert compare_items(None, None, ItemRules()) == ()


def test_rules_are_read_from_settings() -> None:
    rules = parse_rules(
        {
            "*": {"movedAt": {"comparator": "timestamp", "tolerance_ms": 5}, "notes": "ignore"},
            "Book": {
                "rating": "number",
                "notes": "string",
                "*": "exact",
                "image": {"comparator": "map", "fields": {"etag": "ignore"}, "null_is_missing": True},
            },
        }
    )
    assert set(rules) == {"*", "Book"}
    book = rules["Book"]
    assert book.type == "Book"
    assert book.default == Rule(Comparator.EXACT)
    assert book.attributes["movedAt"] == Rule(Comparator.TIMESTAMP, tolerance_ms=5)
    assert book.attributes["notes"] == Rule(Comparator.STRING)
    assert book.attributes["image"].fields["etag"] == Rule(Comparator.IGNORE)
    assert book.attributes["image"].null_is_missing
    assert rules["*"].default == Rule()
    pick = picker(rules, "type")
    assert pick({"type": s("Book")}).type == "Book"
    assert pick({"type": s("Film")}).type == "*"
    assert pick({}).type == "*"
    assert parse_rules({})["*"] == ItemRules()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"Book": {"rating": "nmber"}}, r"Book\.rating: there is no comparator 'nmber'; use one of auto, binary"),
        (
            {"Book": {"tags": {"comparator": "set", "tolerance_ms": 1}}},
            r"Book\.tags: .* no option 'tolerance_ms'",
        ),
        ({"Book": {"at": {"comparator": "timestamp", "tolerence": 1}}}, "use one of comparator, tolerance_ms"),
        ({"Book": {"at": {"comparator": "timestamp", "tolerance_ms": -1}}}, r"Book\.at\.tolerance_ms"),
        ({"Book": {"at": {"comparator": "timestamp", "tolerance_ms": True}}}, r"Book\.at\.tolerance_ms"),
        ({"Book": {"at": {"null_is_missing": "yes"}}}, r"Book\.at\.null_is_missing: expected true or false"),
        ({"Book": {"image": {"comparator": "map", "fields": {"a": 1}}}}, r"Book\.image\.fields\.a"),
        ({"Book": {"image": {"comparator": "image", "fields": {}}}}, "no option 'fields'"),
        ({"Book": {"notes": {"comparator": "ignore", "null_is_missing": True}}}, "no option 'null_is_missing'"),
        ({"Book": "number"}, "Book: expected a table"),
        ({"Book": {"a": {"comparator": 5}}}, r"Book\.a: there is no comparator 5"),
    ],
)
def test_rules_refuse_what_they_do_not_know(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_rules(settings)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("image.url", "image.url", True),
        ("image", "image.url", False),
        ("image.*", "image.url", True),
        ("image.*", 'image."a.b"', True),
        ("image.*", "image.url.x", False),
        ("image.*", "imageXurl", False),
        ("image.**", "image.url.x[3]", True),
        ("platforms[*]", "platforms[12]", True),
        ("platforms[*]", "platforms[1][2]", False),
        ("**", "", True),
        ("rat*", "rating", True),
        ("LastEvaluatedKey", "LastEvaluatedKey", True),
    ],
)
def test_path_patterns(pattern: str, path: str, matches: bool) -> None:
    assert (paths.pattern(pattern).fullmatch(path) is not None) is matches
