"""Sums of keys by bucket: equal for the same keys in any order and in any number of parts, and for no other."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from proxy.migrate.verify.key_checksums import MOST_BUCKETS, KeyChecksums, buckets_for
from proxy.stores.dsql.bulk import BucketSum

_KEYS = st.sets(st.binary(max_size=4), max_size=40)


def sums_of(keys: list[bytes]) -> KeyChecksums:
    sums = KeyChecksums()
    for key in keys:
        sums.add(sha256(key).digest())
    return sums


def as_dsql(keys: set[bytes], buckets: int) -> list[BucketSum]:
    """What the SQL gives."""
    found: dict[int, list[int]] = {}
    for key in keys:
        h = sha256(key).digest()
        held = found.setdefault((h[0] * 256 + h[1]) % buckets, [0, 0])
        held[0] += 1
        held[1] += int.from_bytes(h[2:9], "big")
    return [BucketSum(bucket, rows, total) for bucket, (rows, total) in found.items()]


@given(_KEYS, st.integers(0, 14), st.randoms())
def test_the_same_keys_are_alike(keys: set[bytes], power: int, dice: object) -> None:
    ordered = sorted(keys)
    dice.shuffle(ordered)  # type: ignore[attr-defined]
    one, other = sums_of(ordered[::2]), sums_of(ordered[1::2])
    one.merge(KeyChecksums.from_text(other.to_text()))
    assert one.differing_buckets(2**power, as_dsql(keys, 2**power)) == set()


@given(_KEYS, _KEYS, st.integers(0, 14))
def test_other_keys_are_found_in_their_buckets(keys: set[bytes], others: set[bytes], power: int) -> None:
    buckets = 2**power
    unlike = sums_of(sorted(keys)).differing_buckets(buckets, as_dsql(others, buckets))
    wanted = {int.from_bytes(sha256(key).digest()[:2], "big") % buckets for key in keys ^ others}
    assert unlike == wanted


@given(st.integers(0, 10**9))
def test_as_many_buckets_as_pay(rows: int) -> None:
    buckets = buckets_for(rows)
    assert buckets.bit_count() == 1
    assert buckets <= MOST_BUCKETS
    assert buckets == 1 or buckets * 8 < rows
