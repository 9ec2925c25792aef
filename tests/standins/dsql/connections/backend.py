"""One connection to the PostgreSQL behind the gate, for one client: it sends messages and gathers what they bring.

Every exchange ends with as many ReadyForQuery as it has Syncs and simple queries, so that none is left half done.
Knows nothing of DSQL.
"""

import asyncio
import os
import struct
from collections.abc import Callable
from typing import Final, cast

from tests.standins.dsql.connections import wire

# Control statements are prepared once: they go before a client's messages without disturbing an unnamed statement.
BEGIN: Final = "cf_begin"
BEGIN_READ_ONLY: Final = "cf_begin_read_only"
START: Final = "cf_start"
COMMIT: Final = "cf_commit"
ROLLBACK: Final = "cf_rollback"
RETREAT: Final = "cf_retreat"
_CONTROLS: Final = {
    BEGIN: "BEGIN ISOLATION LEVEL REPEATABLE READ",
    BEGIN_READ_ONLY: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    START: "SAVEPOINT cf_start",
    COMMIT: "COMMIT",
    ROLLBACK: "ROLLBACK",
    RETREAT: "ROLLBACK TO SAVEPOINT cf_start",
}
CONTROL: Final = {name: wire.bind("", name) + wire.execute("") for name in _CONTROLS}
CONTROL_FRAMES: Final = 2
"""What each of them brings: BindComplete and CommandComplete."""
_PREPARE: Final = b"".join(wire.parse(name, sql) for name, sql in _CONTROLS.items()) + wire.SYNC
_ASIDE: Final = frozenset(b"NSA")
Take = Callable[[bytes], None] | None
"""Gets the frames of an answer as they come."""


class BackendLost(Exception):
    """The connection to PostgreSQL has ended."""


class StartupRefused(Exception):
    """PostgreSQL does not take the connection; `frame` is its ErrorResponse."""

    def __init__(self, frame: bytes) -> None:
        super().__init__(wire.error_fields(frame).message)
        self.frame = frame


class Reply:
    """What one exchange has brought, without the ReadyForQuery messages."""

    __slots__ = ("error", "frames", "remaining", "sent_on", "skip", "take")

    def __init__(self, remaining: int, skip: int, take: Take) -> None:
        self.frames: list[bytes] = []
        self.error: bytes | None = None
        self.remaining = remaining
        self.skip = skip
        """Frames at the beginning that answer control statements: they are dropped."""
        self.take = take
        """Gets the frames as they come instead of `frames`, errors excepted."""
        self.sent_on = False


class Backend(asyncio.Protocol):
    """A PostgreSQL connection that has been started and serves one exchange at a time."""

    def __init__(self) -> None:
        self.pid = 0
        self.greeting: list[bytes] = []
        self.aside: Callable[[bytes], None] = lambda _: None
        """Gets notices and changed parameters."""
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._frames = wire.Frames()
        self._reply: Reply | None = None
        self._done: asyncio.Future[None] | None = None
        self._starting: asyncio.Future[None] | None = None

    async def start(self, parameters: dict[str, str]) -> None:
        """Send the startup message and wait until PostgreSQL is ready. Raises StartupRefused, BackendLost."""
        assert self.transport is not None
        self._starting = asyncio.get_running_loop().create_future()
        self.transport.write(wire.startup_message(parameters))
        await self._starting
        self._starting = None
        reply = await self.exchange(_PREPARE)
        assert reply.error is None

    async def exchange(self, data: bytes, *, readies: int = 1, skip: int = 0, take: Take = None) -> Reply:
        """Send messages and gather their answers up to the last ReadyForQuery. Raises BackendLost."""
        assert self._reply is None, "one exchange at a time"
        if self.transport is None or self.transport.is_closing():
            raise BackendLost
        self._reply = reply = Reply(readies, skip, take)
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        try:
            # A client that goes away must not leave answers behind that a retreat would take for its own.
            await asyncio.shield(self._done)
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._reply = self._done = None
        return reply

    def close(self) -> None:
        """End the connection; PostgreSQL ends its transaction."""
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have all methods of asyncio's, but are none.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self._done, self._starting):
            if waiting is not None and not waiting.done():
                waiting.set_exception(BackendLost())
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        passed: list[bytes] = []
        for each in self._frames.feed(data):
            kind = each[0]
            if reply is None:
                self._started(kind, each)
            elif kind == 90:  # Z
                reply.remaining -= 1
                if not reply.remaining and self._done is not None and not self._done.done():
                    self._done.set_result(None)
            elif kind in _ASIDE:
                self.aside(each)
            elif kind == 69:  # E
                reply.error = reply.error or each
                reply.skip = 0
            elif reply.skip:
                reply.skip -= 1
            elif reply.take is not None:
                passed.append(each)
            else:
                reply.frames.append(each)
        if passed and reply is not None and reply.take is not None:
            reply.sent_on = True
            reply.take(b"".join(passed))

    def _started(self, kind: int, each: bytes) -> None:
        waiting = self._starting
        if waiting is None or waiting.done():
            self.aside(each)
        elif kind == 69:
            waiting.set_exception(StartupRefused(each))
        elif kind == 75:  # K
            self.pid = struct.unpack_from("!I", each, 5)[0]
        elif kind == 83:  # S
            self.greeting.append(each)
        elif kind == 90:
            waiting.set_result(None)


async def open_backend(address: str, parameters: dict[str, str]) -> Backend:
    """A started connection to the socket file at `address`. Raises StartupRefused, BackendLost, OSError."""
    loop = asyncio.get_running_loop()
    _, backend = await loop.create_unix_connection(Backend, os.fspath(address))
    await backend.start(parameters)
    return backend
