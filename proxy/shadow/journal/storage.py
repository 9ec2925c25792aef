"""The journal's file: which keys are in, as the next process finds them after `kill -9`. Every statement on it is here.

SQLite in WAL mode. Commits are not synced one by one (`synchronous = NORMAL`): a host that is lost is what the sweep is
for. Keys are item values, so nobody else on the machine may read it. It knows neither who writes a key nor whose turn
it is: that is `proxy.shadow.journal.journal`'s, which also decides what becomes of an error. Every method raises
sqlite3.Error."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from proxy.dynamodb.schema import Key

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS journal (
  tab TEXT NOT NULL, key TEXT NOT NULL, generation INTEGER NOT NULL, since REAL NOT NULL, due REAL NOT NULL,
  unsettled REAL NOT NULL DEFAULT 0, parked TEXT, PRIMARY KEY (tab, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS journal_due ON journal (due) WHERE parked IS NULL;
CREATE TABLE IF NOT EXISTS lingering (
  tab TEXT NOT NULL, store TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (tab, store)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identity (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS room (one INTEGER PRIMARY KEY, filler BLOB NOT NULL);
"""
_ENTER: Final = """
INSERT INTO journal (tab, key, generation, since, due) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET generation = excluded.generation, due = excluded.due, parked = NULL
"""
_LEAVE: Final = "DELETE FROM journal WHERE tab = ? AND key = ? AND generation = ? AND unsettled <= ?"
_UNSETTLE: Final = "UPDATE journal SET unsettled = max(unsettled, ?) WHERE tab = ? AND key = ?"
_LINGER: Final = """
INSERT INTO lingering (tab, store, until) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET until = max(until, excluded.until)
"""
_DELAY: Final = "UPDATE journal SET due = ? WHERE tab = ? AND key = ?"
_PARK: Final = "UPDATE journal SET parked = ? WHERE tab = ? AND key = ? AND generation = ?"
# What a file that could not be written must take before it counts as one that can be again. Less may find a place where
# the next entry does not.
_PROVE_ROOM: Final = "INSERT OR REPLACE INTO room VALUES (1, zeroblob(65536))"
_COUNT: Final = """
SELECT count(*) FILTER (WHERE parked IS NULL), min(since) FILTER (WHERE parked IS NULL),
count(*) FILTER (WHERE parked IS NOT NULL) FROM journal
"""
_COUNT_BY_TABLE: Final = """
SELECT tab, count(*) FILTER (WHERE parked IS NULL), min(since) FILTER (WHERE parked IS NULL) FROM journal GROUP BY tab
"""
_PARKED: Final = "SELECT tab, key FROM journal WHERE parked IS NOT NULL LIMIT ?"
_DUE: Final = "SELECT tab, key, generation, since FROM journal WHERE parked IS NULL AND due <= ? ORDER BY due LIMIT ?"
_NEXT_DUE: Final = "SELECT min(due) FROM journal WHERE parked IS NULL"
_KEYS_OF: Final = "SELECT key, parked FROM journal WHERE tab = ? LIMIT ?"
_ONE: Final = "SELECT unsettled, parked FROM journal WHERE tab = ? AND key = ?"
_ANY: Final = "SELECT 1 FROM journal LIMIT 1"
_ANY_OF: Final = "SELECT 1 FROM journal WHERE tab = ? LIMIT 1"

# A change writes the pages it is on: half of SQLite's usual size, for half of the log.
_PAGE_BYTES: Final = 2048
_BUSY_SECONDS: Final = 0.25
_MAX_PENDING: Final = 100_000


class JournalLocked(Exception):
    """Another process uses this journal file."""


class JournalRow(NamedTuple):
    """A key that is in: until when (clock) a write of an unknown outcome may land, and why it is parked, if it is."""

    unsettled: float
    parked: str | None


class DueKey(NamedTuple):
    """A key that may be tried now, its generation, and when (clock) it first entered."""

    key: Key
    generation: int
    since: float


@dataclass(slots=True)
class PendingChanges:
    """What the next commit writes: by key, generation and time of entry; generation that leaves; until when it is
    unsettled; when it is due again; and why it is parked, at which generation."""

    entered: dict[Key, tuple[int, float]] = field(default_factory=dict)
    departed: dict[Key, int] = field(default_factory=dict)
    unsettled: dict[Key, float] = field(default_factory=dict)
    delayed: dict[Key, float] = field(default_factory=dict)
    parked: dict[Key, tuple[str, int]] = field(default_factory=dict)
    lingering: dict[tuple[str, str], float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.entered or self.departed or self.unsettled or self.delayed or self.parked or self.lingering)

    def clear(self) -> None:
        for each in (self.entered, self.departed, self.unsettled, self.delayed, self.parked, self.lingering):
            each.clear()

    def drop_excess(self) -> int:
        """Drop what memory does not hold while the file cannot be written. Gives how many keys' entries that lost."""
        # They are tried sooner than they need be, which does no harm.
        self.delayed.clear()
        self.parked.clear()
        # Those stay in the file, and converge once more.
        _drop_oldest(self.departed)
        _drop_oldest(self.unsettled)
        return _drop_oldest(self.entered)


