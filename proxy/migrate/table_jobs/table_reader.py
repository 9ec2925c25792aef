"""Reads many items of a DynamoDB table, strongly consistent, and counts what that costs.

Throttling and lost connections are waited out, so that a long run does not end over one of them; other refusals end
it. Every read waits for its turn at the pace first. Sources: "Scan" and "BatchGetItem" (API reference); a page of a
consistent Scan holds every write that was answered before that page was asked for.
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
    """What one call brought: items, how many were looked at for them, the answer itself, where to go on, and what it
    cost in capacity units."""

    items: list[Item]
    scanned: int
    body: bytes
    next: dict[str, Any] | None
    units: float


class TableReader:
    """`spent` hears of the capacity units that each call cost, `again` of each that is made once more and why."""

    def __init__(
        self,
        store: DynamoDBStore,
        schema: TableSchema,
        pace: RateLimiter,
        *,
        spent: Callable[[float], None] = lambda _: None,
        again: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._schema = schema
        self._limiter = pace
        self._on_units = spent
        self._on_retry = again

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
        """A page of a segment: items that have one of the attributes `having`, or none of `lacking`, where given.

        Where the answer is `before`'s to the byte, that is what is given: parsing is most of what a page costs here.
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
        """The items of the keys that have one."""
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
        """`paced`: it waits for its turn. What is asked again does not, because a flip may be waiting for it; the next
        page pays for it."""
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
