"""The durable set of keys that are not yet known to have converged.

A key enters before its authority write is sent, and departs when it has converged. The journal counts: every entry
gives the key a new generation, and a convergence clears only the generation that it began with, and only while no write
is in flight. So finishing an earlier write never clears a later one's entry.

Memory holds only the keys that are being written or converged, or are queued for it; all others are in the file alone
(`proxy.shadow.journal.storage`). Knows neither stores nor stages. Times are seconds since the epoch, by the clock that
the journal is given: they are kept beyond the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import structlog

from proxy.cutover.flip.clocks import steady_wall_clock
from proxy.dynamodb.schema import Key
from proxy.shadow.journal.depth import JournalDepth, TableBacklog, table_backlogs
from proxy.shadow.journal.entries import ActiveKey, ClaimedKey, JournalEntry
from proxy.shadow.journal.group_commit import GroupCommit
from proxy.shadow.journal.haste import RETRY_SECONDS, Haste
from proxy.shadow.journal.key_activity import KeyActivity, any_key_of
from proxy.shadow.journal.parked_keys import ParkedKeys
from proxy.shadow.journal.ready_queue import ReadyQueue
from proxy.shadow.journal.settle_times import SettleTimes
from proxy.shadow.journal.storage import JournalFile

log = structlog.get_logger(__name__)

# This many make a log of about 30 MB, all of which the next start reads.
_RESTART_CHANGES: Final = 8000
# As the setting `mirror.queue` has it.
_QUEUE_LIMIT: Final = 10_000
# More keys than this with an unknown outcome within one settle time count as not converged until they are settled.
_MAX_SETTLING: Final = 100_000


class Journal:
    """The journal of one process. Call `open` first and `close` last; use it from one event loop."""

    def __init__(
        self,
        path: Path,
        synchronous: Literal["normal", "full"] = "normal",
        clock: Callable[[], float] | None = None,
        restart_after: int = _RESTART_CHANGES,
        queue_limit: int = _QUEUE_LIMIT,
    ) -> None:
        """`path` is the file, which no other process may use. With `synchronous` "full", every commit is synced to the
        disk. `clock` gives seconds since the epoch, and never steps. The write-ahead log is restarted after
        `restart_after` changed rows. Beside the keys that are being written or converged, at most `queue_limit` keys
        are in memory; the others wait in the file.
        """
        self._file = JournalFile(path, synchronous)
        self._clock = clock = clock or steady_wall_clock()
        self._active: dict[Key, ActiveKey] = {}
        # Keys that have converged and stay only until they are settled: when that convergence began.
        self._settling: dict[Key, float] = {}
        self._commit = GroupCommit(self._file, clock, restart_after)
        self._ready = ReadyQueue(self._file, self._commit, self._active, clock, queue_limit)
        self._settle = SettleTimes(self._file, self._commit, clock)
        self._changes = self._commit.changes
        self._activity = KeyActivity(0, clock())
        self.haste = Haste()
        self.parked = ParkedKeys(self._file, self._commit, self._ready, clock)
        """The keys that cannot converge."""
        self.identity = ""
        """The process that this file belongs to: the same name after every start. Known once the journal is open."""

    # -- lifetime ---------------------------------------------------------------------------------------------------

    def open(self, lingering: Mapping[str, float]) -> int:
        """Open the file and take over the keys that an earlier process left. Returns how many there are.

        Writes that were in flight then may still land: `lingering` is store → within how many seconds. So all keys
        converge at once, and once more after that time. Parked keys do, too: the mapping may have changed.
        Raises JournalLocked if another process uses the file, JournalFormatError if it is another release's or no
        journal, OSError, and sqlite3.Error.
        """
        self._file.open()
        now = self._clock()
        keys, latest = self._file.take_over(now, lingering)
        self.identity = self._file.identity()
        self._activity = KeyActivity(latest, now)
        self._settle.load(now + max(lingering.values()) if keys else 0.0)
        if keys:
            self._ready.refill()
        return keys

    async def maintain_wal(self) -> None:
        """Sync the write-ahead log and keep it short, for ever. Run this as a task."""
        await self._commit.maintain_wal()

    def close(self) -> None:
        """Commit what is left and close the file. Raises sqlite3.Error, OSError."""
        self._commit.flush()
        if self._changes.entered:
            log.error("journal_keys_lost", keys=len(self._changes.entered), remedy="free the disk, then run a sweep")
        self._file.close()

    # -- writes ----------------------------------------------------------------------------------------------------

    async def enter(self, keys: Sequence[Key]) -> JournalEntry:
        """Enter the keys of a write before it is sent to the authority. On return they are in the file.

        While the file cannot be written, the keys are in memory only and `degraded` is true: a client's write does not
        wait for a disk. The caller must end the entry with `release` or `withdraw`.
        """
        now = self._clock()
        distinct = tuple(dict.fromkeys(keys))
        generation = self._activity.enter(distinct, now)
        overlapped = set()
        for key in distinct:
            self._settling.pop(key, None)
            state = self._active.get(key)
            if state is None:
                if self._in_file(key):
                    overlapped.add(key)
                owes = key in overlapped or self._commit.degraded
                state = self._active[key] = ActiveKey(generation, now, now, owes=owes)
            else:
                overlapped.add(key)
            state.generation = generation
            state.writers += 1
            self._changes.entered[key] = (generation, now)
            self._changes.delayed.pop(key, None)
            self._changes.parked.pop(key, None)
        entry = JournalEntry(distinct, generation, frozenset(overlapped), now)
        try:
            # Shielded: other writes wait for the same commit, and cancelling one of them must not cancel it.
            await asyncio.shield(self._commit.schedule())
        except asyncio.CancelledError:
            self.withdraw(entry)
            raise
        return entry

    def release(self, entry: JournalEntry, *, claim: bool = False) -> list[ClaimedKey]:
        """End an entry: the authority has answered, or the write has failed. Its keys may converge now.

        With `claim`, the caller converges them itself: it gets those that nobody else is writing or converging.
        """
        claims = []
        for key in entry.keys:
            state = self._active[key]
            state.writers -= 1
            state.owes = True
            if claim and not state.writers and not state.converging and state.generation == entry.generation:
                state.converging = True
                state.tried = self._clock()
                claims.append(ClaimedKey(key, state.generation))
            else:
                self._put_in_queue(key, state)
        return claims

    def withdraw(self, entry: JournalEntry) -> None:
        """End an entry whose write certainly had no effect: a key that is here for nothing else leaves, unread."""
        for key in entry.keys:
            state = self._active[key]
            state.writers -= 1
            if state.owes:
                self._put_in_queue(key, state)
            elif not state.writers:
                self._depart(key, state, state.generation)

    def mark_unsettled(self, keys: Iterable[Key], seconds: float, store: str) -> None:
        """Note that a write to these keys may still take effect on `store` within the next `seconds`.

        The keys stay in the journal until then, and converge once more after it.
        """
        self._settle.mark(keys, seconds, store)
        self._commit.flush()

    async def enqueue(self, keys: Sequence[Key]) -> None:
        """Enter keys that this process is not writing, so that they converge. Returns when they are in the file."""
        self.release(await self.enter(keys))

    # -- queries ----------------------------------------------------------------------------------------------------

    def lingering(self, table: str, store: str) -> float:
        """Return for how many seconds a write of an unknown outcome may yet land in a table of `store`; 0.0 if none
        may."""
        return self._settle.remaining(table, store)

    def keys_of(self, table: str, limit: int) -> list[tuple[Key, bool]]:
        """Return at most `limit` keys of a table from the file, all that are in memory, and whether each is parked."""
        self._commit.flush()
        found = self._commit.query(self._file.keys_of, table, limit) or {}
        found.update((key, False) for key in (*self._active, *self._changes.entered) if key.table == table)
        return list(found.items())

    def converged_since(self, key: Key, since: float) -> bool:
        """Return whether the key has converged, by a convergence that began at `since` or later, and is here only until
        nothing can land on it any more. `since` is by the journal's clock."""
        return key not in self._active and self._settling.get(key, float("-inf")) >= since

    def hasten(self, table: str) -> float:
        """Let the keys of a table converge without delay until `relax`: those that wait for another try, and once more
        those that only settle. Returns the present time of its clock."""
        now = self._clock()
        self.haste.begin(table)
        self._changes.hastened[table] = now
        self._commit.flush()
        self._ready.refill()
        return now

    def relax(self, table: str) -> None:
        """Let the keys of a table wait again between one try and the next."""
        self.haste.end(table)

    def holds(self, key: Key) -> bool:
        """Return whether the key is in the journal, be it parked."""
        return key in self._active or self._in_file(key)

    def active_since(self, key: Key, since: int) -> bool:
        """Return whether the key is in the journal, or has been since `since`, an earlier value of `sequence`.

        For `any_key_of` a table, any of its keys counts. Departures are remembered for a while; where memory does not
        reach back far enough, the answer is True.
        """
        return self._activity.latest_activity(key)[0] > since or self._holds_any(key)

    def idle_seconds(self, key: Key) -> float:
        """Return for how many seconds the key has not been in the journal: 0.0 while it is.

        For `any_key_of` a table, none of its keys. Never more than memory reaches back.
        """
        now = self._clock()
        return 0.0 if self._holds_any(key) else max(0.0, now - self._activity.idle_since(key, now))

    def has_later_write(self, entry: JournalEntry) -> bool:
        """Return whether another write to one of the entry's keys has entered since."""
        for key in entry.keys:
            last = self._active.get(key) or self._activity.departure(key)
            generation = last.generation if last is not None else None
            if generation is None or generation > entry.generation:
                return True
        return False

    def age(self, entry: JournalEntry) -> float:
        """Return for how many seconds the entry's keys have been in the journal."""
        return max(0.0, self._clock() - entry.entered)

    @property
    def sequence(self) -> int:
        """A number that grows with every entry and every departure."""
        return self._activity.sequence

    async def wait_until_absent(self, keys: Iterable[Key], seconds: float) -> bool:
        """Wait until none of the keys is in the journal. Returns False if that takes more than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                for key in keys:
                    while self.holds(key):
                        state = self._active.get(key)
                        if state is None:
                            await asyncio.sleep(0.02)
                            continue
                        if state.departed is None:
                            state.departed = asyncio.Event()
                        await state.departed.wait()
        except TimeoutError:
            return False
        return True

    @property
    def degraded(self) -> bool:
        """Whether the file cannot be written at present."""
        return self._commit.degraded

    @property
    def busy(self) -> bool:
        """Whether any key is being written or converged, or is queued for it."""
        return bool(self._active)

    @property
    def empty(self) -> bool:
        """Whether the journal holds no key, not even a parked one. False where the file cannot be read."""
        self._commit.flush()
        return not self._commit.query(self._file.any) and not self._changes.entered and not self._commit.degraded

    async def depth(self) -> JournalDepth:
        """Return how full the journal is. Raises sqlite3.Error.

        Counted in a thread: after an hour's outage there may be millions of keys.
        """
        self._commit.flush()
        keys, since, parked = await asyncio.to_thread(self._file.count)
        return JournalDepth(keys, max(0.0, self._clock() - since) if since is not None else 0.0, parked)

    async def count_by_table(self, max_parked: int) -> dict[str, TableBacklog]:
        """Return the backlog of each table that has keys here, or a write that may yet land. Counted in a thread.

        At most `max_parked` parked keys are named, over all tables. Raises sqlite3.Error.
        """
        self._commit.flush()
        rows, parked = await asyncio.to_thread(self._file.count_by_table, max_parked)
        return table_backlogs(rows, parked, self._settle.by_table, self._clock())

    # -- convergence ----------------------------------------------------------------------------------------------

    async def next(self) -> ClaimedKey:
        """Wait for the next key to converge, and claim it. The caller must end with `mark_converged`, `retry_later` or
        `park`."""
        return await self._ready.next()

    def mark_converged(self, claim: ClaimedKey) -> float | None:
        """End a claim: the key has converged. It departs, unless it was entered again meanwhile or is not settled yet.

        Returns for how many seconds it was in the journal, if it departs; otherwise None.
        """
        state = self._active[claim.key]
        state.converging = False
        if state.writers or state.generation != claim.generation:
            self._put_in_queue(claim.key, state)
            return None
        settled = self._settle.pending_until(claim.key, state.tried)
        if settled is not None:
            if len(self._settling) < _MAX_SETTLING:
                self._settling[claim.key] = state.tried
            self._delay(claim.key, state, settled)
            return None
        self._settling.pop(claim.key, None)
        self._depart(claim.key, state, claim.generation)
        return max(0.0, self._clock() - state.entered)

    def retry_later(self, claim: ClaimedKey, delay: float) -> None:
        """End a claim: the key has not converged, and is due again after `delay` seconds."""
        state = self._active[claim.key]
        state.converging = False
        if state.writers:
            return
        if self.haste.covers(claim.key.table):
            delay = min(delay, RETRY_SECONDS)
        self._delay(claim.key, state, self._clock() + delay)

    def park(self, claim: ClaimedKey, reason: str) -> None:
        """End a claim: the key cannot converge until its item changes. It stays, is counted and shown with `reason`,
        and is tried again at the next write to it, at the next start, or when `parked` is asked to."""
        state = self._active[claim.key]
        state.converging = False
        if state.writers or state.generation != claim.generation:
            self._put_in_queue(claim.key, state)
            return
        settled = self._settle.pending_until(claim.key, state.tried)
        if settled is not None:
            # A write that lingers may yet replace the item that cannot be held.
            self._delay(claim.key, state, settled)
            return
        self._changes.parked[claim.key] = (reason, claim.generation)
        self._commit.flush()
        self._forget(claim.key, state)

    # -- helpers --------------------------------------------------------------------------------------------------

    def _depart(self, key: Key, state: ActiveKey, generation: int) -> None:
        if self._changes.entered.get(key, (0, 0.0))[0] == generation:
            del self._changes.entered[key]
        self._changes.departed[key] = generation
        self._activity.leave(key, generation, self._clock())
        self._commit.schedule()
        self._forget(key, state)

    def _delay(self, key: Key, state: ActiveKey, due: float) -> None:
        self._changes.delayed[key] = due
        self._commit.flush()
        self._forget(key, state)
        self._ready.wake()

    def _put_in_queue(self, key: Key, state: ActiveKey) -> None:
        if not self._ready.put(key, state):
            self._forget(key, state)

    def _holds_any(self, key: Key) -> bool:
        """As `holds`; for `any_key_of` a table, whether any of its keys is here or the file cannot be read."""
        if key != any_key_of(key.table):
            return self.holds(key)
        return (
            any(each.table == key.table for each in chain(self._active, self._changes.entered))
            or self._commit.query(self._file.any_of, key.table) is not False
        )

    def _forget(self, key: Key, state: ActiveKey) -> None:
        del self._active[key]
        if state.departed is not None:
            state.departed.set()

    def _in_file(self, key: Key) -> bool:
        if key in self._changes.entered:
            return True
        if key in self._changes.departed:
            return False
        return self._commit.query(self._file.row, key) is not None
