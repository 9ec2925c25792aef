"""Evaluation by example: what the service was seen to do where its documentation is silent."""

import re
from typing import Any

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.expressions.ast import Path, Update
from proxy.dynamodb.expressions.evaluate import creates, lookup, matches, project, update
from proxy.dynamodb.expressions.parse import parse_condition, parse_projection, parse_update
from proxy.dynamodb.expressions.placeholders import bindings
from proxy.dynamodb.values import Item, Value

ITEM: Item = {
    "n": {"N": "5"},
    "s": {"S": "hello"},
    "b": {"B": "aGkgdGhlcmU="},  # "hi there"
    "t": {"BOOL": True},
    "z": {"NULL": True},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["2", "4"]},
    "bs": {"BS": ["AA=="]},
    "l": {"L": [{"N": "2"}, {"SS": ["x"]}, {"L": []}]},
    "m": {"M": {"x": {"N": "1"}, "y": {"L": [{"N": "-1"}, {"N": "2"}]}}},
    "wide": {"S": "é😀"},
    "five": {"N": "5.0"},
    "empty": {"S": ""},
}
VALUES: dict[str, Value] = {
    ":n": {"N": "5"},
    ":four": {"N": "4"},
    ":s": {"S": "ell"},
    ":he": {"S": "he"},
    ":hi": {"B": "aGk="},
    ":set": {"SS": ["x"]},
    ":list": {"L": []},
    ":null": {"NULL": True},
    ":type": {"S": "NS"},
    ":three": {"N": "3"},
    ":eight": {"N": "8"},
    ":empty": {"S": ""},
}


def holds(text: str, item: Item = ITEM) -> bool:
    used = set(re.findall(r":\w+", text))
    return matches(parse_condition(text, bindings(None, {key: VALUES[key] for key in used} or None)), item)


@pytest.mark.parametrize(
    "text",
    [
        "n = five",
        "n = :n",
        "z = :null",
        "n <> s",
        "n <> gone",
        "gone <> lost",
        "gone <> :n",
        "NOT gone = :n",
        "NOT gone = lost",
        "NOT gone < :n",
        "NOT n < :s",
        "n BETWEEN :four AND :eight",
        "n IN (:four, s, five)",
        "m.x < m.y[1]",
        "attribute_exists(m.y[1])",
        "attribute_not_exists(m.y[2])",
        "attribute_not_exists(n.x)",
        "attribute_type(ns, :type)",
        "begins_with(s, :he)",
        "begins_with(b, :hi)",
        "begins_with(s, :empty)",
        "contains(s, :s)",
        "contains(b, :hi)",
        "contains(ns, :four)",
        "contains(l, :set)",
        "contains(l, :list)",
        "size(s) = :n",
        "size(b) = :eight",
        "size(wide) = :three",
        "size(l) = :three",
        "size(ss) < size(l)",
        "size(n) <> :n",
        "size(gone) <> :n",
        "n = :n OR gone = :n",
    ],
)
def test_true(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "n = s",
        "n < s",
        "n >= s",
        "gone = :n",
        "gone = lost",
        "gone >= lost",
        "gone < :n",
        "l < :n",
        "n <> five",
        "NOT gone <> :n",
        "n BETWEEN :four AND l",
        "n BETWEEN gone AND :eight",
        "gone BETWEEN :four AND :eight",
        "gone IN (:n, lost)",
        "begins_with(n, :he)",
        "begins_with(s, :hi)",
        "contains(s, :four)",
        "contains(ns, :s)",
        "contains(ss, :set)",
        "contains(n, :n)",
        "contains(gone, :n)",
        "contains(m, :s)",
        "attribute_type(gone, :type)",
        "size(n) = :n",
        "size(t) = :n",
        "size(s) = :s",
        "size(gone) = :n",
        "n = :n AND gone = :n",
    ],
)
def test_false(text: str) -> None:
    assert not holds(text)


def test_no_item_is_the_empty_item() -> None:
    assert holds("attribute_not_exists(n)", {})
    assert not holds("n = :n", {})


def test_lookup_stops_where_there_is_nothing() -> None:
    assert lookup(Path(("m", "y", 1)), ITEM) == {"N": "2"}
    for parts in (("m", "y", 2), ("m", 0), ("l", "x"), ("n", "x"), ("gone", "x", 0)):
        assert lookup(Path(parts), ITEM) is None


# --- updates ----------------------------------------------------------------------------------------------------------

