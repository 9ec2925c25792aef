"""The journal's file, an SQLite database in WAL mode: the keys as the next process finds them after `kill -9`.

Every statement on the file is here. Commits are not synced one by one (`synchronous = NORMAL`): if the host is lost, a
sweep finds what the file lost. Keys are item values, so only this user may read the file. Knows neither who writes a
key nor whose turn it is, and leaves errors to `proxy.shadow.journal.group_commit`: every method may raise
sqlite3.Error.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.file_version import JournalFormatError, check_format, mark_format

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
_SHORTEN: Final = "UPDATE lingering SET until = min(until, ?) WHERE store = ?"
_DELAY: Final = "UPDATE journal SET due = ? WHERE tab = ? AND key = ?"
_HASTEN: Final = "UPDATE journal SET due = ? WHERE tab = ? AND due > ? AND parked IS NULL"
_PARK: Final = "UPDATE journal SET parked = ? WHERE tab = ? AND key = ? AND generation = ?"
# A file that could not be written counts as writable again only when it takes this much. Less might still fit where the
# next entries do not.
_PROVE_ROOM: Final = "INSERT OR REPLACE INTO room VALUES (1, zeroblob(65536))"
_COUNT: Final = """
SELECT count(*) FILTER (WHERE parked IS NULL), min(since) FILTER (WHERE parked IS NULL),
count(*) FILTER (WHERE parked IS NOT NULL) FROM journal
"""
_COUNT_BY_TABLE: Final = """
SELECT tab, count(*) FILTER (WHERE parked IS NULL), min(since) FILTER (WHERE parked IS NULL) FROM journal GROUP BY tab
"""
_PARKED_KEYS: Final = """
SELECT tab, key, generation, since, parked FROM journal WHERE parked IS NOT NULL AND (? IS NULL OR tab = ?)
ORDER BY since LIMIT ?
"""
_DROP_PARKED: Final = "DELETE FROM journal WHERE tab = ? AND key = ? AND parked IS NOT NULL"
_PARKED: Final = "SELECT tab, key FROM journal WHERE parked IS NOT NULL LIMIT ?"
_DUE: Final = "SELECT tab, key, generation, since FROM journal WHERE parked IS NULL AND due <= ? ORDER BY due LIMIT ?"
_NEXT_DUE: Final = "SELECT min(due) FROM journal WHERE parked IS NULL"
_KEYS_OF: Final = "SELECT key, parked FROM journal WHERE tab = ? LIMIT ?"
_ONE: Final = "SELECT unsettled, parked FROM journal WHERE tab = ? AND key = ?"
_ANY: Final = "SELECT 1 FROM journal LIMIT 1"
_ANY_OF: Final = "SELECT 1 FROM journal WHERE tab = ? LIMIT 1"

# A change writes whole pages to the log: half of SQLite's usual page size gives half of the log.
_PAGE_BYTES: Final = 2048
_BUSY_SECONDS: Final = 0.25
_MAX_PENDING: Final = 100_000


class JournalLocked(Exception):
    """Another process uses this journal file."""


class JournalRow(NamedTuple):
    """What the file holds of a key."""

    unsettled: float
    """Until when, by the journal's clock, a write of an unknown outcome may land."""
    parked: str | None
    """Why it is parked; None if it is not."""


class DueKey(NamedTuple):
    """A key that may be tried now."""

    key: Key
    generation: int
    since: float
    """When it first entered, by the journal's clock."""


