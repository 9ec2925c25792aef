"""A bare HTTP/1.1 server on asyncio.Protocol and httptools, for the upstream that remembers. One answer a request."""

import asyncio
from collections.abc import Awaitable, Callable
from zlib import crc32

import httptools
import uvloop

Answer = Callable[[str, bytes], bytes | Awaitable[tuple[int, bytes]]]
"""(action, body) → document, or what will be (status, document)."""


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._action = ""
        self._chunks: list[bytes] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._action, self._chunks = "", []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-amz-target":
            self._action = value.decode().rpartition(".")[2]

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        answer = self._answer(self._action, b"".join(self._chunks))
        if isinstance(answer, bytes):
            self._send(200, answer)
        else:
            self._later = asyncio.ensure_future(self._send_later(answer))

    async def _send_later(self, answer: Awaitable[tuple[int, bytes]]) -> None:
        self._send(*await answer)

    def _send(self, status: int, document: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 %d -\r\nContent-Type: application/x-amz-json-1.0\r\nx-amz-crc32: %d\r\n"
            b"x-amzn-RequestId: 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (status, crc32(document), len(document), document)
        )


def run(port: int, answer: Answer) -> None:
    """Serve for ever."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(answer), "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    uvloop.run(main())
