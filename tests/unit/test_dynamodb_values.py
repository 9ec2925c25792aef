"""Values, sizes and errors by example: DynamoDB's own words and measured bytes."""

from typing import Any

import pytest

from proxy.dynamodb import errors
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.sizes import item_size, number_size, value_size
from proxy.dynamodb.values import (
    Value,
    add,
    canonical,
    canonical_item,
    canonical_number,
    equal,
    order,
    show,
    sort_key,
    subtract,
)

INVALID = "One or more parameter values were invalid: "
OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
DEEP = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
ONE_TYPE = "must contain exactly one of the supported datatypes"


def nested(levels: int) -> Value:
    """A string `levels` maps deep."""
    value: Value = {"S": "leaf"}
    for _ in range(levels):
        value = {"M": {"n": value}}
    return value


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0e125", "0"),
        ("0e-130", "0"),
        ("00042", "42"),
        ("+3", "3"),
        (".123", "0.123"),
        ("5.", "5"),
        ("1.0", "1"),
        ("3.1400", "3.14"),
        ("1.5E2", "150"),
        ("1e+5", "100000"),
        ("-17.4E37", "-174" + "0" * 36),
        ("1E-5", "0.00001"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("9.9999999999999999999999999999999999999E+125", "9" * 38 + "0" * 88),
        ("-1E-130", "-0." + "0" * 129 + "1"),
    ],
)
def test_numbers_come_back_in_plain_notation(text: str, plain: str) -> None:
    assert canonical_number(text) == plain


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"N": "1E126"}, OVERFLOW),
        ({"N": "-11e125"}, OVERFLOW),
        ({"N": "1e-131"}, UNDERFLOW),
        ({"N": "0.9e-130"}, UNDERFLOW),
        ({"N": "1" * 39}, "Attempting to store more than 38 significant digits in a Number"),
        ({"N": "b"}, "The parameter cannot be converted to a numeric value: b"),
        ({"N": "NaN"}, "The parameter cannot be converted to a numeric value: NaN"),
        ({"N": ""}, "The parameter cannot be converted to a numeric value: "),
        ({"N": "1e99999999999"}, OVERFLOW),
        ({"N": "1e-99999999999"}, UNDERFLOW),
        ({"N": "1e9223372036854775808"}, "The parameter cannot be converted to a numeric value: 1e9223372036854775808"),
        ({"N": "0e126"}, OVERFLOW),
        ({"N": "0e-131"}, UNDERFLOW),
        ({"NS": ["1", ""]}, "The parameter cannot be converted to a numeric value: "),
        ({}, f"Supplied AttributeValue is empty, {ONE_TYPE}"),
        ({"X": "a"}, f"Supplied AttributeValue is empty, {ONE_TYPE}"),
        ({"S": None}, f"Supplied AttributeValue is empty, {ONE_TYPE}"),
        ({"S": "a", "BOOL": True}, f"Supplied AttributeValue has more than one datatypes set, {ONE_TYPE}"),
        ({"S": "a", "N": "b"}, "The parameter cannot be converted to a numeric value: b"),
        ({"SS": []}, f"{INVALID}An string set  may not be empty"),
        ({"NS": []}, f"{INVALID}An number set  may not be empty"),
        ({"BS": []}, f"{INVALID}Binary sets should not be empty"),
        ({"NULL": False}, f"{INVALID}Null attribute value types must have the value of true"),
        (
            {"SS": ["b", "a", "b", "z", "y"]},
            f'{INVALID}Input collection ["a", "b", "b", "z", "y"] contains duplicates.',
        ),
        ({"NS": ["1", "1.0"]}, f"{INVALID}Input collection contains duplicates."),
        (
            {"BS": ["/w==", "AA==", "AA=="]},
            f'{INVALID}Input collection ["AA==","/w==","AA=="]of type BS contains duplicates.',
        ),
        ({"M": {"": {"S": "a"}}}, "Empty attribute name"),
        ({"M": {"n" * 65536: {"S": "a"}}}, f"{INVALID}Attribute name is too large, must be less than 65536 bytes"),
        ({"L": [{"M": {"a": {"SS": []}}}]}, f"{INVALID}An string set  may not be empty"),
        (
            nested(32),
            DEEP,
        ),
    ],
)
def test_an_invalid_value_is_refused_in_dynamodbs_words(value: Value, message: str) -> None:
    with pytest.raises(DynamoDBError) as caught:
        canonical_item({"a": value})
    assert (caught.value.code, caught.value.message) == ("ValidationException", message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"S": 5}, "NUMBER_VALUE cannot be converted to String"),
        ({"N": 1.5}, "DECIMAL_VALUE cannot be converted to String"),
        ({"S": True}, "TRUE_VALUE cannot be converted to String"),
        ({"S": ["a"]}, "Unrecognized collection type class java.lang.String"),
        ({"S": {}}, "Start of structure or map found where not expected"),
        ({"BOOL": 1}, "NUMBER_VALUE cannot be converted to Boolean"),
        ({"BOOL": "x"}, "Unexpected token received from parser"),
        ({"NULL": []}, "Unrecognized collection type class java.lang.Boolean"),
        ({"B": 5}, "only base-64-encoded strings are convertible to bytes"),
        ({"B": "23456"}, "Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
        ({"B": "a~b="}, "Invalid Base64 character: '~'"),
        ({"B": "=+/="}, "Invalid Base64 character: '='"),
        ({"B": "+/+="}, "Invalid last non-pad Base64 character dectected"),
        ({"SS": "a"}, "Unexpected field type"),
        ({"SS": [1]}, "NUMBER_VALUE cannot be converted to String"),
        ({"L": {}}, "Start of structure or map found where not expected"),
        ({"M": "a"}, "Unexpected field type"),
        ("a", "Unexpected value type in payload"),
        ([], "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"),
    ],
)
def test_json_of_another_shape_is_a_serialization_error(value: Any, message: str) -> None:
    with pytest.raises(DynamoDBError) as caught:
        canonical(value)
    assert (caught.value.code, caught.value.message) == ("SerializationException", message)