@dataclass(slots=True)
class PendingChanges:
    """What the next commit writes. Times are by the journal's clock."""

    entered: dict[Key, tuple[int, float]] = field(default_factory=dict)
    """Key → its generation, and when it entered."""
    departed: dict[Key, int] = field(default_factory=dict)
    """Key → the generation that departs."""
    unsettled: dict[Key, float] = field(default_factory=dict)
    """Key → until when a write of an unknown outcome may land."""
    delayed: dict[Key, float] = field(default_factory=dict)
    """Key → when it is due again."""
    hastened: dict[str, float] = field(default_factory=dict)
    """Table → when all of its keys are due at the latest."""
    parked: dict[Key, tuple[str, int]] = field(default_factory=dict)
    """Key → why it is parked, and at which generation."""
    lingering: dict[tuple[str, str], float] = field(default_factory=dict)
    """Table and store → until when a write of an unknown outcome may land."""

    def __bool__(self) -> bool:
        return any(self._all())

    def clear(self) -> None:
        for each in self._all():
            each.clear()

    def _all(self) -> tuple[dict[Any, Any], ...]:
        return (
            self.entered,
            self.departed,
            self.unsettled,
            self.delayed,
            self.hastened,
            self.parked,
            self.lingering,
        )

    def drop_excess(self) -> int:
        """Bound memory while the file cannot be written. Returns how many keys' entries were lost by that."""
        # Without these, keys are tried sooner than necessary, which does no harm.
        self.delayed.clear()
        self.parked.clear()
        # Keys whose departure is lost stay in the file, and converge once more.
        _drop_oldest(self.departed)
        _drop_oldest(self.unsettled)
        return _drop_oldest(self.entered)


