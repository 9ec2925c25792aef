"""Spans made by hand: which one is the current one, whether it is sampled, and how one is opened under it.

Whether a request is traced is decided once, where it comes in. What is not costs one look at that decision at each
place where there would be a span. A span stays its task's current one until it is closed; tasks that are started
meanwhile inherit it, which is how what happens behind the answer belongs to its request. The current span stands in a
variable of our own and not in OpenTelemetry's context, which takes ten times as long to look at (1 µs, measured) and
serves instrumentations that there are none of here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    TraceState,
    set_span_in_context,
)
from structlog.typing import EventDict

from proxy.dynamodb.outcome import Outcome
from proxy.tracing.span_names import DB_STATUS, ERROR_TYPE, Attributes, error_type, word

NOWHERE: Final = Context()
"""Under no span."""


_CURRENT: Final[ContextVar[Span]] = ContextVar("crossfade_span", default=INVALID_SPAN)


def enter(span: Span) -> Token[Span]:
    """It is the current one until `leave` is given what this gives."""
    return _CURRENT.set(span)


leave: Final = _CURRENT.reset


def current() -> SpanContext:
    """The current span's; not valid where there is none."""
    return _CURRENT.get().get_span_context()


def sampled() -> bool:
    """Whether what happens now is traced: the current span, open or not, is one that is kept."""
    return not isinstance(_CURRENT.get(), NonRecordingSpan)


def tell(attributes: Attributes) -> None:
    """Say something of the current span, if it is still open and kept."""
    span = _CURRENT.get()
    if span.is_recording():
        span.set_attributes(attributes)


def headers() -> bytes:
    """The current span in the head of a request, as «Trace Context» (W3C) writes it; nothing where there is none."""
    context = current()
    if not context.is_valid:
        return b""
    parent = b"traceparent: 00-%032x-%016x-%02x\r\n" % (context.trace_id, context.span_id, context.trace_flags)
    state = context.trace_state
    return parent + b"tracestate: %b\r\n" % state.to_header().encode() if state else parent


def mark(_: Any, __: str, event: EventDict) -> EventDict:
    """A processor of structlog's: which span a log event belongs to."""
    context = current()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


class Open:
    """`with Open(span):` makes it the current one, and ends it. An exception is told by its kind alone."""

    __slots__ = ("_token", "span")

    def __init__(self, span: Span) -> None:
        self.span = span

    def __enter__(self) -> Self:
        self._token = enter(self.span)
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        leave(self._token)
        if error is not None:
            self.failed(error_type(error))
        self.span.end()

    def failed(self, why: str) -> None:
        """What it was to do was not done."""
        self.span.set_attribute(ERROR_TYPE, why)
        self.span.set_status(StatusCode.ERROR)

    def answered(self, outcome: Outcome) -> None:
        """What a store answered; an error is told by its code."""
        if not outcome.ok:
            code = word(outcome.error_code or "")
            self.span.set_attribute(DB_STATUS, code)
            self.failed(code)


class Spans:
    """Opens spans: under the current one, or as the first of a trace of their own that is linked to others.

    `ids` are the tracer's, and `ratio` is its sampler's for what nobody else decides.
    """

    def __init__(self, tracer: Tracer, ids: Ids, ratio: float) -> None:
        self._tracer = tracer
        self._ids = ids
        self._bound = TraceIdRatioBased.get_bound_for_rate(ratio)

    def call(self, name: str, attributes: Attributes) -> Open:
        """A call of another program, under the current span."""
        return Open(self._tracer.start_span(name, _under(), SpanKind.CLIENT, attributes))

    def work(self, name: str, attributes: Attributes, links: Sequence[Link] = ()) -> Open:
        """Something done here, under the current span."""
        return Open(self._tracer.start_span(name, _under(), SpanKind.INTERNAL, attributes, links))

    def alone(self, name: str, attributes: Attributes, links: Sequence[Link]) -> Open:
        """Something done here, in a trace of its own."""
        return Open(self._tracer.start_span(name, NOWHERE, SpanKind.INTERNAL, attributes, links))

    def served(self, name: str, attributes: Attributes, parent: Context) -> Span:
        """A request that is served, not the current span yet.

        Most requests have no parent and are not sampled: for these the sampler's decision is taken here, as it would
        take it, because asking it takes three times as long.
        """
        if parent is NOWHERE:
            trace_id = self._ids.generate_trace_id()
            if trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
                return NonRecordingSpan(SpanContext(trace_id, self._ids.generate_span_id(), is_remote=False))
            self._ids.next_trace(trace_id)
        return self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)


def _under() -> Context:
    return set_span_in_context(_CURRENT.get(), NOWHERE)


class Ids(RandomIdGenerator):
    """Identities by chance, but for one trace's that was drawn already."""

    def __init__(self) -> None:
        self._next = 0

    def next_trace(self, trace_id: int) -> None:
        """The next trace is this one."""
        self._next = trace_id

    def generate_trace_id(self) -> int:
        drawn, self._next = self._next, 0
        return drawn or super().generate_trace_id()


class ByOrigin(Sampler):
    """For the first span of a trace: where it is linked to others, whether one of them is sampled; else one in so
    many. What comes of a request later is thus traced when the request was, and not by another throw."""

    def __init__(self, ratio: float) -> None:
        self._ratio = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if not links:
            return self._ratio.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if any(link.context.trace_flags.sampled for link in links):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        return f"ByOrigin{{{self._ratio.get_description()}}}"
