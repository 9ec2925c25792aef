"""Where each port listens, and who may use it: `listen`, `[auth]`, `[admin]` and `[items]`."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from proxy.settings.validation import AnyOf, InRange

PREFIX: Final = "CROSSFADE_"
SHORTEST_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a host name or IP address, and a TCP port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `host:port` or `[ipv6]:port`; ValueError if it is neither."""
        host, colon, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and "[" not in text):
            raise ValueError(f"{text!r} is not an address: write host:port, as in 127.0.0.1:8000 or [::1]:8000")
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections of clients each port may have, and how many file descriptors they leave to the journal and
    the stores."""

    data: Annotated[int, InRange(1, 1_000_000)] = 1000
    admin: Annotated[int, InRange(1, 1_000_000)] = 100
    items: Annotated[int, InRange(1, 1_000_000)] = 500
    reserved_descriptors: Annotated[int, InRange(0, 1_000_000)] = 128


def _access_key_id(value: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{1,128}", value) is not None


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The secret of a client's access key, or the file that contains it."""

    secret_access_key: str | None = field(default=None, repr=False)
    secret_access_key_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.secret_access_key is None) == (self.secret_access_key_file is None):
            raise ValueError("set either secret_access_key or secret_access_key_file")
        if self.secret_access_key == "":
            raise ValueError("secret_access_key is empty: anyone could sign with it")


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may use the data port: all who reach it (`none`), or all who sign with one of `keys`, by its id (`sigv4`)."""

    mode: Annotated[str, AnyOf(("none", "sigv4"))] = "none"
    insecure: bool = False
    keys: Mapping[str, AccessKey] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.mode == "sigv4" and not self.keys:
            raise ValueError(
                'mode = "sigv4" needs the keys that clients sign with: set secret_access_key or secret_access_key_file '
                f'in [auth.keys."ACCESS_KEY_ID"], or {PREFIX}AUTH__KEYS__ACCESS_KEY_ID__SECRET_ACCESS_KEY'
            )
        if self.mode == "none" and self.keys:
            raise ValueError('there are keys, but mode = "none" asks for no signature: set mode = "sigv4"')
        for name in self.keys:
            if not _access_key_id(name):
                raise ValueError(f"keys: {name!r} cannot be an access key's id: use letters, digits, '_' and '-'")


def _token(value: str) -> str | None:
    if len(value) >= SHORTEST_TOKEN and value.isascii() and value.isprintable() and " " not in value:
        return None
    return f"this is no token: use {SHORTEST_TOKEN} or more visible ASCII characters, as `openssl rand -hex 32` gives"


_Token = Annotated[str | None, _token]


def _one_each(section: Any, *names: str) -> None:
    """ValueError where a text is given both by itself and by its file."""
    for name in names:
        if getattr(section, name) is not None and getattr(section, f"{name}_file") is not None:
            raise ValueError(f"{name} and {name}_file are both set: remove one of them")


def _any_given(section: Any, *names: str) -> bool:
    """Whether one of the texts is given, by itself or by its file."""
    return any(getattr(section, each) is not None for name in names for each in (name, f"{name}_file"))


def _refuse_strangers(section: "Admin | Items", token_file: str) -> None:
    """ValueError where a port that asks for no token can be reached from other machines."""
    listen = section.listen
    if listen is not None and not listen.loopback and not section.insecure and not section.guarded:
        raise ValueError(
            f"listen = {str(listen)!r} can be reached from other machines, and no token is asked for: set "
            f"{token_file}, or use 127.0.0.1, or set insecure = true if your network keeps strangers out"
        )


def tls_pair(cert: Path | None, key: Path | None) -> None:
    """ValueError where only one of the two is given."""
    if (cert is None) != (key is None):
        raise ValueError("tls_cert and tls_key belong together: set both, or neither")


@dataclass(frozen=True, slots=True)
class AdminTokens:
    """All of `Admin` that who calls a proxy's admin port needs."""

    read_token: _Token = field(default=None, repr=False)
    operator_token: _Token = field(default=None, repr=False)
    read_token_file: Path | None = None
    operator_token_file: Path | None = None

    def __post_init__(self) -> None:
        _one_each(self, "read_token", "operator_token")


@dataclass(frozen=True, slots=True)
class Admin:
    """Health, metrics, status and stages. `values` shows item values in mismatches; without it, hashes and shapes.

    A `_file` holds the token as its only line. `metrics_need_token` asks scrapers of /metrics for the read token too.
    """

    listen: Address = Address("127.0.0.1", 8001)
    insecure: bool = False
    values: bool = False
    mismatches_kept: Annotated[int, InRange(0, 100_000)] = 1000
    read_token: _Token = field(default=None, repr=False)
    operator_token: _Token = field(default=None, repr=False)
    read_token_file: Path | None = None
    operator_token_file: Path | None = None
    metrics_need_token: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        _one_each(self, "read_token", "operator_token")
        if self.read_token is not None and self.read_token == self.operator_token:
            raise ValueError("read_token and operator_token are the same: who may read could then move stages")
        tls_pair(self.tls_cert, self.tls_key)
        _refuse_strangers(self, "operator_token_file")

    @property
    def guarded(self) -> bool:
        """Whether callers need a token."""
        return _any_given(self, "read_token", "operator_token")


@dataclass(frozen=True, slots=True)
class Items:
    """The items port; without `listen` there is none. `cursor_secret` signs cursors: proxies that have the same take
    each other's. A `_file` holds its text as its only line. TLS is the data port's."""

    listen: Address | None = None
    insecure: bool = False
    table: str = "billio"
    read_token: _Token = field(default=None, repr=False)
    write_token: _Token = field(default=None, repr=False)
    cursor_secret: _Token = field(default=None, repr=False)
    read_token_file: Path | None = None
    write_token_file: Path | None = None
    cursor_secret_file: Path | None = None

    def __post_init__(self) -> None:
        _one_each(self, "read_token", "write_token", "cursor_secret")
        if self.read_token is not None and self.read_token == self.write_token:
            raise ValueError("read_token and write_token are the same: who may read could then write")
        _refuse_strangers(self, "write_token_file")

    @property
    def guarded(self) -> bool:
        """Whether callers need a token."""
        return _any_given(self, "read_token", "write_token")
