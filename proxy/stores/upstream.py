"""The raw connection to DynamoDB: bytes out, bytes in, signed with the proxy's own credentials.

HTTP/1.1 over kept connections, small enough to be read at one sitting, because an HTTP client made for everything costs
more than the rest of a proxied request. What it takes care to say is whether a failed request may have had an effect:
`Unreachable` certainly had none, of `UnknownOutcome` nobody can tell (RFC 9110, 9.2.2: a client must not repeat such a
request unless it knows that repeating does no harm). It reads no request and no answer, and it knows no table.
"""

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import httptools

from proxy.stores.credentials import Credentials
from proxy.stores.failures import UnknownOutcome, Unreachable
from proxy.stores.sigv4 import Credential, Signing, amz_date

SERVICE: Final = "dynamodb"  # DynamoDB Streams signs with this name too
STREAMS: Final = "DynamoDBStreams_"

# An answer holds 16 MB of items at most ("BatchGetItem", API reference), counted as stored: it is larger as JSON, where
# a stored byte may be two digits or a base64 letter and a third.
MAX_ANSWER: Final = 64 * 1024 * 1024
MAX_ANSWER_HEADERS: Final = 64 * 1024
_JOIN: Final = 64 * 1024

# They change nothing, so that one of them may be sent again when a kept connection turns out to have been closed.
_READS: Final = frozenset(
    f"DynamoDB_20120810.{action}"
    for action in (
        "BatchGetItem",
        "DescribeContinuousBackups",
        "DescribeEndpoints",
        "DescribeTable",
        "DescribeTimeToLive",
        "GetItem",
        "ListTables",
        "ListTagsOfResource",
        "Query",
        "Scan",
        "TransactGetItems",
    )
)

