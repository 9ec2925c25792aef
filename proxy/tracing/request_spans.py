"""A client's request: the span that it is served under, of its sender's trace where it says so («Trace Context»).

Says what was asked and how it ended, by names and codes; never what was sent or answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler as RoutedHandler
from aiohttp.typedefs import Middleware
from multidict import CIMultiDictProxy
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.dynamodb.outcome import Outcome
from proxy.settings import Address
from proxy.tracing import span_names as names
from proxy.tracing.span_names import (
    ERROR_TYPE,
    HTTP_METHOD,
    HTTP_STATUS,
    REQUEST_ID,
    RPC_STATUS,
    Attributes,
    error_type,
)
from proxy.tracing.spans import NOWHERE, Spans, enter, leave, sampled, tell
from proxy.wire.server import Handler, OperationHandler

R = TypeVar("R", bound=web.BaseRequest)

_PARENT: Final = "traceparent"
_STATE: Final = "tracestate"
_LONGEST: Final = 128


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
            target = request.headers.get("X-Amz-Target", "")[:_LONGEST]
            return await self._serve(request, self._described(request.method, target), handle)

        return traced

    def middleware(self) -> Middleware:
        """For a port whose requests are told by their routes."""

        @web.middleware
        async def traced(request: web.Request, handler: RoutedHandler) -> web.StreamResponse:
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else None
            return await self._serve(request, _routed(request.method, route), handler)

        return traced

    async def _serve(
        self, request: R, described: tuple[str, Attributes], handle: Callable[[R], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        span = self._spans.served(*described, self._parent(request.headers))
        token = enter(span)
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
            leave(token)
            span.end()

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

    def __init__(self, layer: OperationHandler) -> None:
        self._layer = layer

    async def execute(self, action: str, body: bytes, request_id: str, client: str = "") -> Outcome:
        if sampled():
            tell({REQUEST_ID: request_id})
        return self._told(await self._layer.execute(action, body, request_id, client))

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        return self._told(await self._layer.pass_through(action, target, body, headers))

    def _told(self, outcome: Outcome) -> Outcome:
        if not outcome.ok and sampled():
            code = names.word(outcome.error_code or "")
            told: Attributes = {RPC_STATUS: code}
            tell(told | {ERROR_TYPE: code} if outcome.status >= 500 else told)
        return outcome


def _routed(method: str, route: str | None) -> tuple[str, Attributes]:
    known = names.method(method)
    if route is None:
        return known, {HTTP_METHOD: known}
    return f"{known} {route}", {HTTP_METHOD: known, names.HTTP_ROUTE: route}


def _answered(span: Span, status: int) -> None:
    """What the client got. Of what is served only a 5xx is an error («Semantic conventions for HTTP spans»)."""
    span.set_attribute(HTTP_STATUS, status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _failed(span: Span, why: str) -> None:
    span.set_attribute(ERROR_TYPE, why)
    span.set_status(StatusCode.ERROR)
