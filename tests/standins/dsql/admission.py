"""Who may connect: DSQL's refusals at the door, which are FATAL, and what of a startup message PostgreSQL gets."""

import shlex
import time
from dataclasses import dataclass, field
from typing import Final

from tests.standins.dsql.connections import wire
from tests.standins.dsql.settings import SERVER_VERSION, GateSettings
from tests.standins.dsql.sql.refusals import setting_refusal

_OUTSIDE: Final = frozenset({"user", "database", "options"})
_REPORTED: Final = {"server_version": SERVER_VERSION, "is_superuser": "off"}
_DENIED: Final = "unable to accept connection, access denied"
_WAKING: Final = "unable to accept connection, waking up cluster, please retry later"


@dataclass(slots=True)
class Admission:
    """How many connections there are, and how fast new ones may come."""

    settings: GateSettings
    open: int = 0
    _tokens: float = field(init=False)
    _at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._tokens = float(self.settings.connection_burst)

    def refusal(self, parameters: dict[str, str]) -> bytes | None:
        """Why a connection is refused."""
        settings, now = self.settings, time.monotonic()
        earned = (now - self._at) * settings.connection_rate
        self._tokens, self._at = min(float(settings.connection_burst), self._tokens + earned), now
        if settings.waking > 0:
            settings.waking -= 1
            return fatal("08006", _WAKING)
        if self.open >= settings.connections:
            return fatal("53300", "Unable to accept connection, too many open connections.")
        if self._tokens < 1:
            return fatal("53400", "Unable to accept connection, rate exceeded.")
        self._tokens -= 1
        hint = settings.denied.get(parameters.get("user", ""))
        if hint is not None:
            return denied(hint)
        return _parameter_refusal(parameters)


def fatal(sqlstate: str, message: str, hint: str = "") -> bytes:
    """An error after which the connection ends."""
    return wire.error(sqlstate, message, hint=hint, severity="FATAL")


def denied(hint: str) -> bytes:
    """Access denied: only HINT says why."""
    return fatal("08006", _DENIED, hint)


def reported(parameter: bytes) -> bytes:
    """A ParameterStatus frame of PostgreSQL's as DSQL reports it."""
    name = parameter[5:].split(b"\0")[0].decode()
    if name not in _REPORTED:
        return parameter
    return wire.frame(b"S", name.encode() + b"\0" + _REPORTED[name].encode() + b"\0")


def _parameter_refusal(parameters: dict[str, str]) -> bytes | None:
    names = [name for name in parameters if name not in _OUTSIDE and not name.startswith("_pq_.")]
    words = shlex.split(parameters.get("options", ""))
    names += [word.removeprefix("-c").removeprefix("--").split("=")[0] for word in words if "=" in word]
    for name in names:
        if refused := setting_refusal(name):
            return fatal(refused.sqlstate, refused.message)
    return None
