"""Transactions: their form, the order in which their parts are looked at, and what refuses or cancels the whole."""

from __future__ import annotations

from typing import Any, Final

from tests.rules.expressions import UNUSED
from tests.rules.forms import FAILED, ONE
from tests.rules.rule import API, CANCELED, NOT_FOUND, Rule, invalid
from tests.rules.values import KEY, NESTED, nested

PAGE: Final = "Conformance, validation-ordering/transactions and deepRequests"
WRITE, GET = "TransactWriteItems", "TransactGetItems"
SYNTAX: Final = 'Invalid ConditionExpression: Syntax error; token: "=", near: "= = b"'


def put(table: str = "things", **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": KEY, **more}}


def check(text: str = "attribute_exists(a)", **more: Any) -> dict[str, Any]:
    return {"ConditionCheck": {"TableName": "nowhere", "Key": KEY, "ConditionExpression": text, **more}}


def write(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"TransactItems": list(parts), **more}


def member(where: str, said: str) -> str:
    return f"{ONE}Value {said.partition(' ')[0]} at '{where}' failed to satisfy constraint: {said.partition(' ')[2]}"


def form() -> list[Rule]:
    many = [put(Item={"pk": {"S": f"k{number}"}}) for number in range(101)]
    gets = [{"Get": {"TableName": "things", "Key": {"pk": {"S": f"k{number}"}}}} for number in range(101)]
    rules = []
    for action, parts in ((WRITE, many), (GET, gets)):
        page = API + action
        rules += [
            invalid(page, action, {}, f"{ONE}Value null at 'transactItems' {FAILED} not be null"),
            invalid(
                page,
                action,
                {"TransactItems": []},
                f"{ONE}Value at 'TransactItems' {FAILED} have length greater than or equal to 1",
            ),
            invalid(
                page,
                action,
                {"TransactItems": parts},
                f"{ONE}Value at 'TransactItems' {FAILED} have length less than or equal to 100",
            ),
            invalid(
                page,
                action,
                {"TransactItems": [parts[0], parts[0]]},
                "Transaction request cannot include multiple operations on one item",
            ),
        ]
    null = "Member must not be null"
    pattern = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    for part, where, said in (
        ({"Put": {"Item": KEY}}, "put.tableName", f"null {null}"),
        ({"Put": {"TableName": "things"}}, "put.item", f"null {null}"),
        ({"Delete": {"TableName": "things"}}, "delete.key", f"null {null}"),
        ({"Update": {"TableName": "things", "Key": KEY}}, "update.updateExpression", f"null {null}"),
        (
            {"ConditionCheck": {"TableName": "things", "Key": KEY}},
            "conditionCheck.conditionExpression",
            f"null {null}",
        ),
        (put("a*c"), "put.tableName", f"'a*c' {pattern}"),
        (
            put(ReturnValuesOnConditionCheckFailure="X"),
            "put.returnValuesOnConditionCheckFailure",
            "'X' Member must satisfy enum value set: [ALL_OLD, NONE]",
        ),
    ):
        message = member(f"transactItems.2.member.{where}", said)
        rules.append(invalid(API + WRITE, WRITE, write(put("nowhere"), part), message))
    rules += [
        invalid(API + GET, GET, write({}), member("transactItems.1.member.get", f"null {null}")),
        invalid(
            f"{API}TransactWriteItem; moto's tests",
            WRITE,
            write({**put(), "Delete": {"TableName": "things", "Key": KEY}}),
            "TransactItems can only contain one of Check, Put, Update or Delete",
        ),
        invalid(
            f"{API}TransactWriteItem; AWS's client for DAX",
            WRITE,
            write({}),
            "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request",
        ),
        *(
            invalid(
                f"{API}{WRITE}",
                WRITE,
                write(put("nowhere"), ClientRequestToken=token, ReturnConsumedCapacity="X"),
                f"{ONE}Value at 'ClientRequestToken' {FAILED} have length {bound}",
            )
            for token, bound in (("x" * 37, "less than or equal to 36"), ("", "greater than or equal to 1"))
        ),
    ]
    return rules


def order() -> list[Rule]:
    """The parts one after the other, whatever is wrong with each; all of it before any table."""
    deep40 = {"Item": {**KEY, "d": nested(40)}}
    unnamed = {"Item": {**KEY, "": {"S": "x"}}}
    unused = check(ExpressionAttributeValues={":u": {"S": "x"}})
    key40 = {"Delete": {"TableName": "nowhere", "Key": {"pk": nested(40)}}}
    deep_value = {"ExpressionAttributeValues": {":d": nested(40)}}
    wrapped = f"ExpressionAttributeValues contains invalid value: {NESTED} for key :d"
    return [
        invalid(PAGE, WRITE, write(put("nowhere"), check("a = = b")), SYNTAX),
        invalid(PAGE, WRITE, write(check("a = = b"), put("nowhere", **deep40)), SYNTAX),
        invalid(PAGE, WRITE, write(put("nowhere", **deep40), check("a = = b")), NESTED),
        invalid(PAGE, WRITE, write(put("nowhere", **deep40), put("nowhere", **unnamed)), NESTED),
        invalid(PAGE, WRITE, write(put("nowhere", **unnamed), put("nowhere", **deep40)), "Empty attribute name"),
        invalid(
            PAGE,
            WRITE,
            write(put("nowhere", Item={**KEY, "d": nested(100), "": {"S": "x"}})),
            "Empty attribute name",
        ),
        invalid(
            PAGE,
            WRITE,
            write(put("nowhere", Item={**KEY, "m": {"M": {"": {"S": "x"}}}, "d": nested(40)})),
            NESTED,
        ),
        invalid(PAGE, WRITE, write(check("d = :d", **deep_value), put("nowhere", **unnamed)), wrapped),
        invalid(PAGE, WRITE, write(key40, put("nowhere", ConditionExpression="a = = b")), NESTED),
        invalid(PAGE, WRITE, write(put("nowhere", ConditionExpression="a = = b"), key40), SYNTAX),
        invalid(PAGE, WRITE, write({"Delete": key40["Delete"] | {"ConditionExpression": "a = = b"}}), SYNTAX),
        invalid(PAGE, WRITE, write(put("nowhere"), unused), UNUSED),
        invalid(PAGE, WRITE, write(unused, put("nowhere")), UNUSED),
        invalid(PAGE, WRITE, write(put(), put(), unused), UNUSED),
        Rule(PAGE, WRITE, write(put(), put("nowhere")), NOT_FOUND, "Requested resource not found"),
    ]


def members() -> list[Rule]:
    """A fault that needs the table's schema cancels, at its member (D3)."""
    codes = "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ValidationError]"
    wrong = put(Item={"pk": {"N": "1"}})
    said = "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N"
    return [Rule("Conformance #46, #60", WRITE, write(put(), wrong), CANCELED, codes, ("", said))]


def payload() -> list[Rule]:
    """4 MB are counted of what the request carries (D7)."""
    large = [
        put(Item={"pk": {"S": f"k{number}"}, "v": {"S": "x" * 400_000}}) for number in range(11)
    ]  # fmt: skip
    message = "The aggregate size of the items in the transaction exceeds 4 MB"
    return [invalid(API + WRITE, WRITE, write(*large), message)]


RULES: Final = [*form(), *order(), *members(), *payload()]
