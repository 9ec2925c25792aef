"""A transaction's ClientRequestToken and the request that came with it, as two hashes. Pure; keeps nothing.

What is kept of them must tell nobody what was in the request, so it is hashed with the token as the key, which is not
kept either. Source: API reference, "TransactWriteItems", ClientRequestToken. DynamoDB takes two requests for the same
whatever the order of their members (seen of the service), and so they are here, and whatever the order within a set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

VALID_SECONDS: Final = 600.0
_MEMBER: Final = "ClientRequestToken"
_SETS: Final = frozenset({"SS", "NS", "BS"})


@dataclass(frozen=True, slots=True)
class IdempotencyToken:
    """`name` stands for the token, `request` for what it was given with: hexadecimal text."""

    name: str
    request: str

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> IdempotencyToken | None:
        """The token of a valid request; None where it has none."""
        text = request.get(_MEMBER)
        if text is None:
            return None
        secret = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        rest = _ordered({name: value for name, value in request.items() if name != _MEMBER})
        name = blake2b(b"name", key=secret, digest_size=16).hexdigest()
        return cls(name, blake2b(_text(rest), key=secret, digest_size=32).hexdigest())


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: sorted(map(str, each)) if name in _SETS and isinstance(each, list) else _ordered(each)
            for name, each in value.items()
        }
    return [_ordered(each) for each in value] if isinstance(value, list) else value


def _text(request: Any) -> bytes:
    try:
        return orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # half of a surrogate pair, or a number beyond 64 bits
        return json.dumps(request, sort_keys=True).encode()
