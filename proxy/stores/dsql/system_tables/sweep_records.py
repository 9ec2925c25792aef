"""The record of sweeps, in a table of DSQL's: when a table was swept whole, and what came of it. The gate reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.sql.statements import qualified
from proxy.stores.dsql.sqlstates import NO_TABLE
from proxy.stores.errors import Refused

SWEEPS_TABLE: Final = "crossfade_sweeps"
EQUAL: Final = "equal"
REPAIRED: Final = "repaired"
DIFFERENT: Final = "different"
UNSETTLED: Final = "unsettled"


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """One sweep of a whole table. `began` and `ended` are Unix seconds. `result` is `equal`, or `repaired` (differences
    were found, and all mended: only the next sweep can say `equal`), or `different`, or `unsettled` (some keys were
    written, or could not be read, at each look). `report` is as `report` makes it,
    without values."""

    table: str
    began: float
    ended: float
    authority: str
    result: str
    report: dict[str, Any]

    @property
    def mended(self) -> bool:
        """Whether nothing that differed was left so, but for what the mapping cannot hold."""
        return bool(self.report.get("mended", self.result not in (DIFFERENT, UNSETTLED)))


class SweepRecords:
    """Over a pool of connections. Raises Unreachable or Refused."""

    def __init__(self, pool: Pool, schema: str, *, seconds: float) -> None:
        table = qualified(schema, SWEEPS_TABLE)
        self._pool = pool
        self._seconds = seconds
        self._create = (
            f"CREATE TABLE IF NOT EXISTS {table} (table_name text NOT NULL, began timestamptz NOT NULL, "
            "ended timestamptz NOT NULL, authority text NOT NULL, result text NOT NULL, report text NOT NULL, "
            "PRIMARY KEY (table_name, ended, began))"
        )
        self._insert = (
            f"INSERT INTO {table} (table_name, began, ended, authority, result, report) "  # noqa: S608
            "VALUES ($1, to_timestamp($2::float8), to_timestamp($3::float8), $4, $5, $6) ON CONFLICT DO NOTHING"
        )
        self._newest = (
            "SELECT table_name, extract(epoch FROM began)::float8 AS began, "  # noqa: S608
            f"extract(epoch FROM ended)::float8 AS ended, authority, result, report FROM {table} "
            "WHERE table_name = $1 ORDER BY ended DESC, began DESC LIMIT 1"
        )

    @property
    def definitions(self) -> tuple[str, ...]:
        """What makes the table."""
        return (self._create,)

    @property
    def statements(self) -> tuple[str, ...]:
        """All statements but the one that makes the table."""
        return self._insert, self._newest

    async def add(self, sweep: SweepRecord) -> None:
        report = orjson.dumps(sweep.report).decode()
        values = (sweep.table, sweep.began, sweep.ended, sweep.authority, sweep.result, report)
        # The same twice is the same: a row has its key from the sweep itself.
        await run_with_retry(
            self._pool,
            lambda c: c.execute(self._insert, *values, timeout=self._seconds),
            create=self._create,
            seconds=self._seconds,
        )

    async def newest(self, table: str) -> SweepRecord | None:
        """The last sweep of a table that was finished; None if there is none. Makes no table: proxies, who ask this,
        need not be allowed to."""
        try:
            row = await run_with_retry(self._pool, lambda c: c.fetchrow(self._newest, table, timeout=self._seconds))
        except Refused as error:
            if error.reason != NO_TABLE:
                raise
            row = None
        if row is None:
            return None
        return SweepRecord(
            row["table_name"], row["began"], row["ended"], row["authority"], row["result"], orjson.loads(row["report"])
        )
