"""A DynamoDB of four operations in memory: GetItem and BatchGetItem give what PutItem put, for any table.

`python -m benchmarks.remembering PORT [OTHER]`: a stage table wants conditions and transactions, so what is asked of it
goes on to the DynamoDB at OTHER, a URL.
"""

import sys
from typing import Any, Final

import aiohttp
import orjson

from benchmarks.documents import describe, item
from benchmarks.http_server import Answer, run
from tests.standins.billio import TABLE

STAGES: Final = "crossfade_stages"

_items: dict[tuple[str, str], Any] = {}


def answer(action: str, body: bytes) -> bytes:
    """The document for one request. A key that nobody put has Billio's book of that number."""
    request = orjson.loads(body)
    if action == "BatchGetItem":
        asked = {
            table: [_held(table, _key(each)) for each in part["Keys"]]
            for table, part in request["RequestItems"].items()
        }
        found = {table: [each for each in held if each is not None] for table, held in asked.items()}
        return orjson.dumps({"Responses": found, "UnprocessedKeys": {}})
    table = request["TableName"]
    if action == "PutItem":
        put = request["Item"]
        _items[table, _key(put)] = put
        return b"{}"
    if action == "GetItem":
        held = _held(table, _key(request["Key"]))
        return b"{}" if held is None else orjson.dumps({"Item": held})
    return describe(table)


def _held(table: str, key: str) -> Any:
    held = _items.get((table, key))
    if held is None and table == TABLE and key.startswith("Book:b"):
        held = item(int(key[6:]))
    return held


def beside(other: str) -> Answer:
    """The same, but for the stage table, which is at `other`."""
    session: aiohttp.ClientSession | None = None

    async def pass_on(action: str, body: bytes) -> tuple[int, bytes]:
        nonlocal session
        session = session or aiohttp.ClientSession()
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{action}", "Content-Type": "application/x-amz-json-1.0"}
        async with session.post(other, data=body, headers=headers) as answered:
            return answered.status, await answered.read()

    return lambda action, body: pass_on(action, body) if STAGES.encode() in body else answer(action, body)


def _key(attributes: Any) -> str:
    if "type:id" in attributes:
        return str(attributes["type:id"]["S"])
    return f"{attributes['owner']['S']}\n{attributes['at']['N']}"


if __name__ == "__main__":
    run(int(sys.argv[1]), beside(sys.argv[2]) if len(sys.argv) > 2 else answer)
