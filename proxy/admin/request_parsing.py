"""Parses and validates the requests of the admin port: JSON bodies with known members, and small numbers in queries.

Every fault raises a Problem that names the member and what would be right.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from proxy.cutover.history_text import check_history_text
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Scope, Stage
from proxy.problems import Problem
from proxy.web.access_control import Caller

MAX_BYTES: Final = 16 * 1024
MAX_TEXT: Final = 500
MAX_NAME: Final = 100
_BODY_SECONDS: Final = 10.0
_MEMBERS: Final = ("stage", "ramp", "force", "because", "by", "epoch", "dry_run")


def scope_of(request: web.Request) -> Scope:
    """The table or type that a path names."""
    table, item_type = request.match_info["table"], request.match_info.get("type", "")
    if "/" in table:
        raise Problem(404, f"{table!r} is no table's name")
    return Scope(table, item_type)


def number(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number in the query, from 1 to `most`."""
    text = request.query.get(name, str(min(default, most)))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise Problem(400, f"{name} must be a number from 1 to {most}")
    return int(text)


def allow_only(request: web.Request, *names: str) -> None:
    """Refuse a query with other or repeated parameters, which would be ignored silently."""
    for name in request.query:
        if name not in names:
            raise Problem(400, f"there is no parameter {name!r} here{_known(name, names)}")
        if len(request.query.getall(name)) > 1:
            raise Problem(400, f"the parameter {name!r} is given twice")


def stage(text: str, where: str) -> Stage:
    try:
        return Stage(text)
    except ValueError:
        raise Problem(400, f"{where}: {text[:MAX_NAME]!r} is no stage: use one of {', '.join(Stage)}") from None


def ramp(value: object) -> float:
    """A ramp in percent."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise Problem(400, "ramp: a number from 0 to 100, in percent")
    return float(value)


async def move_request(request: web.Request, caller: Caller) -> MoveRequest:
    """The move that a path and its body ask for."""
    scope = scope_of(request)
    document = await _object(request)
    for name, value in document.items():
        if name not in _MEMBERS:
            raise Problem(400, f"there is no member {name[:MAX_NAME]!r}{_known(name, _MEMBERS)}")
        if value is None:
            raise Problem(400, f"{name}: null is no value: leave it out")
    to = stage(_text(document, "stage", MAX_NAME, required=True), "stage")
    share = document.get("ramp")
    if share is not None and to is not Stage.SHADOW:
        raise Problem(400, "ramp: only shadow has one: leave it out")
    epoch = document.get("epoch")
    if epoch is not None and (isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 2**53):
        raise Problem(400, "epoch: the number that GET /v1/stages gave")
    move = MoveRequest(
        scope,
        to,
        requester(_text(document, "by", MAX_NAME), caller),
        ramp=ramp(share) if share is not None else None,
        because=_text(document, "because", MAX_TEXT),
        force=_flag(document, "force"),
        epoch=epoch,
        dry_run=_flag(document, "dry_run"),
    )
    if move.force and not move.because:
        raise Problem(400, "because: force needs a reason, which the history keeps")
    return move


def requester(name: str, caller: Caller) -> str:
    """Who asks, for the history: the token's role, which is all that is known of them, and then the name that they
    give. The role comes first, so that no name can put another in its place."""
    name = name.strip()[:MAX_NAME]
    check_history_text(by=name)
    return f"{caller.name}: {name}" if name else caller.name


def reason(request: web.Request, why: str) -> str:
    """The parameter `because`, which must be there; `why` says what for."""
    because = request.query.get("because", "").strip()
    if not because or len(because) > MAX_TEXT:
        raise Problem(400, f"because: say in 1 to {MAX_TEXT} characters why {why}")
    check_history_text(because=because)
    return because


async def _object(request: web.Request) -> Mapping[str, Any]:
    if request.content_type != "application/json":
        raise Problem(415, "send application/json", {"Accept": "application/json"})
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise Problem(413, f"the body is larger than {MAX_BYTES} bytes")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise Problem(408, "the body did not come in time", {"Connection": "close"}) from None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise Problem(400, "the body must be a JSON object")
    return document


def _text(document: Mapping[str, Any], name: str, most: int, *, required: bool = False) -> str:
    text = document.get(name)
    if text is None and not required:
        return ""
    if not isinstance(text, str) or len(text) > most or any(ord(each) < 32 for each in text):
        raise Problem(400, f"{name}: a text of one line, of at most {most} characters")
    return text.strip()


def _flag(document: Mapping[str, Any], name: str) -> bool:
    flag = document.get(name, False)
    if not isinstance(flag, bool):
        raise Problem(400, f"{name}: true or false")
    return flag


def _known(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f": did you mean {near[0]}?"
    return f": known here are {', '.join(names)}" if names else ""
