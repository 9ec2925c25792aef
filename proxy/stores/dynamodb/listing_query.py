"""A listing from DynamoDB: Queries of the index, as far as it takes, and the rest applied to what they give.

What the index and a FilterExpression can do is left to DynamoDB; a folded substring and the order among equal sort keys
("Query", API reference: results are sorted by the sort key, and by nothing else) are made here. A page in the index's
own order ends as soon as it is sure; one in another order has to see all of the index's items of the hash value. Both
are bounded by time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from proxy.dynamodb.listing import Filter, Listing, read_listing
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.values import Item, Value
from proxy.stores.errors import Unreachable

Query = Callable[[dict[str, Any]], Awaitable[Outcome]]

_ALL: Final = 0


class _Failed(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error_code)
        self.outcome = outcome


async def gather(query: Query, operation: Operation, seconds: float) -> Outcome:
    """The listing's answer; a Query's error where one failed. Raises Unreachable where it takes too long."""
    listing = read_listing(operation.schema, operation.request)
    try:
        async with asyncio.timeout(seconds):
            if listing.limit is None:
                return Outcome.of({"Count": await _count(query, listing)})
            items = await _first(query, listing, listing.limit + 1)
    except _Failed as failed:
        return failed.outcome
    except TimeoutError:
        raise Unreachable("timeout", f"the listing took longer than {seconds:g} s") from None
    return Outcome.of(listing.document(items[: listing.limit], more=len(items) > listing.limit))


async def _count(query: Query, listing: Listing) -> int:
    count = 0
    async for item in _items(query, listing, _ALL):
        count += listing.matches(item)
    return count


async def _first(query: Query, listing: Listing, wanted: int) -> list[Item]:
    """The first so many items from the start on, in order."""
    if listing.sort != _sort_key(listing):
        found = [each async for each in _behind(query, listing, _ALL)]
        best = heapq.nsmallest if listing.forward else heapq.nlargest
        return best(wanted, found, key=listing.sort_position)
    # Without other filters, what is asked for is what is needed, or a few more where sort keys are equal.
    pages_of = _ALL if any(each.attribute != listing.sort for each in listing.filters) else wanted + 1
    gathered: list[Item] = []
    async for item in _behind(query, listing, pages_of):
        if len(gathered) >= wanted and item[listing.sort] != gathered[wanted - 1][listing.sort]:
            break  # no item that is still to come stands among those
        gathered.append(item)
    return sorted(gathered, key=listing.sort_position, reverse=not listing.forward)[:wanted]


async def _behind(query: Query, listing: Listing, pages_of: int) -> AsyncIterator[Item]:
    async for item in _items(query, listing, pages_of):
        if listing.matches(item) and listing.beyond(item):
            yield item


async def _items(query: Query, listing: Listing, pages_of: int) -> AsyncIterator[Item]:
    request = _request(listing, pages_of)
    while True:
        outcome = await query(request)
        if not outcome.ok:
            raise _Failed(outcome)
        page = outcome.document
        for item in page.get("Items", ()):
            yield item
        if "LastEvaluatedKey" not in page:
            return
        request = {**request, "ExclusiveStartKey": page["LastEvaluatedKey"]}


def _request(listing: Listing, pages_of: int) -> dict[str, Any]:
    """A Query that gives all of the listing's items, and as few others as DynamoDB can tell from them."""
    index = listing.index
    names, values = {"#h": index.hashes[0]}, {":h": listing.hash_value}
    condition = "#h = :h"
    bounds = _bounds(listing)
    if bounds:
        names["#r"] = _sort_key(listing) or ""
        values |= {f":r{n}": value for n, (_, value) in enumerate(bounds)}
        condition += " AND " + (
            "#r BETWEEN :r0 AND :r1" if len(bounds) > 1 else f"#r {bounds[0][0]} :r0"
        )  # one condition on a sort key is all that DynamoDB takes
    terms: list[str] = []
    # A FilterExpression takes no attribute of the index's key ("Query", API reference).
    for n, each in enumerate(each for each in listing.filters if each.attribute not in index.key_names):
        for part, comparison, value in _parts(each):
            names[f"#f{n}"], values[f":f{n}{part}"] = each.attribute, value
            terms.append(f"#f{n} {comparison} :f{n}{part}")
    request: dict[str, Any] = {
        "TableName": listing.schema.name,
        "IndexName": index.name,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
        "ScanIndexForward": listing.forward,
    }
    return (
        request
        | ({"FilterExpression": " AND ".join(terms)} if terms else {})
        | ({"Limit": pages_of} if pages_of else {})
    )


def _sort_key(listing: Listing) -> str | None:
    """The attribute that the index orders by first."""
    return listing.index.ranges[0] if listing.index.ranges else None


def _parts(wanted: Filter) -> list[tuple[str, str, Value]]:
    parts = (("e", "=", wanted.equals), ("l", ">=", wanted.low), ("h", "<=", wanted.high))
    return [(part, comparison, value) for part, comparison, value in parts if value is not None]


def _bounds(listing: Listing) -> list[tuple[str, Value]]:
    """The bounds on the index's sort key: the filter's and the start's, the tighter one of each. Either may be left
    out, as every item is looked at; an empty range is left to the filter too, as DynamoDB refuses one."""
    name = _sort_key(listing)
    lows = [each.low for each in listing.filters if each.attribute == name and each.low is not None]
    highs = [each.high for each in listing.filters if each.attribute == name and each.high is not None]
    start = (listing.start or {}).get(listing.sort) if listing.sort == name else None
    if start is not None:
        (lows if listing.forward else highs).append(start)
    tightest = listing.compares(name or "")
    low = max(lows, key=tightest, default=None)
    high = min(highs, key=tightest, default=None)
    if low is not None and high is not None and tightest(low) > tightest(high):
        return [(">=", low)]
    return [(sign, value) for sign, value in ((">=", low), ("<=", high)) if value is not None]
