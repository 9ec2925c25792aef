"""Starts and stops a port: an aiohttp runner on one address. Knows no handler."""

from __future__ import annotations

import ssl

from aiohttp import web

from proxy.settings import Address


class HTTPSite:
    """A port that listens between `start` and `stop`."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, backlog: int = 128) -> None:
        """`backlog` is how many connections the system keeps until they are accepted."""
        self._tls = tls
        self._backlog = backlog
        self._runner: web.BaseRunner | None = None

    async def start(self, runner: web.BaseRunner, listen: Address) -> Address:
        """Listen, and return the address with its real port. Raises OSError if the address is not available."""
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, listen.host, listen.port, backlog=self._backlog, ssl_context=self._tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Accept no more requests, let those in progress finish as the runner allows, and close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
