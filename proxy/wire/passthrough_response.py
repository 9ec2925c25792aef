"""An answer that came from upstream, on its way to the client: its own headers and bytes, in one write.

aiohttp's Response makes a new set of headers for each answer and looks each of them up, which costs as much as signing
the request did. This sends what was received, but for the headers that belong to a connection. It serves the common
case only (`carries`); every other answer is aiohttp's to send.
"""

from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.http import HttpVersion11

from proxy.dynamodb.outcome import Outcome

# They belong to one connection (RFC 9110, 7.6.1), or are made anew from the body.
DROPPED: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_JOIN: Final = 64 * 1024  # above it, a copy costs more than a second segment


def can_pass_through(request: web.BaseRequest, outcome: Outcome) -> bool:
    """Whether the answer can be sent so: to a POST over a connection that stays, with a status that has a body."""
    return (
        request.method == "POST"
        and request.version == HttpVersion11
        and request.keep_alive
        and outcome.status in _STATUS_LINES
        and outcome.status >= 200
        and outcome.status not in (204, 304)
    )


class PassthroughResponse(web.StreamResponse):
    """A response to be returned by an aiohttp handler; see the module."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(status=outcome.status)
        self._outcome = outcome

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write it all. Raises ConnectionError if the client has gone, as aiohttp's own do."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client has gone")
        body = self._outcome.body
        lines = [f"{name}: {value}\r\n" for name, value in self._outcome.headers if name.lower() not in DROPPED]
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        head = (_STATUS_LINES[self._outcome.status] + "".join(lines)).encode("latin-1")
        if len(body) <= _JOIN:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        self._payload_writer = request.writer
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait while the client reads more slowly than it is sent to."""
        assert self._payload_writer is not None
        assert not data
        self._eof_sent = True
        await self._payload_writer.drain()
