"""What the admin port answers when it will not or cannot: application/problem+json (RFC 9457), a sentence in `detail`.

Every error goes through here, those of aiohttp and our own faults too, so that no page of HTML and no traceback leaves
the port. What is a problem, and which, is for the handlers to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from proxy.stores.failures import StoreError

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """An answer that is an error: its status, its sentence, and members of its own for programs."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def document(self) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }


def answer(problem: Problem) -> web.Response:
    body = orjson.dumps(problem.document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    headers = {**HEADERS, **problem.headers}
    return web.Response(body=body, status=problem.status, content_type=CONTENT_TYPE, headers=headers)


@web.middleware
async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers what a handler raises. What it raises after it has begun to answer ends the connection."""
    try:
        return await handler(request)
    except Problem as problem:
        return answer(problem)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        allowed = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return answer(Problem(error.status, f"{request.method} {request.path}: {error.reason}", allowed))
    except StoreError as error:
        return answer(Problem(503, f"the stage table cannot be reached: {error}", {"Retry-After": "1"}))
    except Exception:
        log.exception("admin_fault", method=request.method, path=request.path)
        return answer(Problem(500, "a fault of Crossfade's own: see its log"))
