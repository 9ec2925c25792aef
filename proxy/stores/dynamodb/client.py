"""The DynamoDB client: sends requests signed with the proxy's own credentials, and returns the responses.

HTTP/1.1 over persistent connections (`connection_pool`, `http_connection`), because a general HTTP client costs more
than the rest of a proxied request. A failed request is reported in one of two ways: `Unreachable` certainly had no
effect; `UnknownOutcome` may have had one (RFC 9110, 9.2.2: a client must not repeat such a request unless it knows that
repeating does no harm). This module reads no request and no response, and knows no table.
"""

import ssl
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import lru_cache
from typing import Final, Self

from proxy.stores.dynamodb.connection_pool import ConnectionLimits, ConnectionPool, Endpoint
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.dynamodb.sigv4 import Credential, Signing, amz_date

SERVICE: Final = "dynamodb"  # DynamoDB Streams signs with this name too
CONTROL_CONNECTIONS: Final = 8
STREAMS: Final = "DynamoDBStreams_"

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


class DynamoDBClient:
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
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008  (frozen)
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = "crossfade",
        headers: Callable[[], bytes] | None = None,
    ) -> None:
        def pool(url: str, limits: ConnectionLimits) -> ConnectionPool:
            endpoint = Endpoint.of(url)
            context = (ssl_context or ssl.create_default_context()) if endpoint.tls else None
            return ConnectionPool(endpoint, context, limits)

        self._main = pool(endpoint_url, limits)
        self._streams = self._main if streams_endpoint_url is None else pool(streams_endpoint_url, limits)
        self._control = pool(endpoint_url, replace(limits, connections=CONTROL_CONNECTIONS))
        self._region = region
        self._credentials = credentials
        self._user_agent = user_agent
        self._made = self._signed if headers is None else self._signed_with(headers)

    def control(self) -> Self:
        """Return this client over connections of its own: for what no amount of other requests may hold up."""
        other = copy(self)
        other._main = self._control
        return other

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
    ) -> HTTPResponse:
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
    ) -> HTTPResponse:
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
        self._control.close()

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