INVALID_PATH = "The document path provided in the update expression is invalid for update"
MISSING = "The provided expression refers to an attribute that does not exist in the item"
WRONG_TYPE = "An operand in the update expression has an incorrect data type"


def updated(text: str, item: Item, values: dict[str, Value] | None = None, *, exists: bool = True) -> Item:
    given = bindings(None, {f":{name}": value for name, value in (values or {}).items()} or None)
    return update(parse_update(text, given), item, exists=exists)[0]


def n(*texts: str) -> list[Value]:
    return [{"N": text} for text in texts]


@pytest.mark.parametrize(
    ("text", "item", "values", "after"),
    [
        ("SET b = :v", {"a": {"S": "x"}}, {"v": {"N": "1"}}, {"a": {"S": "x"}, "b": {"N": "1"}}),
        ("SET c = b REMOVE b", {"b": {"S": "x"}}, {}, {"c": {"S": "x"}}),
        ("SET a = b, b = a", {"a": {"N": "1"}, "b": {"N": "2"}}, {}, {"a": {"N": "2"}, "b": {"N": "1"}}),
        ("SET a = a + :v", {"a": {"N": "0.1"}}, {"v": {"N": "0.2"}}, {"a": {"N": "0.3"}}),
        ("SET a = :v - a", {"a": {"N": "1e2"}}, {"v": {"N": "1"}}, {"a": {"N": "-99"}}),
        ("SET a = if_not_exists(a, :v)", {"a": {"N": "1"}}, {"v": {"N": "2"}}, {"a": {"N": "1"}}),
        ("SET b = if_not_exists(a, :v) + :v", {}, {"v": {"N": "2"}}, {"b": {"N": "4"}}),
        ("SET a = list_append(:v, a)", {"a": {"L": n("1")}}, {"v": {"L": n("2")}}, {"a": {"L": n("2", "1")}}),
        (
            "SET a = list_append(if_not_exists(a, :e), :v)",
            {},
            {"e": {"L": []}, "v": {"L": n("2")}},
            {"a": {"L": n("2")}},
        ),
        ("SET a[7] = :v", {"a": {"L": n("1", "2")}}, {"v": {"N": "3"}}, {"a": {"L": n("1", "2", "3")}}),
        (
            "SET a[84] = :a, a[37] = :b, a[0] = :c",
            {"a": {"L": n("0")}},
            {"a": {"N": "1"}, "b": {"N": "2"}, "c": {"N": "3"}},
            {"a": {"L": n("3", "2", "1")}},
        ),
        (
            "REMOVE a[1] SET a[3] = :v",
            {"a": {"L": n("2", "3", "4", "5", "6")}},
            {"v": {"N": "17"}},
            {"a": {"L": n("2", "4", "17", "6")}},
        ),
        ("REMOVE a[17], b, m.x", {"a": {"L": n("1")}, "m": {"M": {}}}, {}, {"a": {"L": n("1")}, "m": {"M": {}}}),
        ("REMOVE m.x, l[0]", {"m": {"M": {"x": {"N": "1"}}}, "l": {"L": n("1")}}, {}, {"m": {"M": {}}, "l": {"L": []}}),
        (
            "SET a.b = :v, a.c[0].d = :v REMOVE a.x",
            {"a": {"M": {"x": {"N": "1"}, "c": {"L": [{"M": {}}]}}}},
            {"v": {"N": "1"}},
            {"a": {"M": {"b": {"N": "1"}, "c": {"L": [{"M": {"d": {"N": "1"}}}]}}}},
        ),
        ("ADD a :v, b :v", {"a": {"N": "1.5"}}, {"v": {"N": "-2"}}, {"a": {"N": "-0.5"}, "b": {"N": "-2"}}),
        ("ADD m.x :v", {"m": {"M": {}}}, {"v": {"N": "2"}}, {"m": {"M": {"x": {"N": "2"}}}}),
        (
            "ADD a :v, b :v",
            {"a": {"SS": ["x", "a"]}},
            {"v": {"SS": ["b", "x"]}},
            {"a": {"SS": ["a", "b", "x"]}, "b": {"SS": ["b", "x"]}},
        ),
        ("ADD a :v", {"a": {"NS": ["10", "2.0"]}}, {"v": {"NS": ["2", "9"]}}, {"a": {"NS": ["2", "9", "10"]}}),
        (
            "DELETE a :v, b :v, c :v",
            {"a": {"SS": ["a", "b"]}, "b": {"SS": ["a"]}},
            {"v": {"SS": ["a", "q"]}},
            {"a": {"SS": ["b"]}},
        ),
    ],
)
def test_updates(text: str, item: Item, values: dict[str, Any], after: Item) -> None:
    assert updated(text, item, values) == after


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SET c = gone", MISSING),
        ("SET gone = gone", MISSING),
        ("SET x = :v, y = x", MISSING),
        ("SET c = gone + :v", MISSING),
        ("SET c = list_append(gone, l)", MISSING),
        ("SET c = s + :v", WRONG_TYPE),
        ("SET c = list_append(s, l)", WRONG_TYPE),
        ("ADD s :v", WRONG_TYPE),
        ("ADD s :set", WRONG_TYPE),
        ("DELETE ns :set", WRONG_TYPE),
        ("SET gone.x = :v", INVALID_PATH),
        ("SET s.x = :v", INVALID_PATH),
        ("SET l.x = :v", INVALID_PATH),
        ("SET m[0] = :v", INVALID_PATH),
        ("SET l[9].x = :v", INVALID_PATH),
        ("REMOVE gone.x", INVALID_PATH),
        ("REMOVE l.x", INVALID_PATH),
        ("REMOVE s[0]", INVALID_PATH),
        ("ADD gone.x :v", INVALID_PATH),
        (
            "SET c = big + big",
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
    ],
)
def test_an_update_that_the_item_cannot_bear(text: str, message: str) -> None:
    values: dict[str, Value] = {"v": {"N": "1"}, "set": {"SS": ["x"]}}
    item = ITEM | {"big": {"N": "9" + "0" * 125}}
    with pytest.raises(DynamoDBError) as caught:
        updated(text, item, {name: value for name, value in values.items() if f":{name}" in text})
    assert (caught.value.code, caught.value.message) == ("ValidationException", message)


