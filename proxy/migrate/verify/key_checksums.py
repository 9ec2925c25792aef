"""Which keys were seen, as counts and sums by bucket: enough to tell whether two sets of keys are one, without either.

DSQL sums its own keys the same way (`BulkStatements.sums`), so that a row that DynamoDB has no item for is found
without moving the others. Arithmetic only.
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
# A bucket's line costs about as much as a tenth of a row: so many rows a bucket keep that far below a twentieth.
_ROWS_A_BUCKET: Final = 16


def buckets_for(rows: int) -> int:
    """How many buckets to ask a table of so many rows for: a power of two."""
    buckets = 1
    while buckets < MOST_BUCKETS and buckets * _ROWS_A_BUCKET < rows:
        buckets *= 2
    return buckets


class KeyChecksums:
    """Counts and sums modulo 2^64, by the finest buckets."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * MOST_BUCKETS))
        self._totals = array("Q", bytes(8 * MOST_BUCKETS))

    def add(self, key_hash: bytes) -> None:
        """Take in a key by its SHA-256: the first two bytes choose the bucket, the next seven are summed."""
        bucket = int.from_bytes(key_hash[:2], "big") % MOST_BUCKETS
        self._counts[bucket] += 1
        self._totals[bucket] = (self._totals[bucket] + int.from_bytes(key_hash[2:9], "big")) & _MASK

    def merge(self, other: KeyChecksums) -> None:
        for bucket in range(MOST_BUCKETS):
            self._counts[bucket] += other._counts[bucket]
            self._totals[bucket] = (self._totals[bucket] + other._totals[bucket]) & _MASK

    def differing_buckets(self, buckets: int, sums: Iterable[BucketSum]) -> set[int]:
        """Of so many buckets (a power of two), those whose rows are not the keys taken in."""
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
        """To be kept in a checkpoint."""
        return b85encode(zlib.compress(_little_endian(self._counts) + _little_endian(self._totals), 1)).decode()

    @classmethod
    def from_text(cls, text: str) -> KeyChecksums:
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
