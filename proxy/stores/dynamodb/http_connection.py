"""One HTTP/1.1 connection to DynamoDB, one exchange at a time: bytes out, bytes in, and what a failure leaves unknown.

It decides nothing: whether to send again, where to, and how many connections there are is `connections`' to say.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import httptools

from proxy.stores.errors import UnknownOutcome, Unreachable

# An answer holds 16 MB of items at most ("BatchGetItem", API reference), counted as stored: it is larger as JSON, where
# a stored byte may be two digits or a base64 letter and a third.
MAX_ANSWER: Final = 64 * 1024 * 1024
MAX_ANSWER_HEADERS: Final = 64 * 1024
_JOIN: Final = 64 * 1024
_REQUEST_ID: Final = "x-amzn-requestid"


@dataclass(frozen=True, slots=True)
class HTTPResponse:
    """What came back: the status, the headers in their order and spelling, the body without its transfer coding."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time. The parser calls the `on_` methods as it reads."""

    __slots__ = (
        "_answer",
        "_bodiless",
        "_chunks",
        "_headers",
        "_parser",
        "_size",
        "_transport",
        "_usable",
        "heard",
        "idle_since",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HTTPResponse] | None = None
        self._headers: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._bodiless = False
        self.heard = False
        self._usable = True
        self.idle_since = 0.0

    @property
    def alive(self) -> bool:
        """Whether another exchange can be tried on it."""
        return self._usable and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, head: bytes, body: bytes, deadline: float, bodiless: bool) -> HTTPResponse:
        """Send a request and wait for its answer until the monotonic clock reaches `deadline`; a HEAD is `bodiless`."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            raise Unreachable("reset", "the connection was closed as soon as it was opened")
        answer: asyncio.Future[HTTPResponse] = loop.create_future()
        self._answer = answer
        self._bodiless = bodiless
        self.heard = False
        if len(body) <= _JOIN:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        timer = loop.call_later(max(0.0, deadline - time.monotonic()), self._expire)
        try:
            return await answer
        except asyncio.CancelledError:
            self.close("the request was given up")  # its answer would be taken for the next one's
            raise
        finally:
            timer.cancel()
            self._answer = None

    def close(self, why: str) -> None:
        self._fail(UnknownOutcome("reset", why))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's, both ways

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self._fail(UnknownOutcome("protocol", "DynamoDB sent what nobody had asked for"))
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(UnknownOutcome("protocol", f"the answer is not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(UnknownOutcome("reset", f"the connection was cut: {exc or 'closed by DynamoDB'}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))
        self._size += len(name) + len(value)
        if self._size > MAX_ANSWER_HEADERS:
            self._fail(UnknownOutcome("protocol", "the answer's headers are too large"))

    def on_headers_complete(self) -> None:
        self._size = 0
        if self._bodiless and self._parser.get_status_code() >= 200:
            self._usable = False  # the parser waits for a body that HEAD does not get
            self._complete()

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_ANSWER:
            self._fail(UnknownOutcome("protocol", f"the answer has more than {MAX_ANSWER} bytes"))
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # 100 Continue and its like: the answer is yet to come
            self._headers = []
            return
        if not self._parser.should_keep_alive() or self._is_of_no_dynamodb():
            self._usable = False
        self._complete()

    def _is_of_no_dynamodb(self) -> bool:
        """Whether something on the way has failed in DynamoDB's place: this connection would lead there for as long as
        it is used, and a new one may lead to DynamoDB."""
        return self._parser.get_status_code() >= 500 and not any(n.lower() == _REQUEST_ID for n, _ in self._headers)

    def _complete(self) -> None:
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        answer = HTTPResponse(self._parser.get_status_code(), tuple(self._headers), body)
        self._headers, self._chunks, self._size = [], [], 0
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)
        else:
            self._fail(UnknownOutcome("protocol", "DynamoDB answered twice"))

    def _expire(self) -> None:
        self._fail(UnknownOutcome("timeout", "DynamoDB did not answer in time"))

    def _fail(self, error: UnknownOutcome) -> None:
        self._usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
