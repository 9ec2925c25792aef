"""Reads a DynamoDB table page by page: all of it, or a random share, without touching what is not wanted.

A share is taken by segments: a parallel Scan parts the table by the hash of the keys ("Scan", API reference,
TotalSegments up to 1,000,000), so that a random one percent of the segments is a random one percent of the items, and
costs one percent of the reads. Reads are eventually consistent: half the price, and what looks on needs no more.
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
    """A share as an operator writes it, `1%` or `0.01`, as a number over 0 and up to 1. Raises ValueError."""
    number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < number <= 1:
        raise ValueError(f"{text!r} is no share of a table: write 1% or 0.01")
    return number


async def scan_pages(
    store: DynamoDBStore,
    table: str,
    share: float = 1.0,
    *,
    shuffled: bool = False,
    rate: Rate | None = None,
) -> Pages:
    """The items, a page at a time, in no order. Raises StoreError where DynamoDB goes on failing for a minute.

    `shuffled`: from several places of the table at once, for a reader that stops when it has seen enough.
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

    # Not a task group: it would cancel whoever stands outside of this generator, between two of its pages.
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
    """The first so many items, and so many bytes of attribute text at most: what fits in memory of a sample."""
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
