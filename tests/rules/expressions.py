"""Expressions and the older parameters: their form, their names and values, and what goes with what."""

from __future__ import annotations

from typing import Any, Final

from tests.rules.forms import ONE
from tests.rules.rule import (
    API,
    CANCELED,
    EXPRESSIONS,
    NAMES,
    QUOTAS,
    UPDATES,
    Rule,
    invalid,
)
from tests.rules.values import CANCEL, KEY, NESTED, WRONG, nested

UNDEFINED_NAME: Final = "An expression attribute name used in the document path is not defined; attribute name: "
UNDEFINED_VALUE: Final = "An expression attribute value used in expression is not defined; attribute value: "
TOO_LONG: Final = "Expression size has exceeded the maximum allowed size;"
TOO_DEEP: Final = "The document path has too many nesting levels; nesting levels: 33"
OVERLAP: Final = (
    "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: "
)
UNUSED: Final = "Value provided in ExpressionAttributeValues unused in expressions: keys: {:u}"
UNUSED_NAME: Final = "Value provided in ExpressionAttributeNames unused in expressions: keys: {#u}"
V: Final = {":v": {"S": "x"}}
DEEP_PATH: Final = "a" + ".b" * 32
WORDY: Final = " AND ".join(["attribute_not_exists(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)"] * 80)


def put(**more: Any) -> dict[str, Any]:
    return {"TableName": "nowhere", "Item": KEY, **more}


def keyed(**more: Any) -> dict[str, Any]:
    return {"TableName": "nowhere", "Key": KEY, **more}


def query(text: str, values: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"TableName": "nowhere", "KeyConditionExpression": text, "ExpressionAttributeValues": values, **more}


# A condition, its values (None: not given), its names, and what is wrong with it.
CONDITIONS: Final[list[tuple[str, str, dict[str, Any] | None, dict[str, str] | None, str]]] = [
    (EXPRESSIONS, "", None, None, "The expression can not be empty;"),
    (EXPRESSIONS, "attribute_not_exists(", None, None, 'Syntax error; token: "<EOF>", near: "("'),
    (EXPRESSIONS, "a = = b", None, None, 'Syntax error; token: "=", near: "= = b"'),
    (EXPRESSIONS, "((a = :v))", V, None, "The expression has redundant parentheses;"),
    (EXPRESSIONS, "gone(a)", None, None, "Invalid function name; function: gone"),
    (NAMES, "name = :v", V, None, "Attribute name is a reserved keyword; reserved keyword: name"),
    (NAMES, "#n = :v", V, None, f"{UNDEFINED_NAME}#n"),
    (NAMES, "a = :w", V, None, f"{UNDEFINED_VALUE}:w"),
    (
        EXPRESSIONS,
        "contains(#a, #a)",
        None,
        {"#a": "data"},
        (
            "The first operand must be distinct from the remaining operands for this operator or function; "
            "operator: contains, first operand: [data]"
        ),
    ),
    (
        EXPRESSIONS,
        "begins_with(a, :v)",
        {":v": {"N": "1"}},
        None,
        "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
    ),
    (
        EXPRESSIONS,
        "a BETWEEN :v AND :w",
        {":v": {"N": "2"}, ":w": {"N": "1"}},
        None,
        (
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound "
            "operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}"
        ),
    ),
    (
        EXPRESSIONS,
        "size(a, b) > :v",
        V,
        None,
        "Incorrect number of operands for operator or function; operator or function: size, number of operands: 2",
    ),
    (
        QUOTAS,
        f"a IN ({', '.join([':v'] * 101)})",
        V,
        None,
        "The IN operator is provided with too many operands; number of operands: 101",
    ),
    (
        QUOTAS,
        " OR ".join(["a = :v"] * 151),
        V,
        None,
        "The expression contains too many operators; operator count: 301",
    ),
    (QUOTAS, WORDY, None, None, f"{TOO_LONG} expression size: {len(WORDY)}"),
    (QUOTAS, f"attribute_exists({DEEP_PATH})", None, None, TOO_DEEP),
    (
        EXPRESSIONS,
        "attribute_exists(a[4294967296])",
        None,
        None,
        "List index is not within the allowable range; index: [4294967296]",
    ),
]


