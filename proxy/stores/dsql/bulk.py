"""Many rows of one table at a time: digests by key, inserts of what is absent, sums over slices of keys.

What backfill and verify ask of DSQL beside the store's own methods. It compares nothing and knows no authority. Reads
are tried again after conflicts and while the server is away; a write says what may have happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from proxy.mapping.interface import SqlValues, TableMapping
from proxy.stores.dsql.conflicts import is_conflict
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.sql.array_literal import array_literal
from proxy.stores.dsql.sql.bulk_statements import BulkStatements
from proxy.stores.dsql.sql.checksums import as_it_is, parameters
from proxy.stores.dsql.sqlstates import LOST_CONNECTION, to_store_error
from proxy.stores.errors import Refused, StoreError, UnknownOutcome

log = structlog.get_logger(__name__)

T = TypeVar("T")
Bound = tuple[Any, ...]

# DSQL ends a transaction that modifies more than 3,000 rows, whatever their indexes, or 10 MiB, with SQLSTATE 54000
# ("Cluster quotas and database limits", user guide).
MAX_ROWS: Final = 3_000
MAX_BYTES: Final = 10 * 1024 * 1024
# The bytes that a statement is sent with count as well, and index entries do: a message over 10 MiB is cut off.
SAFE_BYTES: Final = MAX_BYTES // 2
# As clusters were seen to count: for each row, and for each entry in an index, beside what is in them.
_ROW_BYTES: Final = 140
_ENTRY_BYTES: Final = 430
_VALUE_BYTES: Final = 40
_SLICE_ROWS: Final = 100_000


def batches(
    rows: Iterable[T], size_of: Callable[[T], int], *, max_rows: int = MAX_ROWS, max_bytes: int = SAFE_BYTES
) -> Iterator[list[T]]:
    """All rows in their order, in lists that one transaction may write: never empty, and within both limits.

    `size_of` gives the bytes of a row. A row larger than `max_bytes` is in a list of its own: whether it can be written
    is for the database to say. At most one list is in memory at a time.
    """
    if max_rows < 1 or max_bytes < 1:
        raise ValueError(f"max_rows ({max_rows}) and max_bytes ({max_bytes}) must be at least 1")
    batch: list[T] = []
    batch_bytes = 0
    for row in rows:
        row_bytes = size_of(row)
        if batch and (len(batch) >= max_rows or batch_bytes + row_bytes > max_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(row)
        batch_bytes += row_bytes
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows after one key up to and with another, in the key's order; None is the beginning, or the end."""

    after: Bound | None
    upto: Bound | None

    @property
    def bounds(self) -> Bound:
        return (*(self.after or ()), *(self.upto or ()))

    @property
    def asked(self) -> dict[str, bool]:
        return {"after": self.after is not None, "upto": self.upto is not None}


@dataclass(frozen=True, slots=True)
class BucketSum:
    """Of a bucket of keys: how many rows, and the sum of their keys' values."""

    bucket: int
    rows: int
    total: int


