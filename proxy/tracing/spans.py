"""Spans made by hand: which one is the current one, whether it is sampled, and how one is opened under it.

Whether a request is traced is decided once, where it comes in. What is not costs one look at that decision at each
place where there would be a span. A span stays its task's current one until it is closed; tasks that are started
meanwhile inherit it, which is how what happens behind the answer belongs to its request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from structlog.typing import EventDict

from proxy.dynamodb.outcome import Outcome
from proxy.tracing.names import DB_STATUS, ERROR_TYPE, Attributes, error_type, word

NOWHERE: Final = Context()
"""Under no span."""


def current() -> SpanContext:
    """The current span's; not valid where there is none."""
    return get_current_span().get_span_context()


def sampled() -> bool:
    """Whether what happens now is traced."""
    return current().trace_flags.sampled


def tell(attributes: Attributes) -> None:
    """Say something of the current span, if it is still open and records."""
    span = get_current_span()
    if span.is_recording():
        span.set_attributes(attributes)


def headers() -> bytes:
    """The current span in the head of a request, as «Trace Context» (W3C) writes it; nothing where there is none."""
    context = current()
    if not context.is_valid:
        return b""
    text = f"traceparent: 00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}\r\n"
    state = context.trace_state.to_header() if context.trace_state else ""
    return (f"{text}tracestate: {state}\r\n" if state else text).encode()


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
        self._token = attach(set_span_in_context(self.span))
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        detach(self._token)
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
    """Opens spans: under the current one, or as the first of a trace of their own that is linked to others."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def call(self, name: str, attributes: Attributes) -> Open:
        """A call of another program, under the current span."""
        return Open(self._tracer.start_span(name, None, SpanKind.CLIENT, attributes))

    def work(self, name: str, attributes: Attributes, links: Sequence[Link] = ()) -> Open:
        """Something done here, under the current span."""
        return Open(self._tracer.start_span(name, None, SpanKind.INTERNAL, attributes, links))

    def alone(self, name: str, attributes: Attributes, links: Sequence[Link]) -> Open:
        """Something done here, in a trace of its own."""
        return Open(self._tracer.start_span(name, NOWHERE, SpanKind.INTERNAL, attributes, links))

    def served(self, name: str, attributes: Attributes, parent: Context) -> Span:
        """A request that is served, not the current span yet."""
        return self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)


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
