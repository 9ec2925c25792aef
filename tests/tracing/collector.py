"""A collector: takes spans over OTLP/HTTP as a real one does, keeps them, and can be made to hang or to refuse.

It runs in a thread of the test's. Imports nothing of the product.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

KINDS = {
    Span.SPAN_KIND_INTERNAL: "INTERNAL",
    Span.SPAN_KIND_SERVER: "SERVER",
    Span.SPAN_KIND_CLIENT: "CLIENT",
}


@dataclass(frozen=True)
class Got:
    """A span as the collector got it; identities in hexadecimal digits, `parent` "" where there is none."""

    name: str
    kind: str
    trace: str
    span: str
    parent: str
    state: str
    attributes: dict[str, Any]
    error: bool
    message: str
    links: tuple[tuple[str, str], ...]
    events: int
    service: str


class Collector:
    """`with Collector() as collector:` takes spans at `url`."""

    def __init__(self) -> None:
        self._spans: list[Got] = []
        self._raw: list[bytes] = []
        self._lock = threading.Lock()
        self._working = threading.Event()
        self._working.set()
        self.refusing = False
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._working.wait(300)
                self.send_response(400 if collector.refusing else collector._take(self.path, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def hang(self) -> None:
        """From now on take what comes, and never answer."""
        self._working.clear()

    @property
    def spans(self) -> list[Got]:
        with self._lock:
            return list(self._spans)

    @property
    def text(self) -> str:
        """All that was said in any span, names and values alike."""
        with self._lock:
            return "\n".join(str(ExportTraceServiceRequest.FromString(each)) for each in self._raw)

    def forget(self) -> None:
        with self._lock:
            self._spans, self._raw = [], []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._working.set()
        self._server.shutdown()
        self._server.server_close()

    def _take(self, path: str, body: bytes) -> int:
        if path != "/v1/traces":
            return 404
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            _got(span, {a.key: _plain(a.value) for a in of.resource.attributes})
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans += found
            self._raw.append(body)
        return 200


def _got(span: Span, resource: dict[str, Any]) -> Got:
    return Got(
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        {a.key: _plain(a.value) for a in span.attributes},
        span.status.code == 2,
        span.status.message,
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        len(span.events),
        resource["service.name"],
    )


def _plain(value: AnyValue) -> Any:
    if value.HasField("array_value"):
        return [_plain(each) for each in value.array_value.values]
    return getattr(value, value.WhichOneof("value") or "string_value")
