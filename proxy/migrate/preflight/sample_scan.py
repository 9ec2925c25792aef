"""Scans a DynamoDB table page by page: the whole table, or a random share without reading the rest.

A share is a random choice of segments. A parallel Scan divides the table by the hash of the keys ("Scan", API
reference, TotalSegments up to 1,000,000), so one percent of the segments is a random one percent of the items and costs
one percent of the reads. Reads are eventually consistent, at half the price; a check that writes nothing needs no more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from proxy.dynamodb.values import Item
from proxy.migrate.table_jobs.rate_limiter import Rate, RateLimiter
from proxy.stores.attempts import Backoff, retry
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable

_PARTS: Final = 1000
_PLACES: Final = 16
_READERS: Final = 4
_ATTEMPTS: Final = 10
_BACKOFF: Final = Backoff(0.1, 10.0, min_share=0.5)

Pages = AsyncGenerator[list[Item], None]


def parse_share(text: str) -> float:
    """Parse a share, `1%` or `0.01`, as a number above 0 and at most 1. Raises ValueError."""
    number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < number <= 1:
        raise ValueError(f"{text!r} is not a share of a table: write 1% or 0.01")
    return number


async def scan_pages(
    store: DynamoDBStore,
    table: str,
    share: float = 1.0,
    *,
    shuffled: bool = False,
    rate: Rate | None = None,
) -> Pages:
    """Yield the items page by page, in no order. Raises StoreError if DynamoDB still fails after all retries.

    `shuffled` reads several places of the table at once, for a caller that stops when it has enough.
    """
    total = _PARTS if share < 1 else _PLACES if shuffled else _READERS
    pace, limit = RateLimiter(rate), {} if rate is None else {"Limit": rate.page_items}
    segments = random.sample(range(total), max(1, round(share * total)))
    waiting: asyncio.Queue[list[Item] | StoreError | None] = asyncio.Queue(_READERS)

    async def read(part: Sequence[int]) -> None:
        try:
            for segment in part:
                async with aclosing(_scan_segment(store, pace, {"TableName": table, **limit}, segment, total)) as found:
                    async for items in found:
                        await waiting.put(items)
        except StoreError as error:
            await waiting.put(error)
        else:
            await waiting.put(None)

    # This is not a task group because that would cancel the caller of this generator between two pages.
    readers = [asyncio.create_task(read(segments[n::_READERS])) for n in range(_READERS)]
    try:
        reading = len(readers)
        while reading:
            found = await waiting.get()
            if isinstance(found, StoreError):
                raise found
            if found is None:
                reading -= 1
            else:
                yield found
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)


async def collect_sample(source: Pages, items: int, size: int) -> list[Item]:
    """Return at most `items` items with at most `size` characters of text, so that the sample fits in memory."""
    found: list[Item] = []
    async with aclosing(source) as reading:
        async for page in reading:
            for item in page:
                size -= len(str(item))
                if len(found) >= items or size < 0:
                    return found
                found.append(item)
    return found


async def _scan_segment(
    store: DynamoDBStore, pace: RateLimiter, request: dict[str, Any], segment: int, total: int
) -> Pages:
    request |= {"Segment": segment, "TotalSegments": total, "ReturnConsumedCapacity": "TOTAL"}
    while True:
        await pace.wait()
        document = await _read_page(store, request)
        items = document.get("Items", [])
        pace.charge(items=len(items), rcu=(document.get("ConsumedCapacity") or {}).get("CapacityUnits", 0.0))
        yield items
        after = document.get("LastEvaluatedKey")
        if after is None:
            return
        request["ExclusiveStartKey"] = after


async def _read_page(store: DynamoDBStore, request: dict[str, Any]) -> dict[str, Any]:
    """One page. Waits out throttling and lost connections: a read may be repeated."""
    return await retry(
        lambda: store.ask("Scan", request), _BACKOFF, attempts=_ATTEMPTS, retryable=(Unreachable, UnknownOutcome)
    )