def test_removing_below_an_item_that_does_not_exist_does_nothing() -> None:
    assert updated("REMOVE x.y, z[0]", {"p": {"S": "k"}}, exists=False) == {"p": {"S": "k"}}


def test_an_update_that_only_takes_away_makes_no_item() -> None:
    given: dict[str, Value] = {":n": {"N": "1"}, ":s": {"SS": ["x"]}}
    for text, makes in (
        ("SET a = :n", True),
        ("ADD a :n", True),
        ("REMOVE b SET a = :n", True),
        ("REMOVE a", False),
        ("DELETE a :s", False),
        ("REMOVE a DELETE b :s", False),
    ):
        used = {key: value for key, value in given.items() if key in text}
        assert creates(parse_update(text, bindings(None, used or None))) is makes
    assert creates(Update(()))


def test_a_value_moved_too_deep_is_refused() -> None:
    deep: Value = {"S": "leaf"}
    for _ in range(31):
        deep = {"M": {"n": deep}}
    item: Item = {"deep": deep, "m": {"M": {}}}
    assert updated("SET twin = deep", item)["twin"] == deep
    with pytest.raises(DynamoDBError) as caught:
        updated("SET m.x = deep", item)
    assert caught.value.message.startswith("Nesting Levels have exceeded supported limits")


def test_the_touched_paths_show_what_was_updated() -> None:
    item: Item = {"a": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}, "l": {"L": n("1", "2")}, "k": {"S": "k"}}
    after, touched = update(parse_update("SET a.x = :v, l[1] = :v REMOVE k", bindings(None, {":v": n("9")[0]})), item)
    assert project(touched, item) == {"a": {"M": {"x": {"N": "1"}}}, "l": {"L": n("2")}, "k": {"S": "k"}}
    assert project(touched, after) == {"a": {"M": {"x": {"N": "9"}}}, "l": {"L": n("9")}}


# --- projections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("n, gone, s", {"n": {"N": "5"}, "s": {"S": "hello"}}),
        ("l[2], l[0]", {"l": {"L": [{"N": "2"}, {"L": []}]}}),
        ("m.y[1], m.x", {"m": {"M": {"y": {"L": [{"N": "2"}]}, "x": {"N": "1"}}}}),
        ("m.gone", {}),
        ("m.y[9]", {}),
        ("m[0]", {}),
        ("l.x", {}),
        ("n.x", {}),
        ("l[2]", {"l": {"L": [{"L": []}]}}),
    ],
)
def test_projections(text: str, shown: Item) -> None:
    assert project(parse_projection(text, bindings()), ITEM) == shown
