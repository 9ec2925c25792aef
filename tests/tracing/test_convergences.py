"""Whose a convergence is: linked to the requests that wanted it, until it is done, and sampled when one of them is."""

from dataclasses import dataclass
from typing import Any, cast

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from proxy.cutover.stages import Stages
from proxy.dynamodb.schema import Key
from proxy.settings import Settings
from proxy.stores.errors import Unreachable
from proxy.stores.interface import Store
from proxy.stores.table_registry import Tables
from proxy.tracing import layer_spans as layer
from proxy.tracing.layer_spans import CONVERGE, LayerSpans, Origins
from proxy.tracing.spans import NOWHERE, ByOrigin, Ids, Open, Spans

KEY = Key("items", '{"id":{"S":"secret"}}')


@dataclass(frozen=True)
class Named:
    name: str


class Scene:
    def __init__(self, ratio: float) -> None:
        self.exporter, ids = InMemorySpanExporter(), Ids()
        self.provider = TracerProvider(sampler=ParentBased(ByOrigin(ratio)), shutdown_on_exit=False, id_generator=ids)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")
        self.parts = LayerSpans(
            Spans(self.tracer, ids, ratio), Stages(Settings()), Tables(cast("Any", None), {}), {}
        ).instrumentation()
        self.failing = False
        self._converge = self.parts.converge(self._carry_out)

    async def _carry_out(self, key: Key, authority: Store, mirror: Store) -> int:
        if self.failing:
            raise Unreachable("timeout", "of a secret")
        return 1

    async def wanted_by_a_request(self, *, sampled: bool = True) -> SpanContext:
        """A comparison in a request asks for the key's convergence."""

        async def nominate(_: Any) -> None:
            return None

        with Open(self.tracer.start_span("request", sent(sampled=sampled), SpanKind.SERVER)) as span:
            await self.parts.nominate(nominate)([KEY])
            return span.span.get_span_context()

    async def converge(self) -> None:
        await self._converge(KEY, cast("Any", Named("dynamodb")), cast("Any", Named("dsql")))

    @property
    def convergences(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == CONVERGE]


def sent(*, sampled: bool) -> Context:
    """Under a client's span, which is traced or not."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return set_span_in_context(NonRecordingSpan(SpanContext(1, 1, is_remote=True, trace_flags=flags)), NOWHERE)


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


async def test_it_is_linked_to_all_that_wanted_it_and_only_once() -> None:
    scene = Scene(1.0)
    wanted = [await scene.wanted_by_a_request() for _ in range(2)]
    await scene.converge()
    await scene.converge()
    first, second = scene.convergences
    assert first.context.trace_id != wanted[0].trace_id
    assert linked(first) == [each.span_id for each in wanted]
    assert first.parent is None
    assert linked(second) == []
    assert "secret" not in first.to_json()


async def test_one_that_fails_is_still_theirs_when_it_is_tried_again() -> None:
    scene = Scene(1.0)
    wanted = await scene.wanted_by_a_request()
    scene.failing = True
    with pytest.raises(Unreachable):
        await scene.converge()
    scene.failing = False
    await scene.converge()
    failed, done = scene.convergences
    assert linked(failed) == linked(done) == [wanted.span_id]
    assert dict(failed.attributes or {})["error.type"] == "timeout"
    assert "secret" not in failed.to_json()


async def test_it_is_traced_when_a_request_that_wanted_it_is_and_else_by_the_ratio() -> None:
    scene = Scene(0.0)
    await scene.converge()
    await scene.wanted_by_a_request(sampled=False)
    await scene.converge()
    assert scene.convergences == []
    request = await scene.wanted_by_a_request()
    await scene.converge()
    assert [linked(span) for span in scene.convergences] == [[request.span_id]]


def test_what_is_remembered_is_bounded_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "_MOST_KEYS", 3)
    origins = Origins()
    spans = [SpanContext(n, n, is_remote=False) for n in range(1, 20)]
    for span in spans:
        origins.add(KEY, span)
    for number in range(2):
        origins.add(Key("items", str(number)), spans[0])
    assert [each.span_id for each in origins.take(KEY)] == list(range(12, 20))
    for number in range(9):
        origins.add(Key("items", str(number)), spans[0])
    assert [number for number in range(9) if origins.take(Key("items", str(number)))] == [6, 7, 8]
