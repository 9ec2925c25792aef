"""A small table of Crossfade's own in DSQL, made when it is first asked. Knows SQL's errors and not what the table is.

Each call is one statement by itself. A process that makes the table while another does finds it made.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import asyncpg

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sqlstates import MADE_MEANWHILE, NO_TABLE
from proxy.stores.errors import Refused, Unreachable

_CONFLICT: Final = "40001"
_AWAY: Final = ("57", "53", "08", "XX000", _CONFLICT)


class SystemTable:
    """`table` is its name as SQL has it; `create` the statement that makes it, sent only where it is not there: a role
    without the right to make tables can use one that was made for it."""

    def __init__(self, pool: Pool, table: str, create: str) -> None:
        self._pool = pool
        self._look = f"SELECT 1 FROM {table} LIMIT 0"  # noqa: S608
        self.create = create

    @property
    def statements(self) -> tuple[str, ...]:
        """What is sent of its own accord, but for `create`."""
        return (self._look,)

    async def fetch(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        """Raises Unreachable or Refused."""
        rows: list[asyncpg.Record] = await self._ask("fetch", statement, *parameters)
        return rows

    async def execute(self, statement: str, *parameters: Any) -> None:
        """Raises Unreachable or Refused; to be used for what may be done twice."""
        await self._ask("execute", statement, *parameters)

    async def make(self) -> None:
        """Make it, unless it is there. Raises Unreachable or Refused."""
        await self._ask("execute", self._look)

    async def _ask(self, method: Literal["fetch", "execute"], statement: str, *parameters: Any) -> Any:
        try:
            async with self._pool.connection() as connection:
                try:
                    return await getattr(connection, method)(statement, *parameters)
                except asyncpg.PostgresError as error:
                    if error.sqlstate != NO_TABLE:
                        raise
                await self._make(connection)
                return await getattr(connection, method)(statement, *parameters)
        except asyncpg.PostgresError as error:
            state = error.sqlstate or "?????"
            detail = f"{state} {type(error).__name__}"
            raise (Unreachable("server", detail) if state.startswith(_AWAY) else Refused(state, detail)) from error
        except (OSError, asyncpg.InterfaceError) as error:
            raise Unreachable("connection", type(error).__name__) from error

    async def _make(self, connection: asyncpg.Connection) -> None:
        try:
            await connection.execute(self.create)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in MADE_MEANWHILE and error.sqlstate != _CONFLICT:
                raise
