"""A layer that only passes through, and a process around it: what ports need behind them where they are under test."""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.cutover.gate.evidence import Evidence
from proxy.cutover.process_status import ParkedKeysControl
from proxy.dynamodb.outcome import Outcome
from proxy.stores.dynamodb.client import DynamoDBClient


class PlainLayer:
    """Every operation goes to DynamoDB and its answer comes back; nothing is compared."""

    def __init__(self, upstream: DynamoDBClient, seconds: float = 20.0) -> None:
        self.upstream = upstream
        self.seconds = seconds
        self.executed: list[str] = []
        self.passed: list[str] = []
        self.finished = 0

    async def execute(self, action: str, body: bytes, request_id: str, client: str = "") -> Outcome:
        self.executed.append(action)
        answer = await self.upstream.request(f"DynamoDB_20120810.{action}", body, timeout=self.seconds)
        self.finished += 1
        return Outcome(answer.status, answer.headers, answer.body)

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.passed.append(action)
        answer = await self.upstream.request(target, body, headers, timeout=self.seconds)
        return Outcome(answer.status, answer.headers, answer.body)


class PlainParkedKeys:
    """`ParkedKeysControl` of a few ids."""

    def __init__(self, ids: Sequence[str] = ()) -> None:
        self.ids = list(ids)
        self.dropped: list[tuple[str, str, str]] = []

    def list(self, limit: int) -> Sequence[Mapping[str, Any]]:
        words = {"table": "t", "type": "", "key": {}, "reason": "it does not fit", "remedy": "mend it", "seconds": 1.0}
        return [{"id": each, **words} for each in self.ids[:limit]]

    def retry(self, key_id: str | None = None) -> int:
        return len(self.ids) if key_id is None else self.ids.count(key_id)

    def drop(self, key_id: str, by: str, because: str) -> bool:
        if key_id not in self.ids:
            return False
        self.ids.remove(key_id)
        self.dropped.append((key_id, by, because))
        return True


class PlainProcess:
    """`ProcessStatus` and `Lifecycle` of a process that has nothing to do. `reasons` are its problems."""

    def __init__(self) -> None:
        self.closed = False
        self.reasons: list[str] = []
        self.at = ""
        self.parked_keys = PlainParkedKeys()

    @property
    def identity(self) -> str:
        return "plain"

    async def status(self) -> Mapping[str, Any]:
        return {"stages": {"items": {"stage": "off"}}}

    @property
    def parked(self) -> ParkedKeysControl:
        return self.parked_keys

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return [{"number": number, "at": 1_000_000_000.5} for number in range(5)][:limit]

    async def evidence(self) -> Evidence:
        return Evidence()

    def resume(self, earlier: Evidence) -> None:
        raise NotImplementedError

    def met(self) -> Sequence[str]:
        return ()

    def notices(self) -> Sequence[str]:
        return []

    def problems(self) -> Sequence[str]:
        return self.reasons

    async def open(self) -> None:
        return None

    async def quiesce(self) -> None:
        return None

    def listens(self, at: str) -> None:
        self.at = at

    async def close(self) -> None:
        self.closed = True
