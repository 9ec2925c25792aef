"""How far each shard of a stream has been read: beside the journal, in its file.

Why there: a position says that everything before it has been nominated, and that is true only as long as the journal
holds the nominations. In one file the two live and die together. A position kept elsewhere, as in DSQL, would outlive
a lost disk, and with it go the keys that nobody would ever nominate again; without positions a stream is simply read
again from its oldest record. In SQLite's WAL a later commit never survives an earlier one, so that a power cut cannot
keep a position and lose its keys. The shape is that of DSQL's `crossfade_checkpoints`: job, part, state, done.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS stream_positions (
  job TEXT NOT NULL, part TEXT NOT NULL, state TEXT NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (job, part)
) WITHOUT ROWID
"""
_SAVE: Final = (
    "INSERT INTO stream_positions (job, part, state, done) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET state = excluded.state, done = excluded.done"
)


@dataclass(frozen=True, slots=True)
class ShardPosition:
    """The sequence number of the last record that was nominated (None: none yet), and whether the shard has ended."""

    after: str | None
    done: bool = False


class StreamPositions:
    """In the journal's file, which must have been opened by the time of the first question. Raises sqlite3.Error; use
    from the journal's event loop."""

    def __init__(self, journal: Path) -> None:
        self._path = journal
        self._connection: sqlite3.Connection | None = None

    def by_shard(self, table: str, stream: str) -> dict[str, ShardPosition]:
        """By shard."""
        rows = self._database.execute(
            "SELECT part, state, done FROM stream_positions WHERE job = ? AND part <> ''", (_job(table, stream),)
        )
        return {part: ShardPosition(orjson.loads(state)["after"], bool(done)) for part, state, done in rows}

    def save(self, table: str, stream: str, shard: str, position: ShardPosition) -> None:
        state = orjson.dumps({"after": position.after}).decode()
        self._database.execute(_SAVE, (_job(table, stream), shard, state, position.done))

    def caught_up_at(self, table: str, stream: str) -> float | None:
        """When there was last nothing more to read, in any shard (Unix seconds); None if that was never."""
        row = self._database.execute(
            "SELECT state FROM stream_positions WHERE job = ? AND part = ''", (_job(table, stream),)
        ).fetchone()
        return None if row is None else float(orjson.loads(row[0])["caught_up"])

    def save_caught_up(self, table: str, stream: str, at: float) -> None:
        self._database.execute(_SAVE, (_job(table, stream), "", orjson.dumps({"caught_up": at}).decode(), False))

    def forget(self, table: str, stream: str, shard: str) -> None:
        """The shard is no more."""
        self._database.execute("DELETE FROM stream_positions WHERE job = ? AND part = ?", (_job(table, stream), shard))

    def forget_others(self, table: str, stream: str) -> bool:
        """Streams that the table had before this one are no more. Gives whether there were any."""
        prefix = _job(table, "")
        deleted = self._database.execute(
            "DELETE FROM stream_positions WHERE substr(job, 1, ?) = ? AND job <> ?",
            (len(prefix), prefix, _job(table, stream)),
        )
        return deleted.rowcount > 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=0.25)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # the journal does that, off the loop
            self._connection.execute(_SCHEMA)
        return self._connection


def _job(table: str, stream: str) -> str:
    """No table's name has a blank in it ("Naming rules and data types")."""
    return f"stream {table} {stream}"
