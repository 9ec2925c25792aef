"""What a client sees: DynamoDB's protocol (JSON 1.0 over HTTP/1.1) on the data port.

The ten data-plane operations go to the layer, whose answer is the authority's own bytes; every other operation goes
through it unread; what names no operation is carried to DynamoDB as it is, unsigned, and answered there. aiohttp reads
and writes HTTP, because what reads the client's bytes should be hardened by many hands. No meaning of a request is
decided here.

With `signatures` every request must be signed with a key that they know. Without them a client's signature is not
checked, and whoever reaches this port acts with the proxy's credentials: web pages are turned away (see
`_turned_away`), and settings keep the port on a loopback address unless they are told otherwise.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeAlias
from zlib import crc32

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.dynamodb.errors import DynamoDBError, access_denied, internal_server_error, service_unavailable
from proxy.dynamodb.operations import ACTIONS, STATEMENTS
from proxy.dynamodb.outcome import JSON_1_0, Outcome
from proxy.metrics.histogram import clock
from proxy.metrics.labels import OTHER
from proxy.metrics.registry import Metrics
from proxy.settings import Address
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.errors import UnknownOutcome, Unreachable
from proxy.web.http_site import HTTPSite
from proxy.web.request_ids import request_ids
from proxy.wire.browser_requests import CORS_HEADERS, cors_preflight, is_browser_request
from proxy.wire.content_encoding import TooLarge, decompress
from proxy.wire.passthrough_response import DROPPED, PassthroughResponse, can_pass_through
from proxy.wire.signatures import Claimed, Signatures

DATA_PLANE: Final = "DynamoDB_20120810"

MAX_BODY: Final = 16 * 1024 * 1024  # "Service, account, and table quotas": 16 MB; above it the answer is a bare 413
BODY_SECONDS: Final = 60.0

_FORWARDED: Final = frozenset({"content-type", "host", "user-agent"})
_UNKNOWN_OUTCOME: Final = "The request processing has failed because of an unknown error, exception or failure."


Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class OperationHandler(Protocol):
    """What stands behind the wire."""

    async def execute(self, action: str, body: bytes, request_id: str, client: str = "") -> Outcome:
        """Carry out one of the shadowed operations, for the client at the other end of a connection. May raise
        DynamoDBError, Unreachable or UnknownOutcome."""

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Carry any other operation to DynamoDB unread. May raise the same."""


class RawForwarder(Protocol):
    """Where requests go that name no operation."""

    async def request_raw(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109  # the upstream's own limit
    ) -> HTTPResponse:
        """Carry it unsigned. May raise Unreachable or UnknownOutcome."""


