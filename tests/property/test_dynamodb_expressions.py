"""Laws of expressions: printing and parsing undo each other; evaluation agrees with a plain reading of the rules."""

import copy
import random
from base64 import b64decode
from fractions import Fraction
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.expressions.ast import (
    And,
    BetweenCondition,
    ComparisonCondition,
    Condition,
    FunctionCall,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Projection,
    Remove,
    Set,
    Update,
    condition_paths,
    top_level,
)
from proxy.dynamodb.expressions.evaluate import lookup, matches, project, update
from proxy.dynamodb.expressions.parameters import MAX_EXPRESSION_BYTES
from proxy.dynamodb.expressions.parse import parse_condition, parse_projection, parse_update
from proxy.dynamodb.expressions.placeholders import Bindings, bindings
from proxy.dynamodb.expressions.printer import Printed, unparse
from proxy.dynamodb.values import Item, Value, canonical_item, equal
from tests.strategies import conditions, disjoint_paths, items, paths, projections, respelt, updates, values

# --- text and tree ----------------------------------------------------------------------------------------------------


def _given(printed: Printed) -> Bindings:
    assume(len(printed.text.encode()) <= MAX_EXPRESSION_BYTES)
    return bindings(printed.names or None, printed.values or None)


@given(conditions())
def test_a_condition_survives_printing_and_parsing(condition: Condition) -> None:
    printed = unparse(condition)
    given_ = _given(printed)
    assert parse_condition(printed.text, given_) == condition
    given_.check_all_used()


@given(updates())
def test_an_update_survives_printing_and_parsing(expression: Update) -> None:
    printed = unparse(expression)
    given_ = _given(printed)
    assert parse_update(printed.text, given_) == expression
    given_.check_all_used()


@given(projections())
def test_a_projection_survives_printing_and_parsing(projection: Projection) -> None:
    printed = unparse(projection)
    given_ = _given(printed)
    assert parse_projection(printed.text, given_) == projection
    given_.check_all_used()


@given(conditions())
def test_the_paths_of_a_condition_are_the_names_it_may_read(condition: Condition) -> None:
    attributes = top_level(condition_paths(condition))
    item: Item = {"unrelated": {"S": "x"}}
    assert matches(condition, item) == matches(condition, {})
    assert "unrelated" not in attributes


_SHREDS = ("a", "#a", ":v", "(", ")", ",", "=", "<>", "<", "AND", "or", "NOT", "BETWEEN", "IN", "size", "contains", ".")
_PIECES = (*_SHREDS, "[", "]", "0", "SET", "remove", "ADD", "DELETE", "+", "-", "if_not_exists", "name", "!", "_", "é")


