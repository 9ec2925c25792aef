"""A DynamoDB of one table in memory whose Query reads a sorted index: an upstream for what 100,000 items cost.

`python -m benchmarks.indexed PORT ITEMS`. It serves the books of `benchmarks.shelves`. Pages, filters and cursors are
the product's own (`proxy.stores.execution.executor`), so that they are DynamoDB's; ranges are found by bisection.
ministack takes 0.4 ms for each item that it looks at, and would make DynamoDB look slower than it is."""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Any, Final

from benchmarks.documents import describe
from benchmarks.http_server import run
from benchmarks.shelves import BILLIO, books
from proxy.dynamodb.operations import decode, parse_body
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Index
from proxy.dynamodb.values import Item, Value
from proxy.stores.execution import executor
from tests.standins.billio import TABLE

_LOWER: Final = frozenset({"=", ">", ">=", "BETWEEN"})
_UPPER: Final = frozenset({"=", "<", "<=", "BETWEEN"})


class Indexed:
    """Items by index and hash value, in the order of the sort key, and then of the table's key."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._ranges: dict[tuple[str, str], list[tuple[tuple[Any, str], Item]]] = {}
        for item in items:
            for index in BILLIO.indexes.values():
                if BILLIO.in_index(index, item):
                    self._ranges.setdefault((index.name, item[index.hashes[0]]["S"]), []).append(
                        (_place(index, item), item)
                    )
        for held in self._ranges.values():
            held.sort(key=_first)

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        """See `executor.Rows`."""
        index, condition = request.index, request.condition
        if index is None or condition is None:
            raise NotImplementedError("only Query of an index is served here")
        held = self._ranges.get((index.name, condition.hash_values[0]["S"]), [])
        low, high = 0, len(held)
        if condition.operator in _LOWER:
            low = bisect_left(held, (_comparable(condition.operands[0]), ""), key=_first)
        if condition.operator in _UPPER:
            high = bisect_right(held, (_comparable(condition.operands[-1]), "\U0010ffff"), key=_first)
        if request.start is not None:
            place = _place(index, request.start)
            if request.forward:
                low = max(low, bisect_right(held, place, key=_first))
            else:
                high = min(high, bisect_left(held, place, key=_first))
        for at in range(low, high) if request.forward else range(high - 1, low - 1, -1):
            yield held[at][1]


def _first(held: tuple[tuple[Any, str], Item]) -> tuple[Any, str]:
    return held[0]


def _place(index: Index, item: Item) -> tuple[Any, str]:
    return (_comparable(item[index.ranges[0]]), item["type:id"]["S"])


def _comparable(value: Value) -> Any:
    return Decimal(value["N"]) if "N" in value else value["S"]


def main() -> None:
    rows = Indexed(books(int(sys.argv[2])))

    async def answer(action: str, body: bytes) -> tuple[int, bytes]:
        if action == "DescribeTable":
            return 200, describe()
        operation = decode(action, body, parse_body(body), {TABLE: BILLIO})
        outcome = (await executor.execute(rows, operation)).outcome  # type: ignore[arg-type]  # a Query asks for a range
        return outcome.status, outcome.body

    run(int(sys.argv[1]), answer)


if __name__ == "__main__":
    main()
