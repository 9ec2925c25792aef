"""Compressed bodies: taken apart within their limit, or refused."""

import gzip

import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.wire.content_encoding import TooLarge, decompress

BODY = b'{"TableName": "t"}'


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip "])
def test_a_gzip_is_taken_apart(encoding: str) -> None:
    assert decompress(gzip.compress(BODY, mtime=0), encoding, len(BODY)) == BODY
    assert decompress(gzip.compress(BODY[:5], mtime=0) + gzip.compress(BODY[5:], mtime=0), encoding, len(BODY)) == BODY
    assert decompress(b"", encoding, 10) == b""


@pytest.mark.parametrize("encoding", [None, "identity", "aws-chunked", "br"])
def test_nothing_else_is(encoding: str | None) -> None:
    assert decompress(BODY, encoding, 1) == BODY


@pytest.mark.parametrize(
    "body", [BODY, gzip.compress(BODY, mtime=0)[:-3], gzip.compress(BODY, mtime=0) + b"more", b"\x1f\x8b"]
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(DynamoDBError) as refused:
        decompress(body, "gzip", 1000)
    assert refused.value.code == "SerializationException"


def test_what_is_too_large_is_not_made() -> None:
    with pytest.raises(TooLarge):
        decompress(gzip.compress(BODY, mtime=0), "gzip", len(BODY) - 1)
    with pytest.raises(TooLarge):
        decompress(gzip.compress(b"x" * 10, mtime=0) * 3, "gzip", 29)
