"""A small table in DSQL on which processes leave notes for each other. Knows SQL, and not what the notes mean.

It is made when it is first needed. A note is one row of its own, so that no two processes' writes conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from proxy.stores.failures import Refused, Unreachable
from proxy.stores.pool import Pool
from proxy.stores.sql import qualified

BOARD_TABLE: Final = "crossfade_board"
_NO_TABLE: Final = "42P01"
_CONFLICT: Final = "40001"
# Two processes that make the table at once: one of them finds its name taken while it is at it.
_MADE_MEANWHILE: Final = frozenset({"23505", "42P07", _CONFLICT})
_AWAY: Final = ("57", "53", "08", "XX000", _CONFLICT)


@dataclass(frozen=True, slots=True)
class Note:
    """What it is about, whose it is, what it says, and its age in seconds by the database's clock."""

    subject: str
    process: str
    text: str
    age: float


class Board:
    """Over a pool of connections. Every method raises Unreachable or Refused."""

    def __init__(self, pool: Pool, schema: str) -> None:
        table = qualified(schema, BOARD_TABLE)
        self._pool = pool
        self._create = (
            f"CREATE TABLE IF NOT EXISTS {table} (subject text NOT NULL, process text NOT NULL, "
            "note text NOT NULL, posted timestamptz NOT NULL, PRIMARY KEY (subject, process))"
        )
        age = "extract(epoch FROM now() - posted)::float8 AS age"
        self._read = f"SELECT subject, process, note, {age} FROM {table}"  # noqa: S608
        self._post = (
            f"INSERT INTO {table} (subject, process, note, posted) VALUES ($1, $2, $3, now()) "  # noqa: S608
            "ON CONFLICT (subject, process) DO UPDATE SET note = excluded.note, posted = excluded.posted"
        )
        self._clear = f"DELETE FROM {table} WHERE subject = $1"  # noqa: S608
        self._clear_one = f"DELETE FROM {table} WHERE subject = $1 AND process = $2"  # noqa: S608

    async def read(self) -> Sequence[Note]:
        rows = await self._ask("fetch", self._read)
        return [Note(row["subject"], row["process"], row["note"], max(0.0, row["age"])) for row in rows]

    async def post(self, subject: str, process: str, text: str) -> None:
        """A process has one note a subject: the last."""
        await self._ask("execute", self._post, subject, process, text)

    async def clear(self, subject: str, process: str | None = None) -> None:
        """Remove all notes on a subject, or one process's."""
        if process is None:
            await self._ask("execute", self._clear, subject)
        else:
            await self._ask("execute", self._clear_one, subject, process)

    async def _ask(self, method: str, statement: str, *parameters: str) -> Any:
        try:
            async with self._pool.acquire() as connection:
                try:
                    return await getattr(connection, method)(statement, *parameters)
                except asyncpg.PostgresError as error:
                    if error.sqlstate != _NO_TABLE:
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
            await connection.execute(self._create)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _MADE_MEANWHILE:
                raise
