"""A client's connection to the gate: frames in, bytes out, and nothing of what they mean."""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from tests.standins.dsql.connections import wire


class Client(asyncio.Protocol):
    """`startup` first, then `next` for each message. None is the end of the connection."""

    def __init__(self, most: int, connected: Callable[["Client"], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.paused: Callable[[bool], None] = lambda _: None
        """Told when the client reads more slowly than it is answered, and when it has caught up."""
        self.expired = False
        self._connected = connected
        self._frames = wire.Frames(most)
        self._raw = bytearray()
        self._started = False
        self._queue: deque[bytes] = deque()
        self._ended = False
        self._news: asyncio.Future[None] | None = None

    async def startup(self) -> tuple[int, bytes] | None:
        """The code and what follows it of a startup packet, which has no kind."""
        while not self._ended:
            if len(self._raw) >= 8:
                length, code = struct.unpack_from("!II", self._raw)
                if len(self._raw) >= length:
                    payload = bytes(self._raw[8:length])
                    del self._raw[:length]
                    return code, payload
            await self._wait()
        return None

    def started(self) -> None:
        """Messages follow from here on."""
        self._started = True
        rest, self._raw = bytes(self._raw), bytearray()
        if rest:
            self.data_received(rest)

    async def next(self) -> bytes | None:
        """The next message."""
        while not self._queue:
            if self._ended or self.expired:
                return None
            await self._wait()
        return self._queue.popleft()

    async def peek(self) -> bytes | None:
        """The next message, which stays the next."""
        while not self._queue:
            if self._ended:
                return None
            await self._wait()
        return self._queue[0]

    def write(self, data: bytes) -> None:
        """Send."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def expire(self) -> None:
        """End the connection as soon as no message of the client's is left unanswered."""
        self.expired = True
        self._wake()

    def close(self) -> None:
        """End it."""
        self._ended = True
        if self.transport is not None:
            self.transport.close()
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have all methods of asyncio's, but are none.
        self.transport = cast("asyncio.Transport", transport)
        self._connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._wake()

    def pause_writing(self) -> None:
        self.paused(True)

    def resume_writing(self) -> None:
        self.paused(False)

    def data_received(self, data: bytes) -> None:
        if not self._started:
            self._raw += data
        else:
            try:
                self._queue.extend(self._frames.feed(data))
            except wire.MessageTooLong:
                self.close()
        self._wake()

    async def _wait(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