@pytest.mark.parametrize(
    ("value", "better"),
    [
        ({"NS": ["10", "9", "-1.50"]}, {"NS": ["-1.5", "9", "10"]}),
        ({"SS": ["b", "a", "é", "Z"]}, {"SS": ["Z", "a", "b", "é"]}),
        ({"BS": ["/w==", "AA=="]}, {"BS": ["AA==", "/w=="]}),
        ({"S": "a", "N": None, "X": 1}, {"S": "a"}),
        ({"L": [{"N": "01"}, {"M": {"a": {"N": "1.0"}}}]}, {"L": [{"N": "1"}, {"M": {"a": {"N": "1"}}}]}),
    ],
)
def test_canonical_form(value: Value, better: Value) -> None:
    assert canonical(value) == better


@pytest.mark.parametrize("value", [{"S": ""}, {"B": ""}, {"L": []}, {"M": {}}, nested(31), {"BOOL": False}])
def test_a_value_in_order_is_not_copied(value: Value) -> None:
    item = {"a": value}
    assert canonical_item(item) is item


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"N": "1"}, {"N": "1.0"}),
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
        ({"NS": ["1", "2"]}, {"NS": ["2.0", "1e0"]}),
        ({"BS": ["AA==", "/w=="]}, {"BS": ["/w==", "AA=="]}),
        ({"L": [{"N": "1"}]}, {"L": [{"N": "01"}]}),
        ({"M": {"a": {"N": "1"}, "b": {"S": "x"}}}, {"M": {"b": {"S": "x"}, "a": {"N": "1.00"}}}),
    ],
)
def test_equal_in_another_spelling(left: Value, right: Value) -> None:
    assert equal(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"N": "1"}, {"S": "1"}),
        ({"N": "1"}, {"N": "1.0000000000000000000000000000000000001"}),
        ({"SS": ["a"]}, {"SS": ["a", "b"]}),
        ({"SS": ["1"]}, {"NS": ["1"]}),
        ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "2"}, {"N": "1"}]}),
        ({"M": {"a": {"NULL": True}}}, {"M": {}}),
        ({"BOOL": True}, {"BOOL": False}),
        ({"S": "é"}, {"S": "e\u0301"}),
    ],
)
def test_not_equal(left: Value, right: Value) -> None:
    assert not equal(left, right)


def test_order_knows_strings_numbers_and_binaries_only() -> None:
    assert order({"S": "a"}, {"S": "b"}) == -1
    assert order({"S": "\uffff"}, {"S": "😀"}) == -1
    assert order({"N": "10"}, {"N": "9"}) == 1
    assert order({"N": "1.0"}, {"N": "1"}) == 0
    assert order({"B": "/w=="}, {"B": "AA=="}) == 1
    assert order({"S": "1"}, {"N": "1"}) is None
    assert order({"BOOL": True}, {"BOOL": True}) is None
    assert sort_key({"L": []}) is None


