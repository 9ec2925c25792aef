"""Which key converges next: those in memory in their order, then those in the journal's file that are due.

The queue is bounded: what does not fit waits in the file. Knows neither why a key is due nor what becomes of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.entries import ActiveKey, ClaimedKey
from proxy.shadow.journal.group_commit import GroupCommit
from proxy.shadow.journal.storage import JournalFile

_REFILL: Final = 512
_SHORTEST_WAIT: Final = 0.05
# A key that always has some write in flight would never have its turn: after this long it converges nonetheless.
_HOT_SECONDS: Final = 1.0


class ReadyQueue:
    """The queue of keys to converge: at most `limit` of them, apart from those that are being written.

    `active` is the journal's own dictionary: keys loaded from the file are added to it.
    """

    def __init__(
        self,
        file: JournalFile,
        commit: GroupCommit,
        active: dict[Key, ActiveKey],
        clock: Callable[[], float],
        limit: int,
    ) -> None:
        self._file = file
        self._commit = commit
        self._active = active
        self._clock = clock
        self._limit = limit
        self._keys: deque[Key] = deque()
        self._wake = asyncio.Event()
        self._more_in_file = False
        commit.notify_writable(self.refill)

    def put(self, key: Key, state: ActiveKey) -> bool:
        """Queue a key if it may converge now. Returns False if the queue is full and the key has to wait in the
        file."""
        if state.queued or state.converging or not self._is_ready(state):
            return True
        fits = len(self._keys) < self._limit or state.writers > 0
        if fits:
            state.queued = True
            self._keys.append(key)
        else:
            self._more_in_file = True
        self._wake.set()
        return fits

    def put_again(self, key: Key, generation: int, since: float) -> bool:
        """Queue a key that is in the file and waits for no time. Returns False if it is queued or busy already, or does
        not fit."""
        if key in self._active or len(self._keys) >= self._limit:
            return False
        self._active[key] = ActiveKey(generation, self._clock(), since, queued=True)
        self._keys.append(key)
        self._wake.set()
        return True

    def refill(self) -> None:
        """Read the file when the queue is next empty: it may hold keys that are due."""
        self._more_in_file = True
        self._wake.set()

    def wake(self) -> None:
        """Wake `next`: the time at which the next key is due may have changed."""
        self._wake.set()

    async def next(self) -> ClaimedKey:
        """Wait for the next key, and claim it."""
        while True:
            while self._keys:
                key = self._keys.popleft()
                state = self._active.get(key)
                if state is None:
                    continue  # while it was queued, a write that claimed it has converged it
                state.queued = False
                if state.converging or not self._is_ready(state):
                    continue
                state.converging = True
                state.tried = self._clock()
                # A write that is still in flight may land after the authority was read: this must not clear it.
                return ClaimedKey(key, 0 if state.writers else state.generation)
            self._wake.clear()
            if self._load_due():
                continue
            try:
                async with asyncio.timeout(self._seconds_until_due()):
                    await self._wake.wait()
            except TimeoutError:
                self._more_in_file = True

    def _is_ready(self, state: ActiveKey) -> bool:
        return not state.writers or self._clock() - state.tried > _HOT_SECONDS

    def _load_due(self) -> bool:
        """Queue keys of the file that are due. Returns whether there were any."""
        if not self._more_in_file or self._commit.restarting:
            return False  # during a restart, changes that wait to be written are not in the file's rows yet
        self._more_in_file = False
        self._commit.flush()
        now = self._clock()
        count = min(_REFILL, self._limit)
        for key, generation, since in self._commit.query(self._file.due, now, count + len(self._active)) or ():
            if len(self._keys) >= count:
                break
            if key not in self._active:
                self._active[key] = ActiveKey(generation, now, since, queued=True)
                self._keys.append(key)
        self._more_in_file = bool(self._keys)
        return self._more_in_file

    def _seconds_until_due(self) -> float | None:
        due = self._commit.query(self._file.next_due)
        return max(_SHORTEST_WAIT, due - self._clock()) if due is not None else None
