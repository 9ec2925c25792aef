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
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import structlog

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.depth import JournalDepth, TableBacklog, table_backlogs
from proxy.shadow.journal.entries import ActiveKey, ClaimedKey, JournalEntry
from proxy.shadow.journal.group_commit import GroupCommit
from proxy.shadow.journal.key_activity import KeyActivity, any_key_of
from proxy.shadow.journal.ready_queue import ReadyQueue
from proxy.shadow.journal.settle_times import SettleTimes
from proxy.shadow.journal.storage import JournalFile

log = structlog.get_logger(__name__)

# Some 30 MB of log: a start reads it all.
_RESTART_CHANGES: Final = 8000


class Journal:
    """See the module. Use from one event loop; `open` before, `close` after."""

    def __init__(
        self,
        path: Path,
        synchronous: Literal["normal", "full"] = "normal",
        clock: Callable[[], float] = time.time,
        anew_after: int = _RESTART_CHANGES,
    ) -> None:
        """`anew_after` changes the log begins anew."""
        self._file = JournalFile(path, synchronous)
        self._clock = clock
        self._active: dict[Key, ActiveKey] = {}
        self._commit = GroupCommit(self._file, clock, anew_after, self._refill)
        self._ready = ReadyQueue(self._file, self._commit, self._active, clock)
        self._settle = SettleTimes(self._file, self._commit, clock)
        self._changes = self._commit.changes
        self._activity = KeyActivity(0, clock())
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
        self.identity = self._file.identity()
        self._activity = KeyActivity(latest, now)
        self._settle.load(now + max(lingering.values()) if left else 0.0)
        if left:
            self._ready.refill()
        return left

    async def maintain_wal(self) -> None:
        """Keep the log on the disk, and short, for ever. Run as a task."""
        await self._commit.maintain_wal()

    def close(self) -> None:
        self._commit.flush()
        if self._changes.entered:
            log.error("journal_keys_lost", keys=len(self._changes.entered), remedy="free the disk, then run a sweep")
        self._file.close()

    # -- writes under way -----------------------------------------------------------------------------------------

    async def enter(self, keys: Sequence[Key]) -> JournalEntry:
        """Put keys in before their authority write is sent. On return they are in the file.

        If the file cannot be written, the keys stand in memory until it can, and `degraded` says so: the client's
        write does not wait for a disk.
        """
        now = self._clock()
        distinct = tuple(dict.fromkeys(keys))
        generation = self._activity.enter((key.table for key in distinct), now)
        overlapped = set()
        for key in distinct:
            state = self._active.get(key)
            if state is None:
                if self._in_file(key):
                    overlapped.add(key)
                state = self._active[key] = ActiveKey(generation, now, now)
            else:
                overlapped.add(key)
            state.generation = generation
            state.writers += 1
            self._changes.entered[key] = (generation, now)
            self._changes.delayed.pop(key, None)
            self._changes.parked.pop(key, None)
        entry = JournalEntry(distinct, generation, frozenset(overlapped), now)
        try:
            # Shielded: others wait for the same commit, and one who is cancelled must not cancel it.
            await asyncio.shield(self._commit.schedule())
        except asyncio.CancelledError:
            self.release(entry)
            raise
        return entry

    def release(self, entry: JournalEntry, *, claim: bool = False) -> list[ClaimedKey]:
        """The authority has answered, or the write has failed: its keys may converge now.

        With `take` the caller converges them itself: it gets those that nobody else is writing or converging.
        """
        claims = []
        for key in entry.keys:
            state = self._active[key]
            state.writers -= 1
            if claim and not state.writers and not state.converging and state.generation == entry.generation:
                state.converging = True
                state.tried = self._clock()
                claims.append(ClaimedKey(key, state.generation))
            else:
                self._put_in_queue(key, state)
        return claims

    def mark_unsettled(self, keys: Iterable[Key], seconds: float, store: str) -> None:
        """A write to these keys may still take effect on a store for so long: they stay, and converge again after
        it."""
        self._settle.mark(keys, seconds, store)
        self._commit.flush()

    async def enqueue(self, keys: Sequence[Key]) -> None:
        """Ask for convergence of keys that nobody is writing here."""
        self.release(await self.enter(keys))

    # -- what others ask ------------------------------------------------------------------------------------------

    def lingering(self, table: str, store: str) -> float:
        """For how many seconds yet a write of an unknown outcome may land on a store, in a table: 0.0, for none."""
        return self._settle.remaining(table, store)

    def keys_of(self, table: str, limit: int) -> list[tuple[Key, bool]]:
        """At most so many keys of a table that are in, and whether each is parked."""
        self._commit.flush()
        found = self._commit.query(self._file.keys_of, table, limit) or {}
        found.update((key, False) for key in (*self._active, *self._changes.entered) if key.table == table)
        return list(found.items())

    def holds(self, key: Key) -> bool:
        return key in self._active or self._in_file(key)

    def parked_reason(self, key: Key) -> str | None:
        row = self._commit.query(self._file.row, key)
        return row.parked if row is not None else None

    def active_since(self, key: Key, since: int) -> bool:
        """Whether the key, or any that it stands for (`any_of`), is in the journal, or has been since the moment
        `since` (a reading of `latest`).

        What has left is remembered for a while; where memory does not reach back so far, the answer is yes.
        """
        return self._activity.latest_activity(key)[0] > since or self._holds_any(key)

    def idle_seconds(self, key: Key) -> float:
        """For how many seconds the key, or all that it stands for, has not been in the journal: 0.0 while it is in.
        Where memory does not reach back so far, for how long it does."""
        return 0.0 if self._holds_any(key) else max(0.0, self._clock() - self._activity.latest_activity(key)[1])

    def has_later_write(self, entry: JournalEntry) -> bool:
        """Whether another write to one of the ticket's keys has entered since."""
        for key in entry.keys:
            state, left = self._active.get(key), self._activity.departure(key)
            generation = state.generation if state is not None else left.generation if left is not None else None
            if generation is None or generation > entry.generation:
                return True
        return False

    def age(self, entry: JournalEntry) -> float:
        """Seconds since the ticket's keys entered."""
        return max(0.0, self._clock() - entry.entered)

    @property
    def sequence(self) -> int:
        """This moment: it grows with every entry and every leave."""
        return self._activity.sequence

    async def wait_until_absent(self, keys: Iterable[Key], seconds: float) -> bool:
        """Wait until none of the keys is in the journal, for at most so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                for key in keys:
                    while self.holds(key):
                        state = self._active.get(key)
                        if state is None:
                            await asyncio.sleep(0.02)
                            continue
                        if state.left is None:
                            state.left = asyncio.Event()
                        await state.left.wait()
        except TimeoutError:
            return False
        return True

    @property
    def degraded(self) -> bool:
        """Whether the file cannot be written at present."""
        return self._commit.degraded

    @property
    def busy(self) -> bool:
        """Whether keys are being written or converged, or are next in line."""
        return bool(self._active)

    @property
    def empty(self) -> bool:
        """Whether no key is in, parked ones too."""
        self._commit.flush()
        return not self._commit.query(self._file.any) and not self._changes.entered and not self._commit.degraded

    async def depth(self) -> JournalDepth:
        """Counted off the loop: after an hour's outage there may be millions."""
        self._commit.flush()
        keys, since, parked = await asyncio.to_thread(self._file.count)
        return JournalDepth(keys, max(0.0, self._clock() - since) if since is not None else 0.0, parked)

    async def count_by_table(self, most_parked: int) -> dict[str, TableBacklog]:
        """How each table stands that is in, or was a moment ago; at most so many parked keys. Off the loop, too."""
        self._commit.flush()
        rows, parked = await asyncio.to_thread(self._file.count_by_table, most_parked)
        return table_backlogs(rows, parked, self._settle.by_table, self._clock())

    # -- convergence ----------------------------------------------------------------------------------------------

    async def next(self) -> ClaimedKey:
        """The next key to converge, waiting for one. Its taker must end with `done`, `again` or `park`."""
        return await self._ready.next()

    def mark_converged(self, claim: ClaimedKey) -> float | None:
        """The key has converged. It leaves, unless it was entered again meanwhile or is not settled yet.

        Gives how many seconds it was in the journal, if it has left.
        """
        state = self._active[claim.key]
        state.converging = False
        if state.writers or state.generation != claim.generation:
            self._put_in_queue(claim.key, state)
            return None
        settled = self._settle.pending_until(claim.key, state.tried)
        if settled is not None:
            self._delay(claim.key, state, settled)
            return None
        if self._changes.entered.get(claim.key, (0, 0.0))[0] == claim.generation:
            del self._changes.entered[claim.key]
        self._changes.departed[claim.key] = claim.generation
        self._activity.leave(claim.key, claim.generation, self._clock())
        self._commit.schedule()
        self._forget(claim.key, state)
        return max(0.0, self._clock() - state.entered)

    def retry_later(self, claim: ClaimedKey, delay: float) -> None:
        """The key has not converged: try again after `delay` seconds."""
        state = self._active[claim.key]
        state.converging = False
        if state.writers:
            return
        self._delay(claim.key, state, self._clock() + delay)

    def park(self, claim: ClaimedKey, reason: str) -> None:
        """The key cannot converge until its item changes: it stays, counted and shown, and is not tried again."""
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

    # -- inside ---------------------------------------------------------------------------------------------------

    def _delay(self, key: Key, state: ActiveKey, due: float) -> None:
        self._changes.delayed[key] = due
        self._commit.flush()
        self._forget(key, state)
        self._ready.wake()

    def _put_in_queue(self, key: Key, state: ActiveKey) -> None:
        if not self._ready.put(key, state):
            self._forget(key, state)

    def _refill(self) -> None:
        self._ready.refill()

    def _holds_any(self, key: Key) -> bool:
        """Whether the key is in; of `any_of` a table, whether one of its keys is, as far as the file can be read."""
        if key != any_key_of(key.table):
            return self.holds(key)
        return (
            any(each.table == key.table for each in chain(self._active, self._changes.entered))
            or self._commit.query(self._file.any_of, key.table) is not False
        )

    def _forget(self, key: Key, state: ActiveKey) -> None:
        del self._active[key]
        if state.left is not None:
            state.left.set()

    def _in_file(self, key: Key) -> bool:
        if key in self._changes.entered:
            return True
        if key in self._changes.departed:
            return False
        return self._commit.query(self._file.row, key) is not None
