"""The layer's parts, traced: operations, calls of the stores, comparisons, convergences.

A comparison belongs to its request's trace, though it may end long after it. So does a convergence that a rehearsal
makes at once. One that a worker makes later may answer for several requests: it has a trace of its own, linked to
theirs («Semantic conventions for messaging spans», consumer spans: what is processed later is linked to the context
it was made in; «Links between spans», OpenTelemetry specification). Which requests those are is remembered in memory
only, and only of traced ones: after a restart, convergences are linked to nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from opentelemetry.trace import Link, SpanContext

from proxy.cutover.stages import Stage, Stages
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.shadow.call import Call, ComparisonStart
from proxy.shadow.instrumentation import (
    Converge,
    Execute,
    Instrumentation,
    Nominate,
    ReadComparer,
    VerdictSink,
    WriteRehearser,
)
from proxy.shadow.journal.entries import JournalEntry
from proxy.shadow.request.item_type import ANY_TYPE
from proxy.shadow.request.placement import Placement, placement_of
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.interface import Store
from proxy.stores.table_registry import Tables
from proxy.tracing import span_names as names
from proxy.tracing.span_names import Attributes
from proxy.tracing.spans import Spans, current, sampled, tell
from proxy.tracing.store_spans import StorePlace, TracedPasses, TracedStore

COMPARE: Final = "crossfade.compare"
REHEARSE: Final = "crossfade.rehearse"
CONVERGE: Final = "crossfade.converge"

_MOST_KEYS: Final = 4096
_MOST_ORIGINS: Final = 8


class Origins:
    """By key, the spans that asked for its convergence: the newest of them, of the newest keys."""

    def __init__(self) -> None:
        self._origins: OrderedDict[Key, tuple[SpanContext, ...]] = OrderedDict()

    def add(self, key: Key, *spans: SpanContext) -> None:
        self._origins[key] = (self._origins.pop(key, ()) + spans)[-_MOST_ORIGINS:]
        if len(self._origins) > _MOST_KEYS:
            self._origins.popitem(last=False)

    def take(self, key: Key) -> tuple[SpanContext, ...]:
        return self._origins.pop(key, ())

    def settled(self, key: Key, origin: SpanContext) -> None:
        """What `origin` asked for is done. Where others asked too, one convergence answers for all of them."""
        if all(each.span_id == origin.span_id for each in self._origins.get(key, ())):
            self._origins.pop(key, None)


class LayerSpans:
    """The layer's parts under spans. `places` are the stores by their names."""

    def __init__(self, spans: Spans, stages: Stages, tables: Tables, places: dict[str, StorePlace]) -> None:
        self._spans = spans
        self._stages = stages
        self._tables = tables
        self._places = places
        self._origins = Origins()

    def instrumentation(self) -> Instrumentation:
        """Return how the layer's parts are wrapped."""
        return Instrumentation(
            execute=self._execute,
            passthrough=lambda part: TracedPasses(part, self._places["dynamodb"], self._spans, self._stages),
            store=lambda part, role: TracedStore(part, role, self._places[part.name], self._spans),
            read_comparer=lambda part, authority: _TracedReadComparer(part, self, authority),
            write_rehearser=lambda part, authority: _TracedWriteRehearser(part, self, authority),
            verdict_sink=_TracedVerdictSink,
            converge=self._converge,
            nominate=self._nominate,
        )

    def _execute(self, execute: Execute) -> Execute:
        async def traced(call: Call) -> Outcome:
            if sampled():
                placement = placement_of(self._stages, call)
                tell(names.asked(call.operation) | self._of(call, placement))
                if call.operation.writes:
                    self._remember(placement.mirrored_keys)
            return await execute(call)

        return traced

    def _converge(self, converge: Converge) -> Converge:
        async def traced(key: Key, authority: Store, mirror: Store) -> int:
            here, origins = current(), self._origins.take(key)
            links = [Link(each) for each in origins if each.trace_id != here.trace_id]
            if here.is_valid and not here.trace_flags.sampled and not links:
                return await converge(key, authority, mirror)
            begin = self._spans.work if here.trace_flags.sampled else self._spans.alone
            with begin(CONVERGE, self._of_key(key, authority.name), links) as span:
                try:
                    repairs = await converge(key, authority, mirror)
                except BaseException:
                    # It is tried again, and still theirs.
                    again = [link.context for link in links] + [here] * here.trace_flags.sampled
                    if again:
                        self._origins.add(key, *again)
                    raise
                span.span.set_attribute(names.REPAIRS, repairs)
                return repairs

        return traced

    def _nominate(self, nominate: Nominate) -> Nominate:
        async def traced(keys: Sequence[Key]) -> None:
            if sampled():
                self._remember(keys)
            await nominate(keys)

        return traced

    def settled(self, entry: JournalEntry, origin: SpanContext) -> None:
        """A write was rehearsed, and its keys seen to be equal or converged, where no other had them."""
        for key in entry.keys:
            if key not in entry.overlapped:
                self._origins.settled(key, origin)

    def _remember(self, keys: Sequence[Key]) -> None:
        here = current()
        for key in keys:
            self._origins.add(key, here)

    def _of(self, call: Call, placement: Placement) -> Attributes:
        """Where a call is in the cutover."""
        return {
            names.AUTHORITY: names.one_of({stage.authority for stage in placement.stages}),
            names.EPOCH: self._stages.map.epoch,
            names.ITEM_TYPE: call.item_type,
            names.STAGE: names.one_of(placement.stages),
        }

    def _of_key(self, key: Key, authority: str) -> Attributes:
        """Where a key stands."""
        table = self._tables.known(key.table)
        told = table.mapping.type_of(key.attributes) if table is not None else ""
        item_type = told if table is not None and told in table.rules else ""
        stage: Stage = self._stages.stage_of(key.table, item_type)
        return {
            names.AUTHORITY: authority,
            names.EPOCH: self._stages.map.epoch,
            names.ITEM_TYPE: item_type or ANY_TYPE,
            names.STAGE: str(stage),
            names.TABLE_NAMES: (key.table,),
        }

    def of(self, call: Call, authority: str) -> Attributes:
        """What a comparison is about."""
        operation = call.operation
        told: Attributes = {names.OPERATION: operation.action, names.TABLE_NAMES: operation.tables}
        return self._of(call, placement_of(self._stages, call)) | told | {names.AUTHORITY: authority}

    @property
    def spans(self) -> Spans:
        return self._spans