class JournalFile:
    """The journal's file. Call `open` first and `close` last. Use it from one thread; only `count` and
    `count_by_table`, which have a connection of their own, may run in another."""

    def __init__(self, path: Path, synchronous: Literal["normal", "full"]) -> None:
        self.path = path
        self._synchronous = synchronous
        self._aside: sqlite3.Connection | None = None
        self._counting = threading.Lock()

    def open(self) -> None:
        """Lock the file and open it. Raises JournalLocked, JournalFormatError, OSError, sqlite3.Error."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise JournalLocked(
                f"{self.path}: in use by another process; give each proxy a journal.path of its own"
            ) from None
        # The file is made with these permissions before SQLite opens it; SQLite gives the log the same.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
        )
        try:
            check_format(self._database, self.path)
        except (JournalFormatError, sqlite3.Error):
            self.close()
            raise
        self._database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {self._synchronous}")
        self._database.execute("PRAGMA wal_autocheckpoint = 0")
        self._database.executescript(_SCHEMA)
        mark_format(self._database)

    def close(self) -> None:
        if self._aside is not None:
            self._aside.close()
        self._database.close()
        os.close(self._lock)

    def take_over(self, now: float, lingering: Mapping[str, float]) -> tuple[int, int]:
        """Make every key due, parked ones too, and unsettled until no write of the process before can land any more.

        `now` is by the journal's clock; `lingering` is store → seconds within which such a write lands. Returns how
        many keys there are, and the highest generation.
        """
        unsettled = now + max(lingering.values())
        # Where the machine's clock has been set back since, nothing is from the future, or waits longer than it must.
        if self._database.execute("SELECT 1 FROM journal WHERE since > ? LIMIT 1", (now,)).fetchone() is not None:
            for store, seconds in lingering.items():
                self._database.execute(_SHORTEN, (now + seconds, store))
        self._database.execute(
            "UPDATE journal SET since = min(since, ?), due = ?, unsettled = ?, parked = NULL", (now, now, unsettled)
        )
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
        """Return the name of the process that owns this file: the same after every start."""
        if self._database.execute("SELECT name FROM identity").fetchone() is None:
            self._database.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
        return str(self._database.execute("SELECT name FROM identity").fetchone()[0])

    def lingering(self) -> dict[tuple[str, str], float]:
        """Return table and store → until when, by the journal's clock, a write of an unknown outcome may land."""
        rows = self._database.execute("SELECT tab, store, until FROM lingering")
        return {(table, store): until for table, store, until in rows}

    def write(self, changes: PendingChanges, now: float, *, prove_room: bool) -> None:
        """Write all of the changes or none. With `prove_room`, the disk must have room for more than a key or two."""
        run = self._database.executemany
        try:
            self._database.execute("BEGIN IMMEDIATE")
            run(_LEAVE, [(k.table, k.text, generation, now) for k, generation in changes.departed.items()])
            run(_ENTER, [(k.table, k.text, generation, at, at) for k, (generation, at) in changes.entered.items()])
            run(_UNSETTLE, [(until, k.table, k.text) for k, until in changes.unsettled.items()])
            run(_DELAY, [(due, k.table, k.text) for k, due in changes.delayed.items()])
            run(_HASTEN, [(due, table, due) for table, due in changes.hastened.items()])
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
        """How many rows this process has changed: a number that only grows."""
        return self._database.total_changes

    def row(self, key: Key) -> JournalRow | None:
        """Return what the file holds of a key; None if the key is not in it."""
        found = self._database.execute(_ONE, (key.table, key.text)).fetchone()
        return JournalRow(*found) if found is not None else None

    def any(self) -> bool:
        """Return whether the file holds any key."""
        return self._database.execute(_ANY).fetchone() is not None

    def any_of(self, table: str) -> bool:
        """Return whether the file holds any key of a table."""
        return self._database.execute(_ANY_OF, (table,)).fetchone() is not None

    def keys_of(self, table: str, limit: int) -> dict[Key, bool]:
        """Return at most `limit` keys of a table, and whether each is parked."""
        rows = self._database.execute(_KEYS_OF, (table, limit))
        return {Key(table, text): parked is not None for text, parked in rows}

    def parked(self, table: str | None, limit: int) -> list[tuple[Key, int, float, str]]:
        """Return at most `limit` (-1: all) parked keys, of one table or of all, the oldest first: key, generation, when
        it entered, and why it is parked."""
        rows = self._database.execute(_PARKED_KEYS, (table, table, limit))
        return [(Key(tab, text), generation, since, reason) for tab, text, generation, since, reason in rows]

    def drop_parked(self, key: Key) -> bool:
        """Remove a key that is parked. Returns whether it was."""
        return self._database.execute(_DROP_PARKED, (key.table, key.text)).rowcount > 0

    def due(self, now: float, limit: int) -> list[DueKey]:
        """Return at most `limit` keys that may be tried now, those that have been due longest first."""
        rows = self._database.execute(_DUE, (now, limit))
        return [DueKey(Key(table, text), generation, since) for table, text, generation, since in rows]

    def next_due(self) -> float | None:
        """Return when, by the journal's clock, the next key may be tried; None if there is none."""
        found: float | None = self._database.execute(_NEXT_DUE).fetchone()[0]
        return found

    def count(self) -> tuple[int, float | None, int]:
        """Return the number of keys that are not parked, when the oldest of them entered, and the number of parked
        keys.

        May run in another thread.
        """
        keys, since, parked = self._query_aside((_COUNT, ()))[0][0]
        return keys, since, parked

    def count_by_table(self, max_parked: int) -> tuple[list[tuple[str, int, float | None]], list[Key]]:
        """Return, for each table, the number of keys that are not parked and when the oldest of them entered; and at
        most `max_parked` parked keys. May run in another thread."""
        counts, parked = self._query_aside((_COUNT_BY_TABLE, ()), (_PARKED, (max_parked,)))
        return [(table, keys, since) for table, keys, since in counts], [Key(*each) for each in parked]

    def _query_aside(self, *statements: tuple[str, tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        with self._counting:
            if self._aside is None:
                # Kept open: a process that has run out of file descriptors must still be able to count.
                self._aside = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=1)
            return [self._aside.execute(*each).fetchall() for each in statements]


def _drop_oldest(changes: dict[Key, Any]) -> int:
    too_many = max(0, len(changes) - _MAX_PENDING)
    for key in tuple(islice(changes, too_many)):
        del changes[key]
    return too_many
