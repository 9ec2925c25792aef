"""Kept connections to one endpoint of DynamoDB's: a bounded number of them, and of those who wait for one.

A read that meets a connection which the server has just closed is sent once more; nothing else is ever repeated here
(RFC 9110, 9.2.2). It knows no operation by name: whoever asks says whether a request may be repeated.
"""

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import urlsplit

from proxy.stores.dynamodb.http_connection import Connection, HTTPResponse
from proxy.stores.errors import UnknownOutcome, Unreachable
from proxy.stores.os_errors import describe_os_error

Reason = Literal["connect", "busy", "timeout", "reset", "protocol"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections a pool keeps, and for how long."""

    connections: int = 64
    """The most connections in use at one time."""
    waiting: int = 1024
    """The most requests that wait for a free connection; one more is refused at once."""
    idle_seconds: float = 15.0
    """An idle connection is closed after this time."""
    connect_timeout: float = 3.0
    """Seconds that opening a connection may take."""


class ConnectionPool:
    """Connections to one endpoint: a bounded number in use, the rest of them idle, the last used taken first."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None, limits: ConnectionLimits) -> None:
        self.endpoint = endpoint
        self._context = context
        self._free = limits.connections
        self._waiting = limits.waiting
        self._idle_seconds = limits.idle_seconds
        self._connect_timeout = limits.connect_timeout
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    async def exchange(
        self, head: bytes, body: bytes, deadline: float, *, repeatable: bool, bodiless: bool = False
    ) -> HTTPResponse:
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

    def _kept(self) -> Connection | None:
        oldest = time.monotonic() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.alive and connection.idle_since >= oldest:
                return connection
            connection.close("unused for too long")
        return None

    async def _connect(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        endpoint = self.endpoint
        limit = min(deadline, time.monotonic() + self._connect_timeout)
        async with _limit(limit, "connect", f"no connection to {endpoint.authority} in time"):
            try:
                _, connection = await loop.create_connection(
                    Connection,
                    endpoint.host,
                    endpoint.port,
                    ssl=self._context,
                    server_hostname=endpoint.host if self._context else None,
                )
            except OSError as error:  # refused, no such host, no route, a certificate that does not hold
                where = f"DynamoDB at {endpoint.authority} cannot be reached (see [dynamodb])"
                raise Unreachable("connect", f"{where}: {describe_os_error(error)}") from error
        return connection

    def _give_back(self, connection: Connection | None) -> None:
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


@contextlib.asynccontextmanager
async def _limit(deadline: float, reason: Reason, detail: str) -> AsyncIterator[None]:
    """Raise Unreachable for `reason` when the monotonic clock reaches `deadline`."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError:
        raise Unreachable(reason, detail) from None
