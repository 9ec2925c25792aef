"""A DynamoDB of reads only, from memory: Scan by segments, BatchGetItem and GetItem over many of Billio's books.

`python -m benchmarks.scanned PORT ITEMS`. ministack parses and sorts what it holds for each page, so it would be
ministack that is measured. Items are encoded once; a page is cut at its Limit or at 1 MB, as DynamoDB does.
"""

import sys
from typing import Final

import orjson

from benchmarks.documents import describe, item
from benchmarks.http_server import run
from tests.standins.billio import TABLE

_PAGE_BYTES: Final = 1024 * 1024


class Scanned:
    """The items by number: segment S of N holds every N-th, from S on."""

    def __init__(self, items: int) -> None:
        self._items = [orjson.dumps(item(number)) for number in range(items)]

    def answer(self, action: str, body: bytes) -> bytes:
        """The document for one request."""
        request = orjson.loads(body)
        match action:
            case "Scan":
                return self._scan(request)
            case "BatchGetItem":
                keys = request["RequestItems"][TABLE]["Keys"]
                found = b",".join(self._items[_number(key)] for key in keys)
                return b'{"Responses":{"%b":[%b]},"UnprocessedKeys":{}}' % (TABLE.encode(), found)
            case "GetItem":
                return b'{"Item":%b}' % self._items[_number(request["Key"])]
        table = orjson.loads(describe())["Table"]
        sizes = {"ItemCount": len(self._items), "TableSizeBytes": sum(map(len, self._items))}
        return orjson.dumps({"Table": table | sizes})

    def _scan(self, request: dict[str, object]) -> bytes:
        if str(request.get("FilterExpression", "")).startswith("attribute_exists"):
            return b'{"Count":0,"Items":[],"ScannedCount":0}'  # no book refers to anything
        segments = int(str(request.get("TotalSegments", 1)))
        start = request.get("ExclusiveStartKey")
        first = int(str(request.get("Segment", 0))) if start is None else _number(start) + segments
        limit = int(str(request.get("Limit", len(self._items))))
        chosen: list[bytes] = []
        size = 0
        number = first
        while number < len(self._items) and len(chosen) < limit and size < _PAGE_BYTES:
            chosen.append(self._items[number])
            size += len(self._items[number])
            number += segments
        last = b""
        if number < len(self._items):
            last = b',"LastEvaluatedKey":{"type:id":%b}' % orjson.dumps(item(number - segments)["type:id"])
        units = b'"ConsumedCapacity":{"CapacityUnits":%.1f}' % (-(-size // 4096))
        return b'{"Count":%d,"Items":[%b],"ScannedCount":%d,%b%b}' % (
            len(chosen),
            b",".join(chosen),
            len(chosen),
            units,
            last,
        )


def _number(key: object) -> int:
    return int(key["type:id"]["S"][6:])  # type: ignore[index]


if __name__ == "__main__":
    run(int(sys.argv[1]), Scanned(int(sys.argv[2])).answer)
