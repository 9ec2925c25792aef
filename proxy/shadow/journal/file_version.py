"""The version of the journal file's format: whether this release can use a file that it finds.

A key that is read wrongly, or passed over, is an acknowledged write that one store misses. So what is not understood is
refused, with the place and what to do, and nothing is written to it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

FORMAT: Final = 2
"""The format that this release writes. It reads 0 and 1 too: files from before formats were counted, whose tables are
the same (1: the file was tidied at least once)."""

JOURNAL_COLUMNS: Final = ("tab", "key", "generation", "since", "due", "unsettled", "parked")


class JournalFormatError(Exception):
    """The file is no journal, or one of another release. The text is for an operator."""


def check_format(database: sqlite3.Connection, path: Path) -> None:
    """Raises JournalFormatError unless the file is empty or a journal that this release can use; sqlite3.Error."""
    written = int(database.execute("PRAGMA user_version").fetchone()[0])
    columns = tuple(str(row[1]) for row in database.execute("PRAGMA table_info(journal)"))
    if written > FORMAT and columns:
        raise JournalFormatError(
            f"{path}: another release of Crossfade wrote this journal (format {written}; this one reads up to "
            f"{FORMAT}). Start that release; or let it stop in good order and move the file away. If its last line "
            "journal_kept says that keys were left, or it was killed, move the file away, "
            f"{_forgetting(database)}and sweep each table: crossfade verify --repair"
        )
    is_empty = written == 0 and database.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    if columns != JOURNAL_COLUMNS and not is_empty:
        raise JournalFormatError(
            f"{path}: this SQLite file is no journal of Crossfade: set journal.path to a file of its own"
        )


def mark_format(database: sqlite3.Connection) -> None:
    """Note in the file that this release writes it. Raises sqlite3.Error."""
    database.execute(f"PRAGMA user_version = {FORMAT}")


def _forgetting(database: sqlite3.Connection) -> str:
    """What to do about the process that the file belongs to, where the file says which it is."""
    try:
        row = database.execute("SELECT name FROM identity").fetchone()
    except sqlite3.Error:
        return "forget its process (crossfade stage forget) "
    return f"crossfade stage forget {row[0]}, " if row is not None else ""
