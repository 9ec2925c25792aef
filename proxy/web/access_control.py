"""Who may do what at the admin port: readers look, operators move stages.

With a token set, every caller shows one ("The OAuth 2.0 Authorization Framework: Bearer Token Usage", RFC 6750). With
none, the port is a loopback one, and who calls it from this machine, by a loopback name, is an operator; a web page is
not, whatever it calls itself, because a browser on this machine does as any page tells it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from proxy.problems import Problem
from proxy.web.bearer_tokens import BearerTokens, Role

log = structlog.get_logger(__name__)

_CHALLENGE: Final = 'Bearer realm="crossfade"'
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_OWN: Final = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what they may do, and how the history names them."""

    role: Role
    name: str

    @property
    def operates(self) -> bool:
        return self.role is Role.OPERATOR


class Access:
    """`tokens` are those that callers may show; None where nobody needs one. `strangers` allows callers from anywhere
    then, as readers."""

    def __init__(self, tokens: BearerTokens | None, *, strangers: bool) -> None:
        self.tokens = tokens
        self._strangers = strangers

    def admit(self, request: web.Request) -> None:
        """Raises Problem for a caller who must not even learn that the port is alive: a web page that has its name
        point at this machine is known by the name that it calls the port by."""
        if self.tokens is None and not self._strangers and not loopback_name(request.host):
            raise Problem(403, "call this port by a loopback name, as in http://127.0.0.1, or set a token for it")

    def caller(self, request: web.Request) -> Caller:
        """Who asks. Raises Problem: 401 without a token that is known, 403 for what another web page sends."""
        headers = request.headers
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        if (site is not None and site not in _OWN) or (origin is not None and not is_own_origin(origin, request)):
            self._refused(request, "another web page sent it")
            raise Problem(403, "this was sent by another web page, and this port listens to none")
        if self.tokens is None:
            if origin is None and loopback_name(request.host) and _loopback(request.remote):
                return Caller(Role.OPERATOR, "loopback")
            return Caller(Role.READER, "anybody")
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem(401, "send a token: Authorization: Bearer …", {"WWW-Authenticate": _CHALLENGE})
        known = self.tokens.role_of(token.strip())
        if known is None:
            self._refused(request, "its token is not known")
            raise Problem(401, "this token is not known", {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'})
        role, name = known
        return Caller(Role(role), name)

    def operator(self, request: web.Request) -> Caller:
        """Who asks, if they may change anything. Raises Problem."""
        caller = self.caller(request)
        if not caller.operates:
            self._refused(request, "it only may read")
            remedy = (
                "send the operator's token" if self.tokens else "call from this machine, or set admin.operator_token"
            )
            raise Problem(403, f"this needs an operator: {remedy}", {"WWW-Authenticate": _insufficient()})
        return caller

    @staticmethod
    def _refused(request: web.Request, why: str) -> None:
        log.warning("admin_refused", method=request.method, path=request.path, remote=request.remote, why=why)


def loopback_name(host: str) -> bool:
    """Whether a Host header names this machine."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name.lower() == "localhost" or _loopback(name.strip("[]"))


def _insufficient() -> str:
    return f'{_CHALLENGE}, error="insufficient_scope"'


def _loopback(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_own_origin(origin: str, request: web.Request) -> bool:
    """Whether an Origin is this very port, by the name that it was called by: scheme, host and port ("null", an opaque
    origin, is none)."""
    own = _origin(f"{request.scheme}://{request.host}")
    return own is not None and own == _origin(origin)


def _origin(text: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path or parts.query or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, _DEFAULT_PORTS[parts.scheme] if port is None else port
