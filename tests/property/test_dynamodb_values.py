"""Laws of values: canonical form, equality, order and size."""

import copy
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.sizes import item_size, number_size, value_size
from proxy.dynamodb.values import (
    Item,
    Value,
    add,
    canonical,
    canonical_item,
    canonical_number,
    equal,
    order,
    subtract,
)
from tests.strategies import items, number_texts, numbers, respelt, scalars, values


@given(number_texts())
def test_a_canonical_number_has_the_same_value_in_plain_notation(text: str) -> None:
    plain = canonical_number(text)
    assert Fraction(plain) == Fraction(text)
    digits = plain.lstrip("-")
    assert set(digits) <= set("0123456789.")
    assert digits == "0" or digits[0] != "0" or digits.startswith("0.")
    assert "." not in digits or not digits.endswith(("0", "."))
    assert plain not in ("-0", "")


@given(number_texts())
def test_canonical_numbers_stay_as_they_are(text: str) -> None:
    plain = canonical_number(text)
    assert canonical_number(plain) is plain


@given(number_texts(), number_texts())
def test_two_spellings_of_one_number_have_one_canonical_form(left: str, right: str) -> None:
    assert (canonical_number(left) == canonical_number(right)) == (Fraction(left) == Fraction(right))


@given(st.text("0123456789+-.eE x\n", max_size=12))
def test_whatever_is_accepted_as_a_number_is_one(text: str) -> None:
    try:
        plain = canonical_number(text)
    except DynamoDBError as error:
        assert error.code == "ValidationException"  # noqa: PT017  # both ways out are in order, and both are checked
    else:
        assert Fraction(plain) == Fraction(Decimal(text))


@given(numbers(), numbers())
def test_arithmetic_is_exact_or_refused(left: str, right: str) -> None:
    for operation, exact in ((add, Fraction(left) + Fraction(right)), (subtract, Fraction(left) - Fraction(right))):
        try:
            result = operation(left, right)
        except DynamoDBError:
            with localcontext() as context:
                context.prec = 1000
                found = Decimal(left) + (Decimal(right) if operation is add else -Decimal(right))
                needed = found.normalize().as_tuple()
            assert len(needed.digits) > 38 or not -130 <= found.adjusted() <= 125
        else:
            assert Fraction(result) == exact
            assert canonical_number(result) == result


@given(st.data(), items())
def test_canonical_is_idempotent_and_reaches_one_form_from_every_spelling(data: st.DataObject, item: Item) -> None:
    assert canonical_item(item) is item
    spelt = {name: data.draw(respelt(value)) for name, value in item.items()}
    before = copy.deepcopy(spelt)
    once = canonical_item(spelt)
    assert spelt == before
    assert once == item
    assert canonical_item(once) is once


@given(st.data(), values())
def test_respelling_keeps_a_value_equal(data: st.DataObject, value: Value) -> None:
    spelt = data.draw(respelt(value))
    assert equal(value, spelt)
    assert equal(spelt, value)


@given(values(), values())
def test_equality_is_equality_of_canonical_forms(left: Value, right: Value) -> None:
    assert equal(left, right) == (canonical(left) == canonical(right)) == equal(right, left)


@given(st.lists(scalars(), min_size=3, max_size=3))
def test_order_is_total_within_a_type_and_agrees_with_equality(three: list[Value]) -> None:
    one, two, three_ = three
    forward, backward = order(one, two), order(two, one)
    if forward is None or backward is None:
        assert forward is backward
        assert one.keys() != two.keys() or next(iter(one)) in ("BOOL", "NULL")
        return
    assert forward == -backward
    assert (forward == 0) == equal(one, two)
    onward = order(two, three_)
    if onward is not None and forward <= 0 and onward <= 0:
        whole = order(one, three_)
        assert whole is not None
        assert whole <= 0


@given(st.text(max_size=6), st.text(max_size=6))
def test_strings_go_by_their_utf8_bytes(left: str, right: str) -> None:
    try:
        mine, theirs = left.encode(), right.encode()
    except UnicodeEncodeError:
        return
    assert order({"S": left}, {"S": right}) == (mine > theirs) - (mine < theirs)


@given(items(), items())
def test_sizes_add_up(left: Item, right: Item) -> None:
    right = {name: value for name, value in right.items() if name not in left}
    assert item_size(left | right) == item_size(left) + item_size(right)
    assert value_size({"M": left}) == 3 + len(left) + item_size(left)
    assert value_size({"L": list(left.values())}) == 3 + len(left) + sum(map(value_size, left.values()))


@given(st.data(), values())
def test_a_size_does_not_depend_on_the_spelling(data: st.DataObject, value: Value) -> None:
    assert value_size(data.draw(respelt(value))) == value_size(value)


@given(numbers())
def test_a_number_costs_at_most_22_bytes(text: str) -> None:
    assert 1 <= number_size(text) <= 22


@pytest.mark.parametrize(
    "text", ["1e126", "-1E+126", "1e-131", "1" * 39, "NaN", "Infinity", " 1", "1_000", "٣", "", "."]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(DynamoDBError):
        canonical_number(text)
