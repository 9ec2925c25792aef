"""How many items a table has, and their size, for DescribeTable. Exact where a table is small, else an estimate.

The estimate is the database's own (`reltuples`), and the size is that of a sample: DynamoDB's figures are up to six
hours old ("DescribeTable", ItemCount), and nobody pays for a count of millions of rows.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from proxy.dynamodb.sizes import item_size
from proxy.mapping.foreign_rows import UnreadableRow
from proxy.mapping.interface import TableMapping
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.sql.statements import Statements

_EXACT: Final = 10_000
_SAMPLE: Final = 100
ESTIMATE: Final = (
    "SELECT c.reltuples::float8 AS rows FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
    "ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"
)


class TableCounts(NamedTuple):
    """What DescribeTable says of a table's items."""

    items: int
    size: int


class TableStatistics:
    """Counts tables' rows. Raises StoreError."""

    def __init__(self, pool: Pool, schema: str) -> None:
        self._pool = pool
        self._schema = schema

    async def count(self, mapping: TableMapping) -> TableCounts:
        """Return the number and the size of a table's items."""
        statements = Statements(self._schema, mapping)
        counting = f"SELECT count(*) AS rows FROM (SELECT 1 FROM {statements.table} LIMIT {_EXACT + 1}) AS counted"  # noqa: S608
        [row] = await run_with_retry(self._pool, lambda c: c.fetch(counting))
        rows = int(row["rows"])
        if rows > _EXACT:
            found = await run_with_retry(self._pool, lambda c: c.fetch(ESTIMATE, self._schema, mapping.sql_table))
            rows = max([rows, *(int(each["rows"]) for each in found)])
        scan = statements.scan(segmented=False, cursor=False)
        sizes = []
        for each in await run_with_retry(self._pool, lambda c: c.fetch(scan, _SAMPLE)):
            try:
                sizes.append(item_size(mapping.decode(tuple(each))))
            except UnreadableRow:
                continue
        return TableCounts(rows, rows * sum(sizes) // len(sizes) if sizes else 0)
