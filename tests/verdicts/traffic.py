"""What clients ask of the tables: writes and reads of every kind on the names that they are given, drawn by chance.

An item has few values, so that writes meet: two that leave the same item, or toggle one, are the hardest to tell.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from proxy.dynamodb.schema import TableSchema
from tests.verdicts.tables import BILLIO, book, page

Request = dict[str, Any]
Asked = tuple[str, Request]


def item(chance: random.Random, schema: TableSchema, name: str) -> dict[str, Any]:
    """An item under a name; of `PAGES` the name is the number."""
    changing = {"title": {"S": chance.choice("ab")}, "count": {"N": str(chance.randint(0, 2))}}
    if schema is BILLIO:
        return book(name, movedAt={"N": str(1_700_000_000_000 + chance.randint(0, 2))}, **changing)
    return page("b", int(name), at={"N": str(chance.randint(0, 2))}, **changing)


def key(schema: TableSchema, name: str) -> dict[str, Any]:
    return {n: item(random.Random(0), schema, name)[n] for n in schema.key_names}


def write(chance: random.Random, schema: TableSchema, names: Sequence[str]) -> Asked:
    """A write of one of the names, or of all."""
    name, table, drawn = chance.choice(names), {"TableName": schema.name}, chance.random()
    old = {"ReturnValues": "ALL_OLD"} if chance.random() < 0.5 else {}
    if drawn < 0.45:
        return "PutItem", {**table, "Item": item(chance, schema, name), **_condition(chance), **old}
    if drawn < 0.55:
        return "DeleteItem", {**table, "Key": key(schema, name), **_condition(chance), **old}
    if drawn < 0.85:
        return "UpdateItem", {**table, "Key": key(schema, name), **_update(chance)}
    if drawn < 0.92 or len(names) > 20:
        entries = [{"PutRequest": {"Item": item(chance, schema, each)}} for each in names[:20]]
        return "BatchWriteItem", {"RequestItems": {schema.name: entries}}
    parts = [{"Put": {**table, "Item": item(chance, schema, each), **_condition(chance)}} for each in names]
    return "TransactWriteItems", {"TransactItems": parts}


def _condition(chance: random.Random) -> Request:
    drawn = chance.random()
    if drawn < 0.4:
        return {}
    if drawn < 0.6:
        return {"ConditionExpression": "attribute_not_exists(title)"}
    if drawn < 0.7:
        return {"Expected": {"title": {"Value": {"S": "a"}}}}
    asked = {"ConditionExpression": "title = :t", "ExpressionAttributeValues": {":t": {"S": chance.choice("ab")}}}
    return asked | ({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if chance.random() < 0.5 else {})


def _update(chance: random.Random) -> Request:
    # An item of Billio's that an update makes has no type, and its mapping cannot hold it: so there must be one.
    request: Request = {
        "UpdateExpression": chance.choice(
            (
                "SET title = :t, #c = if_not_exists(#c, :one)",
                "SET title = :t ADD #c :one",
                "SET title = :t, #c = #c - :one",
                "SET #c = :one REMOVE title ADD tags :tags",
                "SET #c = :one DELETE tags :tags",
            )
        ),
        "ConditionExpression": "attribute_exists(#c)",
        "ExpressionAttributeNames": {"#c": "count"},
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    if ":t" in request["UpdateExpression"].replace(":tags", ""):
        request["ExpressionAttributeValues"][":t"] = {"S": chance.choice("ab")}
    if ":tags" in request["UpdateExpression"]:
        request["ExpressionAttributeValues"][":tags"] = {"SS": [chance.choice("ab"), "c"]}
    if chance.random() < 0.6:
        request["ReturnValues"] = chance.choice(("ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"))
    return request


def read(chance: random.Random, schema: TableSchema, names: Sequence[str]) -> Asked:
    """A read of one of the names, of all, or of a page with some of them."""
    table, drawn = {"TableName": schema.name}, chance.random()
    if drawn < 0.35:
        return "GetItem", {**table, "Key": key(schema, chance.choice(names))} | _strong(chance)
    if drawn < 0.7:
        return "Query", _options(chance, query(schema, index=chance.random() < 0.7 or schema is BILLIO))
    if drawn < 0.8:
        return "Scan", {**table, **({"Limit": chance.randint(1, 4)} if chance.random() < 0.5 else {})}
    if drawn < 0.9:
        wanted = {"Keys": [key(schema, each) for each in names[:50]]} | _strong(chance)
        return "BatchGetItem", {"RequestItems": {schema.name: wanted}}
    return "TransactGetItems", {"TransactItems": [{"Get": {**table, "Key": key(schema, each)}} for each in names[:50]]}


def query(schema: TableSchema, *, index: bool) -> Request:
    """All of a table's or index's one partition."""
    hash_name, value = ("type:shelf", "Book:Read") if schema is BILLIO else ("group", "g") if index else ("book", "b")
    request: Request = {
        "TableName": schema.name,
        "KeyConditionExpression": "#h = :h",
        "ExpressionAttributeNames": {"#h": hash_name},
        "ExpressionAttributeValues": {":h": {"S": value}},
    }
    if schema is BILLIO:
        request["IndexName"] = "shelf"
    elif index:
        request["IndexName"] = "by-group"
    return request


def _strong(chance: random.Random) -> Request:
    return {"ConsistentRead": True} if chance.random() < 0.3 else {}


def _options(chance: random.Random, request: Request) -> Request:
    if chance.random() < 0.4:
        request["Limit"] = chance.randint(1, 5)
    if chance.random() < 0.3:
        request["ScanIndexForward"] = False
    if chance.random() < 0.2:
        request["FilterExpression"] = "title = :t"
        request["ExpressionAttributeValues"][":t"] = {"S": "a"}
    if chance.random() < 0.15:
        request["Select"] = "COUNT"
    elif chance.random() < 0.15:
        request["ProjectionExpression"] = "title, tags"
    return request