Reason = Literal["connect", "busy", "timeout", "reset", "protocol"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers in their order and spelling, the body without its transfer coding."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an endpoint URL leads."""

    host: str
    port: int
    tls: bool
    authority: str  # for the Host header: without the port where it is the scheme's own

    @classmethod
    def of(cls, url: str) -> Self:
        """From `http(s)://host[:port]`; ValueError if it has no host."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        tls = parts.scheme == "https"
        usual = 443 if tls else 80
        port = parts.port or usual
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(parts.hostname, port, tls, name if port == usual else f"{name}:{port}")


class Upstream:
    """Signed requests to DynamoDB's endpoint, and to its Streams endpoint, over at most `connections` each.

    `waiting` requests may wait for a free connection; one more is refused at once. Connections unused for
    `idle_seconds` are closed. `headers` gives lines for each request's head that are not signed, each ending as HTTP's
    do. Safe for any number of tasks of one event loop. Close it with `close()`.
    """

    def __init__(
        self,
        endpoint_url: str,
        *,
        region: str,
        credentials: Credentials,
        streams_endpoint_url: str | None = None,
        connections: int = 64,
        waiting: int = 1024,
        idle_seconds: float = 15.0,
        connect_timeout: float = 3.0,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = "crossfade",
        headers: Callable[[], bytes] | None = None,
    ) -> None:
        def pool(url: str) -> _Pool:
            endpoint = Endpoint.of(url)
            context = (ssl_context or ssl.create_default_context()) if endpoint.tls else None
            return _Pool(endpoint, context, connections, waiting, idle_seconds, connect_timeout)

        self._main = pool(endpoint_url)
        self._streams = self._main if streams_endpoint_url is None else pool(streams_endpoint_url)
        self._region = region
        self._credentials = credentials
        self._user_agent = user_agent
        self._made = self._signed if headers is None else self._signed_with(headers)

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return self._region

    @property
    def endpoints(self) -> tuple[str, str]:
        """Where tables' and streams' requests go: `host[:port]` each."""
        return self._main.endpoint.authority, self._streams.endpoint.authority

    async def request(
        self,
        target: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,  # noqa: ASYNC109  # a limit that the caller imposed would cancel, and lose the outcome
    ) -> Answer:
        """POST `body` to the operation `target` (`DynamoDB_20120810.GetItem`) and give its answer, an error or not.

        `headers` go along, and are signed where AWS wants that (Content-Type, X-Amz-…); those this connection makes
        itself are not taken from it. `timeout` seconds are for everything, waiting for a connection included.
        Raises Unreachable or UnknownOutcome. Cancelled once it is sent, its outcome is unknown too.
        """
        pool = self._streams if target.startswith(STREAMS) else self._main
        head = self._made(pool.endpoint.authority, target, body, headers)
        return await pool.exchange(head, body, time.monotonic() + timeout, repeatable=target in _READS)

    async def request_raw(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109  # as above
    ) -> Answer:
        """Carry a request that names no operation, as it came and unsigned, so that DynamoDB itself answers it.

        It lends nobody the proxy's credentials. Raises Unreachable or UnknownOutcome.
        """
        lines = [f"{method} {path} HTTP/1.1\r\nHost: {self._main.endpoint.authority}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers.items() if name.lower() not in _OWN]
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        head = "".join(lines).encode("utf-8", "surrogateescape")
        deadline = time.monotonic() + timeout
        return await self._main.exchange(head, body, deadline, repeatable=False, bodiless=method == "HEAD")

    async def reach(self, *, timeout: float) -> None:  # noqa: ASYNC109  # as above
        """Take a connection and give it back; raises Unreachable if none is to be had within `timeout` seconds."""
        await self._main.reach(time.monotonic() + timeout)

    async def close(self) -> None:
        """Close the connections; requests under way end with UnknownOutcome."""
        self._main.close()
        self._streams.close()

    def _signed(self, authority: str, target: str, body: bytes, extra: Mapping[str, str] | None) -> bytes:
        credential, date = self._credentials.current, amz_date(int(time.time()))
        if not extra:
            start, end, signing = _usual(authority, target, date, credential, self._region, self._user_agent)
        else:
            start, end, signing = _head(authority, target, date, credential, self._region, self._user_agent, extra)
        return f"{start}{signing.signature(body)}\r\ncontent-length: {len(body)}{end}".encode()

    def _signed_with(self, headers: Callable[[], bytes]) -> Callable[..., bytes]:
        """Headers that change with each request stay unsigned, as AWS's SDKs leave X-Amzn-Trace-Id: what is signed is
        then still the same for a second's requests, and whoever stands between may write its own."""

        def made(authority: str, target: str, body: bytes, extra: Mapping[str, str] | None) -> bytes:
            return self._signed(authority, target, body, extra)[:-2] + headers() + b"\r\n"

        return made


def _head(
    authority: str,
    target: str,
    date: str,
    credential: Credential,
    region: str,
    agent: str,
    extra: Mapping[str, str],
) -> tuple[str, str, Signing]:
    """A request's head up to the signature, and from behind its content length on, with what signs it."""
    kind = "application/x-amz-json-1.0"
    plain = ""
    signed = [("host", authority), ("x-amz-date", date), ("x-amz-target", target)]
    if credential.session_token is not None:
        signed.append(("x-amz-security-token", credential.session_token))
    for name, value in extra.items():
        lower = name.lower()
        if lower in _OWN:
            continue
        if lower == "content-type":
            kind = " ".join(value.split())
        elif lower == "user-agent":
            agent = value
        elif lower.startswith("x-amz-"):
            signed.append((lower, " ".join(value.split())))
        else:
            plain += f"{name}: {value}\r\n"
    signed.append(("content-type", kind))
    signed.sort()
    signing = Signing("POST", "/", signed, credential=credential, region=region, service=SERVICE, date=date)
    lines = "".join([f"{name}: {value}\r\n" for name, value in signed])
    # The answer is asked for uncompressed, since the layer reads it; a client that can unpack loses nothing by it.
    return (
        f"POST / HTTP/1.1\r\n{lines}authorization: {signing.before}",
        f"\r\naccept-encoding: identity\r\nuser-agent: {agent}\r\n{plain}\r\n",
        signing,
    )


@lru_cache(maxsize=64)
def _usual(
    authority: str, target: str, date: str, credential: Credential, region: str, agent: str
) -> tuple[str, str, Signing]:
    """The head of requests without headers of their own: one for each operation and second."""
    return _head(authority, target, date, credential, region, agent, {})


# Made here, or meaningful for one connection only (RFC 9110, 7.6.1): never taken from a client.
_OWN: Final = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-target",
    }
)