class Bulk:
    """The rows of one mapping, over a pool.

    `seconds` bounds each statement; `on_retry` is called with the reason before each retry.
    """

    def __init__(
        self,
        pool: Pool,
        mapping: TableMapping,
        *,
        schema: str,
        seconds: float,
        on_retry: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.statements = BulkStatements(schema, mapping)
        self._pool = pool
        self._mapping = mapping
        self._seconds = seconds
        self._on_retry = on_retry
        self._overhead = _ROW_BYTES + _ENTRY_BYTES * len(mapping.index_columns)
        self._row_texts = parameters(mapping.columns)
        by_name = {column.name: text for column, text in zip(mapping.columns, self._row_texts, strict=True)}
        self._key_texts = tuple(by_name[name] for name in mapping.key_columns)

    async def insert(self, rows: Sequence[SqlValues], first: Callable[[asyncpg.Connection], Awaitable[None]]) -> int:
        """Insert the rows whose keys are not there, in one transaction that begins with `first`; gives how many were.

        Raises UnknownOutcome if nobody can tell whether it was committed, Refused if the database takes one of the
        rows by no means, and what `first` raises. At most as many rows as a transaction takes (`batches`).
        """
        arrays = self._arrays(rows, self._row_texts)
        return await run_with_retry(self._pool, lambda c: self._insert(c, arrays, first), on_retry=self._on_retry)

    async def digests(self, keys: Sequence[SqlValues]) -> dict[int, bytes]:
        """Digests of the rows that keys have, by the keys' places."""
        if not keys:
            return {}
        arrays = self._arrays(keys, self._key_texts)
        rows = await self._read(lambda c: c.fetch(self.statements.digests, *arrays, timeout=self._seconds))
        return {row["place"] - 1: row["digest"] for row in rows}

    async def digest_of_all(self, keys: Sequence[SqlValues]) -> tuple[int, bytes]:
        """How many of the keys have rows, and one digest of all those rows (`checksums.of_all`)."""
        arrays = self._arrays(keys, self._key_texts)
        row = await self._read(lambda c: c.fetchrow(self.statements.digest_of_all, *arrays, timeout=self._seconds))
        return row["rows"], row["digest"]

    async def slices(self) -> AsyncIterator[Slice]:
        """The whole table, in slices that one statement gets through well within DSQL's 300 s."""
        after: Bound | None = None
        while True:
            sql = self.statements.end_of_slice(after=after is not None)
            bounds = after or ()
            row = await self._read(lambda c, s=sql, b=bounds: c.fetchrow(s, *b, _SLICE_ROWS - 1, timeout=self._seconds))  # type: ignore[misc]
            upto = None if row is None else tuple(row)
            yield Slice(after, upto)
            if upto is None:
                return
            after = upto

    async def sums(self, part: Slice, buckets: int) -> list[BucketSum]:
        """The sums of each bucket that has rows in a slice; a key's bucket is its hash modulo `buckets`."""
        sql = self.statements.sums(**part.asked)
        rows = await self._read(lambda c: c.fetch(sql, *part.bounds, buckets, timeout=self._seconds))
        return [BucketSum(row["bucket"], row["rows"], int(row["total"])) for row in rows]

    async def in_buckets(self, part: Slice, buckets: int, wanted: Sequence[int]) -> list[SqlValues]:
        """The rows of some buckets in a slice."""
        sql = self.statements.in_buckets(**part.asked)
        texts = [str(bucket) for bucket in wanted]
        rows = await self._read(lambda c: c.fetch(sql, *part.bounds, buckets, texts, timeout=self._seconds))
        return [tuple(row) for row in rows]

    async def counts(self, part: Slice, type_column: str | None) -> dict[str, int]:
        """Rows of a slice by item type; all under "" where no column holds it."""
        sql = self.statements.counts(type_column, **part.asked)
        rows = await self._read(lambda c: c.fetch(sql, *part.bounds, timeout=self._seconds))
        return {row["type"]: row["rows"] for row in rows}

    async def analyze(self) -> None:
        """Have the filled table's statistics collected, without which its indexes may be left unused."""
        try:
            await self._read(lambda c: c.execute(self.statements.analyze, timeout=self._seconds))
        except StoreError as error:
            log.warning(
                "table_not_analyzed",
                table=self._mapping.table,
                error=str(error),
                remedy=f"run {self.statements.analyze} as the owner of the table",
            )

    def row_bytes(self, values: SqlValues) -> int:
        """How many bytes a row is, as it is sent in a statement or as a transaction counts it, whichever is more."""
        texts = [value for value in values if isinstance(value, str)]
        long = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
        others = _VALUE_BYTES * (len(values) - len(texts))
        # In an array's text a quotation mark and a backslash have a backslash before them, and a value two marks.
        marks = sum(text.count('"') + text.count("\\") for text in texts) + 3 * len(values)
        return max(long + others + marks, long + others + self._overhead)

    async def dangling(
        self, part: Slice, attribute: str, to: str, type_column: str | None, item_type: str
    ) -> tuple[int, int]:
        """How many rows of a slice refer to another, and how many of those to one that is not there."""
        sql = self.statements.dangling(attribute, to, type_column, **part.asked)
        kind = () if type_column is None else (item_type,)
        row = await self._read(lambda c: c.fetchrow(sql, *part.bounds, *kind, timeout=self._seconds))
        return row["refer"], row["dangling"]

    async def _insert(
        self,
        connection: asyncpg.Connection,
        arrays: list[str],
        first: Callable[[asyncpg.Connection], Awaitable[None]],
    ) -> int:
        await connection.execute("BEGIN", timeout=self._seconds)
        try:
            await first(connection)
            done: str = await connection.execute(self.statements.insert, *arrays, timeout=self._seconds)
        except (asyncpg.PostgresError, StoreError):
            await connection.execute("ROLLBACK", timeout=self._seconds)
            raise
        try:
            await connection.execute("COMMIT", timeout=self._seconds)
        except asyncpg.PostgresError as error:
            if is_conflict(error):
                raise
            found = to_store_error(error, None)
            if isinstance(found, Refused):
                raise found from error
            connection.terminate()
            raise UnknownOutcome("commit", str(found)) from error
        except LOST_CONNECTION as error:
            connection.terminate()
            raise UnknownOutcome("commit", type(error).__name__) from error
        except asyncio.CancelledError:
            connection.terminate()
            raise
        return int(done.rsplit(" ", 1)[1])

    async def _read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        return await run_with_retry(self._pool, work, on_retry=self._on_retry)

    @staticmethod
    def _arrays(rows: Sequence[SqlValues], texts: tuple[Callable[[Any], str], ...]) -> list[str]:
        return [
            array_literal(column if text is as_it_is else [None if value is None else text(value) for value in column])
            for text, column in zip(texts, zip(*rows, strict=True), strict=True)
        ]
