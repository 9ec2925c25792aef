"""How spans leave the process: in batches, by a thread of OpenTelemetry's, and never at the client's cost.

What waits is bounded, and what comes beyond is dropped and counted. A collector that is away, slow or hung blocks that
thread alone. That spans are lost is said once, and once more when they get through again; OpenTelemetry's own messages
(one a batch, or a span) are kept out of the log. The end waits for what is left, but not for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Gauge

log = structlog.get_logger(__name__)

CLOSE_SECONDS: Final = 2.0
# A batch is made ready while the event loop waits for it: a smaller one, for a shorter time.
BATCH: Final = 128
_EVERY_MS: Final = 1000
# The last one quotes headers that it cannot read, which hold the collector's keys.
_TALKERS: Final = (
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.util.re",
)
_REMEDY: Final = "see OTEL_EXPORTER_OTLP_ENDPOINT, and whether the collector there takes OTLP over HTTP"


def silence_otel_logs() -> None:
    """Keep out of the log what OpenTelemetry says of each batch, and of secrets. Before an exporter is made."""
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class SpanMetrics:
    """What becomes of spans, in the registry of the proxy's other metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.spans = Counter(
            "crossfade_spans_total",
            "Spans by what became of them: `sent`, `lost` (the collector did not take them), `dropped` (too many).",
            ("outcome",),
            registry=registry,
        )
        self.waiting = Gauge("crossfade_spans_waiting", "Spans that wait to be sent.", registry=registry)
        for outcome in ("sent", "lost", "dropped"):
            self.spans.labels(outcome)


class BatchingExporter(SpanProcessor):
    """A span processor with at most `limit` spans waiting for `exporter`. Make it, and end spans, in the event loop."""

    def __init__(self, exporter: SpanExporter, limit: int, metrics: SpanMetrics) -> None:
        loop = asyncio.get_running_loop()
        self._limit = limit
        self._dropped = metrics.spans.labels("dropped")
        self._sent, self._lost = metrics.spans.labels("sent"), metrics.spans.labels("lost")
        # Each is written by one thread only.
        self._given = 0
        self._exporter = _Watched(exporter, lambda n, ok: _in(loop, lambda: self._exported(n, ok)))
        metrics.waiting.set_function(lambda: self._waiting)
        self._batches = BatchSpanProcessor(self._exporter, limit + BATCH, _EVERY_MS, min(BATCH, limit))
        self._fails = self._drops = False

    def on_end(self, span: ReadableSpan) -> None:
        if self._waiting < self._limit:
            self._given += 1
            self._batches.on_end(span)
            return
        self._dropped.inc()
        if not self._drops:
            self._drops = True
            log.warning("spans_dropped", limit=self._limit, remedy=_REMEDY)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Blocks until what waits has been sent, or lost."""
        return self._batches.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Blocks while what waits is sent: `close` does it in a thread of its own."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Send what waits, for so long; what is left then is lost."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self.shutdown()
            _in(loop, done.set)

        # Not the loop's own threads, which the process would wait for: a hung collector is not to keep it.
        threading.Thread(target=end, name="spans-left", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await done.wait()
        except TimeoutError:
            log.warning("spans_left", spans=self._waiting, remedy=_REMEDY)

    @property
    def _waiting(self) -> int:
        return self._given - self._exporter.taken

    def _exported(self, spans: int, sent: bool) -> None:
        (self._sent if sent else self._lost).inc(spans)
        if not sent and not self._fails:
            log.warning("spans_not_sent", spans=spans, remedy=_REMEDY)
        elif sent and self._fails:
            log.info("spans_sent_again")
        if sent:
            self._drops = False
        self._fails = not sent


class _Watched(SpanExporter):
    """An exporter whose every batch is told of, by the thread that sends: how many spans, and whether they were taken.

    `taken` are the spans that it has been given so far."""

    def __init__(self, exporter: SpanExporter, told: Callable[[int, bool], None]) -> None:
        self._exporter = exporter
        self._told = told
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._told(len(spans), result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _in(loop: asyncio.AbstractEventLoop, do: Callable[[], None]) -> None:
    """From another thread: do it in the loop, if there is still one."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(do)
