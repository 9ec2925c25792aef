"""A DynamoDB stream as the API shows it, with all that a real one does and ministack's does not: shards that split and
end, iterators that run out, records and shards that are gone after a day.

Stands where `Upstream` stands, so that what is tested speaks the API's JSON. Written from the API reference of DynamoDB
Streams.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.stores.dynamodb.http_connection import HTTPResponse

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/things/stream/2026-11-22T00:00:00.000"


@dataclass
class FakeShard:
    """`trimmed`: how many of the records are gone. Sequence numbers are one counter for the whole stream."""

    name: str
    parent: str | None
    records: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False
    trimmed: int = 0


class FakeStream:
    """`write` puts a record into an open shard; `split` closes one and opens two; and time does the rest."""

    def __init__(self, page: int = 3) -> None:
        self.shards = {"shard-0": FakeShard("shard-0", None)}
        self.page = page
        self.now = 1_000_000.0
        self.expired_before = 0
        self.fail_next: list[str] = []
        self.asked: list[str] = []
        self._numbers = 0
        self._iterators = 0

    def open(self) -> list[str]:
        return [name for name, shard in self.shards.items() if not shard.closed]

    def write(self, shard: str, key: str, **more: Any) -> None:
        self._numbers += 1
        self.shards[shard].records.append(
            {
                "eventID": f"{self._numbers:032x}",
                "eventName": "MODIFY",
                "eventSource": "aws:dynamodb",
                "awsRegion": "us-east-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": self.now,
                    "Keys": {"pk": {"S": key}},
                    "SequenceNumber": f"{self._numbers:021}",
                    "SizeBytes": 10,
                    "StreamViewType": "KEYS_ONLY",
                },
            }
            | more
        )

    def split(self, shard: str) -> list[str]:
        self.shards[shard].closed = True
        children = [f"shard-{len(self.shards) + n}" for n in range(2)]
        self.shards.update({name: FakeShard(name, shard) for name in children})
        return children

    def expire_iterators(self) -> None:
        self.expired_before = self._iterators + 1

    def trim(self, shard: str, records: int) -> None:
        self.shards[shard].trimmed = max(self.shards[shard].trimmed, records)

    def drop(self, shard: str) -> None:
        """A closed shard whose records are all gone is no longer listed."""
        del self.shards[shard]

    async def request(self, target: str, body: bytes, *, timeout: float) -> HTTPResponse:  # noqa: ASYNC109  # as Upstream
        action = target.removeprefix("DynamoDBStreams_20120810.")
        self.asked.append(action)
        if self.fail_next:
            return _error(self.fail_next.pop(0))
        answer: HTTPResponse = getattr(self, f"_{action}")(json.loads(body))
        return answer

    def _DescribeStream(self, request: Mapping[str, Any]) -> HTTPResponse:
        names = list(self.shards)
        after = request.get("ExclusiveStartShardId")
        names = names[names.index(after) + 1 :] if after is not None else names
        shards = [
            {
                "ShardId": name,
                "SequenceNumberRange": {"StartingSequenceNumber": "1"}
                | ({"EndingSequenceNumber": "9"} if self.shards[name].closed else {}),
            }
            | ({"ParentShardId": self.shards[name].parent} if self.shards[name].parent else {})
            for name in names[:2]  # a page is 100 in AWS; small pages try the paging
        ]
        last = {"LastEvaluatedShardId": names[1]} if len(names) > 2 else {}
        return _answer({"StreamDescription": {"StreamArn": request["StreamArn"], "Shards": shards} | last})

    def _GetShardIterator(self, request: Mapping[str, Any]) -> HTTPResponse:
        shard = self.shards.get(request["ShardId"])
        if shard is None:
            return _error("ResourceNotFoundException")
        place = shard.trimmed
        if request["ShardIteratorType"] == "LATEST":
            place = len(shard.records)
        if request["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER":
            numbers = [each["dynamodb"]["SequenceNumber"] for each in shard.records]
            place = numbers.index(request["SequenceNumber"]) + 1
            if place <= shard.trimmed:
                return _error("TrimmedDataAccessException")
        return _answer({"ShardIterator": self._iterator(shard.name, place)})

    def _GetRecords(self, request: Mapping[str, Any]) -> HTTPResponse:
        name, place, serial = json.loads(request["ShardIterator"])
        shard = self.shards.get(name)
        if serial < self.expired_before:
            return _error("ExpiredIteratorException")
        if shard is None:
            return _error("ResourceNotFoundException")
        if place < shard.trimmed:
            return _error("TrimmedDataAccessException")
        page = shard.records[place : place + self.page]
        document: dict[str, Any] = {"Records": page}
        if not (shard.closed and place + len(page) >= len(shard.records)):
            document["NextShardIterator"] = self._iterator(name, place + len(page))
        return _answer(document)

    def _iterator(self, shard: str, place: int) -> str:
        self._iterators += 1
        return json.dumps([shard, place, self._iterators])


def _answer(document: dict[str, Any]) -> HTTPResponse:
    return HTTPResponse(200, (("content-type", "application/x-amz-json-1.0"),), json.dumps(document).encode())


def _error(code: str) -> HTTPResponse:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "made up"}
    return HTTPResponse(500 if code == "InternalServerError" else 400, (), json.dumps(body).encode())
