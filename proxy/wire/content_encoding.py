"""Bodies that a client has compressed: `Content-Encoding: gzip`. What is signed is the body as it came.

Pure. Knows the limit of a body, and nothing of what is in it.
"""

from __future__ import annotations

import zlib
from typing import Final

from proxy.dynamodb.errors import serialization

_GZIP: Final = 16 + zlib.MAX_WBITS


class TooLarge(Exception):
    """What was compressed is larger than a body may be."""


def decompress(body: bytes, encoding: str | None, limit: int) -> bytes:
    """Return the body that was compressed. Raises TooLarge, and SerializationException for what is no gzip."""
    if encoding is None or encoding.strip().lower() not in ("gzip", "x-gzip"):
        return body
    found, size, rest = [], 0, body
    try:
        while rest:
            member = zlib.decompressobj(wbits=_GZIP)
            found.append(member.decompress(rest, limit - size + 1))
            size += len(found[-1])
            if size > limit:
                raise TooLarge
            if not member.eof:
                raise serialization("the body is no whole gzip")
            rest = member.unused_data
    except zlib.error:
        raise serialization("the body is no gzip") from None
    return b"".join(found)
