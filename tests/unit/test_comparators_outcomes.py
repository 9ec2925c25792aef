"""What whole outcomes differ by: batches, transactions, writes and refusals."""

import pytest

from comparators.comparison import Comparison
from comparators.difference import Document, Item, Kind
from comparators.errors import code_of, compare_errors, message_class
from comparators.outcomes import compare_outcomes
from comparators.rules import ItemRules
from comparators.shapes import ItemShape, ListShape, PageShape, Shape, TablesShape

BOOKS = ItemShape(("id",), lambda _item: ItemRules("Book"))
TABLES = TablesShape({"books": BOOKS, "a.b": BOOKS})
TWO = ListShape((ItemShape(("id",), lambda _item: ItemRules("Film")), BOOKS))


def book(name: str, rating: str = "1") -> Item:
    return {"id": {"S": name}, "rating": {"N": rating}}


def answered(action: str, authority: Document, mirror: Document, shape: Shape) -> Comparison:
    return compare_outcomes(action, (200, authority), (200, mirror), shape)


def told(comparison: Comparison) -> list[tuple[str, str, str]]:
    return [(found.kind.value, found.within, found.path) for found in comparison.differences]


def refusal(code: str, message: str, **more: object) -> dict[str, object]:
    return {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}


def test_get_item() -> None:
    assert answered("GetItem", {}, {}, BOOKS).agreed
    assert answered("GetItem", {"Item": book("1")}, {"Item": book("1", "1.0")}, BOOKS) == Comparison(compared=1)
    assert told(answered("GetItem", {"Item": book("1")}, {}, BOOKS)) == [("missing", "Item", "")]
    comparison = answered("GetItem", {"Item": book("1")}, {"Item": book("1", "2")}, BOOKS)
    assert told(comparison) == [("value", "Item", "rating")]
    assert comparison.differences[0].type == "Book"
    assert comparison.keys() == ({"id": {"S": "1"}},)


def test_writes_compare_attributes_and_nothing_else() -> None:
    noise = {"ConsumedCapacity": {"CapacityUnits": 1}, "ItemCollectionMetrics": {}}
    assert answered("UpdateItem", {"Attributes": book("1")}, {"Attributes": book("1"), **noise}, BOOKS).agreed
    changed = answered(
        "UpdateItem", {"Attributes": {"rating": {"N": "8.5"}}}, {"Attributes": {"rating": {"N": "8"}}}, BOOKS
    )
    assert told(changed) == [("precision", "Attributes", "rating")]
    assert answered("TransactWriteItems", {}, noise, TWO).agreed


def test_batch_get_pairs_by_table_and_key_in_any_order() -> None:
    authority = {"Responses": {"books": [book("1"), book("2")], "a.b": [book("1")]}, "UnprocessedKeys": {}}
    mirror = {"Responses": {"a.b": [book("1", "9")], "books": [book("2"), book("1")]}, "UnprocessedKeys": {}}
    comparison = answered("BatchGetItem", authority, mirror, TABLES)
    assert told(comparison) == [("value", 'Responses."a.b"[0]', "rating")]
    assert comparison.compared == 3
    lost = answered("BatchGetItem", authority, {"Responses": {"books": [book("2")]}}, TABLES)
    assert told(lost) == [("missing", "Responses.books[0]", ""), ("missing", 'Responses."a.b"[0]', "")]


def test_batch_get_does_not_judge_unprocessed_keys() -> None:
    authority = {"Responses": {"books": [book("1"), book("2")]}}
    mirror = {
        "Responses": {"books": [book("3")]},
        "UnprocessedKeys": {"books": {"Keys": [{"id": {"S": "2"}}]}},
    }
    comparison = answered("BatchGetItem", authority, mirror, TABLES)
    assert told(comparison) == [("missing", "Responses.books[0]", ""), ("extra", "Responses.books[0]", "")]
    assert [found.key for found in comparison.differences] == [{"id": {"S": "1"}}, {"id": {"S": "3"}}]
    assert comparison.uncompared == 1


