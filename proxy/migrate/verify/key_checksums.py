"""Checksums of a set of keys, as counts and sums by bucket: they tell whether two sets are equal without either set.

DSQL computes the same sums over its own keys (`BulkStatements.sums`). So a row that has no item in DynamoDB is found
without a transfer of the other rows. Arithmetic only.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from base64 import b85decode, b85encode
from collections.abc import Iterable
from typing import Final

from proxy.stores.dsql.bulk import BucketSum

MOST_BUCKETS: Final = 16_384
_MASK: Final = (1 << 64) - 1
# A bucket costs about a tenth of a row, so with this many rows per bucket the buckets cost far less than a twentieth.
_ROWS_A_BUCKET: Final = 16


def buckets_for(rows: int) -> int:
    """Return how many buckets to use for a table of `rows` rows: a power of two."""
    buckets = 1
    while buckets < MOST_BUCKETS and buckets * _ROWS_A_BUCKET < rows:
        buckets *= 2
    return buckets


class KeyChecksums:
    """Counts of keys, and sums of key hashes modulo 2^64, by bucket; always in the largest number of buckets."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * MOST_BUCKETS))
        self._totals = array("Q", bytes(8 * MOST_BUCKETS))

    def add(self, key_hash: bytes) -> None:
        """Add a key, given its SHA-256: the first two bytes choose the bucket, and the next seven are summed."""
        bucket = int.from_bytes(key_hash[:2], "big") % MOST_BUCKETS
        self._counts[bucket] += 1
        self._totals[bucket] = (self._totals[bucket] + int.from_bytes(key_hash[2:9], "big")) & _MASK

    def merge(self, other: KeyChecksums) -> None:
        """Add the keys of another part."""
        for bucket in range(MOST_BUCKETS):
            self._counts[bucket] += other._counts[bucket]
            self._totals[bucket] = (self._totals[bucket] + other._totals[bucket]) & _MASK

    def differing_buckets(self, buckets: int, sums: Iterable[BucketSum]) -> set[int]:
        """Return which of `buckets` buckets (a power of two) hold other rows in DSQL than the keys that were added."""
        counts, totals = [0] * buckets, [0] * buckets
        for bucket in range(MOST_BUCKETS):
            counts[bucket % buckets] += self._counts[bucket]
            totals[bucket % buckets] += self._totals[bucket]
        held: dict[int, tuple[int, int]] = {}
        for each in sums:
            rows, total = held.get(each.bucket, (0, 0))
            held[each.bucket] = (rows + each.rows, total + each.total)
        return {
            bucket
            for bucket in range(buckets)
            if (counts[bucket], totals[bucket] & _MASK) != ((found := held.get(bucket, (0, 0)))[0], found[1] & _MASK)
        }

    def to_text(self) -> str:
        """Return the text that a checkpoint keeps."""
        return b85encode(zlib.compress(_little_endian(self._counts) + _little_endian(self._totals), 1)).decode()

    @classmethod
    def from_text(cls, text: str) -> KeyChecksums:
        """Read the text that a checkpoint kept."""
        content = zlib.decompress(b85decode(text))
        found = cls()
        found._counts, found._totals = (
            _from_little_endian(content[: len(content) // 2]),
            _from_little_endian(content[len(content) // 2 :]),
        )
        return found


def _little_endian(numbers: array[int]) -> bytes:
    copy = array("Q", numbers)
    if sys.byteorder == "big":
        copy.byteswap()
    return copy.tobytes()


def _from_little_endian(content: bytes) -> array[int]:
    numbers = array("Q", content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
