"""Listens at a port, within limits: on the number of its connections, on file descriptors, on the time of a handshake.

What is beyond a limit is closed at once and counted. Descriptors are given out from the lowest on, so the number of a
new one says how many are left: connections leave some to the journal and the stores, which open files of their own.
Knows no handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from functools import partial
from typing import Final, Literal, Self

from aiohttp import web

from proxy.background_tasks import BackgroundTasks
from proxy.metrics.connections import ConnectionMetrics
from proxy.settings import Address, Settings
from proxy.web.http_connection import ConnectionOptions, HTTPConnection
from proxy.web.tls import Certificate

HANDSHAKE_SECONDS: Final = 10.0
_BACKLOG: Final = 1024
_PAUSE_SECONDS: Final = 0.1
# A client that does not take its answer: this long after its last acknowledgement the system ends the connection.
_UNREAD_SECONDS: Final = 75


class HTTPSite:
    """A port that listens between `start` and `stop`."""

    def __init__(
        self,
        options: ConnectionOptions,
        metrics: ConnectionMetrics,
        *,
        max_connections: int = 1000,
        reserved_descriptors: int = 64,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """At most `max_connections` are open at a time. `reserved_descriptors` are left to others."""
        self.options = options
        self._metrics = metrics
        self._max_connections = max_connections
        self._reserved = reserved_descriptors
        self._tls = tls
        self._runner: web.BaseRunner | None = None
        self._listening: list[socket.socket] = []
        self._accepting = BackgroundTasks()
        self._opening = BackgroundTasks(max_connections)
        self._open = 0

    @classmethod
    def of(
        cls,
        settings: Settings,
        port: Literal["data", "admin", "items"],
        metrics: ConnectionMetrics,
        certificate: Certificate | None,
    ) -> Self:
        """Return a port within the settings' limits. The data port carries bodies as they came."""
        limits = settings.connections
        return cls(
            ConnectionOptions(port=port, decompress=port != "data"),
            metrics,
            max_connections={"data": limits.data, "admin": limits.admin, "items": limits.items}[port],
            reserved_descriptors=limits.reserved_descriptors,
            tls=certificate.context if certificate is not None else None,
        )

    async def start(self, runner: web.BaseRunner, listen: Address) -> Address:
        """Listen, and return the address with its real port. Raises OSError if the address is not available."""
        await runner.setup()
        self._runner = runner
        try:
            self._listening = await _bound(listen)
        except OSError:
            await self.stop()
            raise
        self._metrics.limits(self.options.port, self._max_connections, self._reserved)
        self._metrics.open(self.options.port, 0)
        for each in self._listening:
            self._accepting.loop(partial(self._accept, each))
        host, port = self._listening[0].getsockname()[:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Accept no more requests, let those in progress finish as the runner allows, and close the port."""
        await self._accepting.close()
        for each in self._listening:
            each.close()
        self._listening = []
        await self._opening.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _accept(self, listening: socket.socket) -> None:
        """Accept one connection. Run this in a loop."""
        try:
            accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
        except ConnectionError:
            return
        except OSError:
            # No descriptors, or no memory for sockets: the client waits, and others give some back.
            self._metrics.refused(self.options.port, "descriptors")
            await asyncio.sleep(_PAUSE_SECONDS)
            return
        reason = self._refusal(accepted)
        if reason is not None:
            accepted.close()
            self._metrics.refused(self.options.port, reason)
            return
        self._count(1)
        self._opening.start(self._serve(accepted))

    def _refusal(self, accepted: socket.socket) -> str | None:
        if self._open >= self._max_connections:
            return "limit"
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors != resource.RLIM_INFINITY and accepted.fileno() >= descriptors - self._reserved:
            return "descriptors"
        return None

    async def _serve(self, accepted: socket.socket) -> None:
        """Open the connection; with TLS, after the handshake."""
        if self._runner is None or not isinstance(self._runner.server, web.Server):
            accepted.close()
            self._count(-1)
            return
        connection = HTTPConnection(self._runner.server, self.options, partial(self._count, -1))
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_SECONDS * 1000)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls is not None else None,
            )
        except OSError:  # TimeoutError, ssl.SSLError and ConnectionError are
            self._metrics.refused(self.options.port, "handshake")
        finally:
            if not connection.made:
                accepted.close()
                self._count(-1)

    def _count(self, more: int) -> None:
        self._open += more
        self._metrics.open(self.options.port, self._open)


async def _bound(listen: Address) -> list[socket.socket]:
    """Return sockets that listen at all addresses of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            each = socket.create_server(
                (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG, dualstack_ipv6=False
            )
            each.setblocking(False)
            sockets.append(each)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets
