"""DynamoDB Streams as Crossfade reads them: shards, iterators and records, by small requests of its own.

Knows the API and no more ("DescribeStream", "GetShardIterator", "GetRecords", API reference): which shard to read next,
and what a record means, is `proxy.stream`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.dynamodb.outcome import Outcome
from proxy.stores.dynamodb.client import STREAMS, DynamoDBClient
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable

_PREFIX: Final = f"{STREAMS}20120810."
TRIMMED: Final = "TrimmedDataAccessException"
EXPIRED: Final = "ExpiredIteratorException"
NOT_THERE: Final = "ResourceNotFoundException"
_AGAIN: Final = frozenset({"LimitExceededException", "InternalServerError", "ThrottlingException", "Throttling"})


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a stream. Its records come after its parent's; a `closed` one gets no more."""

    name: str
    parent: str | None
    closed: bool


@dataclass(frozen=True, slots=True)
class StreamRecords:
    """What one GetRecords gave: records as they came, and the iterator to go on with (None: the shard has ended)."""

    records: Sequence[dict[str, Any]]
    iterator: str | None


class Streams:
    """Every method raises StoreError: Refused with TRIMMED, EXPIRED or NOT_THERE as its reason where it means that."""

    def __init__(self, upstream: DynamoDBClient, timeout: float) -> None:
        self._upstream = upstream
        self._timeout = timeout

    async def shards(self, stream: str) -> list[Shard]:
        """All shards that the stream still has, in the order that it gives them."""
        found: list[Shard] = []
        request: dict[str, Any] = {"StreamArn": stream}
        while True:
            description = (await self._ask("DescribeStream", request))["StreamDescription"]
            for each in description.get("Shards") or ():
                closed = "EndingSequenceNumber" in (each.get("SequenceNumberRange") or {})
                found.append(Shard(each["ShardId"], each.get("ParentShardId"), closed))
            after = description.get("LastEvaluatedShardId")
            if after is None:
                return found
            request["ExclusiveStartShardId"] = after

    async def iterator(self, stream: str, shard: str, kind: str, after: str | None = None) -> str:
        """Where to read from: `kind` is LATEST, TRIM_HORIZON, or AFTER_SEQUENCE_NUMBER with `after`."""
        request = {"StreamArn": stream, "ShardId": shard, "ShardIteratorType": kind}
        if after is not None:
            request["SequenceNumber"] = after
        iterator: str = (await self._ask("GetShardIterator", request))["ShardIterator"]
        return iterator

    async def records(self, iterator: str) -> StreamRecords:
        document = await self._ask("GetRecords", {"ShardIterator": iterator})
        return StreamRecords(document.get("Records") or (), document.get("NextShardIterator"))

    async def _ask(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._upstream.request(_PREFIX + action, orjson.dumps(request), timeout=self._timeout)
        except UnknownOutcome as error:
            # A read without an answer has done nothing.
            raise Unreachable(error.reason, str(error)) from error
        outcome = Outcome(answer.status, answer.headers, answer.body)
        if not outcome.ok:
            raise _failure(outcome)
        return outcome.document


def _failure(outcome: Outcome) -> StoreError:
    code = outcome.error_code or "unknown"
    return Unreachable(code) if code in _AGAIN or outcome.status >= 500 else Refused(code)
