"""Who may do what at the admin port: readers look, operators move stages.

With a token set, every caller shows one ("The OAuth 2.0 Authorization Framework: Bearer Token Usage", RFC 6750). With
none, the port is a loopback one, and who calls it from this machine, by a loopback name, is an operator; a web page is
not, whatever it calls itself, because a browser on this machine does as any page tells it. Tokens are compared by their
digests, in constant time, and are kept and logged nowhere.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from proxy.admin.problems import Problem
from proxy.checked import SettingsError
from proxy.settings import SHORTEST_TOKEN, Admin

log = structlog.get_logger(__name__)

_CHALLENGE: Final = 'Bearer realm="crossfade"'
_OWN: Final = frozenset({"same-origin", "none"})


class Role(StrEnum):
    READER = "reader"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what they may do, and how the history names them."""

    role: Role
    name: str

    @property
    def operates(self) -> bool:
        return self.role is Role.OPERATOR


class Tokens:
    """Tokens by role. Without any, no token is known."""

    def __init__(self, tokens: Iterable[tuple[Role, str]]) -> None:
        self._digests = tuple((role, _digest(token)) for role, token in tokens)

    @classmethod
    def of(cls, admin: Admin) -> Tokens | None:
        """Those that the settings name; None where they name none. Raises SettingsError for a file that holds none."""
        if not admin.guarded:
            return None
        given: list[tuple[Role, str]] = []
        for role, token, setting, file in (
            (Role.READER, admin.read_token, "admin.read_token_file", admin.read_token_file),
            (Role.OPERATOR, admin.operator_token, "admin.operator_token_file", admin.operator_token_file),
        ):
            if file is not None:
                token = token_in(file, setting)
            if token is not None:
                given.append((role, token))
        if len({token for _, token in given}) < len(given):
            raise SettingsError(["admin: the read token and the operator's are the same: give each its own"])
        return cls(given)

    def role_of(self, token: str) -> tuple[str, str] | None:
        """(role, name) of a token; None for one that is not known. Each is looked at, whichever it is."""
        digest = _digest(token)
        found: Role | None = None
        for role, known in self._digests:
            if hmac.compare_digest(known, digest):
                found = role
        return (str(found), str(found)) if found is not None else None


class Access:
    """`tokens` are those that callers may show; None where nobody needs one. `strangers` allows callers from anywhere
    then, as readers."""

    def __init__(self, tokens: Tokens | None, *, strangers: bool) -> None:
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
        if (site is not None and site not in _OWN) or (origin is not None and not _same(origin, request)):
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


def _same(origin: str, request: web.Request) -> bool:
    """Whether an Origin is this very port, by the name that it was called by."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme == request.scheme and parts.netloc.lower() == request.host.lower()


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def token_in(file: Path, setting: str) -> str:
    """The one line of a file. What a file holds in the wrong place is not repeated."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError([f"{setting}: {file}: {why}: give the path of a readable file"]) from None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        remedy = f"put one line of {SHORTEST_TOKEN} or more visible ASCII characters into it"
        raise SettingsError([f"{setting}: {file}: it holds no token: {remedy}"])
    return token
