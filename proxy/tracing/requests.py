"""A client's request: the span that it is served under, of its sender's trace where it says so («Trace Context»).

Says what was asked and how it ended, by names and codes; never what was sent or answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from aiohttp import web
from multidict import CIMultiDictProxy
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.dynamodb.outcome import Outcome
from proxy.settings import Address
from proxy.tracing import names
from proxy.tracing.names import ERROR_TYPE, HTTP_METHOD, HTTP_STATUS, REQUEST_ID, RPC_STATUS, Attributes, error_type
from proxy.tracing.spans import NOWHERE, Spans, tell
from proxy.wire.server import Handler, Layer

_PARENT: Final = "traceparent"
_STATE: Final = "tracestate"


class Requests:
    """`listen` is the data port's address."""

    def __init__(self, spans: Spans, listen: Address) -> None:
        self._spans = spans
        self._propagator = TraceContextTextMapPropagator()
        # A port that the system chose is not known yet, and tells nothing.
        self._place: Attributes = {names.SERVER_ADDRESS: listen.host}
        if listen.port:
            self._place[names.SERVER_PORT] = listen.port
        self._described = lru_cache(maxsize=256)(self._describe)

    def handler(self, handle: Handler) -> Handler:
        """The data port's handler, each request under a span."""

        async def traced(request: web.BaseRequest) -> web.StreamResponse:
            name, attributes = self._described(request.method, request.headers.get("X-Amz-Target", "")[:128])
            span = self._spans.served(name, attributes, self._parent(request.headers))
            token = attach(set_span_in_context(span, NOWHERE))
            try:
                response = await handle(request)
            except BaseException as error:  # a client that has gone, too
                _failed(span, error_type(error))
                raise
            else:
                if span.is_recording():
                    _answered(span, response.status)
                return response
            finally:
                detach(token)
                span.end()

        return traced

    def _parent(self, headers: CIMultiDictProxy[str]) -> Context:
        if _PARENT not in headers:
            return NOWHERE
        carrier = {_PARENT: headers[_PARENT], _STATE: ",".join(headers.getall(_STATE, ()))}
        return self._propagator.extract(carrier, NOWHERE)

    def _describe(self, method: str, target: str) -> tuple[str, Attributes]:
        attributes: Attributes = {HTTP_METHOD: names.method(method), **self._place}
        if not target:
            return names.method(method), attributes
        called = names.remote_method(target)
        attributes |= {names.RPC_SYSTEM: names.AWS_API, names.RPC_METHOD: called}
        return called if called != names.UNKNOWN else names.AWS_API, attributes


class TracedLayer:
    """The layer as the wire sees it: what became of each request, told of the span it is served under."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    async def execute(self, action: str, body: bytes, request_id: str) -> Outcome:
        tell({REQUEST_ID: request_id})
        return self._told(await self._layer.execute(action, body, request_id))

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        return self._told(await self._layer.pass_through(action, target, body, headers))

    def _told(self, outcome: Outcome) -> Outcome:
        if not outcome.ok and get_current_span().is_recording():
            code = names.word(outcome.error_code or "")
            told: Attributes = {RPC_STATUS: code}
            tell(told | {ERROR_TYPE: code} if outcome.status >= 500 else told)
        return outcome


def _answered(span: Span, status: int) -> None:
    """What the client got. Of what is served only a 5xx is an error («Semantic conventions for HTTP spans»)."""
    span.set_attribute(HTTP_STATUS, status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _failed(span: Span, why: str) -> None:
    span.set_attribute(ERROR_TYPE, why)
    span.set_status(StatusCode.ERROR)
