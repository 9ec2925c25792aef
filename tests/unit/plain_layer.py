"""A layer that only passes through, and a process around it: what ports need behind them where they are under test."""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.cutover.gate.evidence import Evidence
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


class PlainProcess:
    """`ProcessStatus` and `Lifecycle` of a process that has nothing to do. `reasons` are its problems."""

    def __init__(self) -> None:
        self.closed = False
        self.reasons: list[str] = []
        self.at = ""

    @property
    def identity(self) -> str:
        return "plain"

    async def status(self) -> Mapping[str, Any]:
        return {"stages": {"items": {"stage": "off"}}}

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return [{"number": number, "at": 1_000_000_000.5} for number in range(5)][:limit]

    async def evidence(self) -> Evidence:
        return Evidence()

    def resume(self, earlier: Evidence) -> None:
        raise NotImplementedError

    def met(self) -> Sequence[str]:
        return ()

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
