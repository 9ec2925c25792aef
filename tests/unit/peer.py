"""The other side of a connection: a real server on a real socket that follows a script."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

GET = "DynamoDB_20120810.GetItem"
PUT = "DynamoDB_20120810.PutItem"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-amzn-RequestId: R\r\n\r\n{}"

Reply = Callable[["Peer", asyncio.StreamWriter, int], Awaitable[None]]


@dataclass
class Peer:
    """A server that reads whole requests and does to each what `reply` says (its number counts from 0)."""

    reply: Reply
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                )
                body = await reader.readexactly(length)
                self.requests.append(head + body)
                await self.reply(self, writer, len(self.requests) - 1)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def peer(reply: Reply) -> AsyncIterator[Peer]:
    server_side = Peer(reply)
    server = await asyncio.start_server(server_side.serve, "127.0.0.1", 0)
    server_side.port = server.sockets[0].getsockname()[1]
    try:
        yield server_side
    finally:
        server.close()


async def until(holds: Callable[[], object]) -> None:
    """Return once it holds: how fast things go is the machine's affair."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # what is waited for knows no event
            await asyncio.sleep(0.005)


def always(data: bytes) -> Reply:
    async def reply(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(data)

    return reply


async def never(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
    await asyncio.sleep(30)


async def cut(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
    writer.transport.abort()


def header(request: bytes, name: str) -> str | None:
    for line in request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return None
