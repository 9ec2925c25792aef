"""A client's connection: aiohttp's, with limits in time, and without the client's bytes in logs and answers.

aiohttp quotes what it cannot parse, and that may be a token or an item: so an error is named by its class, its place
and its port, never by its text. Knows no handler.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from proxy.logs import LogThrottle

log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 75.0
"""How long a connection may be idle; also the most that a client may take over its headers."""
LINGER_SECONDS: Final = 5.0
"""How long the rest of a request that was answered early is read."""
MAX_HEADER: Final = 32 * 1024  # a session token is a few KB, and has no documented end

_throttle: Final = LogThrottle()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """How the connections of a port behave."""

    port: str
    """The port's name in logs and metrics: `data`, `admin` or `items`."""
    decompress: bool = True
    """Whether the bodies of requests are decompressed; otherwise they are carried as they came."""


class HTTPConnection(web.RequestHandler):
    """One connection of a client. `on_lost` is called once, when a connection that was made has ended."""

    def __init__(self, server: web.Server, options: ConnectionOptions, on_lost: Callable[[], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's word for none
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            auto_decompress=options.decompress,
        )
        self._port = options.port
        self._on_lost = on_lost
        self.made = False
        """Whether it came into being: with TLS, whether the handshake succeeded."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._on_lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # aiohttp's, which quotes the client
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, or whose handler failed, in words of our own."""
        self._report(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer has been sent")
        return _plain(status)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer. aiohttp's own refusals, which come past every handler, quote the client too."""
        if isinstance(resp, web.HTTPException):
            resp = _plain(resp.status)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *_: Any, **kw: Any) -> None:
        """Report what goes wrong between two requests: the rest of a body that cannot be parsed, for one."""
        error = kw.get("exc_info")
        self._report(error if isinstance(error, BaseException) else None)

    def _report(self, error: BaseException | None) -> None:
        kind = type(error).__name__ if error is not None else "TimeoutError"
        if isinstance(error, HttpProcessingError | web.PayloadAccessError | web.RequestPayloadError):
            if _throttle.allows((self._port, kind)):
                log.warning("request_not_http", port=self._port, error=kind)
        else:
            log.error("connection_fault", port=self._port, error=kind, at=_place(error))


def _plain(status: int) -> web.Response:
    response = web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}\n")
    response.force_close()
    return response


def _place(error: BaseException | None) -> str:
    """Where an exception was raised: file and line."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else None
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