@given(st.lists(st.sampled_from(_PIECES), max_size=14), st.sampled_from((" ", "")))
def test_any_text_is_parsed_or_refused_in_dynamodbs_words(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    for parse, parameter in (
        (parse_condition, "ConditionExpression"),
        (parse_update, "UpdateExpression"),
        (parse_projection, "ProjectionExpression"),
    ):
        try:
            parse(text, bindings({"#a": "b"}, {":v": {"N": "1"}}))
        except DynamoDBError as error:
            refusal = error
            assert (refusal.code, refusal.message.partition(": ")[0]) == ("ValidationException", f"Invalid {parameter}")


# --- conditions against a plain reading of the rules ------------------------------------------------------------------
# Values become Python values whose own equality is DynamoDB's: a type with a Fraction, bytes, a frozenset, a tuple.


def _plain(value: Value) -> tuple[str, Any]:
    [(tag, content)] = value.items()
    reading: dict[str, Any] = {
        "S": lambda: content,
        "N": lambda: Fraction(content),
        "B": lambda: b64decode(content),
        "BOOL": lambda: content,
        "NULL": lambda: None,
        "SS": lambda: frozenset(content),
        "NS": lambda: frozenset(Fraction(each) for each in content),
        "BS": lambda: frozenset(b64decode(each) for each in content),
        "L": lambda: tuple(_plain(each) for each in content),
        "M": lambda: frozenset((name, _plain(each)) for name, each in content.items()),
    }
    return tag, reading[tag]()


def _at(path: Path, item: Item) -> Value | None:
    here: Value | None = {"M": item}
    for part in path.parts:
        inside = (here or {}).get("L" if isinstance(part, int) else "M")
        try:
            here = inside[part]  # type: ignore[index]
        except (TypeError, KeyError, IndexError):
            return None
    return here


def _operand(operand: Operand, item: Item) -> tuple[str, Any] | None:
    if isinstance(operand, Literal):
        return _plain(operand.value)
    if isinstance(operand, Path):
        found = _at(operand, item)
        return None if found is None else _plain(found)
    assert isinstance(operand, FunctionCall)
    measured = _operand(operand.operands[0], item)
    if measured is None or measured[0] in ("N", "BOOL", "NULL"):
        return None
    tag, content = measured
    length = sum(2 if ord(letter) > 0xFFFF else 1 for letter in content) if tag == "S" else len(content)
    return "N", Fraction(length)


def _before(left: tuple[str, Any], right: tuple[str, Any]) -> bool | None:
    if left[0] != right[0] or left[0] not in ("S", "N", "B"):
        return None
    if left[0] == "S":
        return bool(left[1].encode() < right[1].encode())
    return bool(left[1] < right[1])


def _judge(condition: Condition, item: Item) -> bool:
    match condition:
        case And(terms):
            return all(_judge(term, item) for term in terms)
        case Or(terms):
            return any(_judge(term, item) for term in terms)
        case Not(term):
            return not _judge(term, item)
        case In(operand, options):
            value = _operand(operand, item)
            return value is not None and value in [_operand(option, item) for option in options]
        case BetweenCondition(operand, low, high):
            return _judge(ComparisonCondition(">=", operand, low), item) and _judge(
                ComparisonCondition("<=", operand, high), item
            )
        case ComparisonCondition(operator, left, right):
            one, two = _operand(left, item), _operand(right, item)
            if one is None or two is None:
                return operator == "<>"
            if operator in ("=", "<>"):
                return (one == two) == (operator == "=")
            less, more = _before(one, two), _before(two, one)
            if less is None or more is None:
                return False
            return {"<": less, "<=": not more, ">": more, ">=": not less}[operator]
        case FunctionCall(function, operands):
            return _judge_call(function, [_operand(operand, item) for operand in operands])


def _judge_call(function: str, found: list[tuple[str, Any] | None]) -> bool:
    if function == "attribute_exists":
        return found[0] is not None
    if function == "attribute_not_exists":
        return found[0] is None
    first, second = found
    if first is None or second is None:
        return False
    (tag, content), (sought, wanted) = first, second
    if function == "attribute_type":
        return bool(tag == wanted)
    if function == "begins_with":
        return tag == sought and tag in ("S", "B") and content[: len(wanted)] == wanted
    if tag in ("S", "B"):
        return tag == sought and wanted in content
    if tag in ("SS", "NS", "BS"):
        return sought == tag[0] and wanted in content
    return tag == "L" and second in content


@given(st.data(), conditions(), items())
def test_matching_agrees_with_a_plain_reading(data: st.DataObject, condition: Condition, item: Item) -> None:
    assert matches(condition, item) == _judge(condition, item)
    spelt = {name: data.draw(respelt(value)) for name, value in item.items()}
    assert matches(condition, spelt) == _judge(condition, item)


@given(paths(), items())
def test_lookup_agrees_with_a_plain_reading(path: Path, item: Item) -> None:
    assert lookup(path, item) is _at(path, item)


# --- updates ----------------------------------------------------------------------------------------------------------


@given(updates(), items())
def test_an_update_never_changes_its_input_and_leaves_alone_what_it_does_not_name(
    expression: Update, item: Item
) -> None:
    before = copy.deepcopy(item)
    asked = copy.deepcopy(expression)
    try:
        after, touched = update(expression, item)
    except DynamoDBError as error:
        assert error.code == "ValidationException"  # noqa: PT017  # an item need not bear an update; no trace is left
        assert item == before
        return
    assert item == before
    assert expression == asked
    assert touched == tuple(action.path for action in expression.actions)
    named = top_level(touched)
    for name in item.keys() - named:
        assert after[name] is item[name]
    assert after.keys() - item.keys() <= named
    assert canonical_item(after) == after


@given(updates(), items(), st.randoms(use_true_random=False))
def test_the_order_of_the_actions_does_not_matter(expression: Update, item: Item, chance: random.Random) -> None:
    shuffled = list(expression.actions)
    chance.shuffle(shuffled)
    assert _outcome(Update(tuple(shuffled)), item) == _outcome(expression, item)


def _outcome(expression: Update, item: Item) -> Item | None:
    try:
        return update(expression, item)[0]
    except DynamoDBError:
        return None


@given(items(), st.dictionaries(st.sampled_from("abcd"), values(), min_size=1))
def test_setting_whole_attributes_is_a_merge(item: Item, new: Item) -> None:
    expression = Update(tuple(Set(Path((name,)), Literal(value)) for name, value in new.items()))
    after, touched = update(expression, item)
    assert after == item | new
    assert project(touched, after) == new


@given(items(), disjoint_paths(min_size=1))
def test_what_is_removed_is_gone_and_nothing_else(item: Item, found: list[Path]) -> None:
    tops = [path for path in found if len(path.parts) == 1]
    after, _ = update(Update(tuple(Remove(path) for path in tops)), item)
    assert after == {name: value for name, value in item.items() if name not in {path.parts[0] for path in tops}}


# --- projections ------------------------------------------------------------------------------------------------------


@given(projections(), items())
def test_a_projection_holds_what_its_paths_lead_to_and_nothing_more(projection: Projection, item: Item) -> None:
    shown = project(projection, item)
    found = [path for path in projection.paths if _at(path, item) is not None]
    assert shown.keys() == top_level(found)
    for path in found:
        if not any(isinstance(part, int) for part in path.parts):
            there = _at(path, shown)
            assert there is not None
            assert equal(there, _at(path, item) or {})
    assert project(tuple(Path((name,)) for name in item), item) == item
