"""The items port: the catalogue over HTTP, JSON in and out, and GraphQL beside it.

    GET    /items?type=&…            a page of a type's items (`questions`), or ?externalId=
    GET    /items/{type}/{id}        one item
    GET    /series/{id}/seasons      a series's seasons by their numbers
    GET    /watching?…               what can be watched: features and series together
    POST   /items                    a new item (?overwrite=true puts it where there is one)
    PATCH  /items/{type}/{id}        what is given changes, nothing else (RFC 7396)
    DELETE /items/{type}/{id}
    POST   /graphql                  the same as GraphQL; /schema.graphql is its schema
    GET    /openapi.json             the same for programs, and / for people

Who may ask is for the admin port's `Access` to say, with tokens of this port's own: one reads, one writes too. Every
error is application/problem+json, with a code and the rules that were broken. No store is known here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from proxy.items import docs_page as page
from proxy.items import openapi
from proxy.items.catalogue import Catalogue, ItemPage
from proxy.items.errors import ItemsAPIError, RuleViolation, invalid
from proxy.items.graphql import GraphQL
from proxy.items.item_validation import shown_item
from proxy.items.json_values import InvalidJSONValueError, parsed, written
from proxy.items.metrics import ItemsMetrics
from proxy.items.queries import ItemQuery, asked, page_size
from proxy.items.type_definitions import WATCHING
from proxy.problems import Problem
from proxy.settings import Address
from proxy.web.access_control import Access, Caller
from proxy.web.http_site import HTTPSite
from proxy.web.problem_responses import BROKEN_BODY, HEADERS, Handler, problem_response

log = structlog.get_logger(__name__)

MOST_BODY: Final = 1024 * 1024
BODY_SECONDS: Final = 30.0
FILTERS: Final = ("shelf", "search", "startDate", "endDate", "minRating", "maxRating", "sortBy")
_PAGED: Final = ("first", "after", "total")
_OTHER: Final = "other"


class ItemsServer:
    """`start()` listens, `stop()` finishes what is under way and closes. `around` see every request before all else."""

    def __init__(
        self,
        catalogue: Catalogue,
        access: Access,
        metrics: ItemsMetrics,
        version: str,
        *,
        finish_seconds: float,
        site: HTTPSite,
        around: Sequence[Middleware] = (),
    ) -> None:
        self._catalogue = catalogue
        self._access = access
        self._metrics = metrics
        self._version = version
        self._finish = finish_seconds
        self._site = site
        self._around = tuple(around)
        self._graphql = GraphQL(catalogue)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[*self._around, self._told], client_max_size=MOST_BODY)
        add = app.router
        add.add_get("/items", self._list)
        add.add_post("/items", self._create)
        add.add_get("/items/{type}/{id}", self._get)
        add.add_patch("/items/{type}/{id}", self._update)
        add.add_delete("/items/{type}/{id}", self._delete)
        add.add_get("/series/{id}/seasons", self._seasons)
        add.add_get("/watching", self._watching)
        add.add_post("/graphql", self._graph)
        add.add_get("/schema.graphql", self._sdl)
        add.add_get("/openapi.json", self._openapi)
        add.add_get("/", self._page)
        return app

    async def start(self, listen: Address) -> Address:
        """Listen, and return the address with its real port. Raises OSError if it cannot be had."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=self._finish)
        return await self._site.start(runner, listen)

    async def stop(self) -> None:
        """Accept no more requests, let those in progress finish for `finish_seconds`, and close."""
        await self._site.stop()

    # -- reads ---------------------------------------------------------------------------------------------------------

    async def _get(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        _only(request)
        return _json(shown_item(await self._catalogue.with_id(*_named(request))))

    async def _list(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        if "externalId" in request.query:
            given = _only(request, "externalId")
            found = await self._catalogue.with_external_id(given["externalId"])
            return _json({"items": [shown_item(item) for item in found], "hasNextPage": False, "nextPageCursor": None})
        given = _only(request, "type", *FILTERS, *_PAGED)
        return await self._answer_page(given, asked(given))

    async def _watching(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        given = _only(request, *FILTERS, *_PAGED)
        return await self._answer_page(given, asked(given, WATCHING))

    async def _answer_page(self, given: dict[str, str], question: ItemQuery) -> web.Response:
        wanted = given.get("total", "false")
        if wanted not in ("true", "false"):
            raise invalid(RuleViolation("total", "true or false"))
        first = page_size(given.get("first"))
        found = await self._catalogue.page(question, first, given.get("after"))
        total = {"total": await self._catalogue.total(question)} if wanted == "true" else {}
        return _json({**_document(found), **total})

    async def _seasons(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        given = _only(request, "first", "after")
        found = await self._catalogue.with_series_id(
            request.match_info["id"], page_size(given.get("first")), given.get("after")
        )
        return _json(_document(found))

    # -- changes -------------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.Response:
        self._writer(request)
        overwrite = _only(request, "overwrite").get("overwrite", "false")
        if overwrite not in ("true", "false"):
            raise invalid(RuleViolation("overwrite", "true or false"))
        item = shown_item(await self._catalogue.create(await _body(request), overwrite=overwrite == "true"))
        return _json(item, 201, {"Location": f"/items/{item['type']}/{item['id']}"})

    async def _update(self, request: web.Request) -> web.Response:
        self._writer(request)
        _only(request)
        return _json(shown_item(await self._catalogue.update(*_named(request), await _body(request))))

    async def _delete(self, request: web.Request) -> web.Response:
        self._writer(request)
        _only(request)
        await self._catalogue.delete(*_named(request))
        return web.Response(status=204, headers=HEADERS)

    def _writer(self, request: web.Request) -> Caller:
        caller = self._access.caller(request)
        if not caller.operates:
            raise Problem(403, "to change items takes the write token", code="FORBIDDEN")
        return caller

    # -- GraphQL and descriptions --------------------------------------------------------------------------------------

    async def _graph(self, request: web.Request) -> web.Response:
        caller = self._access.caller(request)
        _only(request)
        return _json(await self._graphql.answer(await _body(request), writes=caller.operates))

    async def _sdl(self, _: web.Request) -> web.Response:
        return web.Response(text=self._graphql.sdl, content_type="text/plain", headers=HEADERS)

    async def _openapi(self, _: web.Request) -> web.Response:
        return _json(openapi.document(self._version))

    async def _page(self, _: web.Request) -> web.Response:
        text = page.text(openapi.document(self._version))
        return web.Response(text=text, content_type="text/html", headers={**HEADERS, **page.POLICY})

    # -- every answer --------------------------------------------------------------------------------------------------

    @web.middleware
    async def _told(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers what a handler raises, and counts."""
        began = time.perf_counter()
        response = await self._carried_out(request, handler)
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else _OTHER
        self._metrics.answered(
            f"{request.method} {route}" if route != _OTHER else route, response.status, _since(began)
        )
        return response

    async def _carried_out(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._access.admit(request)
            return await handler(request)
        except Problem as problem:
            return problem_response(problem)
        except ItemsAPIError as refusal:
            if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                log.warning("items_failed", method=request.method, code=str(refusal.code), detail=refusal.detail)
            again = {"Retry-After": "1"} if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            return problem_response(Problem(refusal.status, refusal.detail, again, **refusal.members()))
        except (web.RequestPayloadError, HttpProcessingError):
            return problem_response(Problem(400, BROKEN_BODY))
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            allowed = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            return problem_response(Problem(error.status, f"{request.method} {request.path}: {error.reason}", allowed))
        except Exception:
            log.exception("items_fault", method=request.method)
            return problem_response(Problem(500, "a fault of Crossfade's own: see its log", code="FAULT"))


async def _body(request: web.Request) -> Any:
    """The request's JSON. Raises Refusal, and Problem for what is sent too slowly or as another kind of thing."""
    if request.content_type not in ("application/json", "application/merge-patch+json"):
        raise Problem(415, "send application/json")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise Problem(408, f"the body did not come within {BODY_SECONDS:g} s") from None
    try:
        return parsed(body)
    except InvalidJSONValueError as unfit:
        raise invalid(RuleViolation("", str(unfit))) from None


def _only(request: web.Request, *names: str) -> dict[str, str]:
    """The query's parameters, each known and given once. Raises Refusal."""
    broken = [
        RuleViolation(name, "not known here" if name not in names else "given once")
        for name in dict.fromkeys(request.query)
        if name not in names or len(request.query.getall(name)) > 1
    ]
    if broken:
        raise invalid(*broken)
    return dict(request.query)


def _named(request: web.Request) -> tuple[str, str]:
    return request.match_info["type"], request.match_info["id"]


def _document(found: ItemPage) -> dict[str, Any]:
    return {
        "items": [shown_item(item) for item in found.items],
        "hasNextPage": found.cursor is not None,
        "nextPageCursor": found.cursor,
    }


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=written(document), status=status, content_type="application/json", headers={**HEADERS, **(headers or {})}
    )


def _since(began: float) -> float:
    return time.perf_counter() - began
