"""The admin API of the parked keys of one process.

GET    /v1/parked?limit=100             the parked keys, the oldest first, redacted as the settings say
POST   /v1/parked/retry                 have all of them converge once more (an operator's)
POST   /v1/parked/{id}/retry            have one of them do so
DELETE /v1/parked/{id}?because=…        give one up: the stores stay different there (an operator's)
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from proxy.admin import request_parsing as parsing
from proxy.admin.stages_api import reply
from proxy.cutover.process_status import ParkedKeysControl
from proxy.problems import Problem
from proxy.web.access_control import Access

_LISTED: Final = 100
_MAX_LISTED: Final = 1000


class ParkedApi:
    """The request handlers. `add` registers them."""

    def __init__(self, parked: ParkedKeysControl, access: Access) -> None:
        self._parked = parked
        self._access = access

    def add(self, app: web.Application) -> None:
        router = app.router
        router.add_get("/v1/parked", self._list)
        router.add_post("/v1/parked/retry", self._retry_all)
        router.add_post("/v1/parked/{id}/retry", self._retry)
        router.add_delete("/v1/parked/{id}", self._drop)

    async def _list(self, request: web.Request) -> web.Response:
        self._access.caller(request)
        parsing.allow_only(request, "limit")
        limit = parsing.number(request, "limit", _LISTED, _MAX_LISTED)
        return reply({"parked": self._parked.list(limit)})

    async def _retry_all(self, request: web.Request) -> web.Response:
        self._access.operator(request)
        parsing.allow_only(request)
        return reply({"retried": self._parked.retry()})

    async def _retry(self, request: web.Request) -> web.Response:
        self._access.operator(request)
        parsing.allow_only(request)
        retried = self._parked.retry(request.match_info["id"])
        if not retried:
            raise _unknown(request)
        return reply({"retried": retried})

    async def _drop(self, request: web.Request) -> web.Response:
        caller = self._access.operator(request)
        parsing.allow_only(request, "because", "by")
        because = parsing.reason(request, "the key may differ")
        key_id = request.match_info["id"]
        if not self._parked.drop(key_id, parsing.requester(request.query.get("by", ""), caller), because):
            raise _unknown(request)
        return reply({"id": key_id, "dropped": True})


def _unknown(request: web.Request) -> Problem:
    key_id = request.match_info["id"][: parsing.MAX_NAME]
    return Problem(404, f"no key {key_id!r} is parked here: GET /v1/parked lists those that are")
