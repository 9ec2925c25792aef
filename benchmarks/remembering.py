"""A DynamoDB of four operations in memory: an upstream whose GetItem gives what PutItem put, for any table.

`python -m benchmarks.remembering PORT`. Where nginx is missing it stands in as the constant upstream too.
"""

import sys
from typing import Any

import orjson

from benchmarks.documents import SHELF, TABLE, describe, item, page
from benchmarks.http_server import run

_items: dict[tuple[str, str], Any] = {}
_PAGE = page([item(number) for number in range(20)])


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
    if action == "Query" and SHELF in body.decode():
        return _PAGE
    return describe(table)


def _key(attributes: Any) -> str:
    if "type:id" in attributes:
        return str(attributes["type:id"]["S"])
    return f"{attributes['owner']['S']}\n{attributes['at']['N']}"


if __name__ == "__main__":
    run(int(sys.argv[1]), answer)