def conditions() -> list[Rule]:
    """Each bad condition in each place that takes one."""
    rules = []
    for page, text, values, names, said in CONDITIONS:
        bound: dict[str, Any] = {}
        if values is not None:
            bound["ExpressionAttributeValues"] = values
        if names is not None:
            bound["ExpressionAttributeNames"] = names
        condition = {"ConditionExpression": text, **bound}
        rules += [
            invalid(page, "PutItem", put(**condition), f"{ONE}Invalid ConditionExpression: {said}"),
            invalid(page, "DeleteItem", keyed(**condition), f"{ONE}Invalid ConditionExpression: {said}"),
            invalid(page, "UpdateItem", keyed(**condition), f"{ONE}Invalid ConditionExpression: {said}"),
            invalid(
                page,
                "Scan",
                {"TableName": "nowhere", "FilterExpression": text, **bound},
                f"Invalid FilterExpression: {said}",
            ),
            invalid(
                page,
                "TransactWriteItems",
                {"TransactItems": [{"ConditionCheck": keyed(**condition)}]},
                f"Invalid ConditionExpression: {said}",
            )
            if text
            else invalid(page, "PutItem", put(**condition), f"{ONE}Invalid ConditionExpression: {said}"),
        ]
    return rules


def updates() -> list[Rule]:
    rules = []
    for page, text, values, said in (
        (UPDATES, "", None, "The expression can not be empty;"),
        (UPDATES, "INVALID SYNTAX HERE", V, 'Syntax error; token: "INVALID", near: "INVALID SYNTAX"'),
        (UPDATES, "SET a = :v", None, f"{UNDEFINED_VALUE}:v"),
        (UPDATES, "SET a = :v SET b = :v", V, 'The "SET" section can only be used once in an update expression;'),
        (UPDATES, "SET a = :v, a.b = :v", V, f"{OVERLAP}[a, b]"),
        (
            UPDATES,
            "ADD a :v",
            V,
            (
                "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: "
                "ALLOWED_FOR_ADD_OPERAND"
            ),
        ),
        (
            UPDATES,
            "DELETE a :v",
            V,
            (
                "Incorrect operand type for operator or function; operator: DELETE, operand type: STRING, typeSet: "
                "ALLOWED_FOR_DELETE_OPERAND"
            ),
        ),
        (
            UPDATES,
            "SET a = b + :v",
            V,
            "Incorrect operand type for operator or function; operator or function: +, operand type: S",
        ),
        (QUOTAS, "SET " + ", ".join(f"a{number} = :v" for number in range(500)), V, TOO_LONG),
        (QUOTAS, f"REMOVE {DEEP_PATH}", None, TOO_DEEP),
        (UPDATES, "REMOVE a[4294967296]", None, "List index is not within the allowable range; index: [4294967296]"),
    ):
        bound = {} if values is None else {"ExpressionAttributeValues": values}
        request = keyed(UpdateExpression=text, **bound)
        rules.append(invalid(page, "UpdateItem", request, f"{ONE}Invalid UpdateExpression: {said}"))
        if text:
            part = {"TransactItems": [{"Update": request}]}
            rules.append(invalid(page, "TransactWriteItems", part, f"Invalid UpdateExpression: {said}"))
    for name in ("pk", "sk"):
        message = f"{WRONG}Cannot update attribute {name}. This attribute is part of the key"
        asked = {
            "TableName": "texts",
            "Key": {"pk": {"S": "a"}, "sk": {"S": "b"}},
            "UpdateExpression": f"SET {name} = :v",
            "ExpressionAttributeValues": V,
        }
        rules.append(invalid(f"{API}UpdateItem", "UpdateItem", asked, message))
        transacted = {"TransactItems": [{"Update": asked}]}
        rules.append(Rule(f"{API}TransactWriteItems", "TransactWriteItems", transacted, CANCELED, CANCEL, (message,)))
    return rules


