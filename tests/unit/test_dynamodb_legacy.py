"""The older parameters by example: the same trees, and DynamoDB's words where they are wrong."""

from typing import Any

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.expressions import legacy_parameters as legacy
from proxy.dynamodb.expressions.evaluate import matches, project, update
from proxy.dynamodb.expressions.key_conditions import KeyCondition, assemble_key_condition
from proxy.dynamodb.expressions.printer import unparse
from proxy.dynamodb.values import Item

INVALID = "One or more parameter values were invalid: "
ONE = {"N": "1"}
TWO = {"N": "2"}
ITEM: Item = {"a": {"N": "1"}, "s": {"S": "hello"}, "ns": {"NS": ["2", "4"]}, "l": {"L": [{"N": "1"}]}}


def op(name: str, *values: Any) -> dict[str, Any]:
    return {"ComparisonOperator": name, "AttributeValueList": list(values)}


@pytest.mark.parametrize(
    ("conditions", "true"),
    [
        ({"a": op("EQ", {"N": "1.0"})}, True),
        ({"a": op("NE", ONE)}, False),
        ({"gone": op("NE", ONE)}, True),
        ({"gone": op("EQ", ONE)}, False),
        ({"a": op("LT", TWO)}, True),
        ({"a": op("GE", TWO)}, False),
        ({"a": op("LE", {"S": "z"})}, False),
        ({"a": op("GT", {"N": "0"})}, True),
        ({"a": op("BETWEEN", ONE, TWO)}, True),
        ({"a": op("IN", TWO, ONE)}, True),
        ({"ns": op("IN", TWO)}, False),
        ({"a": {"ComparisonOperator": "NOT_NULL"}}, True),
        ({"a": {"ComparisonOperator": "NULL"}}, False),
        ({"gone": op("NULL")}, True),
        ({"s": op("BEGINS_WITH", {"S": "he"})}, True),
        ({"a": op("BEGINS_WITH", {"S": "he"})}, False),
        ({"s": op("CONTAINS", {"S": "ell"})}, True),
        ({"ns": op("CONTAINS", TWO)}, True),
        ({"l": op("CONTAINS", ONE)}, True),
        ({"gone": op("CONTAINS", ONE)}, False),
        ({"s": op("NOT_CONTAINS", {"S": "dog"})}, True),
        ({"s": op("NOT_CONTAINS", ONE)}, True),
        ({"ns": op("NOT_CONTAINS", TWO)}, False),
        ({"gone": op("NOT_CONTAINS", ONE)}, False),
    ],
)
def test_filters(conditions: dict[str, Any], true: bool) -> None:
    condition = legacy.condition_from_filter(conditions)
    assert condition is not None
    assert matches(condition, ITEM) is true


@pytest.mark.parametrize(
    ("expected", "operator", "true"),
    [
        ({"a": {"Value": ONE}}, None, True),
        ({"a": {"Value": TWO}}, None, False),
        ({"a": {"Exists": True, "Value": ONE}}, None, True),
        ({"gone": {"Exists": False}}, None, True),
        ({"a": {"Exists": False}}, None, False),
        ({"a": {"ComparisonOperator": "LT", "Value": TWO}}, None, True),
        ({"a": {"Value": ONE}, "gone": {"Value": ONE}}, None, False),
        ({"a": {"Value": ONE}, "gone": {"Value": ONE}}, "AND", False),
        ({"a": {"Value": ONE}, "gone": {"Value": ONE}}, "OR", True),
    ],
)
def test_expectations(expected: dict[str, Any], operator: str | None, true: bool) -> None:
    condition = legacy.condition_from_expected(expected, operator)
    assert condition is not None
    assert matches(condition, ITEM) is true


def test_nothing_expected_is_no_condition() -> None:
    assert legacy.condition_from_expected({}) is None
    assert legacy.condition_from_filter(None) is None


def test_an_older_condition_prints_as_an_expression() -> None:
    condition = legacy.condition_from_expected({"name": {"Exists": False}, "a": {"Value": ONE}}, "OR")
    assert condition is not None
    assert unparse(condition).text == "attribute_not_exists(#n0) OR a = :v0"


