"""The durable set of keys that are not yet known to have converged.

A key enters before its authority write is sent and leaves when it has converged. It counts: every entry gives the key a
new generation, and a convergence may only clear the generation that it began with, with no write under way.

The file (`proxy.shadow.journal.storage`) is written on the loop: entries that come in one turn of the loop share one
commit, which costs 5 to 25 µs; handing it to a thread costs 200 (measured). What can take long runs in a thread
(`proxy.shadow.journal.wal`); while the log begins anew nothing is written here.

Memory holds only keys with a write under way, being converged, or next in line; the rest stand in the file. The journal
knows neither stores nor stages. Times are seconds since the epoch, by the clock it is given: they outlive the process.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, Literal, ParamSpec, TypeVar

import structlog

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.key_activity import KeyActivity, any_key_of
from proxy.shadow.journal.storage import Changes, JournalFile
from proxy.shadow.journal.wal import checkpoint_and_restart, sync

log = structlog.get_logger(__name__)

_LINE_LIMIT: Final = 4096
_REFILL: Final = 512
_SYNC_EVERY: Final = 2.0
# Some 30 MB of log: a start reads it all.
_ANEW_CHANGES: Final = 8000
_ANEW_SECONDS: Final = 1.0
# A key that always has some write under way would never get its turn; after this long it converges in between.
_HOT_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class _Open:
    """A key in memory. `writers` counts authority writes under way, `converging` says that somebody is at it."""

    generation: int
    tried: float
    entered: float
    writers: int = 0
    converging: bool = False
    in_line: bool = False
    left: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """One operation's entry: its keys, the generation they got, which of them were in already, and when (clock)."""

    keys: tuple[Key, ...]
    generation: int
    overlapped: frozenset[Key]
    entered: float


@dataclass(frozen=True, slots=True)
class Work:
    """A key to converge, and the generation that a success may clear (0: none may)."""

    key: Key
    generation: int


@dataclass(frozen=True, slots=True)
class JournalDepth:
    """How full the journal is: keys (parked ones not counted), age of the oldest in seconds, parked keys."""

    keys: int
    oldest_seconds: float
    parked: int


@dataclass(frozen=True, slots=True)
class TableBacklog:
    """How a table stands: keys (parked ones not counted), age of the oldest in seconds, parked keys, and for how many
    seconds a write of an unknown outcome may yet land, by store."""

    keys: int = 0
    oldest_seconds: float = 0.0
    parked: tuple[Key, ...] = ()
    lingering: Mapping[str, float] = field(default_factory=dict)


