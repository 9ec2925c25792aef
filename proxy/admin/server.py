"""The admin port: is it alive, is it ready, what does it count, where do the stores disagree, and how stages are moved.

    GET /livez             200 as long as the process answers
    GET /readyz            200, or 503 with the reasons
    GET /metrics           Prometheus's text format
    GET /v1/status         stages, journal, verdicts, breakers, shed comparisons, uptime
    GET /v1/mismatches     the latest disagreements, newest first (`?limit=`)
    GET /v1/openapi.json   all of this for programs
    …                      stages, the gate, history (`proxy.admin.stages_api`), and the console at `/`

Who may ask is `access`'s to say, and every error is a problem of `problems`'. Nothing here decides about stages.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from proxy.admin import openapi
from proxy.admin import request_parsing as asked
from proxy.admin.stages_api import StagesApi, reply
from proxy.background_tasks import BackgroundTasks
from proxy.cutover import documents
from proxy.metrics.registry import Metrics
from proxy.settings import Address
from proxy.stores.errors import Unreachable
from proxy.web.access_control import Access
from proxy.web.http_site import HTTPSite
from proxy.web.problem_responses import HEADERS, Handler, problem_middleware

READY_SECONDS: Final = 2.0
MISMATCHES_SHOWN: Final = 100
_MOST_BODY: Final = 64 * 1024


class ProcessStatus(Protocol):
    """What the layer tells of itself, without asking a store."""

    async def status(self) -> Mapping[str, Any]:
        """Stages, journal, verdicts, breaker: JSON-able."""

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most `limit` disagreements, newest first, redacted as the settings say; `at` is in Unix seconds."""

    def problems(self) -> Sequence[str]:
        """Why it cannot work now (the journal is not open, say); empty if it can."""


class ReachabilityCheck(Protocol):
    """What can be asked whether it is there."""

    async def reach(self, *, timeout: float) -> None:  # noqa: ASYNC109  # the upstream's own limit
        """Return if there is a connection to be had, else raise Unreachable."""


class AdminServer:
    """The admin port. `start()` listens, `stop()` closes."""

    def __init__(
        self,
        layer: ProcessStatus,
        upstream: ReachabilityCheck,
        metrics: Metrics,
        *,
        version: str,
        access: Access,
        most: int,
        stages: StagesApi | None = None,
        metrics_need_token: bool = False,
        tls: ssl.SSLContext | None = None,
        pages: Callable[[web.Application], None] = lambda _: None,
        loops: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """`most` bounds `limit`; `stages` answers what is about them; `pages` adds the console's; `loops` run as long
        as the port is open."""
        self._layer = layer
        self._upstream = upstream
        self._metrics = metrics
        self._version = version
        self._access = access
        self._most = max(1, most)
        self._stages = stages
        self._metrics_need_token = metrics_need_token
        self._site = HTTPSite(tls)
        self._pages = pages
        self._loops = loops
        self._behind = BackgroundTasks(len(loops))
        self._since = time.monotonic()
        self._stopping = False

    async def start(self, listen: Address) -> Address:
        """Listen, and return the address with its real port. Raises OSError if it cannot be had."""
        app = web.Application(middlewares=[problem_middleware, self._guard], client_max_size=_MOST_BODY)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._text)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/mismatches", self._mismatches)
        app.router.add_get("/v1/openapi.json", self._openapi)
        if self._stages is not None:
            self._stages.add(app)
        self._pages(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        address = await self._site.start(runner, listen)
        for each in self._loops:
            self._behind.loop(each)
        return address

    async def stopping(self) -> None:
        """From now on it is not ready: whoever balances load should send no more. Nothing more is told by itself."""
        self._stopping = True
        await self._behind.close()

    async def stop(self) -> None:
        """End what is under way, and close the port."""
        if self._stages is not None:
            await self._stages.close()
        await self._behind.close()
        await self._site.stop()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._access.admit(request)
        return await handler(request)

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

    async def _text(self, request: web.Request) -> web.Response:
        if self._metrics_need_token:
            self._access.caller(request)
        # In a thread: it still holds the interpreter for part of the time, but the loop gets its turns.
        text = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        asked.only(request)
        uptime = round(time.monotonic() - self._since, 3)
        return reply({"version": self._version, "uptime_seconds": uptime, **await self._layer.status()})

    async def _mismatches(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        asked.only(request, "limit")
        limit = asked.number(request, "limit", MISMATCHES_SHOWN, self._most)
        found = [{**each, "at": documents.moment(each["at"])} for each in self._layer.mismatches(limit)]
        return reply({"mismatches": found})

    async def _openapi(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        asked.only(request)
        return reply(openapi.document(self._version))


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json", headers=HEADERS)
