"""Checks that need the whole table: dangling references, and items with different keys that would share a row.

Both checks join the table with itself, and ten million keys do not fit in memory. So each item leaves records in an
SQLite file (with a 16-byte digest in place of each value that need not be shown), and the file is sorted once, at the
end. SQLite sorts in files beside it, so memory stays at its cache of 16 MB. The file contains keys in clear. It is in a
directory that only its owner can read, and it is deleted with that directory.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from proxy.dynamodb.schema import Key

_SCHEMA: Final = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384; PRAGMA temp_store = FILE;
CREATE TABLE pointing (reference INTEGER NOT NULL, target BLOB NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL);
CREATE TABLE there (reference INTEGER NOT NULL, target BLOB NOT NULL);
CREATE TABLE held (row BLOB NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL);
"""
_DANGLING: Final = """
SELECT key, type FROM pointing WHERE reference = ?
AND NOT EXISTS (SELECT 1 FROM there WHERE there.reference = pointing.reference AND there.target = pointing.target)
"""
_SHARED: Final = """
SELECT held.key, held.type FROM held JOIN (
  SELECT row FROM held GROUP BY row HAVING min(key) < max(key)
) AS twice ON twice.row = held.row GROUP BY held.row, held.key ORDER BY held.row, held.key
"""
_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True)
class CrossItemFinding:
    """An item that a check found: the text of its key, and its type."""

    key: str
    item_type: str


class CrossItemChecks:
    """The records of all items, and the checks over them. A context manager: add every item first, then check.

    `directory` is for the temporary file; None means the system's directory for temporary files.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="crossfade-preflight-", dir=directory)
        self._database = sqlite3.connect(Path(self._folder.name) / "items.sqlite", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")
        self._pending: dict[str, list[tuple[Any, ...]]] = {"pointing": [], "there": [], "held": []}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._database.close()
        self._folder.cleanup()

    def add_reference(self, reference: int, target: str, key: Key, item_type: str) -> None:
        """The item with this key refers to `target` by the reference of this number."""
        self._add("pointing", (reference, _digest(target), key.text, item_type))

    def add_target(self, reference: int, target: str) -> None:
        """There is an item that `target` identifies."""
        self._add("there", (reference, _digest(target)))

    def add_row(self, row: Sequence[Any], key: Key, item_type: str) -> None:
        """The item with this key would be in the row with these key columns."""
        self._add("held", (_digest(repr(tuple(row))), key.text, item_type))

    def dangling_references(self, reference: int) -> Iterator[CrossItemFinding]:
        """Yield items that refer to an item that does not exist."""
        self._flush()
        self._database.execute("CREATE INDEX IF NOT EXISTS there_target ON there (reference, target)")
        for key, item_type in self._database.execute(_DANGLING, (reference,)):
            yield CrossItemFinding(key, item_type)

    def items_sharing_rows(self) -> Iterator[CrossItemFinding]:
        """Yield items that share a row with another item, row by row."""
        self._flush()
        self._database.execute("CREATE INDEX IF NOT EXISTS held_row ON held (row, key, type)")
        for key, item_type in self._database.execute(_SHARED):
            yield CrossItemFinding(key, item_type)

    def _add(self, table: str, note: tuple[Any, ...]) -> None:
        notes = self._pending[table]
        notes.append(note)
        if len(notes) >= _BATCH:
            self._write(table)

    def _flush(self) -> None:
        for table in self._pending:
            self._write(table)

    def _write(self, table: str) -> None:
        notes = self._pending[table]
        if notes:
            marks = ", ".join("?" for _ in notes[0])
            self._database.executemany(f"INSERT INTO {table} VALUES ({marks})", notes)  # noqa: S608
            notes.clear()


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
