"""A small table of Crossfade's own in DSQL, made when it is first asked. Knows its statements and not what they mean.

Each call is one statement by itself. Of two processes that find the table missing one makes it, and the other uses it.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.retry import run_with_retry


class SystemTable:
    """`table` is its name as SQL has it; `create` the statement that makes it, sent only where it is not there: a role
    without the right to make tables can use one that was made for it. Every method raises StoreError."""

    def __init__(self, pool: Pool, table: str, create: str) -> None:
        self._pool = pool
        self._look = f"SELECT 1 FROM {table} LIMIT 0"  # noqa: S608
        self.create = create

    @property
    def statements(self) -> tuple[str, ...]:
        """What is sent of its own accord, but for `create`."""
        return (self._look,)

    async def fetch(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        """The rows of a statement that may be done twice."""
        rows: list[asyncpg.Record] = await run_with_retry(
            self._pool, lambda c: c.fetch(statement, *parameters), create=self.create
        )
        return rows

    async def execute(self, statement: str, *parameters: Any) -> None:
        """A statement that may be done twice."""
        await run_with_retry(self._pool, lambda c: c.execute(statement, *parameters), create=self.create)

    async def make(self) -> None:
        """Make it, unless it is there."""
        await self.execute(self._look)
