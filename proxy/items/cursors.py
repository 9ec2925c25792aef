"""Cursors: where the next page begins, as a text that is no client's business and that none can make up.

A cursor holds a place in a total order (sort value and key, of each type that the page is made of) and the query that
it belongs to, and is signed. No store is in it: it is good at either, and across a flip. Pure.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from proxy.dynamodb.values import Item
from proxy.items.errors import Code, ItemsAPIError, RuleViolation

Places = Mapping[str, Item]
"""By type, the key and sort value of the last item that was shown; a type of which none was is not there."""

_PURPOSE: Final = b"crossfade items cursor 1"
_SIGNED: Final = 16
_LONGEST: Final = 8192


class Cursors:
    """`secret` is shared by the proxies whose cursors are to be good at each other."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, _PURPOSE, sha256)

    def cursor(self, query: Mapping[str, Any], places: Places) -> str:
        payload = orjson.dumps([_mark(query), places], option=orjson.OPT_SORT_KEYS)
        return urlsafe_b64encode(self._signature(payload) + payload).decode().rstrip("=")

    def places(self, query: Mapping[str, Any], cursor: str) -> Places:
        """Raises Refusal for a text that is no cursor of this query."""
        if len(cursor) > _LONGEST or not cursor.isascii():
            raise _refused("a nextPageCursor of an answer")
        try:
            signed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (Base64Error, ValueError):
            raise _refused("a nextPageCursor of an answer") from None
        signature, payload = signed[:_SIGNED], signed[_SIGNED:]
        if not hmac.compare_digest(signature, self._signature(payload)):
            raise _refused("a nextPageCursor of an answer")
        mark, places = orjson.loads(payload)
        if mark != _mark(query):
            raise _refused("a nextPageCursor of the same query, with the same filters and order")
        found: Places = places
        return found

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, sha256)[:_SIGNED]


def _mark(query: Mapping[str, Any]) -> str:
    return sha256(orjson.dumps(query, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _refused(rule: str) -> ItemsAPIError:
    return ItemsAPIError(Code.CURSOR, f"after: {rule}", (RuleViolation("after", rule),))