class _TracedReadComparer:
    """`Compares`, each comparison under a span."""

    def __init__(self, reading: ReadComparer, parts: LayerSpans, authority: str) -> None:
        self._reading = reading
        self._parts = parts
        self._authority = authority

    async def compare(self, call: Call, answer: asyncio.Future[Outcome | None]) -> None:
        if not sampled():
            return await self._reading.compare(call, answer)
        with self._parts.spans.work(COMPARE, self._parts.of(call, self._authority)):
            return await self._reading.compare(call, answer)

    def start(self) -> ComparisonStart:
        return self._reading.start()

    async def compare_served(
        self, call: Call, mirror_outcome: Outcome, authority_outcome: Outcome | None, started: ComparisonStart
    ) -> None:
        if not sampled():
            return await self._reading.compare_served(call, mirror_outcome, authority_outcome, started)
        with self._parts.spans.work(COMPARE, self._parts.of(call, self._authority)):
            return await self._reading.compare_served(call, mirror_outcome, authority_outcome, started)


class _TracedWriteRehearser:
    """`Rehearses`, each rehearsal under a span."""

    def __init__(self, rehearsal: WriteRehearser, parts: LayerSpans, authority: str) -> None:
        self._rehearsal = rehearsal
        self._parts = parts
        self._authority = authority

    def is_repeat(self, call: Call) -> bool:
        return self._rehearsal.is_repeat(call)

    async def rehearse(self, call: Call, entry: JournalEntry, authority_outcome: Outcome) -> None:
        if not sampled():
            return await self._rehearsal.rehearse(call, entry, authority_outcome)
        origin = current()
        with self._parts.spans.work(REHEARSE, self._parts.of(call, self._authority)):
            await self._rehearsal.rehearse(call, entry, authority_outcome)
        self._parts.settled(entry, origin)
        return None


class _TracedVerdictSink:
    """`Records`: a verdict is told of the comparison's span, too."""

    def __init__(self, sink: VerdictSink) -> None:
        self._sink = sink

    def record(self, record: VerdictRecord) -> None:
        if sampled():
            told: Attributes = {names.VERDICT: str(record.verdict), names.DIFFERENCES: len(record.judged)}
            tell(told if record.reason is None else told | {names.REASON: names.word(record.reason)})
        self._sink.record(record)
