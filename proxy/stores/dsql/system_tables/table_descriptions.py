"""What DynamoDB last said of its tables, kept in DSQL: so that a proxy can tell when DynamoDB is gone.

Descriptions are names and types, never values. They are kept behind whatever met them (`work`), for a client must not
wait for it. See docs/decisions/005-control-plane-alone.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog

from proxy.dynamodb.tables.control_plane import stable_description
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statements import qualified
from proxy.stores.dsql.system_tables.system_table import SystemTable
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)

CATALOGUE_TABLE: Final = "crossfade_tables"
_AGAIN_SECONDS: Final = 10.0


class TableDescriptions:
    """The descriptions of tables. Every method that is awaited raises StoreError."""

    def __init__(self, pool: Pool, schema: str = "public") -> None:
        table = qualified(schema, CATALOGUE_TABLE)
        self._table = SystemTable(
            pool,
            table,
            f"CREATE TABLE IF NOT EXISTS {table} "
            "(name text PRIMARY KEY, description text NOT NULL, described timestamptz NOT NULL)",
        )
        self._put = (
            f"INSERT INTO {table} (name, description, described) VALUES ($1, $2, now()) "  # noqa: S608
            "ON CONFLICT (name) DO UPDATE SET description = excluded.description, described = excluded.described"
        )
        self._add = (
            f"INSERT INTO {table} (name, description, described) VALUES ($1, $2, now()) "  # noqa: S608
            "ON CONFLICT (name) DO NOTHING RETURNING name"
        )
        self._delete = f"DELETE FROM {table} WHERE name = $1"  # noqa: S608
        self._get = f"SELECT description FROM {table} WHERE name = $1"  # noqa: S608
        self._list = f"SELECT name FROM {table} WHERE name > $1 ORDER BY name LIMIT $2"  # noqa: S608
        self._pending: dict[str, str | None] = {}
        self._wanted = asyncio.Event()

    @property
    def definitions(self) -> tuple[str, ...]:
        return (self._table.create,)

    @property
    def statements(self) -> tuple[str, ...]:
        """All but the one that makes the table."""
        return *self._table.statements, self._put, self._add, self._delete, self._get, self._list

    def keep(self, description: Mapping[str, Any]) -> None:
        """Note DescribeTable's `Table`; `work` will write it."""
        self._pending[description["TableName"]] = orjson.dumps(stable_description(description)).decode()
        self._wanted.set()

    def drop(self, name: str) -> None:
        """Note that there is no such table any more."""
        self._pending[name] = None
        self._wanted.set()

    async def work(self) -> None:
        """Write what was noted: for a loop. Waits until there is something."""
        await self._wanted.wait()
        try:
            await self.flush()
        except StoreError as error:
            log.warning("catalogue_not_written", tables=len(self._pending), reason=error.reason)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def flush(self) -> None:
        """Write what was noted, now."""
        while self._pending:
            name, text = next(iter(self._pending.items()))
            if text is None:
                await self._table.execute(self._delete, name)
            else:
                await self._table.execute(self._put, name, text)
            if self._pending.get(name) == text:  # else it was noted again meanwhile
                del self._pending[name]
        self._wanted.clear()

    async def add(self, description: Mapping[str, Any]) -> bool:
        """Write the description of a new table. Returns False if there is one of this name already."""
        text = orjson.dumps(description).decode()
        return bool(await self._table.fetch(self._add, description["TableName"], text))

    async def replace(self, description: Mapping[str, Any]) -> None:
        """Write the description of a table that was changed."""
        await self._table.execute(self._put, description["TableName"], orjson.dumps(description).decode())

    async def remove(self, name: str) -> None:
        """Remove the description of a table that was deleted."""
        await self._table.execute(self._delete, name)

    async def description(self, name: str) -> dict[str, Any] | None:
        """What DescribeTable said of the table; None if nothing is known of it."""
        rows = await self._table.fetch(self._get, name)
        if not rows:
            return None
        description: dict[str, Any] = orjson.loads(rows[0]["description"])
        return description

    async def names(self, after: str, most: int) -> list[str]:
        """So many tables' names after another, in order."""
        return [row["name"] for row in await self._table.fetch(self._list, after, most)]
