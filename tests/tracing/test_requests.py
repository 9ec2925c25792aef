"""A request's own span: its sender's trace, its route or operation, how it ended; and what a client makes up in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestClient, TestServer
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import StatusCode

from proxy.settings import Address
from proxy.tracing.request_spans import Requests
from proxy.tracing.spans import ByOrigin, Ids, Spans, current, headers, mark

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Scene:
    def __init__(self, ratio: float) -> None:
        self.exporter, ids = InMemorySpanExporter(), Ids()
        provider = TracerProvider(sampler=ParentBased(ByOrigin(ratio)), shutdown_on_exit=False, id_generator=ids)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.requests = Requests(Spans(provider.get_tracer("test"), ids, ratio), Address("127.0.0.1", 8000))
        self.carried: list[bytes] = []

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.exporter.get_finished_spans()
        return span

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.carried.append(headers())
        if "fail" in request.path:
            raise ValueError("a secret")
        return web.Response(status=503 if "ill" in request.path else 200)

    @asynccontextmanager
    async def items(self) -> AsyncIterator[TestClient[web.Request, web.Application]]:
        app = web.Application(middlewares=[self.requests.middleware()])
        app.router.add_get("/items/{type}/{id}", self.handle)
        async with TestClient(TestServer(app)) as client:
            yield client

    async def ask(self, sent: dict[str, str], path: str = "/") -> int:
        async with asked(self.requests.handler(self.handle)) as client:
            return (await client.post(path, headers=sent)).status


def asked(handle: Any) -> TestClient[Any, Any]:
    return TestClient(RawTestServer(handle))


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_request_of_the_items_port_is_called_by_its_route() -> None:
    scene = Scene(1.0)
    async with scene.items() as client:
        await client.get("/items/Book/secret", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
        await client.get("/nowhere/secret")
    routed, lost = scene.exporter.get_finished_spans()
    assert (routed.name, f"{routed.context.trace_id:032x}") == ("GET /items/{type}/{id}", TRACE)
    assert said(routed) == {
        "http.request.method": "GET",
        "http.route": "/items/{type}/{id}",
        "http.response.status_code": 200,
    }
    assert lost.name == "GET"
    assert "secret" not in routed.to_json() + lost.to_json()


@pytest.mark.parametrize(
    ("sender", "ratio", "traced"), [("01", 0.0, 1), ("00", 1.0, 0), (None, 0.0, 0), (None, 1.0, 1)]
)
async def test_the_sender_decides_and_else_the_ratio(sender: str | None, ratio: float, traced: int) -> None:
    scene = Scene(ratio)
    sent = {"X-Amz-Target": "DynamoDB_20120810.GetItem"}
    if sender is not None:
        sent["traceparent"] = f"00-{TRACE}-{SPAN}-{sender}"
    assert await scene.ask(sent) == 200
    assert len(scene.exporter.get_finished_spans()) == traced
    # Whoever is asked in turn is told of the decision either way.
    (carried,) = scene.carried
    assert carried.startswith(b"traceparent: 00-")
    assert bool(carried[-3] & 1) == bool(traced)
    assert (TRACE.encode() in carried) == (sender is not None)
    assert not current().is_valid


@pytest.mark.parametrize("parent", ["", "00-secret", f"00-{TRACE}-{SPAN}", f"ff-{TRACE}-{SPAN}-01", "00-" + "0" * 32])
async def test_what_is_no_traceparent_begins_a_trace(parent: str) -> None:
    scene = Scene(1.0)
    assert await scene.ask({"traceparent": parent, "tracestate": "secret", "X-Amz-Target": "a.secret"}) == 200
    assert scene.span.parent is None
    assert scene.span.name == "aws-api"
    assert said(scene.span)["rpc.method"] == "_OTHER"
    assert "secret" not in scene.span.to_json()
    assert b"secret" not in scene.carried[0]


async def test_a_5xx_is_an_error_and_a_fault_is_told_by_its_kind() -> None:
    scene = Scene(1.0)
    assert await scene.ask({}, "/ill") == 503
    assert scene.span.status.status_code is StatusCode.ERROR
    scene.exporter.clear()
    assert await scene.ask({}, "/fail") == 500
    assert said(scene.span)["error.type"] == "ValueError"
    assert scene.span.status.description is None
    assert scene.span.events == ()
    assert not current().is_valid


async def test_log_events_are_marked_with_the_span_they_belong_to() -> None:
    scene = Scene(1.0)
    marked: list[Any] = []

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        behind = asyncio.create_task(later())
        marked.append(mark(None, "", {"event": "e"}))
        await behind
        return web.Response()

    async def later() -> None:
        marked.append(mark(None, "", {"event": "later"}))

    async with asked(scene.requests.handler(handle)) as client:
        await client.post("/")
    span = scene.span.context
    ids = {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    assert marked == [{"event": "e", **ids}, {"event": "later", **ids}]
    assert mark(None, "", {"event": "e"}) == {"event": "e"}
