"""The admin API of the stages: reading stages, gates and history, moving a stage, forgetting a process.

    GET    /v1/stages                            every table and type, and the proxies
    GET    /v1/stages/{table}[/{type}]           one of them
    PUT    /v1/stages/{table}[/{type}]           move it (an operator's)
    GET    /v1/gate/{table}[/{type}]?to=live     what must hold before
    GET    /v1/history?limit=20                  every change of stage, newest first
    DELETE /v1/processes/{process}?because=…     forget one that is gone for good (an operator's)

The response to a move is one document, sent when the move has ended. A client that accepts application/x-ndjson gets a
line for each step of progress, and the same document as `end` of the last line. The cutover service and the gate decide
whether a move may be made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from proxy.admin import request_parsing as parsing
from proxy.cutover import documents
from proxy.cutover.service import CutoverService, PreparedMove
from proxy.problems import Problem
from proxy.stores.errors import StoreError
from proxy.web.access_control import Access
from proxy.web.problem_responses import HEADERS

log = structlog.get_logger(__name__)

NDJSON: Final = "application/x-ndjson"
_HISTORY: Final = 20
_MAX_HISTORY: Final = 500
# The lines that wait for a slow reader: older progress is dropped for newer, the outcome never.
_BUFFERED_LINES: Final = 64


class StagesApi:
    """The request handlers. `add` registers them; `close` aborts moves under way."""

    def __init__(self, cutover: CutoverService, access: Access) -> None:
        self._cutover = cutover
        self._access = access
        self._moves: set[asyncio.Task[Mapping[str, Any]]] = set()

    def add(self, app: web.Application) -> None:
        router = app.router
        router.add_get("/v1/stages", self._all)
        router.add_get("/v1/history", self._history)
        router.add_delete("/v1/processes/{process}", self._forget)
        for path in ("{table}", "{table}/{type}"):
            router.add_get(f"/v1/stages/{path}", self._one)
            router.add_put(f"/v1/stages/{path}", self._move)
            router.add_get(f"/v1/gate/{path}", self._gate)

    async def close(self) -> None:
        for task in self._moves:
            task.cancel()
        if self._moves:
            await asyncio.wait(self._moves)

    # -- questions -------------------------------------------------------------------------------------------------

    async def _all(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request)
        parsing.allow_only(request)
        snapshot = await self._cutover.snapshot()
        gates = {at: snapshot.gate_to_next_stage(at) for at in snapshot.overview.scopes}
        return reply(documents.stages(snapshot.overview, gates))

    async def _one(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request)
        parsing.allow_only(request)
        scope = parsing.scope_of(request)
        snapshot = await self._cutover.snapshot(scope)
        at = snapshot.find(scope)
        return reply({"epoch": snapshot.overview.epoch, **documents.staged_scope(at, snapshot.gate_to_next_stage(at))})

    async def _gate(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request)
        parsing.allow_only(request, "to", "ramp")
        scope = parsing.scope_of(request)
        snapshot = await self._cutover.snapshot(scope)
        at = snapshot.find(scope)
        to = parsing.stage(request.query["to"], "to") if "to" in request.query else snapshot.next_stage_of(scope)
        gate = snapshot.gate(at.scope, to, _share(request))
        return reply(documents.gate(gate, at.stage))

    async def _history(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request)
        parsing.allow_only(request, "limit")
        limit = parsing.number(request, "limit", _HISTORY, _MAX_HISTORY)
        entries = await self._cutover.history(limit)
        return reply({"history": [documents.history_entry(each) for each in entries]})

    # -- changes ---------------------------------------------------------------------------------------------------

    async def _move(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.operator(request)
        parsing.allow_only(request)
        move = await parsing.move_request(request, caller)
        if move.dry_run:
            return reply(await self._cutover.preview(move))
        prepared = await self._cutover.prepare(move)
        steps: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(_BUFFERED_LINES)
        # A task of its own: a caller that goes away must not leave writes held or a move half done.
        task = asyncio.create_task(self._carry_out(prepared, steps))
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)
        if NDJSON in request.headers.get("Accept", ""):
            return await self._stream(request, task, steps)
        end = await asyncio.shield(task)
        if end["outcome"] in ("moved", "unchanged"):
            return reply(end)
        members = {name: value for name, value in end.items() if name != "detail"}
        raise Problem(409 if end["outcome"] == "kept" else 503, end["detail"], **members)

    async def _carry_out(self, prepared: PreparedMove, steps: asyncio.Queue[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the outcome of a move, whatever it is: an exception might have no listener any more."""
        last: Mapping[str, Any] = {}
        try:
            async for step in self._cutover.carry_out(prepared):
                last = step.document
                if not step.is_last:
                    if steps.full():
                        steps.get_nowait()
                    steps.put_nowait(last)
        except StoreError as error:
            return {"outcome": "unknown", "detail": f"the stage table cannot be reached: {error}: check the stages"}
        except Exception:
            log.exception("move_fault")
            return {
                "outcome": "unknown",
                "detail": "an internal error of Crossfade: see its log, and check the stages",
            }
        return last

    async def _stream(
        self, request: web.Request, task: asyncio.Task[Mapping[str, Any]], steps: asyncio.Queue[Mapping[str, Any]]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": NDJSON})
        try:
            await response.prepare(request)
            while not (task.done() and steps.empty()):
                taken = asyncio.ensure_future(steps.get())
                await asyncio.wait({taken, task}, return_when=asyncio.FIRST_COMPLETED)
                if not taken.cancel():
                    await _write(response, taken.result())
            await _write(response, {"end": task.result()})
            await response.write_eof()
        except ConnectionError:
            log.info("stage_move_unwatched", path=request.path)
        return response

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.operator(request)
        parsing.allow_only(request, "because", "by")
        because = parsing.reason(request, "its keys are not missed")
        process = request.match_info["process"]
        by = parsing.requester(request.query.get("by", ""), caller)
        follows = await self._cutover.forget(process, by, because)
        return reply({"process": process, "forgotten": True, "follows": follows})


def reply(document: Mapping[str, Any]) -> web.Response:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, content_type="application/json", headers=HEADERS)


async def _write(response: web.StreamResponse, line: Mapping[str, Any]) -> None:
    await response.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _share(request: web.Request) -> float:
    text = request.query.get("ramp")
    if text is None:
        return 0.0
    try:
        return parsing.ramp(float(text))
    except ValueError:
        raise Problem(400, "ramp: a number from 0 to 100, in percent") from None
