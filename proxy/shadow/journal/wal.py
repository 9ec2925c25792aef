"""What may take long with the journal's file: to see the log on the disk, and to begin it anew. For a thread.

SQLite syncs its log (the WAL) once for each time that it begins at its start again: the writer does that who comes
first when everything has been moved into the file. On a busy disk it takes 300 ms, and no client may wait for it, so
that writer is the one here. Nobody else moves anything: then the log is never found moved, and nobody else begins it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

_BUSY_SECONDS: Final = 0.25
# Not every system has it; it leaves out what the file's length and times are.
_fdatasync: Final = getattr(os, "fdatasync", os.fsync)


def sync(path: Path) -> None:
    """Return when what was committed to the journal at `path` outlives the machine. Raises OSError."""
    # SQLite locks the file and its index, never the log: closing the log here drops no lock of this process.
    log = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
    try:
        _fdatasync(log)
    finally:
        os.close(log)


def checkpoint_and_restart(path: Path) -> None:
    """Move what the log holds into the file, and write the log's first page. Raises sqlite3.Error.

    Who writes meanwhile waits, or takes the log's beginning upon itself. Where somebody reads an older state, the log
    goes on as it is.
    """
    side = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        side.execute("PRAGMA synchronous = NORMAL")
        side.execute("PRAGMA wal_autocheckpoint = 0")
        side.execute("PRAGMA wal_checkpoint(PASSIVE)")
        side.execute("PRAGMA user_version = 1")
    finally:
        side.close()
