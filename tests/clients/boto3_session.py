"""A day of a Python application on boto3: each call with its answer, or its error.

Only what no two DynamoDBs may answer differently: pages of a range key, what an unordered page holds as a set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.standins.billio import dynamodb_client

TABLE = "orders"
Answers = list[tuple[str, Any]]


def make_table(endpoint: str) -> None:
    dynamodb_client(endpoint).create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "who", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "who", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
            {"AttributeName": "state", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-state",
                "KeySchema": [
                    {"AttributeName": "state", "KeyType": "HASH"},
                    {"AttributeName": "at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def play(endpoint: str) -> Answers:
    """At an endpoint that has the table, empty."""
    client = dynamodb_client(endpoint)
    answers: Answers = []

    def ask(name: str, **request: Any) -> Any:
        answer: Any
        try:
            answer = getattr(client, name)(**request)
        except ClientError as error:
            told = error.response["Error"]
            # AWS documents the code of a token used twice, and not the words.
            words = None if told["Code"] == "IdempotentParameterMismatchException" else told["Message"]
            answer = {"error": told["Code"], "words": words, "reasons": error.response.get("CancellationReasons")}
            answer |= {"Item": error.response["Item"]} if "Item" in error.response else {}
        else:
            answer.pop("ResponseMetadata")
        answers.append((name, shown(answer)))
        return answer

    _write(ask)
    _read(ask)
    _page(client, ask)
    _together(ask)
    _wrong(ask)
    return answers


def shown(value: Any) -> Any:
    """With sets and the items of unordered answers in one order."""
    if isinstance(value, dict):
        return {name: shown(inner) for name, inner in value.items()}
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, list):
        return sorted(map(shown, value), key=repr) if value and isinstance(value[0], dict) else value
    return value


Ask = Callable[..., Any]


def key(who: str, at: int) -> dict[str, Any]:
    return {"who": {"S": who}, "at": {"N": str(at)}}


def order(who: str, at: int, state: str, **more: Any) -> dict[str, Any]:
    return {**key(who, at), "state": {"S": state}, "amount": {"N": f"{at}.5"}} | more


def _write(ask: Ask) -> None:
    for at in range(12):
        ask("put_item", TableName=TABLE, Item=order("ann", at, "open" if at % 3 else "done"))
    ask("put_item", TableName=TABLE, Item=order("ann", 3, "late"), ReturnValues="ALL_OLD")
    absent = "attribute_not_exists(who)"
    ask("put_item", TableName=TABLE, Item=order("bob", 1, "open"), ConditionExpression=absent)
    ask("put_item", TableName=TABLE, Item=order("bob", 1, "open"), ConditionExpression=absent)
    ask(
        "put_item",
        TableName=TABLE,
        Item=order("bob", 1, "open"),
        ConditionExpression=absent,
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    update: dict[str, Any] = {"TableName": TABLE, "Key": key("bob", 1)}
    ask(
        "update_item",
        **update,
        UpdateExpression=(
            "SET #s = :done, lines = list_append(if_not_exists(lines, :none), :line) ADD amount :t, tags :g"
        ),
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={
            ":done": {"S": "done"},
            ":none": {"L": []},
            ":line": {"L": [{"M": {"sku": {"S": "é🎉"}, "n": {"N": "1e2"}}}]},
            ":t": {"N": "0.25"},
            ":g": {"SS": ["b", "a"]},
        },
        ReturnValues="ALL_NEW",
    )
    ask("update_item", **update, UpdateExpression="REMOVE lines[0].n DELETE tags :g", ReturnValues="UPDATED_OLD",
        ExpressionAttributeValues={":g": {"SS": ["a"]}})  # fmt: skip
    ask("update_item", TableName=TABLE, Key=key("new", 1), UpdateExpression="ADD n :one", ReturnValues="UPDATED_NEW",
        ExpressionAttributeValues={":one": {"N": "1"}})  # fmt: skip
    ask("delete_item", TableName=TABLE, Key=key("ann", 11), ReturnValues="ALL_OLD")
    ask("delete_item", TableName=TABLE, Key=key("ann", 11), ReturnValues="ALL_OLD")
    ask("delete_item", TableName=TABLE, Key=key("ann", 10), ConditionExpression="amount > :t",
        ExpressionAttributeValues={":t": {"N": "99"}})  # fmt: skip


def _read(ask: Ask) -> None:
    ask("get_item", TableName=TABLE, Key=key("bob", 1))
    ask("get_item", TableName=TABLE, Key=key("bob", 1), ConsistentRead=True, ProjectionExpression="lines[0].sku, who")
    ask("get_item", TableName=TABLE, Key=key("nobody", 1))
    ask("batch_get_item", RequestItems={TABLE: {"Keys": [key("ann", n) for n in (1, 2, 99)]}})
    ask(
        "query",
        TableName=TABLE,
        KeyConditionExpression="who = :w AND #at BETWEEN :a AND :b",
        FilterExpression="contains(#s, :o)",
        ExpressionAttributeNames={"#at": "at", "#s": "state"},
        ExpressionAttributeValues={
            ":w": {"S": "ann"},
            ":a": {"N": "2"},
            ":b": {"N": "8"},
            ":o": {"S": "pe"},
        },
        ScanIndexForward=False,
    )
    ask(
        "query",
        TableName=TABLE,
        IndexName="by-state",
        Select="COUNT",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":s": {"S": "open"}},
    )
    ask("scan", TableName=TABLE, FilterExpression="attribute_exists(tags)")


def _page(client: Any, ask: Ask) -> None:
    """Through a range key, page by page; and a whole scan, whose order is nobody's."""
    start: dict[str, Any] = {}
    while True:
        page = ask(
            "query",
            TableName=TABLE,
            KeyConditionExpression="who = :w",
            ExpressionAttributeValues={":w": {"S": "ann"}},
            Limit=4,
            **start,
        )
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    pages = client.get_paginator("scan").paginate(TableName=TABLE, PaginationConfig={"PageSize": 3})
    items = [item for page in pages for item in page["Items"]]
    assert len({(item["who"]["S"], item["at"]["N"]) for item in items}) == len(items)
    ask("scan", TableName=TABLE)


