"""The tokens that a port knows, from the settings and the files that these name, and whose each is.

They are compared by their digests, in constant time, and are kept and logged nowhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from proxy.settings import SHORTEST_TOKEN, Admin
from proxy.settings.validation import SettingsError


class Role(StrEnum):
    READER = "reader"
    OPERATOR = "operator"


class BearerTokens:
    """Tokens by role. Without any, no token is known."""

    def __init__(self, tokens: Iterable[tuple[Role, str]]) -> None:
        self._digests = tuple((role, _digest(token)) for role, token in tokens)

    @classmethod
    def of(cls, admin: Admin) -> BearerTokens | None:
        """Those that the settings name; None where they name none. Raises SettingsError for a file that holds none."""
        return cls.given(
            "admin",
            (Role.READER, "read_token", admin.read_token, admin.read_token_file),
            (Role.OPERATOR, "operator_token", admin.operator_token, admin.operator_token_file),
        )

    @classmethod
    def given(cls, section: str, *named: tuple[Role, str, str | None, Path | None]) -> BearerTokens | None:
        """Each with its role, the name of its setting in `section`, and itself or the file that it is in."""
        tokens: dict[str, tuple[Role, str]] = {}
        for role, name, token, file in named:
            if file is not None:
                token = read_token_file(file, f"{section}.{name}_file")
            if token is not None and token in tokens:
                raise SettingsError([f"{section}: {tokens[token][1]} and {name} are the same: give each its own"])
            if token is not None:
                tokens[token] = (role, name)
        return cls((role, token) for token, (role, _) in tokens.items()) if tokens else None

    def role_of(self, token: str) -> tuple[str, str] | None:
        """(role, name) of a token; None for one that is not known. Each is looked at, whichever it is."""
        digest = _digest(token)
        found: Role | None = None
        for role, known in self._digests:
            if hmac.compare_digest(known, digest):
                found = role
        return (str(found), str(found)) if found is not None else None


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_token_file(file: Path, setting: str) -> str:
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
