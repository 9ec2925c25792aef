"""What the admin port answers when it will not or cannot: application/problem+json (RFC 9457), a sentence in `detail`.

Every error goes through here, those of aiohttp and our own faults too, so that no page of HTML and no traceback leaves
the port.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import orjson
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from proxy.problems import Problem
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)

BROKEN_BODY: Final = "the body is not what the headers say, or was cut short"
CONTENT_TYPE: Final = "application/problem+json"
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem_response(problem: Problem) -> web.Response:
    body = orjson.dumps(problem.document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    headers = {**HEADERS, **problem.headers}
    return web.Response(body=body, status=problem.status, content_type=CONTENT_TYPE, headers=headers)


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers what a handler raises. What it raises after it has begun to answer ends the connection."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except (web.RequestPayloadError, HttpProcessingError):
        return problem_response(Problem(400, BROKEN_BODY))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        allowed = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return problem_response(Problem(error.status, f"{request.method} {request.path}: {error.reason}", allowed))
    except StoreError as error:
        return problem_response(Problem(503, f"the stage table cannot be reached: {error}", {"Retry-After": "1"}))
    except Exception:
        log.exception("admin_fault", method=request.method, path=request.path)
        return problem_response(Problem(500, "a fault of Crossfade's own: see its log"))
