"""The admin port: liveness, readiness, metrics, the latest disagreements, and the moves of stages.

    GET /livez             200 as long as the process answers
    GET /readyz            200, or 503 with the reasons
    GET /metrics           Prometheus's text format
    GET /v1/status         stages, journal, verdicts, breakers, shed comparisons, uptime
    GET /v1/mismatches     the latest disagreements, newest first (`?limit=`)
    …                      the parked keys (`proxy.admin.parked_api`)
    GET /v1/openapi.json   all of this for programs
    …                      stages, the gate, history (`proxy.admin.stages_api`), and the console at `/`

`Access` decides who may call, and every error is a problem document. Nothing here decides about stages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from proxy.admin import openapi
from proxy.admin import request_parsing as parsing
from proxy.admin.parked_api import ParkedApi
from proxy.admin.stages_api import StagesApi, reply
from proxy.background_tasks import BackgroundTasks
from proxy.cutover import documents
from proxy.cutover.process_status import ProcessStatus
from proxy.metrics.registry import Metrics
from proxy.settings import Address
from proxy.stores.errors import Unreachable
from proxy.web.access_control import Access
from proxy.web.http_site import HTTPSite
from proxy.web.problem_responses import HEADERS, Handler, problem_middleware

READY_SECONDS: Final = 2.0
MISMATCHES_SHOWN: Final = 100
_MAX_BODY_BYTES: Final = 64 * 1024


class ReachabilityCheck(Protocol):
    """A client that can say whether its server can be reached (`proxy.stores.dynamodb.client`)."""

    async def reach(self, *, timeout: float) -> None:  # noqa: ASYNC109  # the upstream's own limit
        """Return if a connection can be made. Raises Unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminOptions:
    """The options of an admin port."""

    version: str
    """The version that it reports."""
    max_mismatches: int
    """The largest `limit` that a caller may ask for."""
    site: HTTPSite
    """What it listens with."""
    metrics_need_token: bool = False
    """Whether /metrics asks for the read token."""


class AdminServer:
    """The admin port. `start()` listens, `stop()` closes."""

    def __init__(
        self,
        process: ProcessStatus,
        upstream: ReachabilityCheck,
        metrics: Metrics,
        access: Access,
        options: AdminOptions,
        *,
        stages: StagesApi | None = None,
        add_pages: Callable[[web.Application], None] = lambda _: None,
        loops: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """`stages` answers requests about stages; `add_pages` adds the console. `loops` run from `start` to
        `stopping`."""
        self._process = process
        self._upstream = upstream
        self._metrics = metrics
        self._access = access
        self._options = options
        self._stages = stages
        self._site = options.site
        self._add_pages = add_pages
        self._loops = loops
        self._tasks = BackgroundTasks()
        self._since = time.monotonic()
        self._stopping = False

    async def start(self, listen: Address) -> Address:
        """Listen, and return the address with its real port. Raises OSError if the address cannot be used."""
        app = web.Application(middlewares=[problem_middleware, self._guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics_text)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/mismatches", self._mismatches)
        app.router.add_get("/v1/openapi.json", self._openapi)
        ParkedApi(self._process.parked, self._access).add(app)
        if self._stages is not None:
            self._stages.add(app)
        self._add_pages(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        address = await self._site.start(runner, listen)
        for each in self._loops:
            self._tasks.loop(each)
        return address

    async def stopping(self) -> None:
        """Report from now on that the process is not ready, so that load balancers send no more. End the loops."""
        self._stopping = True
        await self._tasks.close()

    async def stop(self) -> None:
        """End moves and requests, and close the port."""
        if self._stages is not None:
            await self._stages.close()
        await self._tasks.close()
        await self._site.stop()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._access.admit(request)
        return await handler(request)

    async def _livez(self, _: web.Request) -> web.Response:
        return _json({"live": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = list(self._process.problems())
        if self._stopping:
            reasons.append("the proxy is stopping")
        try:
            await self._upstream.reach(timeout=READY_SECONDS)
        except Unreachable as error:
            reasons.append(f"DynamoDB cannot be reached: {error}")
        notices = list(self._process.notices())
        document = {"ready": not reasons, "reasons": reasons, **({"notices": notices} if notices else {})}
        return _json(document, status=503 if reasons else 200)

    async def _metrics_text(self, request: web.Request) -> web.Response:
        if self._options.metrics_need_token:
            self._access.caller(request)
        # In a thread, so that the event loop can run in between.
        text = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _status(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        parsing.allow_only(request)
        uptime = round(time.monotonic() - self._since, 3)
        return reply({"version": self._options.version, "uptime_seconds": uptime, **await self._process.status()})

    async def _mismatches(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        parsing.allow_only(request, "limit")
        limit = parsing.number(request, "limit", MISMATCHES_SHOWN, max(1, self._options.max_mismatches))
        found = [{**each, "at": documents.timestamp(each["at"])} for each in self._process.mismatches(limit)]
        return reply({"mismatches": found})

    async def _openapi(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        parsing.allow_only(request)
        return reply(openapi.document(self._options.version))


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json", headers=HEADERS)
