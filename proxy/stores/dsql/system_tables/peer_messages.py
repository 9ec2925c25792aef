"""A small table in DSQL on which processes leave notes for each other. Knows SQL, and not what the notes mean.

It is made when it is first needed. A note is one row of its own, so that no two processes' writes conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statements import qualified
from proxy.stores.dsql.system_tables.system_table import SystemTable

BOARD_TABLE: Final = "crossfade_board"


@dataclass(frozen=True, slots=True)
class PeerMessage:
    """What it is about, whose it is, what it says, and its age in seconds by the database's clock."""

    subject: str
    process: str
    text: str
    age: float


class PeerMessages:
    """Over a pool of connections. Every method raises Unreachable or Refused."""

    def __init__(self, pool: Pool, schema: str) -> None:
        table = qualified(schema, BOARD_TABLE)
        self._table = SystemTable(
            pool,
            table,
            f"CREATE TABLE IF NOT EXISTS {table} (subject text NOT NULL, process text NOT NULL, "
            "note text NOT NULL, posted timestamptz NOT NULL, PRIMARY KEY (subject, process))",
        )
        age = "extract(epoch FROM now() - posted)::float8 AS age"
        self._read = f"SELECT subject, process, note, {age} FROM {table}"  # noqa: S608
        self._post = (
            f"INSERT INTO {table} (subject, process, note, posted) VALUES ($1, $2, $3, now()) "  # noqa: S608
            "ON CONFLICT (subject, process) DO UPDATE SET note = excluded.note, posted = excluded.posted"
        )
        self._clear = f"DELETE FROM {table} WHERE subject = $1"  # noqa: S608
        self._clear_one = f"DELETE FROM {table} WHERE subject = $1 AND process = $2"  # noqa: S608

    @property
    def definitions(self) -> tuple[str, ...]:
        return (self._table.create,)

    @property
    def statements(self) -> tuple[str, ...]:
        """All but the one that makes the table."""
        return *self._table.statements, self._read, self._post, self._clear, self._clear_one

    async def read(self) -> Sequence[PeerMessage]:
        rows = await self._table.fetch(self._read)
        return [PeerMessage(row["subject"], row["process"], row["note"], max(0.0, row["age"])) for row in rows]

    async def post(self, subject: str, process: str, text: str) -> None:
        """A process has one note a subject: the last."""
        await self._table.execute(self._post, subject, process, text)

    async def clear(self, subject: str, process: str | None = None) -> None:
        """Remove all notes on a subject, or one process's."""
        if process is None:
            await self._table.execute(self._clear, subject)
        else:
            await self._table.execute(self._clear_one, subject, process)
