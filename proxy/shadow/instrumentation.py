"""The seam for tracing: the protocols of the layer's parts, and how each part is wrapped.

Parts are wrapped once, when the layer is composed. With tracing off they are not wrapped at all, so that a request
takes the same path as if there were no tracing. Knows no OpenTelemetry; `proxy.tracing` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, TypeVar

from proxy.cutover.stages import Stages
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.shadow.call import Call, ComparisonStart
from proxy.shadow.journal.entries import JournalEntry
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.interface import Store
from proxy.stores.table_registry import Tables

T = TypeVar("T")

Execute: TypeAlias = Callable[[Call], Awaitable[Outcome]]
Converge: TypeAlias = Callable[[Key, Store, Store], Awaitable[int]]
Nominate: TypeAlias = Callable[[Sequence[Key]], Awaitable[None]]


class Passthrough(Protocol):
    """DynamoDB, called past the mirror (`proxy.stores.dynamodb.store`). Both methods raise StoreError."""

    async def call(self, action: str, body: bytes) -> Outcome:
        """Send an operation on items, not decoded."""

    async def carry(self, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send any other operation, with the client's headers."""


class ReadComparer(Protocol):
    """What compares reads (`proxy.shadow.comparison.read_comparison`)."""

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None:
        """Read from the mirror and compare with the authority's answer, which is None if it gave none."""

    def start(self) -> ComparisonStart:
        """Note that a comparison begins now."""

    async def compare_served(
        self, call: Call, mirror_outcome: Outcome, authority_outcome: Outcome | None, started: ComparisonStart
    ) -> None:
        """Compare what the mirror answered the client with the authority's answer."""


class WriteRehearser(Protocol):
    """What compares writes (`proxy.shadow.comparison.write_rehearsal`)."""

    def is_repeat(self, call: Call) -> bool:
        """Return whether DynamoDB has seen the transaction's token before."""

    async def rehearse(self, call: Call, entry: JournalEntry, authority_outcome: Outcome) -> None:
        """Execute the write on the mirror, compare, and converge its keys. Ends the journal's entry."""


class VerdictSink(Protocol):
    """Where verdicts go (`proxy.shadow.comparison.verdict_recorder`)."""

    def record(self, record: VerdictRecord, /) -> None:
        """Take one call's verdict."""


def unchanged(part: T, *_: object) -> T:
    """Return the part as it is."""
    return part


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrumentation:
    """How each part of the layer is wrapped when the layer is composed: by default, not at all."""

    execute: Callable[[Execute], Execute] = unchanged
    """Executes a client's operation, once it is decoded."""
    passthrough: Callable[[Passthrough], Passthrough] = unchanged
    """DynamoDB, called past the mirror."""
    store: Callable[[Store, str], Store] = unchanged
    """A store in its role, `authority` or `mirror`."""
    read_comparer: Callable[[ReadComparer, str], ReadComparer] = unchanged
    """What compares reads, and the name of the store that is the authority."""
    write_rehearser: Callable[[WriteRehearser, str], WriteRehearser] = unchanged
    """What compares writes, and the name of the store that is the authority."""
    verdict_sink: Callable[[VerdictSink], VerdictSink] = unchanged
    """Where verdicts go."""
    converge: Callable[[Converge], Converge] = unchanged
    """Makes the mirror hold what the authority holds for one key."""
    nominate: Callable[[Nominate], Nominate] = unchanged
    """Enqueues keys that a comparison found to differ."""


NO_INSTRUMENTATION: Final = Instrumentation()

Instrument: TypeAlias = Callable[[Stages, Tables, DynamoDBClient], Instrumentation]
"""Gives the instrumentation of a layer over these stages, tables and client."""


def no_instrumentation(_: Stages, __: Tables, ___: DynamoDBClient) -> Instrumentation:
    """`Instrument`, with tracing off."""
    return NO_INSTRUMENTATION
