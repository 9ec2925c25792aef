"""Which rows DSQL would refuse because a key of theirs is too long.

DSQL takes 1 KiB for the columns of a primary key or of an index together ("Cluster quotas and database limits in Amazon
Aurora DSQL"), DynamoDB 2 KiB for a hash key and 1 KiB for a range key. Told from encoded values, before anything is
sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

MAX_KEY_BYTES: Final = 1024
# "8 bytes + 2 bytes per group of 4 decimal digits" ("Supported data types"); 38 digits touch 11 groups at most.
_NUMERIC_BYTES: Final = 30
_FIXED_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class TooLong:
    """A key that is too long: the place of its longest column, and the bytes of them all."""

    place: int
    size: int

    @property
    def reason(self) -> str:
        return f"an index key that it is part of has {self.size} bytes, DSQL takes {MAX_KEY_BYTES}: shorten it"


@dataclass(frozen=True, slots=True)
class IndexKeys:
    """The keys of one SQL table: the places of each one's columns, the primary key's first."""

    keys: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, columns: Sequence[str], keys: Sequence[Sequence[str]]) -> IndexKeys:
        """From the names of all columns, in their order, and of each key's."""
        place_of = {name: place for place, name in enumerate(columns)}
        placed = tuple(tuple(dict.fromkeys(place_of[name] for name in key)) for key in keys)
        return cls(placed, tuple(sorted({place for key in placed for place in key})))

    def surely_fit(self, values: Sequence[Any]) -> bool:
        """Whether no key can be too long, by a glance that nearly every row stands: characters have four bytes at
        most, and nothing else that is not bytes more than a numeric."""
        most = _NUMERIC_BYTES * len(self.places)
        for place in self.places:
            value = values[place]
            if type(value) is str or type(value) is bytes:
                most += len(value) * 4
        return most <= MAX_KEY_BYTES

    def too_long(self, values: Sequence[Any]) -> Iterator[TooLong]:
        """The keys that are too long, one for each column that is to blame."""
        if self.surely_fit(values):
            return
        blamed: set[int] = set()
        for key in self.keys:
            sizes = {place: _bytes(values[place]) for place in key}
            size = sum(sizes.values())
            longest = max(key, key=sizes.__getitem__)
            if size > MAX_KEY_BYTES and longest not in blamed:
                blamed.add(longest)
                yield TooLong(longest, size)


def _bytes(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    return _NUMERIC_BYTES if isinstance(value, Decimal) else _FIXED_BYTES
