"""The slow operations on the journal's write-ahead log: to sync it, and to checkpoint and restart it. Run in a thread.

SQLite syncs the log (WAL) each time that it is restarted, that is, written from its start again. The first writer after
a complete checkpoint does this. On a busy disk it takes 300 ms, and no client may wait for that, so the function here
is that writer. Nobody else checkpoints: so nobody else ever finds the log checkpointed, or restarts it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from proxy.shadow.journal.file_version import mark_format

_BUSY_SECONDS: Final = 0.25
# Not every system has fdatasync, which leaves out the file's times.
_fdatasync: Final = getattr(os, "fdatasync", os.fsync)


def sync(path: Path) -> None:
    """Sync the log of the journal at `path`: what was committed before then survives a power failure. Raises
    OSError."""
    # SQLite locks the file and its index, never the log: closing the log here drops no lock of this process.
    log = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
    try:
        _fdatasync(log)
    finally:
        os.close(log)


def checkpoint_and_restart(path: Path) -> None:
    """Move the log's content into the file, and restart the log by a write. Raises sqlite3.Error.

    A writer that comes meanwhile waits, or restarts the log itself. While somebody reads an older state, the log is
    not restarted.
    """
    side = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        side.execute("PRAGMA synchronous = NORMAL")
        side.execute("PRAGMA wal_autocheckpoint = 0")
        side.execute("PRAGMA wal_checkpoint(PASSIVE)")
        mark_format(side)  # any write will do
    finally:
        side.close()
