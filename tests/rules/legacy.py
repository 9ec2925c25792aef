"""The parameters that DynamoDB had before expressions, and what they go with."""

from __future__ import annotations

from typing import Final

from tests.rules.expressions import keyed, put
from tests.rules.forms import ONE
from tests.rules.rule import LEGACY, Rule, invalid
from tests.rules.values import WRONG

MIXED: Final = "Can not use both expression and non-expression parameters in the same request: "


def legacy() -> list[Rule]:
    rules = []
    for entry, said in (
        ({"Exists": True}, "Value must be provided when Exists is true for Attribute: a"),
        ({"Exists": False, "Value": {"S": "x"}}, "Value cannot be used when Exists is false for Attribute: a"),
        (
            {"Value": {"S": "x"}, "ComparisonOperator": "EQ", "AttributeValueList": [{"S": "x"}]},
            "Value and AttributeValueList cannot be used together for Attribute: a",
        ),
        (
            {"ComparisonOperator": "EQ"},
            "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: a",
        ),
        (
            {"ComparisonOperator": "BETWEEN", "AttributeValueList": [{"S": "x"}]},
            "Invalid number of argument(s) for the BETWEEN ComparisonOperator",
        ),
    ):
        for action, request in (("PutItem", put()), ("UpdateItem", keyed()), ("DeleteItem", keyed())):
            rules.append(invalid(LEGACY, action, request | {"Expected": {"a": entry}}, f"{ONE}{WRONG}{said}"))
    condition = {"ConditionExpression": "attribute_exists(a)"}
    both = {"Expected": {"a": {"Exists": False}}, **condition}
    said = f"{ONE}{MIXED}Non-expression parameters: {{Expected}} Expression parameters: {{ConditionExpression}}"
    for action, request in (("PutItem", put()), ("UpdateItem", keyed()), ("DeleteItem", keyed())):
        rules.append(invalid(LEGACY, action, request | both, said))
        for given, message in (
            ({}, "ConditionalOperator cannot be used without Filter or Expected"),
            (
                {"Expected": {"a": {"Exists": False}}},
                "ConditionalOperator can only be used when Filter or Expected has two or more elements",
            ),
        ):
            asked = {**request, "ConditionalOperator": "AND", **given}
            rules.append(invalid(LEGACY, action, asked, ONE + message))
        two = {"Expected": {"a": {"Exists": False}, "b": {"Exists": False}}, "ConditionalOperator": "XOR"}
        message = f"{ONE}Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]"
        rules.append(invalid(LEGACY, action, request | two, message))
    rules += [
        invalid(
            "Conformance, validation-ordering/query",
            "Query",
            {
                "TableName": "nowhere",
                "KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}},
                "QueryFilter": {"b": {"ComparisonOperator": "NULL"}, "c": {"ComparisonOperator": "NULL"}},
                "ConditionalOperator": "XOR",
                "Select": "X",
            },
            "Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]",
        ),
        invalid(
            "Conformance, validation-ordering/updateItem",
            "UpdateItem",
            {
                "TableName": "nowhere",
                "Expected": {"a": {"Exists": False}, "b": {"Exists": False}},
                "ConditionalOperator": "XOR",
            },
            "2 validation errors detected: Value 'XOR' at 'conditionalOperator' failed to satisfy constraint: Member "
            "must satisfy enum value set: [OR, AND]; Value null at 'key' failed to satisfy constraint: Member must "
            "not be null",
        ),
        invalid(
            LEGACY,
            "GetItem",
            keyed(AttributesToGet=["pk"], ProjectionExpression="pk"),
            f"{MIXED}Non-expression parameters: {{AttributesToGet}} Expression parameters: {{ProjectionExpression}}",
        ),
        invalid(LEGACY, "GetItem", keyed(AttributesToGet=["a", "a"]), f"{WRONG}Duplicate value in attribute name: a"),
        invalid(
            LEGACY,
            "UpdateItem",
            keyed(AttributeUpdates={"a": {"Action": "PUT"}}),
            f"{ONE}{WRONG}Only DELETE action is allowed when no attribute value is specified",
        ),
    ]
    return rules


RULES: Final = legacy()
