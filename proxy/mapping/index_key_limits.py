"""Which rows DSQL would refuse because a key of theirs is too long.

The columns of a primary key, or of an index with those of the primary key, may have 1 KiB together by the guide
("Cluster quotas and database limits in Amazon Aurora DSQL"), which is the safe figure and the default; clusters were
seen to take about 1,981 bytes, less 7 for each column after the first. DynamoDB takes 2 KiB for a hash key and 1 KiB
for a range key. Decided from encoded values, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

SAFE_KEY_BYTES: Final = 1024
MAX_KEY_COLUMNS: Final = 8
"""The columns of a primary key or of an index at most (the same page)."""
# "8 bytes + 2 bytes per group of 4 decimal digits" ("Supported data types"); 38 digits touch 11 groups at most.
_NUMERIC_BYTES: Final = 30
_FIXED_BYTES: Final = 16


def sql_index_columns(wanted: Iterable[str]) -> tuple[str, ...]:
    """The columns of a SQL index, each once, as far as DSQL takes them. What is left out only orders equal keys, and a
    query sorts by it all the same."""
    return tuple(dict.fromkeys(wanted))[:MAX_KEY_COLUMNS]


@dataclass(frozen=True, slots=True)
class TooLong:
    """A key that is too long: the place of its longest column, the bytes of them all, and how many it may have."""

    place: int
    size: int
    limit: int

    @property
    def reason(self) -> str:
        remedy = "shorten it, or raise max_key_bytes in [dsql] if the cluster takes more"
        return f"an index key that it is part of has {self.size} bytes, at most {self.limit} are written: {remedy}"


@dataclass(frozen=True, slots=True)
class IndexKeys:
    """The keys of one SQL table: the places of each one's columns, the primary key's first, and the limit."""

    keys: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]
    limit: int = SAFE_KEY_BYTES

    @classmethod
    def of(cls, columns: Sequence[str], keys: Sequence[Sequence[str]], limit: int = SAFE_KEY_BYTES) -> IndexKeys:
        """From the names of all columns, in their order, and of each key's."""
        place_of = {name: place for place, name in enumerate(columns)}
        placed = tuple(tuple(place_of[name] for name in sql_index_columns(key)) for key in keys)
        return cls(placed, tuple(sorted({place for key in placed for place in key})), limit)

    def surely_fit(self, values: Sequence[Any]) -> bool:
        """Whether no key can be too long, by a glance that nearly every row stands: characters have four bytes at
        most, and nothing else more than a numeric."""
        most = _NUMERIC_BYTES * len(self.places)
        for place in self.places:
            value = values[place]
            if type(value) is str:
                most += len(value) * 4
        return most <= self.limit

    def too_long(self, values: Sequence[Any]) -> Iterator[TooLong]:
        """The keys that are too long, one for each column that is to blame."""
        if self.surely_fit(values):
            return
        blamed: set[int] = set()
        for key in self.keys:
            sizes = {place: _bytes(values[place]) for place in key}
            size = sum(sizes.values())
            longest = max(key, key=sizes.__getitem__)
            if size > self.limit and longest not in blamed:
                blamed.add(longest)
                yield TooLong(longest, size, self.limit)


def _bytes(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value.encode())
    return _NUMERIC_BYTES if isinstance(value, Decimal) else _FIXED_BYTES
