"""A DynamoDB of three operations in memory: an upstream whose GetItem gives what PutItem put, for any table.

`python -m benchmarks.remembering PORT`.
"""

import sys
from typing import Any

import orjson

from benchmarks.documents import describe, item
from benchmarks.http_server import run
from tests.standins.billio import TABLE

_items: dict[tuple[str, str], Any] = {}


def answer(action: str, body: bytes) -> bytes:
    """The document for one request. A key that nobody put has Billio's book of that number."""
    request = orjson.loads(body)
    table = request["TableName"]
    if action == "PutItem":
        put = request["Item"]
        _items[table, _key(put)] = put
        return b"{}"
    if action == "GetItem":
        key = _key(request["Key"])
        held = _items.get((table, key))
        if held is None and table == TABLE and key.startswith("Book:b"):
            held = item(int(key[6:]))
        return b"{}" if held is None else orjson.dumps({"Item": held})
    return describe(table)


def _key(attributes: Any) -> str:
    if "type:id" in attributes:
        return str(attributes["type:id"]["S"])
    return f"{attributes['owner']['S']}\n{attributes['at']['N']}"


if __name__ == "__main__":
    run(int(sys.argv[1]), answer)
