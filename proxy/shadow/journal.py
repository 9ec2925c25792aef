"""The durable set of keys that are not yet known to have converged.

A key enters before its authority write is sent and leaves when it has converged. It counts: every entry gives the key a
new generation, and a convergence may only clear the generation that it began with, with no write under way.

SQLite in WAL mode, written on the loop: entries that come in one turn of the loop share one commit, which costs 5 to
25 µs; handing it to a thread costs 200 (measured). What can take long runs in a thread (`proxy.shadow.journal_log`);
while the log begins anew nothing is written here. Commits are not synced one by one (`synchronous = NORMAL`): they
survive `kill -9`; a host that is lost is what the sweep is for.

Memory holds only keys with a write under way, being converged, or next in line; the rest stand in the file. The journal
knows neither stores nor stages. Times are seconds since the epoch, by the clock it is given: they outlive the process.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from proxy.dynamodb.schema import Key
from proxy.shadow.journal_log import begin_anew, sync

log = structlog.get_logger(__name__)

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
# What a file that could not be written must take before it counts as one that can be again. Less may find a place where
# the next entry does not.
_PROVE_ROOM: Final = "INSERT OR REPLACE INTO room VALUES (1, zeroblob(65536))"
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
_COUNT: Final = """
SELECT count(*) FILTER (WHERE parked IS NULL), min(since) FILTER (WHERE parked IS NULL),
count(*) FILTER (WHERE parked IS NOT NULL) FROM journal
"""
_COUNT_BY_TABLE: Final = """
SELECT tab, count(*) FILTER (WHERE parked IS NULL), min(since) FILTER (WHERE parked IS NULL) FROM journal GROUP BY tab
"""
_PARKED: Final = "SELECT tab, key FROM journal WHERE parked IS NOT NULL LIMIT ?"
_DUE: Final = "SELECT tab, key, generation, since FROM journal WHERE parked IS NULL AND due <= ? ORDER BY due LIMIT ?"

_LINE_LIMIT: Final = 4096
_REFILL: Final = 512
_PENDING_LIMIT: Final = 100_000
_REMEMBERED: Final = 10_000
_SYNC_EVERY: Final = 2.0
# Some 30 MB of log: a start reads it all.
_ANEW_CHANGES: Final = 8000
_ANEW_SECONDS: Final = 1.0
# A change writes the pages it is on: half of SQLite's usual size, for half of the log.
_PAGE_BYTES: Final = 2048
# A key that always has some write under way would never get its turn; after this long it converges in between.
_HOT_SECONDS: Final = 1.0
# How finely, and how far back, a time is known as a moment: two minutes.
_SAMPLE_SECONDS: Final = 0.05
_SAMPLES: Final = 2400


class JournalLocked(Exception):
    """Another process uses this journal file."""


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
class _Left:
    """A key that has left: the generation it had, and when."""

    generation: int
    moment: int


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
class Depth:
    """How full the journal is: keys (parked ones not counted), age of the oldest in seconds, parked keys."""

    keys: int
    oldest_seconds: float
    parked: int


@dataclass(frozen=True, slots=True)
class Stand:
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
        self._path = path
        self._synchronous = synchronous
        self._clock = clock
        self._anew_after = anew_after
        self._open: dict[Key, _Open] = {}
        self._line: deque[Key] = deque()
        self._work = asyncio.Event()
        self._pending: dict[Key, tuple[int, float]] = {}
        self._leaving: dict[Key, int] = {}
        self._unsettled_keys: dict[Key, float] = {}
        self._delayed: dict[Key, float] = {}
        self._parking: dict[Key, tuple[str, int]] = {}
        self._lingering: dict[tuple[str, str], float] = {}
        self._lingering_written = True
        self._flushed: asyncio.Future[None] | None = None
        # The log begins anew, and what there is to write waits.
        self._beginning = False
        self._moment = 0
        self._left: OrderedDict[Key, _Left] = OrderedDict()
        self._tables: dict[str, int] = {}
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._forgotten = 0
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
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise JournalLocked(
                f"{self._path}: in use by another process; give each proxy a journal.path of its own"
            ) from None
        # Keys are item values: nobody else on the machine is to read them. SQLite gives its WAL the file's permissions.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0.25)
        self._database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {self._synchronous}")
        self._database.execute("PRAGMA wal_autocheckpoint = 0")
        self._database.executescript(_SCHEMA)
        now, longest = self._clock(), max(lingering.values())
        self._database.execute("UPDATE journal SET due = ?, unsettled = ?, parked = NULL", (now, now + longest))
        for store, seconds in lingering.items():
            # "WHERE true" tells SQLite that ON CONFLICT belongs to the INSERT.
            self._database.execute(
                "INSERT INTO lingering (tab, store, until) SELECT DISTINCT tab, ?, ? FROM journal WHERE true "
                "ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                (store, now + seconds),
            )
        self._database.execute("DELETE FROM lingering WHERE until < ?", (now,))
        self._lingering = {
            (table, store): until
            for table, store, until in self._database.execute("SELECT tab, store, until FROM lingering")
        }
        (left, self._moment) = self._database.execute(
            "SELECT count(*), coalesce(max(generation), 0) FROM journal"
        ).fetchone()
        if self._database.execute("SELECT name FROM identity").fetchone() is None:
            self._database.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
        (self.identity,) = self._database.execute("SELECT name FROM identity").fetchone()
        # Which keys left before this process began, nobody knows any more.
        self._moment += 1
        self._forgotten = self._moment
        self._samples.append((now, self._moment))
        self._settled_at = now + longest if left else 0.0
        self._backlog = left > 0
        if self._backlog:
            self._work.set()
        return int(left)

    async def tidy(self) -> None:
        """Keep the log on the disk, and short, for ever. Run as a task."""
        synced = begun = self._database.total_changes
        while True:
            await asyncio.sleep(_SYNC_EVERY)
            changes = self._database.total_changes
            if changes == synced:
                continue
            try:
                await asyncio.to_thread(sync, self._path)
                synced = changes
                if changes - begun >= self._anew_after:
                    await self._begin_anew()
                    begun = changes
            except (OSError, sqlite3.Error) as error:
                log.warning("journal_checkpoint_failed", error=str(error))

    async def _begin_anew(self) -> None:
        """Nothing is written on the loop meanwhile, or the loop would begin the log, and wait for the disk."""
        self._beginning = True
        working = asyncio.ensure_future(asyncio.to_thread(begin_anew, self._path))
        try:
            await asyncio.wait({working}, timeout=_ANEW_SECONDS)
        finally:
            self._beginning = False
            self._flush()
            self._work.set()
        await working

    def close(self) -> None:
        self._flush()
        if self._pending:
            log.error("journal_keys_lost", keys=len(self._pending), remedy="free the disk, then run a sweep")
        self._database.close()
        os.close(self._lock)

    # -- writes under way -----------------------------------------------------------------------------------------

    async def enter(self, keys: Sequence[Key]) -> Ticket:
        """Put keys in before their authority write is sent. On return they are in the file.

        If the file cannot be written, the keys stand in memory until it can, and `degraded` says so: the client's
        write does not wait for a disk.
        """
        self._moment += 1
        generation, now = self._moment, self._clock()
        self._sample(now)
        overlapped = set()
        distinct = tuple(dict.fromkeys(keys))
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
            self._tables[key.table] = generation
            self._pending[key] = (generation, now)
            self._delayed.pop(key, None)
            self._parking.pop(key, None)
        ticket = Ticket(distinct, generation, frozenset(overlapped), now)
        try:
            # Shielded: others wait for the same commit, and one who is cancelled must not cancel it.
            await asyncio.shield(self._schedule_flush())
        except asyncio.CancelledError:
            self.answered(ticket)
            raise
        return ticket

    def answered(self, ticket: Ticket, *, take: bool = False) -> list[Work]:
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

    def unsettle(self, keys: Iterable[Key], seconds: float, store: str) -> None:
        """A write to these keys may still take effect on a store for so long: they stay, and converge again after
        it."""
        until = self._clock() + seconds
        self._settled_at = max(self._settled_at, until)
        for key in keys:
            self._unsettled_keys[key] = max(until, self._unsettled_keys.get(key, 0.0))
            place = (key.table, store)
            self._lingering[place] = max(until, self._lingering.get(place, 0.0))
        self._lingering_written = False
        self._flush()

    async def nominate(self, keys: Sequence[Key]) -> None:
        """Ask for convergence of keys that nobody is writing here."""
        self.answered(await self.enter(keys))

    # -- what others ask ------------------------------------------------------------------------------------------

    def lingering(self, table: str, store: str) -> float:
        """For how many seconds yet a write of an unknown outcome may land on a store, in a table: 0.0, for none."""
        return max(0.0, self._lingering.get((table, store), 0.0) - self._clock())

    def keys_of(self, table: str, limit: int) -> list[tuple[Key, bool]]:
        """At most so many keys of a table that are in, and whether each is parked."""
        self._flush()
        statement = "SELECT key, parked FROM journal WHERE tab = ? LIMIT ?"
        try:
            rows = self._database.execute(statement, (table, limit)).fetchall()
        except sqlite3.Error as error:
            self._fail(error)
            rows = []
        found = {Key(table, text): parked is not None for text, parked in rows}
        found.update((key, False) for key in (*self._open, *self._pending) if key.table == table)
        return list(found.items())

    def holds(self, key: Key) -> bool:
        return key in self._open or self._in_file(key)

    def parked_reason(self, key: Key) -> str | None:
        row = self._select("SELECT parked FROM journal WHERE tab = ? AND key = ?", (key.table, key.text))
        return str(row[0]) if row is not None and row[0] is not None else None

    def touched(self, key: Key, since: int) -> bool:
        """Whether the key is in the journal, or has been since the moment `since` (a reading of `latest`).

        What has left is remembered for a while; where memory does not reach back so far, the answer is yes.
        """
        left = self._left.get(key)
        if left is not None and left.moment > since:
            return True
        return key in self._open or self._forgotten > since or self._in_file(key)

    def table_touched(self, table: str, since: int) -> bool:
        """Whether any key of a table is in the journal, or one has been since the moment."""
        if self._tables.get(table, 0) > since or any(key.table == table for key in self._open):
            return True
        return self._select("SELECT 1 FROM journal WHERE tab = ? LIMIT 1", (table,)) is not None

    def moment(self, seconds: float) -> int:
        """The moment so many seconds ago, or one somewhat earlier; -1 where memory does not reach back so far."""
        then, later = self._clock() - seconds, self._moment
        for at, moment in reversed(self._samples):
            if at + _SAMPLE_SECONDS <= then:
                # What a sample stands for had all happened by then, however long ago that was.
                return later
            if at <= then:
                return moment
            later = moment
        return -1

    def overtaken(self, ticket: Ticket) -> bool:
        """Whether another write to one of the ticket's keys has entered since."""
        for key in ticket.keys:
            entry, left = self._open.get(key), self._left.get(key)
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
        return self._moment

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
        row = self._select("SELECT 1 FROM journal LIMIT 1")
        return row is None and not self._pending and not self.degraded

    async def depth(self) -> Depth:
        """Counted off the loop: after an hour's outage there may be millions."""
        self._flush()
        keys, since, parked = await asyncio.to_thread(self._count)
        return Depth(keys, max(0.0, self._clock() - since) if since is not None else 0.0, parked)

    async def stands(self, most_parked: int) -> dict[str, Stand]:
        """How each table stands that is in, or was a moment ago; at most so many parked keys. Off the loop, too."""
        self._flush()
        rows, parked = await asyncio.to_thread(self._count_by_table, most_parked)
        now = self._clock()
        lingering: dict[str, dict[str, float]] = {}
        for (table, store), until in self._lingering.items():
            if until > now:
                lingering.setdefault(table, {})[store] = until - now
        found = {table: Stand(lingering=each) for table, each in lingering.items()}
        for table, keys, since in rows:
            age = max(0.0, now - since) if since is not None else 0.0
            held = tuple(Key(table, text) for of, text in parked if of == table)
            found[table] = Stand(keys, age, held, lingering.get(table, {}))
        return found

    def _count_by_table(self, most_parked: int) -> tuple[list[tuple[Any, ...]], list[tuple[str, str]]]:
        side = sqlite3.connect(self._path, timeout=1)
        try:
            return side.execute(_COUNT_BY_TABLE).fetchall(), side.execute(_PARKED, (most_parked,)).fetchall()
        finally:
            side.close()

    def _count(self) -> tuple[Any, ...]:
        side = sqlite3.connect(self._path, timeout=1)
        try:
            row: tuple[Any, ...] = side.execute(_COUNT).fetchone()
            return row
        finally:
            side.close()

    # -- convergence ----------------------------------------------------------------------------------------------

    async def next(self) -> Work:
        """The next key to converge, waiting for one. Its taker must end with `done`, `again` or `park`."""
        while True:
            while self._line:
                key = self._line.popleft()
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
        if self._pending.get(work.key, (0, 0.0))[0] == work.generation:
            del self._pending[work.key]
        self._leaving[work.key] = work.generation
        self._remember(work)
        self._schedule_flush()
        self._forget(work.key, entry)
        return max(0.0, self._clock() - entry.entered)

    def again(self, work: Work, delay: float) -> None:
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
        self._parking[work.key] = (reason, work.generation)
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
        self._delayed[key] = due
        self._flush()
        self._forget(key, entry)
        self._work.set()

    def _stand_in_line(self, key: Key, entry: _Open) -> None:
        if entry.in_line or entry.converging or not self._its_turn(entry):
            return
        if len(self._line) >= _LINE_LIMIT and not entry.writers:
            self._backlog = True
            self._forget(key, entry)
        else:
            entry.in_line = True
            self._line.append(key)
        self._work.set()

    def _remember(self, work: Work) -> None:
        self._moment += 1
        self._sample(self._clock())
        self._tables[work.key.table] = self._moment
        self._left[work.key] = _Left(work.generation, self._moment)
        self._left.move_to_end(work.key)
        if len(self._left) > _REMEMBERED:
            self._forgotten = self._left.popitem(last=False)[1].moment

    def _sample(self, now: float) -> None:
        """Note what moment it is, before anything happens in it."""
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, self._moment - 1))

    def _its_turn(self, entry: _Open) -> bool:
        return not entry.writers or self._clock() - entry.tried > _HOT_SECONDS

    def _forget(self, key: Key, entry: _Open) -> None:
        del self._open[key]
        if entry.left is not None:
            entry.left.set()

    def _refill(self) -> bool:
        """Bring keys that stand in the file only into the line. Gives whether any came."""
        if not self._backlog or self._beginning:
            return False  # what waits to be written is not in the file's rows yet
        self._backlog = False
        self._flush()
        now = self._clock()
        try:
            rows = self._database.execute(_DUE, (now, _REFILL + len(self._open))).fetchall()
        except sqlite3.Error as error:
            self._fail(error)
            return False
        taken = 0
        for table, text, generation, since in rows:
            key = Key(table, text)
            if key in self._open:
                continue
            self._open[key] = _Open(generation, now, since, in_line=True)
            self._line.append(key)
            taken += 1
        self._backlog = taken > 0
        return taken > 0

    def _next_due(self) -> float | None:
        row = self._select("SELECT min(due) FROM journal WHERE parked IS NULL")
        if row is None or row[0] is None:
            return None
        return max(0.05, float(row[0]) - self._clock())

    def _unsettled(self, key: Key) -> float:
        row = self._select("SELECT unsettled FROM journal WHERE tab = ? AND key = ?", (key.table, key.text))
        return max(float(row[0]) if row is not None else 0.0, self._unsettled_keys.get(key, 0.0))

    def _in_file(self, key: Key) -> bool:
        if key in self._pending:
            return True
        if key in self._leaving:
            return False
        return self._select("SELECT 1 FROM journal WHERE tab = ? AND key = ?", (key.table, key.text)) is not None

    def _select(self, statement: str, parameters: tuple[str, ...] = ()) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._database.execute(statement, parameters).fetchone()
        except sqlite3.Error as error:
            self._fail(error)
            return None
        return row

    def _schedule_flush(self) -> asyncio.Future[None]:
        if self._flushed is None:
            loop = asyncio.get_running_loop()
            self._flushed = loop.create_future()
            loop.call_soon(self._flush)
        return self._flushed

    def _flush(self) -> None:
        if self._beginning:
            return
        flushed, self._flushed = self._flushed, None
        waiting = self._pending or self._leaving or self._unsettled_keys or self._delayed or self._parking
        if waiting or self.degraded:
            self._write()
        if flushed is not None and not flushed.done():
            flushed.set_result(None)

    def _write(self) -> None:
        now = self._clock()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                _LEAVE, [(k.table, k.text, generation, now) for k, generation in self._leaving.items()]
            )
            self._database.executemany(
                _ENTER, [(k.table, k.text, generation, at, at) for k, (generation, at) in self._pending.items()]
            )
            self._database.executemany(
                _UNSETTLE, [(until, k.table, k.text) for k, until in self._unsettled_keys.items()]
            )
            self._database.executemany(_DELAY, [(due, k.table, k.text) for k, due in self._delayed.items()])
            self._database.executemany(
                _PARK, [(reason, k.table, k.text, generation) for k, (reason, generation) in self._parking.items()]
            )
            if not self._lingering_written:
                self._database.executemany(_LINGER, [(*place, until) for place, until in self._lingering.items()])
            if self.degraded:
                self._database.execute(_PROVE_ROOM)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._fail(error)
            while len(self._pending) > _PENDING_LIMIT:
                self._pending.pop(next(iter(self._pending)))
                self.dropped += 1
            while len(self._leaving) > _PENDING_LIMIT:
                # It stays in the file then, and converges once more.
                self._leaving.pop(next(iter(self._leaving)))
            while len(self._unsettled_keys) > _PENDING_LIMIT:
                self._unsettled_keys.pop(next(iter(self._unsettled_keys)))
            # They are tried sooner than they need be, which does no harm.
            self._delayed.clear()
            self._parking.clear()
            return
        self._pending.clear()
        self._leaving.clear()
        self._unsettled_keys.clear()
        self._delayed.clear()
        self._parking.clear()
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
