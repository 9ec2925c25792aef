"""The console's sessions: a random name in a cookie that scripts cannot read, and the session in memory.

Few, short, and lost when the process ends. The token itself is neither kept nor sent back to the browser.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

KEPT: Final = 64
LASTS_SECONDS: Final = 8 * 3600
IDLE_SECONDS: Final = 3600
COOKIE: Final = "crossfade_session"


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `role` and `name` are those of its token; `until` is by the clock of `Sessions`."""

    role: str
    name: str
    until: float


class Sessions:
    """At most `KEPT` sessions of each role; the least recently used one is dropped for a new one of its role: readers,
    however many, push out no operator. Use from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[str, tuple[Session, float]] = OrderedDict()

    def begin(self, response: web.StreamResponse, role: str, name: str, *, secure: bool) -> None:
        """Open a session, and set its cookie."""
        now = self._clock()
        kept = [each for each, (session, _) in self._open.items() if session.role == role]
        for each in kept[: max(0, len(kept) - KEPT + 1)]:
            del self._open[each]
        cookie = secrets.token_urlsafe(32)
        self._open[cookie] = (Session(role, name, now + LASTS_SECONDS), now)
        # No Max-Age: the cookie ends with the browser, and the session after LASTS_SECONDS at the latest.
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", secure=secure, path="/")

    def of(self, request: web.Request) -> Session | None:
        """The session of a request; None if there is none or it has expired."""
        cookie = request.cookies.get(COOKIE, "")
        found = self._open.get(cookie)
        if found is None:
            return None
        session, used = found
        now = self._clock()
        if now >= session.until or now - used >= IDLE_SECONDS:
            del self._open[cookie]
            return None
        self._open[cookie] = (session, now)
        self._open.move_to_end(cookie)
        return session

    def end(self, request: web.Request, response: web.StreamResponse) -> None:
        """Close the request's session, if it has one."""
        self._open.pop(request.cookies.get(COOKIE, ""), None)
        response.del_cookie(COOKIE, path="/")