class _Pool:
    """Connections to one endpoint: a bounded number in use, the rest of them idle, the last used taken first."""

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext | None,
        size: int,
        waiting: int,
        idle_seconds: float,
        connect_timeout: float,
    ) -> None:
        self.endpoint = endpoint
        self._context = context
        self._free = size
        self._waiting = waiting
        self._idle_seconds = idle_seconds
        self._connect_timeout = connect_timeout
        self._idle: deque[_Connection] = deque()
        self._busy: set[_Connection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    async def exchange(
        self, head: bytes, body: bytes, deadline: float, *, repeatable: bool, bodiless: bool = False
    ) -> Answer:
        kept = True
        while True:
            await self._place(deadline)
            connection = None
            try:
                connection = self._kept() if kept else None
                kept = connection is not None
                if connection is None:
                    connection = await self._connect(deadline)
                self._busy.add(connection)
                return await connection.exchange(head, body, deadline, bodiless)
            except UnknownOutcome as error:
                # The server closed a kept connection just as we used it. A write may all the same have been read.
                if not (repeatable and kept and error.reason == "reset" and connection and not connection.heard):
                    raise
                kept = False
            finally:
                self._give_back(connection)

    async def reach(self, deadline: float) -> None:
        await self._place(deadline)
        connection = None
        try:
            connection = self._kept() or await self._connect(deadline)
        finally:
            self._give_back(connection)

    def close(self) -> None:
        self._closed = True
        for connection in (*self._idle, *self._busy):
            connection.close("the proxy is stopping")
        self._idle.clear()
        if self._reaper is not None:
            self._reaper.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(Unreachable("busy", "the proxy is stopping"))

    async def _place(self, deadline: float) -> None:
        """Wait for the right to use one connection."""
        if self._closed:
            raise Unreachable("busy", "the proxy is stopping")
        if self._free and not self._waiters:
            self._free -= 1
            return
        if len(self._waiters) >= self._waiting:
            raise Unreachable("busy", "too many requests wait for a connection to DynamoDB")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with _limit(deadline, "timeout", "no connection to DynamoDB came free in time"):
                await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._next()  # the place was ours already: pass it on
            else:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
            raise

    def _next(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def _kept(self) -> "_Connection | None":
        oldest = time.monotonic() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.alive and connection.idle_since >= oldest:
                return connection
            connection.close("unused for too long")
        return None

    async def _connect(self, deadline: float) -> "_Connection":
        loop = asyncio.get_running_loop()
        endpoint = self.endpoint
        limit = min(deadline, time.monotonic() + self._connect_timeout)
        async with _limit(limit, "connect", f"no connection to {endpoint.authority} in time"):
            try:
                _, connection = await loop.create_connection(
                    _Connection,
                    endpoint.host,
                    endpoint.port,
                    ssl=self._context,
                    server_hostname=endpoint.host if self._context else None,
                )
            except OSError as error:  # refused, no such host, no route, a certificate that does not hold
                where = f"DynamoDB at {endpoint.authority} (see [dynamodb])"
                raise Unreachable("connect", f"{where}: {error}") from error
        return connection

    def _give_back(self, connection: "_Connection | None") -> None:
        if connection is not None:
            self._busy.discard(connection)
            if connection.alive and not self._closed:
                connection.idle_since = time.monotonic()
                self._idle.append(connection)
                if self._reaper is None:
                    self._reaper = asyncio.get_running_loop().call_later(self._idle_seconds, self._reap)
            else:
                connection.close("it cannot be used again")
        self._next()

    def _reap(self) -> None:
        oldest = time.monotonic() - self._idle_seconds
        while self._idle and (not self._idle[0].alive or self._idle[0].idle_since < oldest):
            self._idle.popleft().close("unused for too long")
        again = bool(self._idle)
        self._reaper = asyncio.get_running_loop().call_later(self._idle_seconds, self._reap) if again else None


class _Connection(asyncio.Protocol):
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
        self._answer: asyncio.Future[Answer] | None = None
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

    async def exchange(self, head: bytes, body: bytes, deadline: float, bodiless: bool) -> Answer:
        """Send a request and wait for its answer until the monotonic clock reaches `deadline`; a HEAD is `bodiless`."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            raise Unreachable("reset", "the connection was closed as soon as it was opened")
        answer: asyncio.Future[Answer] = loop.create_future()
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
        if not self._parser.should_keep_alive():
            self._usable = False
        self._complete()

    def _complete(self) -> None:
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        answer = Answer(self._parser.get_status_code(), tuple(self._headers), body)
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


@contextlib.asynccontextmanager
async def _limit(deadline: float, reason: Reason, detail: str) -> AsyncIterator[None]:
    """Raise Unreachable for `reason` when the monotonic clock reaches `deadline`."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError:
        raise Unreachable(reason, detail) from None
