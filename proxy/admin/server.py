"""The admin port: is it alive, is it ready, what does it count, what is it doing, and where do the stores disagree.

    GET /livez           200 as long as the process answers
    GET /readyz          200, or 503 with the reasons
    GET /metrics         Prometheus's text format
    GET /v1/status       stages, journal, verdicts, breaker, uptime
    GET /v1/mismatches   the latest disagreements, newest first (`?limit=`)

It only reads. It has no login: settings refuse any address but a loopback one, unless told otherwise, and web pages in
a browser on the same machine are kept out by the name that they call this port by.
"""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from proxy.metrics import Metrics
from proxy.settings import Address
from proxy.stores.failures import Unreachable

READY_SECONDS: Final = 2.0
MISMATCHES_SHOWN: Final = 100

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Observed(Protocol):
    """What the layer tells of itself, without asking a store."""

    async def status(self) -> Mapping[str, Any]:
        """Stages, journal, verdicts, breaker: JSON-able."""

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most `limit` disagreements, newest first, redacted as the settings say."""

    def problems(self) -> Sequence[str]:
        """Why it cannot work now (the journal is not open, say); empty if it can."""


class Reachable(Protocol):
    """What can be asked whether it is there."""

    async def reach(self, *, timeout: float) -> None:  # noqa: ASYNC109  # the upstream's own limit
        """Return if there is a connection to be had, else raise Unreachable."""


class AdminServer:
    """The admin port. `start()` listens, `stop()` closes."""

    def __init__(
        self, layer: Observed, upstream: Reachable, metrics: Metrics, *, version: str, guarded: bool, most: int
    ) -> None:
        """`guarded` refuses requests that name this port by anything but a loopback name; `most` bounds `limit`."""
        self._layer = layer
        self._upstream = upstream
        self._metrics = metrics
        self._version = version
        self._guarded = guarded
        self._most = max(1, most)
        self._since = time.monotonic()
        self._stopping = False
        self._runner: web.AppRunner | None = None

    async def start(self, listen: Address) -> Address:
        """Listen, and return the address with its real port. Raises OSError if it cannot be had."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._text)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/mismatches", self._mismatches)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, listen.host, listen.port).start()
        host, port = runner.addresses[0][:2]
        return Address(host, port)

    def stopping(self) -> None:
        """From now on it is not ready: whoever balances load should send no more."""
        self._stopping = True

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._guarded and not _loopback_name(request.host):
            return _json({"error": "call this port by a loopback name, as in http://127.0.0.1"}, status=403)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _json({"error": error.reason}, status=error.status)

    async def _livez(self, _: web.Request) -> web.Response:
        return _json({"live": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = list(self._layer.problems())
        if self._stopping:
            reasons.append("the proxy is stopping")
        try:
            await self._upstream.reach(timeout=READY_SECONDS)
        except Unreachable as error:
            reasons.append(f"DynamoDB cannot be reached: {error}")
        return _json({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def _text(self, _: web.Request) -> web.Response:
        # In a thread: it still holds the interpreter for part of the time, but the loop gets its turns.
        text = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status(self, _: web.Request) -> web.Response:
        uptime = round(time.monotonic() - self._since, 3)
        return _json({"version": self._version, "uptime_seconds": uptime, **await self._layer.status()})

    async def _mismatches(self, request: web.Request) -> web.Response:
        asked = request.query.get("limit", str(min(MISMATCHES_SHOWN, self._most)))
        if not asked.isdecimal() or not 1 <= int(asked) <= self._most:
            return _json({"error": f"limit must be a number from 1 to {self._most}"}, status=400)
        return _json({"mismatches": list(self._layer.mismatches(int(asked)))})


def _loopback_name(host: str) -> bool:
    """Whether the Host header names this machine: a web page that rebinds its name to 127.0.0.1 sends its own."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