@pytest.mark.parametrize(
    ("expected", "operator", "message"),
    [
        (
            {"a": {"Value": ONE, "AttributeValueList": [ONE]}},
            None,
            f"{INVALID}Value and AttributeValueList cannot be used together for Attribute: a",
        ),
        (
            {"a": {"Exists": True, **op("EQ", ONE)}},
            None,
            f"{INVALID}Exists and ComparisonOperator cannot be used together for Attribute: a",
        ),
        (
            {"a": {"ComparisonOperator": "EQ"}},
            None,
            f"{INVALID}Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: a",
        ),
        (
            {"a": {"AttributeValueList": [ONE]}},
            None,
            f"{INVALID}AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        ),
        (
            {"a": {"Exists": False, "Value": ONE}},
            None,
            f"{INVALID}Value cannot be used when Exists is false for Attribute: a",
        ),
        ({"a": {"Exists": True}}, None, f"{INVALID}Value must be provided when Exists is true for Attribute: a"),
        ({"a": {}}, None, f"{INVALID}Value must be provided when Exists is null for Attribute: a"),
        ({"a": op("EQ")}, None, f"{INVALID}Invalid number of argument(s) for the EQ ComparisonOperator"),
        ({"a": op("NULL", ONE)}, None, f"{INVALID}Invalid number of argument(s) for the NULL ComparisonOperator"),
        ({"a": op("BETWEEN", ONE)}, None, f"{INVALID}Invalid number of argument(s) for the BETWEEN ComparisonOperator"),
        (
            {"a": op("IN", ONE, {"S": "x"})},
            None,
            f"{INVALID}AttributeValues inside AttributeValueList must be of same type",
        ),
        (
            {"a": op("CONTAINS", {"L": []})},
            None,
            f"{INVALID}ComparisonOperator CONTAINS is not valid for L AttributeValue type",
        ),
        (
            {"a": op("BEGINS_WITH", ONE)},
            None,
            f"{INVALID}ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type",
        ),
        (
            {"a": op("BETWEEN", TWO, ONE)},
            None,
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound",
        ),
        (
            {"a": op("LIKE", ONE)},
            None,
            (
                "1 validation error detected: Value 'LIKE' at 'expected.a.member.comparisonOperator' failed to satisfy "
                "constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, "
                "NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]"
            ),
        ),
        ({}, "OR", "ConditionalOperator cannot be used without Filter or Expected"),
        (
            {"a": {"Value": ONE}},
            "OR",
            "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        ),
        ({"a": {"Value": {"N": "x"}}}, None, "The parameter cannot be converted to a numeric value: x"),
    ],
)
def test_an_expectation_is_refused_in_dynamodbs_words(
    expected: dict[str, Any], operator: str | None, message: str
) -> None:
    with pytest.raises(DynamoDBError) as caught:
        legacy.condition_from_expected(expected, operator)
    assert caught.value.message == message


# --- updates ----------------------------------------------------------------------------------------------------------


def test_attribute_updates() -> None:
    expression = legacy.update_from_attribute_updates(
        {
            "s": {"Value": {"S": "new"}},
            "a": {"Action": "ADD", "Value": TWO},
            "fresh": {"Action": "ADD", "Value": ONE},
            "ns": {"Action": "DELETE", "Value": {"NS": ["2.0", "9"]}},
            "l": {"Action": "ADD", "Value": {"L": [TWO]}},
            "l2": {"Action": "ADD", "Value": {"L": [TWO]}},
            "x.y": {"Action": "PUT", "Value": ONE},
            "gone": {"Action": "DELETE"},
        }
    )
    assert update(expression, ITEM)[0] == {
        "s": {"S": "new"},
        "a": {"N": "3"},
        "fresh": ONE,
        "ns": {"NS": ["4"]},
        "l": {"L": [ONE, TWO]},
        "l2": {"L": [TWO]},
        "x.y": ONE,
    }


@pytest.mark.parametrize(
    "entry",
    [
        {"s": {"Action": "ADD", "Value": ONE}},
        {"s": {"Action": "ADD", "Value": {"SS": ["x"]}}},
        {"s": {"Action": "ADD", "Value": {"L": [ONE]}}},
        {"ns": {"Action": "DELETE", "Value": {"SS": ["x"]}}},
    ],
)
def test_an_older_update_has_its_own_words_for_a_wrong_type(entry: dict[str, Any]) -> None:
    with pytest.raises(DynamoDBError) as caught:
        update(legacy.update_from_attribute_updates(entry), ITEM)
    assert caught.value.message == "Type mismatch for attribute to update"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, f"{INVALID}Only DELETE action is allowed when no attribute value is specified"),
        ({"Action": "ADD", "Value": {"S": "x"}}, f"{INVALID}ADD action is not supported for the type S"),
        ({"Action": "DELETE", "Value": ONE}, f"{INVALID}DELETE action with value is not supported for the type N"),
        (
            {"Action": "INC", "Value": ONE},
            (
                "1 validation error detected: Value 'INC' at 'attributeUpdates.a.member.action' failed to satisfy "
                "constraint: Member must satisfy enum value set: [ADD, PUT, DELETE]"
            ),
        ),
    ],
)
def test_an_older_update_is_refused_in_dynamodbs_words(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DynamoDBError) as caught:
        legacy.update_from_attribute_updates({"a": entry})
    assert caught.value.message == message


