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
from proxy.mapping.table_registry import Table, Tables
from proxy.shadow.call import Begun, Call
from proxy.shadow.journal.journal import Ticket
from proxy.stores.dynamodb.client import Upstream
from proxy.stores.interface import Store
from proxy.verdicts import Judged, Verdict

CarryOut: TypeAlias = Callable[[Call], Awaitable[Outcome]]
Converge: TypeAlias = Callable[[Key, Store, Store], Awaitable[int]]
Nominate: TypeAlias = Callable[[Sequence[Key]], Awaitable[None]]


class Passes(Protocol):
    """DynamoDB, asked past the mirror (`proxy.stores.dynamodb.store`)."""

    async def call(self, action: str, body: bytes) -> Outcome: ...

    async def carry(self, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome: ...


class Compares(Protocol):
    """What compares reads (`proxy.shadow.comparison.read_comparison`)."""

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None: ...

    def begin(self) -> Begun: ...

    async def compare_served(self, call: Call, mirrored: Outcome, answered: Outcome | None, begun: Begun) -> None: ...


class Rehearses(Protocol):
    """What compares writes (`proxy.shadow.comparison.write_rehearsal`)."""

    def repeated(self, call: Call) -> bool: ...

    async def rehearse(self, call: Call, ticket: Ticket, answered: Outcome) -> None: ...


class Records(Protocol):
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


class Traced(Protocol):
    """Each takes a part of the layer and gives back one that does the same, and is traced."""

    def carry_out(self, carry_out: CarryOut) -> CarryOut:
        """Carrying out a client's operation, once it is decoded."""

    def passes(self, dynamodb: Passes) -> Passes: ...

    def store(self, store: Store, role: str) -> Store:
        """`role` is `authority` or `mirror`."""

    def comparing(self, reading: Compares, authority: str) -> Compares:
        """`authority` is the store's name, here and below."""

    def rehearsing(self, rehearsal: Rehearses, authority: str) -> Rehearses: ...

    def recording(self, findings: Records) -> Records: ...

    def converging(self, converge: Converge) -> Converge: ...

    def nominating(self, nominate: Nominate) -> Nominate:
        """Asking for the convergence of keys that a comparison found to differ."""


class Untraced:
    """`Traced` with tracing off."""

    def carry_out(self, carry_out: CarryOut) -> CarryOut:
        return carry_out

    def passes(self, dynamodb: Passes) -> Passes:
        return dynamodb

    def store(self, store: Store, role: str) -> Store:  # noqa: ARG002
        return store

    def comparing(self, reading: Compares, authority: str) -> Compares:  # noqa: ARG002
        return reading

    def rehearsing(self, rehearsal: Rehearses, authority: str) -> Rehearses:  # noqa: ARG002
        return rehearsal

    def recording(self, findings: Records) -> Records:
        return findings

    def converging(self, converge: Converge) -> Converge:
        return converge

    def nominating(self, nominate: Nominate) -> Nominate:
        return nominate


UNTRACED: Final = Untraced()

Trace: TypeAlias = Callable[[Stages, Tables, Upstream], Traced]


def untraced(_: Stages, __: Tables, ___: Upstream) -> Traced:
    """`Trace` with tracing off."""
    return UNTRACED