class JournalFile:
    """See the module. `open` before, `close` after; from one thread, but for what is said to open the file itself."""

    def __init__(self, path: Path, synchronous: Literal["normal", "full"]) -> None:
        self.path = path
        self._synchronous = synchronous

    def open(self) -> None:
        """Raises JournalLocked, OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise JournalLocked(
                f"{self.path}: in use by another process; give each proxy a journal.path of its own"
            ) from None
        # SQLite gives its log the file's permissions.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
        )
        self._database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {self._synchronous}")
        self._database.execute("PRAGMA wal_autocheckpoint = 0")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()
        os.close(self._lock)

    def take_over(self, now: float, lingering: Mapping[str, float]) -> tuple[int, int]:
        """Make every key due, parked or not, and unsettled until the writes of the process before have landed: on each
        store within so many seconds. Gives how many keys there are, and the latest generation."""
        unsettled = now + max(lingering.values())
        self._database.execute("UPDATE journal SET due = ?, unsettled = ?, parked = NULL", (now, unsettled))
        for store, seconds in lingering.items():
            # "WHERE true" tells SQLite that ON CONFLICT belongs to the INSERT.
            self._database.execute(
                "INSERT INTO lingering (tab, store, until) SELECT DISTINCT tab, ?, ? FROM journal WHERE true "
                "ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                (store, now + seconds),
            )
        self._database.execute("DELETE FROM lingering WHERE until < ?", (now,))
        row = self._database.execute("SELECT count(*), coalesce(max(generation), 0) FROM journal").fetchone()
        return int(row[0]), int(row[1])

    def identity(self) -> str:
        """The name of whoever writes this file: the same for ever."""
        if self._database.execute("SELECT name FROM identity").fetchone() is None:
            self._database.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
        return str(self._database.execute("SELECT name FROM identity").fetchone()[0])

    def lingering(self) -> dict[tuple[str, str], float]:
        """Table and store → until when (clock) a write of an unknown outcome may land."""
        rows = self._database.execute("SELECT tab, store, until FROM lingering")
        return {(table, store): until for table, store, until in rows}

    def write(self, changes: PendingChanges, now: float, *, prove_room: bool) -> None:
        """All of it or nothing. With `prove_room`, only where the disk takes more than a key or two."""
        run = self._database.executemany
        try:
            self._database.execute("BEGIN IMMEDIATE")
            run(_LEAVE, [(k.table, k.text, generation, now) for k, generation in changes.departed.items()])
            run(_ENTER, [(k.table, k.text, generation, at, at) for k, (generation, at) in changes.entered.items()])
            run(_UNSETTLE, [(until, k.table, k.text) for k, until in changes.unsettled.items()])
            run(_DELAY, [(due, k.table, k.text) for k, due in changes.delayed.items()])
            run(_PARK, [(why, k.table, k.text, generation) for k, (why, generation) in changes.parked.items()])
            run(_LINGER, [(*place, until) for place, until in changes.lingering.items()])
            if prove_room:
                self._database.execute(_PROVE_ROOM)
            self._database.execute("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @property
    def written(self) -> int:
        """How many rows have been changed: it grows."""
        return self._database.total_changes

    def row(self, key: Key) -> JournalRow | None:
        found = self._database.execute(_ONE, (key.table, key.text)).fetchone()
        return JournalRow(*found) if found is not None else None

    def any(self) -> bool:
        return self._database.execute(_ANY).fetchone() is not None

    def any_of(self, table: str) -> bool:
        return self._database.execute(_ANY_OF, (table,)).fetchone() is not None

    def keys_of(self, table: str, limit: int) -> dict[Key, bool]:
        """At most so many keys of a table, and whether each is parked."""
        rows = self._database.execute(_KEYS_OF, (table, limit))
        return {Key(table, text): parked is not None for text, parked in rows}

    def due(self, now: float, limit: int) -> list[DueKey]:
        """At most so many keys that may be tried, the longest due first."""
        rows = self._database.execute(_DUE, (now, limit))
        return [DueKey(Key(table, text), generation, since) for table, text, generation, since in rows]

    def next_due(self) -> float | None:
        """When (clock) the next key may be tried."""
        found: float | None = self._database.execute(_NEXT_DUE).fetchone()[0]
        return found

    def count(self) -> tuple[int, float | None, int]:
        """Keys that are not parked, when (clock) the oldest of them entered, and parked keys. For a thread."""
        keys, since, parked = self._query_aside((_COUNT, ()))[0][0]
        return keys, since, parked

    def count_by_table(self, most_parked: int) -> tuple[list[tuple[str, int, float | None]], list[Key]]:
        """By table: keys that are not parked, and when the oldest entered; and so many parked keys. For a thread."""
        counts, parked = self._query_aside((_COUNT_BY_TABLE, ()), (_PARKED, (most_parked,)))
        return [(table, keys, since) for table, keys, since in counts], [Key(*each) for each in parked]

    def _query_aside(self, *statements: tuple[str, tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        side = sqlite3.connect(self.path, timeout=1)
        try:
            return [side.execute(*each).fetchall() for each in statements]
        finally:
            side.close()


def _drop_oldest(changes: dict[Key, Any]) -> int:
    too_many = max(0, len(changes) - _MAX_PENDING)
    for key in tuple(islice(changes, too_many)):
        del changes[key]
    return too_many
