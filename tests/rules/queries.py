"""What a Query and a Scan may ask: conditions on keys, filters, indexes, cursors and what to select."""

from __future__ import annotations

from typing import Any, Final

from tests.rules.expressions import UNDEFINED_VALUE, V, query
from tests.rules.forms import ONE
from tests.rules.rule import API, KEY_CONDITIONS, Rule, invalid
from tests.rules.values import WRONG


def key_conditions() -> list[Rule]:
    """What a Query asks of a key. What needs no table comes before the table, in the order of the text."""
    begins = (
        "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: "
        "begins_with, operand type: N"
    )
    missing = f"Invalid KeyConditionExpression: {UNDEFINED_VALUE}:m"
    page = f"{KEY_CONDITIONS}; conformance, queryKeyConditionOperands"
    one, text = {"N": "1"}, {"S": "q"}

    def pairs(condition: str, **values: Any) -> dict[str, Any]:
        bound = {f":{name}": value for name, value in values.items()}
        return query(condition, bound) | {"TableName": "pairs"}

    return [
        invalid(page, "Query", query("pk = :m AND begins_with(sk, :n)", {":n": one}), missing),
        invalid(page, "Query", query("begins_with(sk, :n) AND pk = :m", {":n": one}), begins),
        invalid(page, "Query", pairs("pk = :p AND begins_with(sk, :v)", p=text, v=one), begins),
        invalid(
            page,
            "Query",
            pairs("pk = :p AND begins_with(sk, :v)", p=text, v=text),
            f"{WRONG}Condition parameter type does not match schema type",
        ),
        invalid(
            page,
            "Query",
            pairs("pk = :p AND sk < :v", p=text, v={"BOOL": True}),
            begins.replace("begins_with", "<").replace("type: N", "type: BOOL"),
        ),
        invalid(
            page,
            "Query",
            pairs("pk = :p AND sk > :a AND sk < :b", p=text, a=one, b=one),
            "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
        ),
        invalid(
            page,
            "Query",
            pairs("pk = :p AND sk > :a AND extra = :b", p=text, a=one, b=one),
            "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)",
        ),
        invalid(page, "Query", pairs("sk = :v", v=one), "Query condition missed key schema element: pk"),
        invalid(page, "Query", pairs("extra = :v", v=one), "Query condition missed key schema element: pk"),
        invalid(page, "Query", pairs("pk > :v", v=text), "Query key condition not supported"),
        invalid(page, "Query", pairs("pk <> :v", v=text), "Invalid operator used in KeyConditionExpression: <>"),
        invalid(
            page,
            "Query",
            pairs("pk = :v", v={"S": ""}),
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            "empty string value. Key: pk",
        ),
        invalid(page, "Query", query("", V), "Invalid KeyConditionExpression: The expression can not be empty;"),
        invalid(
            f"{API}Query",
            "Query",
            {"TableName": "nowhere"},
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ),
        invalid(
            f"{API}Query",
            "Query",
            query("pk = :v", V, FilterExpression="pk = :v") | {"TableName": "things"},
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: pk",
        ),
        invalid(
            f"{API}Query",
            "Query",
            query("pk = :v", V, IndexName="nothing") | {"TableName": "things"},
            "The table does not have the specified index: nothing",
        ),
        *(
            invalid(
                f"{API}{action}",
                action,
                {**request, "TableName": "things", "IndexName": "by-a", "ConsistentRead": True},
                "Consistent reads are not supported on global secondary indexes",
            )
            for action, request in (("Query", query("a = :v", V)), ("Scan", {}))
        ),
        *(
            invalid(
                f"{API}{action}; conformance, scan",
                action,
                {**request, "TableName": "things", "ExclusiveStartKey": {"bad": {"S": "p"}}},
                "The provided starting key is invalid…",
            )
            for action, request in (("Query", query("pk = :v", V)), ("Scan", {}))
        ),
        *(
            invalid(f"{API}{action}", action, {**request, "Select": select, **more}, said)
            for action, request in (("Query", query("pk = :v", V)), ("Scan", {"TableName": "nowhere"}))
            for select, more, said in (
                (
                    "SPECIFIC_ATTRIBUTES",
                    {},
                    (
                        f"{ONE}Must specify the AttributesToGet or ProjectionExpression when choosing to get "
                        "SPECIFIC_ATTRIBUTES"
                    ),
                ),
                (
                    "ALL_PROJECTED_ATTRIBUTES",
                    {},
                    f"{ONE}ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
                ),
                (
                    "COUNT",
                    {"ProjectionExpression": "sk"},
                    f"{ONE}Cannot specify the ProjectionExpression when choosing to get only the Count",
                ),
                (
                    "ALL_PROJECTED_ATTRIBUTES",
                    {"ProjectionExpression": "sk"},
                    f"{ONE}Cannot specify the ProjectionExpression when choosing to get ALL_PROJECTED_ATTRIBUTES",
                ),
            )
        ),
    ]


RULES: Final = key_conditions()
