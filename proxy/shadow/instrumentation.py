"""The seam for tracing: what the layer's parts look like to whoever traces them.

Parts are wrapped when the layer is put together, or not at all: with tracing off each is given back as it came, so the
way of a request is then the same as if there were no such thing. Knows no OpenTelemetry (`proxy.tracing` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from proxy.cutover.stages import Stages
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.shadow.call import Call, LookStart
from proxy.shadow.journal.entries import Ticket
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.interface import Store
from proxy.stores.table_registry import Table, Tables
from proxy.verdicts import Judged, Verdict

CarryOut: TypeAlias = Callable[[Call], Awaitable[Outcome]]
Converge: TypeAlias = Callable[[Key, Store, Store], Awaitable[int]]
Nominate: TypeAlias = Callable[[Sequence[Key]], Awaitable[None]]


class Passthrough(Protocol):
    """DynamoDB, asked past the mirror (`proxy.stores.dynamodb.store`)."""

    async def call(self, action: str, body: bytes) -> Outcome: ...

    async def carry(self, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome: ...


class ReadComparer(Protocol):
    """What compares reads (`proxy.shadow.comparison.read_comparison`)."""

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None: ...

    def begin(self) -> LookStart: ...

    async def compare_served(
        self, call: Call, mirrored: Outcome, answered: Outcome | None, begun: LookStart
    ) -> None: ...


class WriteRehearser(Protocol):
    """What compares writes (`proxy.shadow.comparison.write_rehearsal`)."""

    def repeated(self, call: Call) -> bool: ...

    async def rehearse(self, call: Call, ticket: Ticket, answered: Outcome) -> None: ...


class VerdictSink(Protocol):
    """Where verdicts go (`proxy.shadow.comparison.verdict_recorder`)."""

    def record(
        self,
        operation: Operation,
        table: Table,
        item_type: str,
        verdict: Verdict,
        request_id: str,
        judged: Sequence[Judged] = (),
        reason: str | None = None,
    ) -> None: ...


class Instrumentation(Protocol):
    """Each takes a part of the layer and gives back one that does the same, and is traced."""

    def carry_out(self, carry_out: CarryOut) -> CarryOut:
        """Carrying out a client's operation, once it is decoded."""

    def passes(self, dynamodb: Passthrough) -> Passthrough: ...

    def store(self, store: Store, role: str) -> Store:
        """`role` is `authority` or `mirror`."""

    def comparing(self, reading: ReadComparer, authority: str) -> ReadComparer:
        """`authority` is the store's name, here and below."""

    def rehearsing(self, rehearsal: WriteRehearser, authority: str) -> WriteRehearser: ...

    def recording(self, findings: VerdictSink) -> VerdictSink: ...

    def converging(self, converge: Converge) -> Converge: ...

    def nominating(self, nominate: Nominate) -> Nominate:
        """Asking for the convergence of keys that a comparison found to differ."""


class NoInstrumentation:
    """`Traced` with tracing off."""

    def carry_out(self, carry_out: CarryOut) -> CarryOut:
        return carry_out

    def passes(self, dynamodb: Passthrough) -> Passthrough:
        return dynamodb

    def store(self, store: Store, role: str) -> Store:  # noqa: ARG002
        return store

    def comparing(self, reading: ReadComparer, authority: str) -> ReadComparer:  # noqa: ARG002
        return reading

    def rehearsing(self, rehearsal: WriteRehearser, authority: str) -> WriteRehearser:  # noqa: ARG002
        return rehearsal

    def recording(self, findings: VerdictSink) -> VerdictSink:
        return findings

    def converging(self, converge: Converge) -> Converge:
        return converge

    def nominating(self, nominate: Nominate) -> Nominate:
        return nominate


UNTRACED: Final = NoInstrumentation()

Trace: TypeAlias = Callable[[Stages, Tables, DynamoDBClient], Instrumentation]


def untraced(_: Stages, __: Tables, ___: DynamoDBClient) -> Instrumentation:
    """`Trace` with tracing off."""
    return UNTRACED