def projections() -> list[Rule]:
    rules = []
    for page, text, names, said in (
        (EXPRESSIONS, "", None, "The expression can not be empty;"),
        (EXPRESSIONS, "!!!", None, 'Syntax error; token: "!", near: "!!"'),
        (EXPRESSIONS, "a, a", None, f"{OVERLAP}[a]"),
        (EXPRESSIONS, "a, a.b", None, f"{OVERLAP}[a, b]"),
        (NAMES, "#a, #b", {"#a": "a", "#b": "a"}, f"{OVERLAP}[a]"),
        (NAMES, "#n", None, f"{UNDEFINED_NAME}#n"),
        (QUOTAS, DEEP_PATH, None, TOO_DEEP),
        (QUOTAS, "a[4294967296]", None, "List index is not within the allowable range; index: [4294967296]"),
    ):
        asked = {"ProjectionExpression": text} | ({} if names is None else {"ExpressionAttributeNames": names})
        message = f"Invalid ProjectionExpression: {said}"
        rules += [
            invalid(page, "GetItem", keyed(**asked), message),
            invalid(page, "BatchGetItem", {"RequestItems": {"nowhere": {"Keys": [KEY], **asked}}}, message),
            invalid(page, "TransactGetItems", {"TransactItems": [{"Get": keyed(**asked)}]}, message),
            invalid(page, "Query", query("pk = :v", V, **asked), message),
            invalid(page, "Scan", {"TableName": "nowhere", **asked}, message),
        ]
    return rules


def bindings() -> list[Rule]:
    """Names and values: what goes with no expression, is not used, or is not well formed."""
    values, names = {"ExpressionAttributeValues": {":u": {"S": "x"}}}, {"ExpressionAttributeNames": {"#u": "u"}}
    idle = "can only be specified when using expressions"
    exists = {"ConditionExpression": "attribute_exists(a)"}
    rules = []
    for action, request in (("PutItem", put()), ("DeleteItem", keyed()), ("UpdateItem", keyed())):
        rules += [
            invalid(NAMES, action, request | values, f"{ONE}ExpressionAttributeValues {idle}"),
            invalid(NAMES, action, request | names, f"{ONE}ExpressionAttributeNames {idle}"),
            invalid(NAMES, action, request | exists | values, ONE + UNUSED),
            invalid(NAMES, action, request | exists | names, ONE + UNUSED_NAME),
            invalid(
                NAMES,
                action,
                request | exists | {"ExpressionAttributeValues": {}},
                f"{ONE}ExpressionAttributeValues must not be empty",
            ),
            invalid(
                NAMES,
                action,
                request | exists | {"ExpressionAttributeNames": {}},
                f"{ONE}ExpressionAttributeNames must not be empty",
            ),
            invalid(
                NAMES,
                action,
                request | exists | {"ExpressionAttributeNames": {"n": "a"}},
                f'{ONE}ExpressionAttributeNames contains invalid key: Syntax error; key: "n"',
            ),
            invalid(
                NAMES,
                action,
                request | exists | {"ExpressionAttributeValues": {"v": {"S": "a"}}},
                f'{ONE}ExpressionAttributeValues contains invalid key: Syntax error; key: "v"',
            ),
            invalid(
                QUOTAS,
                action,
                request
                | {
                    "ConditionExpression": "a = :v",
                    "ExpressionAttributeValues": {":v": {"S": "x" * (2 * 1024 * 1024 + 1)}},
                },
                f"{ONE}The total size of ExpressionAttributeValues exceeds 2097152 bytes",
            ),
        ]
    rules += [
        invalid(NAMES, "GetItem", keyed(**names), f"ExpressionAttributeNames {idle}"),
        invalid(NAMES, "Query", query("sk = :v", V, **names), UNUSED_NAME),
        invalid(NAMES, "Query", query("pk = :v", V | {":u": {"S": "x"}}), UNUSED),
        invalid(
            NAMES,
            "Scan",
            {"TableName": "nowhere", **values},
            f"ExpressionAttributeValues {idle}: FilterExpression is null",
        ),
    ]
    return rules


RULES: Final = [
    *conditions(),
    *updates(),
    *projections(),
    *bindings(),
    invalid(QUOTAS, "PutItem", put(Item={**KEY, "v": nested(40)}), ONE + NESTED),
]