def test_arithmetic_is_exact_and_never_rounds() -> None:
    assert add("0.1", "0.2") == "0.3"
    assert subtract("10000000000000000000000", "1") == "9999999999999999999999"
    assert subtract("1", "1.0") == "0"
    for left, right, message in (("9e125", "9e125", OVERFLOW), ("1e50", "1", OVERFLOW)):
        with pytest.raises(DynamoDBError) as caught:
            add(left, right)
        assert caught.value.message == message
    with pytest.raises(DynamoDBError) as caught:
        subtract("1.1e-130", "1e-130")
    assert caught.value.message == UNDERFLOW


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 1),
        ("1", 2),
        ("12", 2),
        ("123", 3),
        ("1234", 3),
        ("12345678901234567890123456789012345678", 20),
        ("0042", 2),
        ("100", 2),
        ("1010", 3),
        ("0.0000001", 2),
        ("1E125", 2),
        ("1E-100", 2),
        ("1.5", 3),
        ("15", 2),
        ("1.200", 3),
        ("1.234", 4),
        ("3.14159", 5),
        ("123456", 4),
        ("100.5", 4),
        ("0.15", 2),
        ("-42", 3),
        ("-0", 1),
    ],
)
def test_numbers_cost_what_was_measured_on_the_service(text: str, size: int) -> None:
    assert number_size(text) == size


def test_sizes_of_documents() -> None:
    # The developer guide's own example: 11 + 1 + 10 + 1 bytes.
    assert item_size({"shirt-color": {"S": "R"}, "shirt-size": {"S": "M"}}) == 23
    assert item_size({"é": {"S": "日本"}}) == 2 + 6
    assert value_size({"L": []}) == value_size({"M": {}}) == 3
    assert value_size({"L": [{"S": "ab"}, {"NULL": True}]}) == 3 + (1 + 2) + (1 + 1)
    assert value_size({"M": {"ab": {"BOOL": True}}}) == 3 + 1 + 2 + 1
    assert value_size({"SS": ["a", "é"]}) == 3
    assert value_size({"NS": ["1", "100"]}) == 4
    assert [value_size({"B": text}) for text in ("", "AA==", "AAA=", "AAAA")] == [0, 1, 2, 3]
    assert value_size({"BS": ["AA==", "AAAA"]}) == 4


def test_a_value_in_a_message() -> None:
    assert show({"N": "2"}) == "{N:2}"
    assert show({"BOOL": False}) == "{BOOL:false}"
    assert show({"L": [{"S": "a"}, {"N": "1"}]}) == "{L:[{S:a}, {N:1}]}"
    assert show({"M": {"k": {"S": "v"}}}) == "{M:{k={S:v}}}"


def test_an_errors_document_has_the_service_s_spelling() -> None:
    assert errors.validation("no").document() == {
        "__type": "com.amazon.coral.validate#ValidationException",
        "message": "no",
    }
    assert errors.serialization("no").document() == {
        "__type": "com.amazon.coral.service#SerializationException",
        "Message": "no",
    }
    assert errors.resource_not_found().document() == {
        "__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
        "message": "Requested resource not found",
    }
    failed = errors.conditional_check_failed({"a": {"S": "x"}})
    assert failed.document() == {
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": {"a": {"S": "x"}},
    }
    assert "Item" not in errors.conditional_check_failed().document()
    assert errors.internal_server_error().status == 500
    assert errors.throttling().document()["__type"] == "com.amazon.coral.availability#ThrottlingException"
    assert str(errors.validation("no")) == "ValidationException: no"


def test_a_cancelled_transaction_names_a_reason_for_each_part() -> None:
    failed = errors.conditional_check_failed({"a": {"S": "x"}})
    reasons = [errors.cancellation_reason(error) for error in (None, failed, errors.validation("bad"))]
    assert errors.transaction_canceled(reasons).document() == {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons "
        "[None, ConditionalCheckFailed, ValidationError]",
        "CancellationReasons": [
            {"Code": "None"},
            {
                "Code": "ConditionalCheckFailed",
                "Message": "The conditional request failed",
                "Item": {"a": {"S": "x"}},
            },
            {"Code": "ValidationError", "Message": "bad"},
        ],
    }
