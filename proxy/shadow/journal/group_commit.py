"""What the journal writes, and when: the changes of one turn of the event loop share one commit.

A commit on the loop costs 5 to 25 µs; handing it to a thread costs 200 µs (measured). Slow operations run in a thread
(`proxy.shadow.journal.wal`), and nothing is committed while the log is restarted. While the file cannot be written, the
changes stay in memory, within bounds, and `degraded` is true. Knows neither whose turn a key is nor who writes it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import structlog

from proxy.shadow.journal.storage import JournalFile, PendingChanges
from proxy.shadow.journal.wal import checkpoint_and_restart, sync

log = structlog.get_logger(__name__)

_SYNC_SECONDS: Final = 2.0
_RESTART_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class GroupCommit:
    """The one writer of the journal's file. Use it from one event loop."""

    def __init__(self, file: JournalFile, clock: Callable[[], float], restart_after: int) -> None:
        """`clock` gives seconds since the epoch. The log is restarted after `restart_after` changed rows."""
        self._file = file
        self._clock = clock
        self._restart_after = restart_after
        self._on_writable: Callable[[], None] = lambda: None
        self._committed: asyncio.Future[None] | None = None
        self.changes = PendingChanges()
        """What the next commit writes."""
        self.restarting = False
        """Whether the log is being restarted: nothing is committed meanwhile."""
        self.degraded = False
        """Whether the file could not be read or written last time."""
        self.dropped = 0
        """How many keys' entries were lost because the file could not be written and memory is bounded."""

    def notify_writable(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the file takes writes again: after a failure, and after a restart of the log."""
        self._on_writable = listener

    # -- writes ---------------------------------------------------------------------------------------------------

    def schedule(self) -> asyncio.Future[None]:
        """Commit at the end of this turn of the loop. Returns a future that is done after that, even if it failed."""
        if self._committed is None:
            loop = asyncio.get_running_loop()
            self._committed = loop.create_future()
            loop.call_soon(self.flush)
        return self._committed

    def flush(self) -> None:
        """Commit now, unless the log is being restarted."""
        if self.restarting:
            return
        committed, self._committed = self._committed, None
        if self.changes or self.degraded:
            self._write()
        if committed is not None and not committed.done():
            committed.set_result(None)

    def _write(self) -> None:
        try:
            self._file.write(self.changes, self._clock(), prove_room=self.degraded)
        except sqlite3.Error as error:
            self._fail(error)
            self.dropped += self.changes.drop_excess()
            return
        self.changes.clear()
        if self.degraded:
            self.degraded = False
            # Keys that memory dropped meanwhile are only in the file.
            self._on_writable()
            log.info("journal_recovered")

    # -- reads ----------------------------------------------------------------------------------------------------

    def query(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what the file answers; None where it cannot be read."""
        try:
            return ask(*args, **kwargs)
        except sqlite3.Error as error:
            self._fail(error)
            return None

    def _fail(self, error: sqlite3.Error) -> None:
        if not self.degraded:
            self.degraded = True
            log.error("journal_unwritable", error=str(error), remedy="free the disk or move journal.path")

    # -- the log --------------------------------------------------------------------------------------------------

    async def maintain_wal(self) -> None:
        """Sync the log every two seconds and restart it when it is long, for ever. Run this as a task."""
        synced = restarted = self._file.written
        while True:
            await asyncio.sleep(_SYNC_SECONDS)
            written = self._file.written
            if written == synced:
                continue
            try:
                await asyncio.to_thread(sync, self._file.path)
                synced = written
                if written - restarted >= self._restart_after:
                    await self._restart()
                    restarted = written
            except (OSError, sqlite3.Error) as error:
                log.warning("journal_checkpoint_failed", error=str(error))

    async def _restart(self) -> None:
        """Nothing is committed on the loop meanwhile: such a commit would restart the log itself, and wait for the
        disk."""
        self.restarting = True
        work = asyncio.ensure_future(asyncio.to_thread(checkpoint_and_restart, self._file.path))
        try:
            await asyncio.wait({work}, timeout=_RESTART_SECONDS)
        finally:
            self.restarting = False
            self.flush()
            self._on_writable()
        await work