class Journal:
    """See the module. Use from one event loop; `open` before, `close` after."""

    def __init__(
        self,
        path: Path,
        synchronous: Literal["normal", "full"] = "normal",
        clock: Callable[[], float] = time.time,
        anew_after: int = _ANEW_CHANGES,
    ) -> None:
        """`anew_after` changes the log begins anew."""
        self._file = JournalFile(path, synchronous)
        self._clock = clock
        self._anew_after = anew_after
        self._open: dict[Key, _Open] = {}
        self._ready: deque[Key] = deque()
        self._work = asyncio.Event()
        self._changes = Changes()
        self._lingering: dict[tuple[str, str], float] = {}
        self._lingering_written = True
        self._flushed: asyncio.Future[None] | None = None
        # The log begins anew, and what there is to write waits.
        self._checkpointing = False
        self._moments = KeyActivity(0, clock())
        self._backlog = False
        self._settled_at = 0.0
        self.degraded = False
        self.dropped = 0
        self.identity = ""

    # -- life ---------------------------------------------------------------------------------------------------

    def open(self, lingering: Mapping[str, float]) -> int:
        """Open the file and take what an earlier process left.

        Its writes under way may still land, on each store for so many seconds: so all its keys converge at once, and
        once more after that. Parked ones too: the mapping may be another now. Gives their number. Raises JournalLocked,
        OSError, sqlite3.Error.
        """
        self._file.open()
        now = self._clock()
        left, latest = self._file.take_over(now, lingering)
        self._lingering = self._file.lingering()
        self.identity = self._file.identity()
        self._moments = KeyActivity(latest, now)
        self._settled_at = now + max(lingering.values()) if left else 0.0
        self._backlog = left > 0
        if self._backlog:
            self._work.set()
        return left

    async def tidy(self) -> None:
        """Keep the log on the disk, and short, for ever. Run as a task."""
        synced = begun = self._file.written
        while True:
            await asyncio.sleep(_SYNC_EVERY)
            written = self._file.written
            if written == synced:
                continue
            try:
                await asyncio.to_thread(sync, self._file.path)
                synced = written
                if written - begun >= self._anew_after:
                    await self._begin_anew()
                    begun = written
            except (OSError, sqlite3.Error) as error:
                log.warning("journal_checkpoint_failed", error=str(error))

    async def _begin_anew(self) -> None:
        """Nothing is written on the loop meanwhile, or the loop would begin the log, and wait for the disk."""
        self._checkpointing = True
        working = asyncio.ensure_future(asyncio.to_thread(checkpoint_and_restart, self._file.path))
        try:
            await asyncio.wait({working}, timeout=_ANEW_SECONDS)
        finally:
            self._checkpointing = False
            self._flush()
            self._work.set()
        await working

    def close(self) -> None:
        self._flush()
        if self._changes.entered:
            log.error("journal_keys_lost", keys=len(self._changes.entered), remedy="free the disk, then run a sweep")
        self._file.close()

    # -- writes under way -----------------------------------------------------------------------------------------

    async def enter(self, keys: Sequence[Key]) -> Ticket:
        """Put keys in before their authority write is sent. On return they are in the file.

        If the file cannot be written, the keys stand in memory until it can, and `degraded` says so: the client's
        write does not wait for a disk.
        """
        now = self._clock()
        distinct = tuple(dict.fromkeys(keys))
        generation = self._moments.enter((key.table for key in distinct), now)
        overlapped = set()
        for key in distinct:
            entry = self._open.get(key)
            if entry is None:
                if self._in_file(key):
                    overlapped.add(key)
                entry = self._open[key] = _Open(generation, now, now)
            else:
                overlapped.add(key)
            entry.generation = generation
            entry.writers += 1
            self._changes.entered[key] = (generation, now)
            self._changes.delayed.pop(key, None)
            self._changes.parked.pop(key, None)
        ticket = Ticket(distinct, generation, frozenset(overlapped), now)
        try:
            # Shielded: others wait for the same commit, and one who is cancelled must not cancel it.
            await asyncio.shield(self._schedule_flush())
        except asyncio.CancelledError:
            self.release(ticket)
            raise
        return ticket

    def release(self, ticket: Ticket, *, take: bool = False) -> list[Work]:
        """The authority has answered, or the write has failed: its keys may converge now.

        With `take` the caller converges them itself: it gets those that nobody else is writing or converging.
        """
        taken = []
        for key in ticket.keys:
            entry = self._open[key]
            entry.writers -= 1
            if take and not entry.writers and not entry.converging and entry.generation == ticket.generation:
                entry.converging = True
                entry.tried = self._clock()
                taken.append(Work(key, entry.generation))
            else:
                self._stand_in_line(key, entry)
        return taken

    def mark_unsettled(self, keys: Iterable[Key], seconds: float, store: str) -> None:
        """A write to these keys may still take effect on a store for so long: they stay, and converge again after
        it."""
        until = self._clock() + seconds
        self._settled_at = max(self._settled_at, until)
        for key in keys:
            self._changes.unsettled[key] = max(until, self._changes.unsettled.get(key, 0.0))
            place = (key.table, store)
            self._lingering[place] = max(until, self._lingering.get(place, 0.0))
        self._lingering_written = False
        self._flush()

    async def enqueue(self, keys: Sequence[Key]) -> None:
        """Ask for convergence of keys that nobody is writing here."""
        self.release(await self.enter(keys))

    # -- what others ask ------------------------------------------------------------------------------------------

    def lingering(self, table: str, store: str) -> float:
        """For how many seconds yet a write of an unknown outcome may land on a store, in a table: 0.0, for none."""
        return max(0.0, self._lingering.get((table, store), 0.0) - self._clock())

    def keys_of(self, table: str, limit: int) -> list[tuple[Key, bool]]:
        """At most so many keys of a table that are in, and whether each is parked."""
        self._flush()
        found = self._ask(self._file.keys_of, table, limit) or {}
        found.update((key, False) for key in (*self._open, *self._changes.entered) if key.table == table)
        return list(found.items())

    def holds(self, key: Key) -> bool:
        return key in self._open or self._in_file(key)

    def parked_reason(self, key: Key) -> str | None:
        row = self._ask(self._file.row, key)
        return row.parked if row is not None else None

    def touched(self, key: Key, since: int) -> bool:
        """Whether the key, or any that it stands for (`any_of`), is in the journal, or has been since the moment
        `since` (a reading of `latest`).

        What has left is remembered for a while; where memory does not reach back so far, the answer is yes.
        """
        return self._moments.last(key)[0] > since or self._holds_any(key)

    def untouched(self, key: Key) -> float:
        """For how many seconds the key, or all that it stands for, has not been in the journal: 0.0 while it is in.
        Where memory does not reach back so far, for how long it does."""
        return 0.0 if self._holds_any(key) else max(0.0, self._clock() - self._moments.last(key)[1])

    def overtaken(self, ticket: Ticket) -> bool:
        """Whether another write to one of the ticket's keys has entered since."""
        for key in ticket.keys:
            entry, left = self._open.get(key), self._moments.left(key)
            generation = entry.generation if entry is not None else left.generation if left is not None else None
            if generation is None or generation > ticket.generation:
                return True
        return False

    def age(self, ticket: Ticket) -> float:
        """Seconds since the ticket's keys entered."""
        return max(0.0, self._clock() - ticket.entered)

    @property
    def latest(self) -> int:
        """This moment: it grows with every entry and every leave."""
        return self._moments.latest

    async def left(self, keys: Iterable[Key], seconds: float) -> bool:
        """Wait until none of the keys is in the journal, for at most so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                for key in keys:
                    while self.holds(key):
                        entry = self._open.get(key)
                        if entry is None:
                            await asyncio.sleep(0.02)
                            continue
                        if entry.left is None:
                            entry.left = asyncio.Event()
                        await entry.left.wait()
        except TimeoutError:
            return False
        return True

    @property
    def busy(self) -> bool:
        """Whether keys are being written or converged, or are next in line."""
        return bool(self._open)

    @property
    def empty(self) -> bool:
        """Whether no key is in, parked ones too."""
        self._flush()
        return not self._ask(self._file.any) and not self._changes.entered and not self.degraded

    async def depth(self) -> JournalDepth:
        """Counted off the loop: after an hour's outage there may be millions."""
        self._flush()
        keys, since, parked = await asyncio.to_thread(self._file.count)
        return JournalDepth(keys, max(0.0, self._clock() - since) if since is not None else 0.0, parked)

    async def stands(self, most_parked: int) -> dict[str, TableBacklog]:
        """How each table stands that is in, or was a moment ago; at most so many parked keys. Off the loop, too."""
        self._flush()
        rows, parked = await asyncio.to_thread(self._file.count_by_table, most_parked)
        now = self._clock()
        lingering: dict[str, dict[str, float]] = {}
        for (table, store), until in self._lingering.items():
            if until > now:
                lingering.setdefault(table, {})[store] = until - now
        found = {table: TableBacklog(lingering=each) for table, each in lingering.items()}
        for table, keys, since in rows:
            age = max(0.0, now - since) if since is not None else 0.0
            held = tuple(key for key in parked if key.table == table)
            found[table] = TableBacklog(keys, age, held, lingering.get(table, {}))
        return found

    # -- convergence ----------------------------------------------------------------------------------------------

    async def next(self) -> Work:
        """The next key to converge, waiting for one. Its taker must end with `done`, `again` or `park`."""
        while True:
            while self._ready:
                key = self._ready.popleft()
                entry = self._open.get(key)
                if entry is None:
                    continue  # while it stood in line, a write that took it upon itself has converged it
                entry.in_line = False
                if entry.converging or not self._its_turn(entry):
                    continue
                entry.converging = True
                entry.tried = self._clock()
                # A write that is still under way may land after the authority was read: this must not clear it.
                return Work(key, 0 if entry.writers else entry.generation)
            self._work.clear()
            if self._refill():
                continue
            delay = self._next_due()
            try:
                async with asyncio.timeout(delay):
                    await self._work.wait()
            except TimeoutError:
                self._backlog = True

    def done(self, work: Work) -> float | None:
        """The key has converged. It leaves, unless it was entered again meanwhile or is not settled yet.

        Gives how many seconds it was in the journal, if it has left.
        """
        entry = self._open[work.key]
        entry.converging = False
        if entry.writers or entry.generation != work.generation:
            self._stand_in_line(work.key, entry)
            return None
        if self._wait_until_settled(work.key, entry):
            return None
        if self._changes.entered.get(work.key, (0, 0.0))[0] == work.generation:
            del self._changes.entered[work.key]
        self._changes.left[work.key] = work.generation
        self._moments.leave(work.key, work.generation, self._clock())
        self._schedule_flush()
        self._forget(work.key, entry)
        return max(0.0, self._clock() - entry.entered)

    def retry_later(self, work: Work, delay: float) -> None:
        """The key has not converged: try again after `delay` seconds."""
        entry = self._open[work.key]
        entry.converging = False
        if entry.writers:
            return
        self._delay(work.key, entry, self._clock() + delay)

    def park(self, work: Work, reason: str) -> None:
        """The key cannot converge until its item changes: it stays, counted and shown, and is not tried again."""
        entry = self._open[work.key]
        entry.converging = False
        if entry.writers or entry.generation != work.generation:
            self._stand_in_line(work.key, entry)
            return
        if self._wait_until_settled(work.key, entry):
            # What lingers may yet replace the item that cannot be held.
            return
        self._changes.parked[work.key] = (reason, work.generation)
        self._flush()
        self._forget(work.key, entry)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _wait_until_settled(self, key: Key, entry: _Open) -> bool:
        """Whether something could still land after this convergence began; the key is then due when nothing can."""
        if entry.tried >= self._settled_at:
            return False
        unsettled = self._unsettled(key)
        if unsettled <= entry.tried:
            return False
        self._delay(key, entry, unsettled)
        return True

    def _delay(self, key: Key, entry: _Open, due: float) -> None:
        self._changes.delayed[key] = due
        self._flush()
        self._forget(key, entry)
        self._work.set()

    def _stand_in_line(self, key: Key, entry: _Open) -> None:
        if entry.in_line or entry.converging or not self._its_turn(entry):
            return
        if len(self._ready) >= _LINE_LIMIT and not entry.writers:
            self._backlog = True
            self._forget(key, entry)
        else:
            entry.in_line = True
            self._ready.append(key)
        self._work.set()

    def _holds_any(self, key: Key) -> bool:
        """Whether the key is in; of `any_of` a table, whether one of its keys is, as far as the file can be read."""
        if key != any_key_of(key.table):
            return self.holds(key)
        return (
            any(each.table == key.table for each in chain(self._open, self._changes.entered))
            or self._ask(self._file.any_of, key.table) is not False
        )

    def _its_turn(self, entry: _Open) -> bool:
        return not entry.writers or self._clock() - entry.tried > _HOT_SECONDS

    def _forget(self, key: Key, entry: _Open) -> None:
        del self._open[key]
        if entry.left is not None:
            entry.left.set()

    def _refill(self) -> bool:
        """Bring keys that stand in the file only into the line. Gives whether any came."""
        if not self._backlog or self._checkpointing:
            return False  # what waits to be written is not in the file's rows yet
        self._backlog = False
        self._flush()
        now = self._clock()
        taken = 0
        for key, generation, since in self._ask(self._file.due, now, _REFILL + len(self._open)) or ():
            if key in self._open:
                continue
            self._open[key] = _Open(generation, now, since, in_line=True)
            self._ready.append(key)
            taken += 1
        self._backlog = taken > 0
        return taken > 0

    def _next_due(self) -> float | None:
        due = self._ask(self._file.next_due)
        return max(0.05, due - self._clock()) if due is not None else None

    def _unsettled(self, key: Key) -> float:
        row = self._ask(self._file.row, key)
        return max(row.unsettled if row is not None else 0.0, self._changes.unsettled.get(key, 0.0))

    def _in_file(self, key: Key) -> bool:
        if key in self._changes.entered:
            return True
        if key in self._changes.left:
            return False
        return self._ask(self._file.row, key) is not None

    def _ask(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return ask(*args, **kwargs)
        except sqlite3.Error as error:
            self._fail(error)
            return None

    def _schedule_flush(self) -> asyncio.Future[None]:
        if self._flushed is None:
            loop = asyncio.get_running_loop()
            self._flushed = loop.create_future()
            loop.call_soon(self._flush)
        return self._flushed

    def _flush(self) -> None:
        if self._checkpointing:
            return
        flushed, self._flushed = self._flushed, None
        if self._changes or self.degraded:
            self._write()
        if flushed is not None and not flushed.done():
            flushed.set_result(None)

    def _write(self) -> None:
        lingering = () if self._lingering_written else self._lingering.items()
        try:
            self._file.write(self._changes, lingering, self._clock(), prove_room=self.degraded)
        except sqlite3.Error as error:
            self._fail(error)
            self.dropped += self._changes.keep_some()
            return
        self._changes.clear()
        self._lingering_written = True
        if self.degraded:
            self.degraded = False
            # Keys that were given back meanwhile stand in the file only now.
            self._backlog = True
            self._work.set()
            log.info("journal_recovered")

    def _fail(self, error: sqlite3.Error) -> None:
        if not self.degraded:
            self.degraded = True
            log.error("journal_unwritable", error=str(error), remedy="free the disk or move journal.path")
