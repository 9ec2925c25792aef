"""The requests that are sent and the answers that a constant upstream gives: items as Billio keeps them.

Only data. Keys run from `Book:b0000` on; every item of one size has the same attributes.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from tests.standins.billio import TABLE, table_definition

TARGET: Final = "DynamoDB_20120810."
DOCUMENTS: Final = "documents"
SHELF: Final = "Book:Reading"

Item = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Request:
    """One operation as a client sends it; or, without an action, the GET of a path."""

    action: str
    body: bytes = b""
    path: str = "/"

    @property
    def method(self) -> str:
        return "POST" if self.action else "GET"

    @property
    def headers(self) -> dict[str, str]:
        """What an SDK sends and the wire looks at; the signature is not checked."""
        if not self.action:
            return {}
        return {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": TARGET + self.action,
            "X-Amz-Date": "20261122T120000Z",
            "Authorization": (
                "AWS4-HMAC-SHA256 Credential=test/20261122/eu-west-1/dynamodb/aws4_request, "
                f"SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={'0' * 64}"
            ),
            "User-Agent": "aws-sdk-js/3.900.0 md/nodejs",
        }


def item(number: int = 0) -> Item:
    """A book of 15 attributes and about 500 bytes."""
    return {
        "type": {"S": "Book"},
        "id": {"S": f"b{number:04}"},
        "type:id": {"S": f"Book:b{number:04}"},
        "shelf": {"S": "Reading"},
        "type:shelf": {"S": SHELF},
        "title": {"S": "The Left Hand of Darkness"},
        "movedAt": {"N": str(1_700_000_000_000 + number)},
        "addedAt": {"N": "1690000000000"},
        "rating": {"N": "8.5"},
        "image": {
            "M": {"url": {"S": "https://covers.example/left.jpg"}, "width": {"N": "400"}, "height": {"N": "600"}}
        },
        "externalId": {"S": f"ol:OL{number}W"},
        "notes": {"S": "Light is the left hand of darkness, and darkness the right hand of light."},
        "author": {"S": "Ursula K. Le Guin"},
        "reread": {"BOOL": False},
        "publisher": {"S": "Ace Books"},
    }


def document(number: int, kilobytes: float) -> Item:
    """An item of a table without a mapping file: a hash and a range key, and so many KB of text in ten attributes."""
    part = "".join(chr(97 + n % 26) for n in range(max(1, int(kilobytes * 102.4) - 12)))
    return {
        "owner": {"S": "o1"},
        "at": {"N": str(number)},
        **{f"attribute{n}": {"S": part} for n in range(10)},
    }


def describe(table: str = TABLE) -> bytes:
    """DescribeTable's answer for Billio's table, or for a table of documents of any other name."""
    if table == TABLE:
        definition = table_definition()
    else:
        definition = {
            "TableName": table,
            "AttributeDefinitions": [
                {"AttributeName": "owner", "AttributeType": "S"},
                {"AttributeName": "at", "AttributeType": "N"},
            ],
            "KeySchema": [
                {"AttributeName": "owner", "KeyType": "HASH"},
                {"AttributeName": "at", "KeyType": "RANGE"},
            ],
        }
    return orjson.dumps({"Table": {**definition, "TableStatus": "ACTIVE"}})


def get(number: int = 0) -> Request:
    return Request("GetItem", orjson.dumps({"TableName": TABLE, "Key": {"type:id": item(number)["type:id"]}}))


def put(number: int = 0) -> Request:
    return Request("PutItem", orjson.dumps({"TableName": TABLE, "Item": item(number)}))


def query() -> Request:
    """A page of 20 by an index, as Billio's shelves ask for it."""
    request = {
        "TableName": TABLE,
        "IndexName": "shelf",
        "KeyConditionExpression": "#shelf = :shelf",
        "ExpressionAttributeNames": {"#shelf": "type:shelf"},
        "ExpressionAttributeValues": {":shelf": {"S": SHELF}},
    }
    return Request("Query", orjson.dumps(request))


def get_document(table: str = DOCUMENTS, number: int = 0) -> Request:
    key = {"owner": {"S": "o1"}, "at": {"N": str(number)}}
    return Request("GetItem", orjson.dumps({"TableName": table, "Key": key}))


def put_document(table: str, held: Item) -> Request:
    return Request("PutItem", orjson.dumps({"TableName": table, "Item": held}))


def query_documents(table: str = DOCUMENTS) -> Request:
    request = {
        "TableName": table,
        "KeyConditionExpression": "#o = :o",
        "ExpressionAttributeNames": {"#o": "owner"},
        "ExpressionAttributeValues": {":o": {"S": "o1"}},
    }
    return Request("Query", orjson.dumps(request))


def found(held: Item) -> bytes:
    """GetItem's answer."""
    return orjson.dumps({"Item": held})


def page(items: list[Item]) -> bytes:
    """Query's answer."""
    return orjson.dumps({"Count": len(items), "Items": items, "ScannedCount": len(items)})