# --- keys, projections, mixtures --------------------------------------------------------------------------------------


def test_key_conditions() -> None:
    text = {"S": "k"}
    keys = ([("p", "S")], [("c", "N")])
    found = legacy.key_terms_from_conditions({"c": op("BETWEEN", ONE, TWO), "p": op("EQ", text)})
    assert assemble_key_condition(found, *keys) == KeyCondition((text,), "BETWEEN", (ONE, TWO))
    assert assemble_key_condition(legacy.key_terms_from_conditions({"p": op("EQ", text)}), *keys) == KeyCondition(
        (text,)
    )
    for conditions, message in (
        ({"c": op("EQ", ONE)}, "Query condition missed key schema element: p"),
        ({"p": op("GT", text)}, "Query key condition not supported"),
        ({"p": op("NE", text)}, "Attempted conditional constraint is not an indexable operation"),
        ({"p": op("EQ", text), "c": op("NULL")}, "Attempted conditional constraint is not an indexable operation"),
        ({}, "Query condition missed key schema element: p"),
        ({"p": op("EQ", ONE)}, f"{INVALID}Condition parameter type does not match schema type"),
    ):
        with pytest.raises(DynamoDBError) as caught:
            assemble_key_condition(legacy.key_terms_from_conditions(conditions), *keys)
        assert caught.value.message == message


def test_attributes_to_get() -> None:
    assert project(legacy.paths_from_attributes_to_get(["a", "gone", "x.y"]), ITEM | {"x.y": ONE}) == {
        "a": ONE,
        "x.y": ONE,
    }
    with pytest.raises(DynamoDBError) as caught:
        legacy.paths_from_attributes_to_get(["a", "b", "a"])
    assert caught.value.message == f"{INVALID}Duplicate value in attribute name: a"


MIXTURE = "Can not use both expression and non-expression parameters in the same request: "


@pytest.mark.parametrize(
    ("request_", "listed"),
    [
        (
            {"ConditionExpression": "a", "Expected": {}},
            "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}",
        ),
        (
            {"UpdateExpression": "a", "ConditionExpression": "b", "Expected": {}, "AttributeUpdates": {}},
            (
                "Non-expression parameters: {AttributeUpdates, Expected} "
                "Expression parameters: {UpdateExpression, ConditionExpression}"
            ),
        ),
        (
            {"KeyConditionExpression": "a", "KeyConditions": {}, "ScanFilter": None},
            "Non-expression parameters: {KeyConditions} Expression parameters: {KeyConditionExpression}",
        ),
        (
            {"FilterExpression": "a", "AttributesToGet": ["a"], "KeyConditions": {}},
            "Non-expression parameters: {AttributesToGet} Expression parameters: {FilterExpression}",
        ),
    ],
)
def test_expressions_do_not_mix_with_the_older_parameters(request_: dict[str, Any], listed: str) -> None:
    with pytest.raises(DynamoDBError) as caught:
        legacy.refuse_mixture(request_, [name for name in request_ if name.endswith("Expression")])
    assert caught.value.message == MIXTURE + listed


def test_key_conditions_go_with_a_filter_expression() -> None:
    legacy.refuse_mixture({"FilterExpression": "a", "KeyConditions": {}}, ["FilterExpression"])
    legacy.refuse_mixture({"Expected": {}, "AttributeUpdates": {}}, [])


def test_names_and_values_need_an_expression() -> None:
    query = ("KeyConditionExpression", "FilterExpression", "ProjectionExpression")
    for request_, accepted, message in (
        (
            {"ExpressionAttributeNames": {"#a": "a"}},
            query,
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (
            {"ExpressionAttributeValues": {":a": ONE}, "ProjectionExpression": "a"},
            query,
            "ExpressionAttributeValues can only be specified when using expressions",
        ),
        (
            {"ExpressionAttributeValues": {":a": ONE}},
            ("ConditionExpression",),
            "ExpressionAttributeValues can only be specified when using expressions",
        ),
    ):
        with pytest.raises(DynamoDBError) as caught:
            legacy.refuse_idle_bindings(request_, accepted)
        assert caught.value.message == message
    legacy.refuse_idle_bindings({"ExpressionAttributeNames": {"#a": "a"}, "ProjectionExpression": "#a"}, query)
