"""Rows in portions that one transaction may write. Pure: it counts and never looks into a row.

DSQL ends a transaction that modifies more than 3,000 rows, whatever their indexes, or 10 MiB ("Cluster quotas and
database limits", user guide), with SQLSTATE 54000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

MAX_ROWS: Final = 3_000
MAX_BYTES: Final = 10 * 1024 * 1024
# The guide does not say whether entries of indexes count towards the bytes, and a caller only estimates a row's size.
SAFE_BYTES: Final = MAX_BYTES // 2


def batches(
    rows: Iterable[T], size: Callable[[T], int], *, most_rows: int = MAX_ROWS, most_bytes: int = SAFE_BYTES
) -> Iterator[list[T]]:
    """All rows in their order, in lists that are never empty and within both limits; `size` gives a row's bytes.

    A row that is over `most_bytes` by itself comes alone: whether it can be written is the database's to say. At most
    one list is held at a time.
    """
    if most_rows < 1 or most_bytes < 1:
        raise ValueError(f"most_rows ({most_rows}) and most_bytes ({most_bytes}) must be at least 1")
    batch: list[T] = []
    held = 0
    for row in rows:
        more = size(row)
        if batch and (len(batch) >= most_rows or held + more > most_bytes):
            yield batch
            batch, held = [], 0
        batch.append(row)
        held += more
    if batch:
        yield batch
