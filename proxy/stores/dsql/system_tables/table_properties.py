"""What is known of DynamoDB's tables beside their descriptions, kept in DSQL: time to live, and tags.

A property is a small document. Knows SQL, and not what the documents mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statements import qualified
from proxy.stores.dsql.system_tables.system_table import SystemTable

PROPERTIES_TABLE: Final = "crossfade_table_properties"
TIME_TO_LIVE: Final = "time_to_live"
TAGS: Final = "tags"
_LEASE: Final = "expiry_lease"


class TableProperties:
    """The properties of tables. Every method that is awaited raises StoreError."""

    def __init__(self, pool: Pool, schema: str = "public") -> None:
        table = qualified(schema, PROPERTIES_TABLE)
        self._table = SystemTable(
            pool,
            table,
            f"CREATE TABLE IF NOT EXISTS {table} (name text NOT NULL, property text NOT NULL, document text NOT NULL, "
            "noted timestamptz NOT NULL, PRIMARY KEY (property, name))",
        )
        self._put = (
            f"INSERT INTO {table} (name, property, document, noted) VALUES ($1, $2, $3, now()) "  # noqa: S608
            "ON CONFLICT (property, name) DO UPDATE SET document = excluded.document, noted = excluded.noted"
        )
        self._get = f"SELECT document FROM {table} WHERE property = $1 AND name = $2"  # noqa: S608
        self._list = f"SELECT name, document FROM {table} WHERE property = $1"  # noqa: S608
        # A lease is a property whose document is the process that has it.
        self._claim = (
            f"INSERT INTO {table} AS held (name, property, document, noted) "  # noqa: S608
            f"VALUES ($1, '{_LEASE}', $2, now()) ON CONFLICT (property, name) "
            "DO UPDATE SET document = excluded.document, noted = excluded.noted "
            "WHERE held.document = excluded.document OR held.noted < now() - make_interval(secs => $3) RETURNING name"
        )
        self._delete = f"DELETE FROM {table} WHERE name = $1"  # noqa: S608

    @property
    def definitions(self) -> tuple[str, ...]:
        return (self._table.create,)

    @property
    def statements(self) -> tuple[str, ...]:
        """All but the one that makes the table."""
        return *self._table.statements, self._put, self._get, self._list, self._claim, self._delete

    async def set(self, table: str, name: str, document: Mapping[str, Any]) -> None:
        """Replace a property of a table."""
        await self._table.execute(self._put, table, name, orjson.dumps(document).decode())

    async def get(self, table: str, name: str) -> dict[str, Any] | None:
        """Return a property of a table; None if it is not known."""
        rows = await self._table.fetch(self._get, name, table)
        return _document(rows[0]) if rows else None

    async def all(self, name: str) -> dict[str, dict[str, Any]]:
        """Return a property of every table that has it, by table."""
        return {row["name"]: _document(row) for row in await self._table.fetch(self._list, name)}

    async def keep_time_to_live(self, table: str, description: Mapping[str, Any]) -> None:
        """Replace a table's `TimeToLiveDescription`."""
        await self.set(table, TIME_TO_LIVE, description)

    async def claim_expiry(self, table: str, process: str, seconds: float) -> bool:
        """Take or renew the lease to expire a table's items. Returns False while another process has it."""
        return bool(await self._table.fetch(self._claim, table, process, seconds))

    async def drop(self, table: str) -> None:
        """Forget a table that was deleted."""
        await self._table.execute(self._delete, table)


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(row["document"])
    return found