def _together(ask: Ask) -> None:
    put = {"PutRequest": {"Item": order("eve", 1, "open")}}
    ask("batch_write_item", RequestItems={TABLE: [put, {"DeleteRequest": {"Key": key("ann", 9)}}]})
    transaction = [
        {"Put": {"TableName": TABLE, "Item": order("eve", 2, "open")}},
        {
            "Update": {
                "TableName": TABLE,
                "Key": key("eve", 1),
                "UpdateExpression": "ADD amount :n",
                "ExpressionAttributeValues": {":n": {"N": "1"}},
            }
        },
        {
            "ConditionCheck": {
                "TableName": TABLE,
                "Key": key("bob", 1),
                "ConditionExpression": "attribute_exists(who)",
            }
        },
    ]
    ask("transact_write_items", TransactItems=transaction, ClientRequestToken="once")
    ask("transact_write_items", TransactItems=transaction, ClientRequestToken="once")
    ask("transact_write_items", TransactItems=transaction[:1], ClientRequestToken="once")
    failing = {
        "Delete": {
            "TableName": TABLE,
            "Key": key("eve", 2),
            "ConditionExpression": "amount = :t",
            "ExpressionAttributeValues": {":t": {"N": "7"}},
        }
    }
    ask("transact_write_items", TransactItems=[transaction[1], failing])
    ask("transact_get_items", TransactItems=[{"Get": {"TableName": TABLE, "Key": key("eve", n)}} for n in (1, 2, 3)])


def _wrong(ask: Ask) -> None:
    ask("get_item", TableName=TABLE, Key={"who": {"S": "ann"}})
    ask("get_item", TableName="nowhere", Key=key("ann", 1))
    ask("put_item", TableName=TABLE, Item={"who": {"S": "ann"}})
    ask("update_item", TableName=TABLE, Key=key("ann", 1), UpdateExpression="SET who = :s",
        ExpressionAttributeValues={":s": {"S": "x"}})  # fmt: skip
    ask("query", TableName=TABLE, KeyConditionExpression="#s = :s", ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":s": {"S": "x"}})  # fmt: skip