def test_batch_get_of_an_unknown_table_shows() -> None:
    other = {"Responses": {"other": [book("1"), book("2")]}}
    comparison = answered("BatchGetItem", {"Responses": {"other": [book("2")]}}, other, TABLES)
    assert told(comparison) == [("extra", "Responses.other[0]", "")]


def test_batch_get_without_keys_pairs_by_content() -> None:
    authority = {"Responses": {"books": [{"rating": {"N": "1"}}, {"rating": {"N": "2"}}]}}
    mirror = {"Responses": {"books": [{"rating": {"N": "2.0"}}, {"rating": {"N": "3"}}]}}
    assert told(answered("BatchGetItem", authority, mirror, TABLES)) == [("value", "Responses.books[0]", "rating")]


def test_batch_get_without_keys_judges_no_absence_beside_unprocessed_keys() -> None:
    authority = {"Responses": {"books": [{"rating": {"N": "1"}}]}}
    mirror = {"Responses": {"books": []}, "UnprocessedKeys": {"books": {"Keys": [{"id": {"S": "1"}}]}}}
    assert answered("BatchGetItem", authority, mirror, TABLES) == Comparison(uncompared=1)


def test_batch_write_left_undone_is_not_a_difference() -> None:
    left = {"UnprocessedItems": {"books": [{"PutRequest": {"Item": book("1")}}]}}
    assert answered("BatchWriteItem", {}, left, TABLES) == Comparison(uncompared=1)


def test_transact_get_compares_by_position() -> None:
    authority = {"Responses": [{"Item": book("1")}, {}]}
    assert answered("TransactGetItems", authority, authority, TWO).agreed
    mirror = {"Responses": [{"Item": book("1", "2")}, {"Item": book("9")}]}
    assert told(answered("TransactGetItems", authority, mirror, TWO)) == [
        ("value", "Responses[0]", "rating"),
        ("extra", "Responses[1]", ""),
    ]


def test_pages_are_compared_as_pages() -> None:
    authority, mirror = {"Items": [book("1"), book("2")]}, {"Items": [book("2"), book("1")]}
    assert answered("Scan", authority, mirror, PageShape(BOOKS, ())).agreed
    assert not answered("Query", authority, mirror, PageShape(BOOKS, ("id",))).agreed


def test_one_answered_and_the_other_refused() -> None:
    failed = (400, refusal("ConditionalCheckFailedException", "The conditional request failed"))
    comparison = compare_outcomes("PutItem", (200, {}), failed, BOOKS)
    (found,) = comparison.differences
    assert (found.path, found.kind, found.authority) == ("", Kind.OUTCOME, None)
    assert found.mirror == {"S": "ConditionalCheckFailedException"}


def test_refusals_compare_code_then_status() -> None:
    one, other = refusal("ValidationException", "x"), refusal("ResourceNotFoundException", "x")
    (found,) = compare_outcomes("PutItem", (400, one), (400, other), BOOKS).differences
    assert (found.path, found.kind, found.mirror) == ("__type", Kind.ERROR_CODE, {"S": "ResourceNotFoundException"})
    (found,) = compare_outcomes("PutItem", (400, one), (500, other), BOOKS).differences
    assert found.path == "__type"
    (found,) = compare_outcomes("PutItem", (400, one), (500, one), BOOKS).differences
    assert (found.path, found.kind, found.mirror) == ("status", Kind.ERROR_CODE, {"N": "500"})
    assert compare_outcomes("PutItem", (400, one), (400, one), BOOKS).agreed


