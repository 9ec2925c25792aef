"""A DynamoDB with bad manners: HTTP in front of a stand-in that answers, or does, what a rule says instead.

It speaks requests and answers, not bytes (a bad network is `tests.faults`): so it can lose an answer to what was done,
do what it has long said to have failed, or be throttled.
"""

import http.client
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.standins.processes import LOOPBACK, free_port

_KEPT = ("content-type", "x-amz-target", "authorization", "x-amz-date")
_ERROR = b'{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"as the test wants it"}'


class Manner(StrEnum):
    """What becomes of one request."""

    GOOD = "good"
    REFUSED = "refused"  # not done; 500 InternalServerError
    THROTTLED = "throttled"  # not done; 400 ThrottlingException
    DONE_AND_500 = "done_and_500"  # done all the same
    LOST = "lost"  # done, and the connection is cut instead of an answer
    LATE = "late"  # done `late` seconds after the connection was cut
    SILENT = "silent"  # not done and not answered, for `late` seconds


Rule = Callable[[str, bytes], Manner]
Forward = Callable[[bytes], tuple[int, bytes]]
Carry = Callable[[str, bytes, Forward], tuple[int, bytes]]


class Unruly:
    """`with Unruly(store.endpoint) as between: between.rule = lambda action, body: Manner.LOST`.

    `carry` answers what is done, and may change it. `asked` counts requests by action and manner; `late` is in seconds.
    """

    def __init__(self, endpoint: str, late: float = 0.5, carry: Carry | None = None) -> None:
        self.rule: Rule = lambda action, body: Manner.GOOD
        self.asked: list[tuple[str, Manner]] = []
        self.late = late
        self._carry = carry or (lambda action, body, forward: forward(body))
        self._there = urlsplit(endpoint).netloc
        self._server = ThreadingHTTPServer((LOOPBACK, free_port()), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port`, for an SDK's or the proxy's endpoint_url."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                manner = between.rule(action, body)
                between.asked.append((action, manner))
                if manner is Manner.REFUSED:
                    self._answer(500, _ERROR % b"InternalServerError")
                elif manner is Manner.THROTTLED:
                    self._answer(400, _ERROR % b"ThrottlingException")
                elif manner is Manner.SILENT:
                    time.sleep(between.late)
                    self.close_connection = True
                elif manner is Manner.LATE:
                    self.close_connection = True
                    threading.Timer(between.late, self._forward, (body,)).start()
                else:
                    status, answer = between._carry(action, body, self._forward)
                    if manner is Manner.LOST:
                        self.close_connection = True
                    elif manner is Manner.DONE_AND_500:
                        self._answer(500, _ERROR % b"InternalServerError")
                    else:
                        self._answer(status, answer)

            def _forward(self, body: bytes) -> tuple[int, bytes]:
                connection = http.client.HTTPConnection(between._there, timeout=60)
                try:
                    connection.request("POST", "/", body, {n: self.headers[n] for n in _KEPT if n in self.headers})
                    answer = connection.getresponse()
                    return answer.status, answer.read()
                finally:
                    connection.close()

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response_only(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler
