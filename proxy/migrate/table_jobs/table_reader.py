"""Reads many items of a DynamoDB table with strong consistency, and counts the capacity that this costs.

Throttling and lost connections are retried, so that they do not end a long run; any other refusal ends it. Every page
waits for the rate limiter. Sources: "Scan" and "BatchGetItem" (API reference). A page of a consistent Scan contains
every write that was answered before the page was requested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.dynamodb.errors import RETRYABLE
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.migrate.table_jobs.rate_limiter import RateLimiter
from proxy.stores.attempts import Backoff, retry
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import Refused, UnknownOutcome, Unreachable

_MOST_KEYS: Final = 100
_ATTEMPTS: Final = 14
_BACKOFF: Final = Backoff(0.1, 8.0, min_share=0.5)
_UNIT_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ScanPage:
    """A page of a Scan."""

    items: list[Item]
    scanned: int
    """How many items were read, before the filter."""
    body: bytes
    """The response itself."""
    next: dict[str, Any] | None
    """The key to continue after; None at the end."""
    units: float
    """The read capacity units that the page cost."""


class TableReader:
    """A strongly consistent reader of one table.

    `on_units` gets the capacity units of each call, `on_retry` the reason of each retry.
    """

    def __init__(
        self,
        store: DynamoDBStore,
        schema: TableSchema,
        limiter: RateLimiter,
        *,
        on_units: Callable[[float], None] = lambda _: None,
        on_retry: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._schema = schema
        self._limiter = limiter
        self._on_units = on_units
        self._on_retry = on_retry

    async def scan_page(
        self,
        segment: int,
        segments: int,
        start: Mapping[str, Any] | None,
        limit: int,
        *,
        having: Iterable[str] = (),
        lacking: Iterable[str] = (),
        before: ScanPage | None = None,
    ) -> ScanPage:
        """Read a page of a segment: items that have one of the attributes `having`, or none of `lacking`.

        If the response equals that of `before` byte by byte, `before` is returned: parsing is most of a page's cost.
        """
        request: dict[str, Any] = {
            "TableName": self._schema.name,
            "Segment": segment,
            "TotalSegments": segments,
            "Limit": limit,
            "ConsistentRead": True,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if start is not None:
            request["ExclusiveStartKey"] = start
        names = {f"#{n}": name for n, name in enumerate((*having, *lacking))}
        if having:
            request["FilterExpression"] = " OR ".join(f"attribute_exists({n})" for n in names)
        elif lacking:
            request["FilterExpression"] = " AND ".join(f"attribute_not_exists({n})" for n in names)
        if names:
            request["ExpressionAttributeNames"] = names
        outcome = await self._ask("Scan", request, paced=before is None)
        if before is not None and outcome.body == before.body:
            self._charge(before.units)
            return before
        document = outcome.document
        items = document.get("Items", [])
        units = _units(document.get("ConsumedCapacity"), len(outcome.body))
        self._charge(units)
        scanned = document.get("ScannedCount", len(items))
        return ScanPage(items, scanned, outcome.body, document.get("LastEvaluatedKey"), units)

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Read the items of these keys; a key without an item is left out."""
        found: dict[Key, Item] = {}
        waiting = list(dict.fromkeys(keys))
        attempt = 0
        while waiting:
            asked, waiting = waiting[:_MOST_KEYS], waiting[_MOST_KEYS:]
            body = {"Keys": [key.attributes for key in asked], "ConsistentRead": True}
            request = {"RequestItems": {self._schema.name: body}, "ReturnConsumedCapacity": "TOTAL"}
            outcome = await self._ask("BatchGetItem", request, paced=False)
            document = outcome.document
            for item in document.get("Responses", {}).get(self._schema.name, []):
                found[self._schema.key_of(item)] = item
            consumed = document.get("ConsumedCapacity") or [None]
            self._charge(_units(consumed[0], len(outcome.body)))
            left = document.get("UnprocessedKeys", {}).get(self._schema.name, {}).get("Keys", [])
            waiting.extend(self._schema.key_of(key) for key in left)
            # "we strongly recommend that you use an exponential backoff algorithm" ("BatchGetItem").
            attempt = attempt + 1 if left else 0
            if attempt >= _ATTEMPTS:
                raise Unreachable("unprocessed", "BatchGetItem went on leaving keys unprocessed")
            if left:
                self._on_retry("unprocessed")
                await _BACKOFF.pause(attempt)
        return found

    async def _ask(self, action: str, request: dict[str, Any], *, paced: bool) -> Outcome:
        """Call DynamoDB, with retries. Only a `paced` call waits for the rate limiter.

        A second reading is not paced because a flip may be waiting for it; the next page pays for it.
        """
        body = orjson.dumps(request)

        async def attempt() -> Outcome:
            if paced:
                await self._limiter.wait()
            outcome = await self._store.call(action, body)
            if outcome.ok:
                return outcome
            reason = outcome.error_code or "unknown"
            if reason in RETRYABLE or outcome.status >= 500:
                raise Unreachable(reason)
            raise Refused(reason, f"{action}: {reason}")

        try:
            # A read whose outcome is unknown has done nothing, and may be repeated.
            return await retry(
                attempt, _BACKOFF, attempts=_ATTEMPTS, on_retry=self._on_retry, retryable=(Unreachable, UnknownOutcome)
            )
        except (Unreachable, UnknownOutcome) as error:
            raise Unreachable(error.reason, f"{action} went on failing: {error.reason}") from error

    def _charge(self, units: float) -> None:
        self._limiter.charge(rcu=units)
        self._on_units(units)


def _units(consumed: Mapping[str, Any] | None, size: int) -> float:
    # A stand-in may not say what a read would have cost.
    return float(consumed["CapacityUnits"]) if consumed is not None else size / _UNIT_BYTES
