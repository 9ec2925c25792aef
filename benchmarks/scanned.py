"""A DynamoDB of reads only, from memory: Scan by segments, BatchGetItem and GetItem over many of Billio's items.

`python -m benchmarks.scanned PORT ITEMS`, where ITEMS is how many books to make up, or a file of items, one a line in
DynamoDB's JSON. ministack parses and sorts what it holds for each page, so that of a large table it would be ministack
that is measured. Items are encoded once; a page is cut at its Limit or at 1 MB, as DynamoDB does.
"""

import gc
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.documents import describe, item
from benchmarks.http_server import run
from tests.standins.billio import HASH_KEY, TABLE

_PAGE_BYTES: Final = 1024 * 1024


class Scanned:
    """Segment S of N holds every N-th item, from S on. `items` are as DynamoDB's JSON has them."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items: list[bytes] = []
        self._keys: list[str] = []
        self._referring: list[bool] = []
        for each in items:
            self._items.append(orjson.dumps(each))
            self._keys.append(each[HASH_KEY]["S"])
            self._referring.append("seriesId" in each)
        self._number = {key: number for number, key in enumerate(self._keys)}

    def answer(self, action: str, body: bytes) -> bytes:
        """The document for one request."""
        request = orjson.loads(body)
        match action:
            case "Scan":
                return self._scan(request)
            case "BatchGetItem":
                keys = [key[HASH_KEY]["S"] for key in request["RequestItems"][TABLE]["Keys"]]
                found = b",".join(self._items[self._number[key]] for key in keys if key in self._number)
                return b'{"Responses":{"%b":[%b]},"UnprocessedKeys":{}}' % (TABLE.encode(), found)
            case "GetItem":
                number = self._number.get(request["Key"][HASH_KEY]["S"])
                return b"{}" if number is None else b'{"Item":%b}' % self._items[number]
        table = orjson.loads(describe())["Table"]
        sizes = {"ItemCount": len(self._items), "TableSizeBytes": sum(map(len, self._items))}
        return orjson.dumps({"Table": table | sizes})

    def _scan(self, request: dict[str, Any]) -> bytes:
        # The one filter that is ever asked for: items that refer to a series, or those that do not.
        expression = str(request.get("FilterExpression", ""))
        wanted = None if not expression else not expression.startswith("attribute_not_exists")
        segments = int(request.get("TotalSegments", 1))
        start = request.get("ExclusiveStartKey")
        number = request.get("Segment", 0) if start is None else self._number[start[HASH_KEY]["S"]] + segments
        limit = int(request.get("Limit", len(self._items)))
        chosen: list[bytes] = []
        scanned = size = 0
        while number < len(self._items) and scanned < limit and size < _PAGE_BYTES:
            if wanted is None or self._referring[number] is wanted:
                chosen.append(self._items[number])
            size += len(self._items[number])
            scanned += 1
            number += segments
        last = b""
        if number < len(self._items):
            last = b',"LastEvaluatedKey":%b' % orjson.dumps({HASH_KEY: {"S": self._keys[number - segments]}})
        units = b'"ConsumedCapacity":{"CapacityUnits":%.1f}' % (-(-size // 4096))
        return b'{"Count":%d,"Items":[%b],"ScannedCount":%d,%b%b}' % (
            len(chosen),
            b",".join(chosen),
            scanned,
            units,
            last,
        )


def _held(given: str) -> Iterator[Any]:
    if given.isdecimal():
        yield from (item(number) for number in range(int(given)))
        return
    with Path(given).open("rb") as lines:
        yield from map(orjson.loads, lines)


if __name__ == "__main__":
    gc.disable()
    run(int(sys.argv[1]), Scanned(_held(sys.argv[2])).answer)
