"""Connections to DSQL: a bounded number, opened when wanted, the last used taken first.

asyncpg's own pool starts a task for each connection that is given back and wraps every call on it, 30 µs a statement
(measured); its reset calls `pg_advisory_unlock_all`, which DSQL does not have. Connections here carry no session state,
so none is reset. A pool knows no SQL. As many tasks wait for a connection as the layer lets run at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

# DSQL ends a connection after an hour ("Cluster quotas and database limits", user guide): each goes before that, and
# not all of them at once.
_OLDEST_SECONDS: Final = (45 * 60.0, 55 * 60.0)


class Pool:
    """At most `maximum` connections, each made by `connect`. Use from one event loop; end with `close` or `terminate`.

    Raises what `connect` raises, and asyncpg.InterfaceError once it is closed.
    """

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], maximum: int) -> None:
        self._connect = connect
        self._maximum = maximum
        self._free = maximum
        self._idle: list[asyncpg.Connection] = []
        self._until: dict[asyncpg.Connection, float] = {}  # every open connection, with the time it may be used to
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def take(self) -> asyncpg.Connection:
        """A connection, to be given back whatever happens."""
        if self._closed:
            raise asyncpg.InterfaceError("the pool is closed")
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        while self._idle:
            connection = self._idle.pop()
            if self._usable(connection):
                return connection
            self._drop(connection)
        try:
            connection = await self._connect()
        except BaseException:
            self._next()
            raise
        self._until[connection] = time.monotonic() + random.uniform(*_OLDEST_SECONDS)  # noqa: S311
        return connection

    def give_back(self, connection: asyncpg.Connection) -> None:
        """The connection is not used any more. One that was terminated, or is past its time, is not used again."""
        if self._usable(connection) and not self._closed:
            self._idle.append(connection)
        else:
            self._drop(connection)
        self._next()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for a block; dropped if the block is cancelled, because what it was doing cannot be told."""
        connection = await self.take()
        try:
            yield connection
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            self.give_back(connection)

    def expire_connections(self) -> None:
        """What connections have prepared is out of date: none that is open now is taken again."""
        self._until = dict.fromkeys(self._until, 0.0)

    async def close(self) -> None:
        """Wait until all are given back, and end them in good order."""
        self._closed = True
        for _ in range(self._maximum):
            if self._free:
                self._free -= 1
            else:
                await self._wait()
        for connection in self._idle:
            await connection.close()
        self._idle.clear()

    def terminate(self) -> None:
        """Cut every connection."""
        self._closed = True
        for connection in self._until:
            connection.terminate()
        self._idle.clear()

    async def _wait(self) -> None:
        """Wait in line for one more place."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._next()  # the place was ours already: pass it on
            raise

    def _next(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def _usable(self, connection: asyncpg.Connection) -> bool:
        return not connection.is_closed() and time.monotonic() < self._until[connection]

    def _drop(self, connection: asyncpg.Connection) -> None:
        self._until.pop(connection, None)
        connection.terminate()