class WireServer:
    """The data port. `start()` listens, `stop()` finishes what is under way and closes. `traced` is given what handles
    a request, and gives it back, traced or as it is."""

    def __init__(
        self,
        layer: OperationHandler,
        upstream: RawForwarder,
        metrics: Metrics,
        *,
        timeout_seconds: float,
        finish_seconds: float,
        site: HTTPSite,
        signatures: Signatures | None = None,
        traced: Callable[[Handler], Handler] = lambda handle: handle,
    ) -> None:
        self._layer = layer
        self._upstream = upstream
        self._metrics = metrics
        self._timeout = timeout_seconds
        self._finish = finish_seconds
        self._signatures = signatures
        self._site = site
        self._traced = traced
        self._ids = request_ids()
        self._log = structlog.get_logger()

    async def start(self, listen: Address) -> Address:
        """Listen, and return the address with its real port. Raises OSError if it cannot be had."""
        runner = web.ServerRunner(web.Server(self._traced(self._handle)), shutdown_timeout=self._finish)
        return await self._site.start(runner, listen)

    async def stop(self) -> None:
        """Accept no more, let requests under way finish for `finish_seconds`, then cancel them and close."""
        await self._site.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        started = clock()
        operation = OTHER
        request_id = next(self._ids)
        try:
            claimed = None
            if self._signatures is not None:
                if (preflight := cors_preflight(request)) is not None:
                    return self._whole(preflight, request_id)
                claimed = self._claim(self._signatures, request)
            body = await _body(request)
            if isinstance(body, web.Response):
                self._metrics.wire.proxy_seconds(_action(request), body.status, clock() - started)
                return body
            started = clock()  # a client that sends slowly is not the proxy's time
            if claimed is not None:
                self._check(claimed, body)
            operation, outcome = await self._answer(request, body, request_id)
        except DynamoDBError as error:
            operation, outcome = _action(request), Outcome.failed(error)
        except TooLarge:
            self._metrics.wire.proxy_seconds(_action(request), 413, clock() - started)
            return _closing(413)
        except (Unreachable, UnknownOutcome) as error:
            operation = _action(request)
            outcome = self._failed(operation, error)
        except Exception:  # noqa: BLE001  # a fault of ours: logged in full, and to the client a retryable error
            operation = _action(request)
            self._log.exception("request_failed", operation=operation)
            outcome = Outcome.failed(internal_server_error(_UNKNOWN_OUTCOME))
        self._metrics.wire.proxy_seconds(operation, outcome.status, clock() - started)
        return self._response(request, outcome, request_id)

    async def _answer(self, request: web.BaseRequest, body: bytes, request_id: str) -> tuple[str, Outcome]:
        target = request.headers.get("X-Amz-Target")
        if target is None or request.method != "POST" or not target.isascii():
            answer = await self._upstream.request_raw(
                request.method, request.raw_path, _all_headers(request.headers), body, timeout=self._timeout
            )
            return OTHER, Outcome(answer.status, answer.headers, answer.body)
        if self._signatures is None:
            _turned_away(request)
        if (encoding := request.headers.get("Content-Encoding")) is not None:
            body = await asyncio.to_thread(decompress, body, encoding, MAX_BODY)
        service, _, action = target.partition(".")
        if service == DATA_PLANE and action in ACTIONS | STATEMENTS:
            return action, await self._layer.execute(action, body, request_id, _client(request))
        self._metrics.wire.passed_through(action)
        return action, await self._layer.pass_through(action, target, body, _headers(request.headers))

    def _claim(self, signatures: Signatures, request: web.BaseRequest) -> Claimed:
        try:
            return signatures.claim(request.method, request.raw_path, request.headers, time.time())
        except DynamoDBError as refusal:
            self._metrics.wire.refused(refusal.code)
            raise

    def _check(self, claimed: Claimed, body: bytes) -> None:
        try:
            claimed.check(body)
        except DynamoDBError as refusal:
            self._metrics.wire.refused(refusal.code)
            raise

    def _failed(self, operation: str, error: Unreachable | UnknownOutcome) -> Outcome:
        """DynamoDB's retryable errors: 503 if nothing was done, 500 if something may have been. SDKs retry both."""
        outcome = "unreachable" if isinstance(error, Unreachable) else "unknown"
        self._metrics.stores.upstream_failed(outcome, error.reason)
        self._log.warning(
            "upstream_failed", operation=operation, outcome=outcome, reason=error.reason, detail=str(error)
        )
        if isinstance(error, Unreachable):
            return Outcome.failed(service_unavailable(f"DynamoDB could not be reached: {error.reason}"))
        return Outcome.failed(internal_server_error(_UNKNOWN_OUTCOME))

    def _response(self, request: web.BaseRequest, outcome: Outcome, request_id: str) -> web.StreamResponse:
        if self._signatures is not None and is_browser_request(request):
            return self._shared(outcome, request_id)
        if outcome.headers is not JSON_1_0 and can_pass_through(request, outcome):
            return PassthroughResponse(outcome)
        return self._whole(outcome, request_id)

    def _whole(self, outcome: Outcome, request_id: str) -> web.Response:
        body = outcome.body
        headers = CIMultiDict(pair for pair in outcome.headers if pair[0].lower() not in DROPPED)
        if outcome.headers is JSON_1_0:  # made here, not received
            headers["x-amzn-RequestId"] = request_id
            headers["x-amz-crc32"] = str(crc32(body))
        return web.Response(status=outcome.status, headers=headers, body=body)

    def _shared(self, outcome: Outcome, request_id: str) -> web.Response:
        """With leave for the page to see it."""
        response = self._whole(outcome, request_id)
        for name, value in CORS_HEADERS:
            response.headers.setdefault(name, value)
        return response


async def _body(request: web.BaseRequest) -> bytes | web.Response:
    """The whole body, or the answer to one that is too large, too slow or cut short."""
    length = request.content_length
    if length is not None and length > MAX_BODY:
        return _closing(413)
    content = request.content
    try:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # what was written is not part of the answer
        if content.is_eof():  # as it mostly is: a request comes in one or two segments
            body = content.read_nowait()
            return body if len(body) <= MAX_BODY else _closing(413)
        chunks: list[bytes] = []
        size = 0
        async with asyncio.timeout(BODY_SECONDS):
            while chunk := await content.readany():
                size += len(chunk)
                if size > MAX_BODY:
                    return _closing(413)
                chunks.append(chunk)
    except TimeoutError:
        return _closing(408)
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
        return _closing(400)
    return b"".join(chunks)


def _closing(status: int) -> web.Response:
    """A bare answer after which the connection is of no more use."""
    response = web.Response(status=status)
    response.force_close()
    return response


def _turned_away(request: web.BaseRequest) -> None:
    """Refuse what must not be lent the proxy's credentials; raises DynamoDBError.

    An unsigned request is what DynamoDB refuses too. A web page may be anyone's, and the user's browser can reach this
    port: DynamoDB can allow pages because they must sign, here the signature would not be checked.
    """
    headers = request.headers
    if not headers.get("Authorization", "").startswith("AWS4-") and "X-Amz-Algorithm=" not in request.raw_path:
        raise DynamoDBError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    if is_browser_request(request):
        raise access_denied("Crossfade takes no requests from web pages")


def _client(request: web.BaseRequest) -> str:
    """The client's end of the connection."""
    transport = request.transport
    return str(transport.get_extra_info("peername")) if transport is not None else ""


def _action(request: web.BaseRequest) -> str:
    return request.headers.get("X-Amz-Target", "").rpartition(".")[2] or OTHER


def _headers(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """The client's headers that mean something to the operation; the upstream leaves out those it makes itself."""
    return {
        name: value
        for name, value in headers.items()
        if value.isascii() and ((lower := name.lower()) in _FORWARDED or lower.startswith("x-amz-"))
    }


def _all_headers(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """All headers but the connection's own, for a request that goes on as it came (and unsigned)."""
    return {name: value for name, value in headers.items() if name.lower() not in DROPPED}
