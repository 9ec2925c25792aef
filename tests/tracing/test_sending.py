"""Spans on their way out: what waits is bounded, a collector that hangs or fails costs nothing and is told of once."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry

from proxy.tracing import span_exporter as sending
from proxy.tracing.span_exporter import BATCH, BatchingExporter, SpanMetrics

LIMIT = 300
_HUNG_SECONDS = 60


class Exporter(SpanExporter):
    """Takes spans, or raises, or hangs until it is let go."""

    def __init__(self) -> None:
        self.spans = 0
        self.failing = False
        self.free = threading.Event()
        self.free.set()
        self.asked = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.free.wait(_HUNG_SECONDS)
        if self.failing:
            raise ConnectionError("refused")
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


class Scene:
    """`end(n)` ends so many spans, as a request does; `counted` are spans by what became of them."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.registry = CollectorRegistry()
        self.sending = BatchingExporter(exporter, LIMIT, SpanMetrics(self.registry))
        provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
        provider.add_span_processor(self.sending)
        self._tracer = provider.get_tracer("test")

    def end(self, spans: int) -> None:
        for _ in range(spans):
            self._tracer.start_span("a").end()

    def counted(self, outcome: str) -> float:
        return self.registry.get_sample_value("crossfade_spans_total", {"outcome": outcome}) or 0.0

    async def until(self, outcome: str, number: float) -> None:
        async with asyncio.timeout(120):
            while self.counted(outcome) < number:  # noqa: ASYNC110  # another thread's doing
                await asyncio.sleep(0.02)


@contextmanager
def told() -> Iterator[list[str]]:
    """What is logged, by the events' names."""
    with structlog.testing.capture_logs() as events:
        names: list[str] = []
        yield names
        names.extend(event["event"] for event in events)


async def test_what_is_ended_is_sent_and_counted() -> None:
    scene = Scene(Exporter())
    scene.end(LIMIT)
    await scene.until("sent", LIMIT)
    assert scene.exporter.spans == LIMIT
    assert scene.registry.get_sample_value("crossfade_spans_waiting") == 0
    await scene.sending.close()


async def test_the_end_sends_what_waits() -> None:
    scene = Scene(Exporter())
    scene.end(3)
    await scene.sending.close()
    assert scene.exporter.spans == 3


async def test_a_hung_collector_costs_a_bounded_queue_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "CLOSE_SECONDS", 0.3)
    exporter = Exporter()
    exporter.free.clear()
    with told() as events:
        scene = Scene(exporter)
        began = time.monotonic()
        scene.end(BATCH)
        await asyncio.to_thread(exporter.asked.wait, _HUNG_SECONDS)
        for _ in range(20):
            scene.end(100)
            await asyncio.sleep(0)
        # Beside those that wait, one batch is in the exporter's hands.
        assert scene.counted("dropped") == 2000 - LIMIT
        assert scene.registry.get_sample_value("crossfade_spans_waiting") == LIMIT
        await scene.sending.close()
        assert time.monotonic() - began < _HUNG_SECONDS / 2  # who had waited for the collector would still wait
        exporter.free.set()
    assert events == ["spans_dropped", "spans_left"]


async def test_a_collector_that_fails_is_told_of_once_and_once_when_it_is_back() -> None:
    exporter = Exporter()
    exporter.failing = True
    with told() as events:
        scene = Scene(exporter)
        for number in (1, 2, 3):
            scene.end(BATCH)
            await scene.until("lost", number * BATCH)
        exporter.failing = False
        scene.end(BATCH)
        await scene.until("sent", BATCH)
        await scene.sending.close()
    assert events == ["spans_not_sent", "spans_sent_again"]
    assert scene.counted("lost") == 3 * BATCH