def test_codes_are_read_whatever_surrounds_them() -> None:
    assert code_of({"__type": "com.amazon.coral.validate#ValidationException"}) == "ValidationException"
    assert code_of({"__type": "ValidationException:http://internal.amazon.com/"}) == "ValidationException"
    assert code_of({}) == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The conditional request failed", "The conditional request failed.", True),
        ('Invalid: token: "x", near: "a x b"', 'invalid:  token: "yy", near: "q"', True),
        ("unused in expressions: keys: {#a, #b}", "unused in expressions: keys: {#b, #a}", True),
        ("Item size 409601 exceeds 409600", "Item size 500000 exceeds 409600", True),
        ("Attribute name: #n is not defined", "Attribute name: #other is not defined", True),
        (
            "1 validation error detected: Value '{id=[1]}' at 'key'",
            "2 validation errors detected: Value 'x' at 'key'",
            False,
        ),
        ("1 validation error detected: Invalid UpdateExpression: x", "Invalid UpdateExpression: x", True),
        ("Missing the key id in the item", "Missing the key at in the item", False),
        ("The document isn't valid, it's 'x'", "The document isn't valid, it's 'y'", True),
        ("failed [ConditionalCheckFailed, None]", "failed [None]", True),
        ("a 5-part key", "a 6-part key", True),
        ("cannot be empty", "must not be empty", False),
    ],
)
def test_messages_agree_by_class(one: str, other: str, same: bool) -> None:
    assert (message_class(one) == message_class(other)) is same


def test_message_may_be_spelt_with_a_capital() -> None:
    assert compare_errors({"__type": "E", "Message": "no such"}, {"__type": "E", "message": "No such."}) == ()
    (found,) = compare_errors({"__type": "E", "Message": "no such"}, {"__type": "E", "message": "never"})
    assert (found.path, found.kind, found.authority) == ("message", Kind.ERROR_MESSAGE, {"S": "no such"})


def test_the_item_of_a_failed_condition_is_compared() -> None:
    one = refusal("ConditionalCheckFailedException", "failed", Item=book("1"))
    other = refusal("ConditionalCheckFailedException", "failed", Item=book("1", "2"))
    (found,) = compare_outcomes("PutItem", (400, one), (400, other), BOOKS).differences
    assert (found.path, found.within, found.type, found.key) == ("rating", "Item", "Book", {"id": {"S": "1"}})


def test_cancellation_reasons_compare_by_position() -> None:
    def cancelled(*reasons: dict[str, object]) -> dict[str, object]:
        codes = ", ".join(str(reason["Code"]) for reason in reasons)
        return refusal("TransactionCanceledException", f"… reasons [{codes}]", CancellationReasons=list(reasons))

    none: dict[str, object] = {"Code": "None"}
    failed: dict[str, object] = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
    (found,) = compare_errors(cancelled(none, failed), cancelled(none, none), TWO.items)
    assert (found.path, found.kind) == ("CancellationReasons[1].Code", Kind.ERROR_CODE)
    assert (found.authority, found.mirror) == ({"S": "ConditionalCheckFailed"}, {"S": "None"})
    (found,) = compare_errors(cancelled(none, failed), cancelled(none), TWO.items)
    assert (found.path, found.kind) == ("CancellationReasons[1]", Kind.MISSING)
    shown, changed = {**failed, "Item": book("1")}, {**failed, "Item": book("1", "2")}
    (found,) = compare_errors(cancelled(none, shown), cancelled(none, changed), TWO.items)
    assert (found.path, found.within, found.type) == ("rating", "CancellationReasons[1].Item", "Book")
    other = {**failed, "Message": "otherwise"}
    (found,) = compare_errors(cancelled(failed), cancelled(other), TWO.items)
    assert (found.path, found.kind) == ("CancellationReasons[0].Message", Kind.ERROR_MESSAGE)
    assert compare_errors(cancelled(none, shown), cancelled(none, shown), TWO.items) == ()


def test_an_action_and_a_shape_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot compare 'Query' by ItemShape"):
        answered("Query", {}, {}, BOOKS)
    with pytest.raises(ValueError, match="DescribeTable"):
        answered("DescribeTable", {}, {}, BOOKS)
