"""The parked keys of a journal: keys that cannot converge until an item, the mapping or an operator's mind changes.

Lists them, has them tried again, and drops those that an operator gives up. A key is shown by an id that reveals
nothing of it, and is good until the process ends. Parking itself is the journal's (`proxy.shadow.journal.journal`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.group_commit import GroupCommit
from proxy.shadow.journal.ready_queue import ReadyQueue
from proxy.shadow.journal.storage import JournalFile

MAX_LISTED: Final = 1000
_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedKey:
    """A parked key."""

    id: str
    """The name by which an operator refers to it; it reveals nothing of the key."""
    key: Key
    """The key itself: an item value."""
    reason: str
    """Why it cannot converge, without item values."""
    age: float
    """For how many seconds it has been in the journal."""


class ParkedKeys:
    """The parked keys of one journal. Use it from one event loop. All but `reason_of` may raise
    sqlite3.Error."""

    def __init__(self, file: JournalFile, commit: GroupCommit, ready: ReadyQueue, clock: Callable[[], float]) -> None:
        """`clock` is the journal's."""
        self._clock = clock
        self._file = file
        self._commit = commit
        self._ready = ready
        self._secret = os.urandom(32)

    def id_of(self, key: Key) -> str:
        """Return the id of a key."""
        return blake2b(f"{key.table}\0{key.text}".encode(), digest_size=_ID_BYTES, key=self._secret).hexdigest()

    def reason_of(self, key: Key) -> str | None:
        """Return why a key is parked; None if it is not."""
        row = self._commit.query(self._file.row, key)
        return row.parked if row is not None else None

    def list(self, table: str | None = None, limit: int = MAX_LISTED) -> list[ParkedKey]:
        """Return at most `limit` parked keys, of one table or of all, the oldest first."""
        self._commit.flush()
        now = self._clock()
        return [
            ParkedKey(id=self.id_of(key), key=key, reason=reason, age=max(0.0, now - since))
            for key, _, since, reason in self._file.parked(table, limit)
        ]

    def find(self, key_id: str) -> ParkedKey | None:
        """Return the parked key with this id; None if there is none."""
        return next((each for each in self.list(limit=-1) if each.id == key_id), None)

    def retry(self, *, table: str | None = None, key: Key | None = None) -> int:
        """Have parked keys converge once more: one, those of a table, or all. Returns how many.

        Until it has converged, a key stays parked.
        """
        self._commit.flush()
        rows = self._file.parked(table if key is None else key.table, -1 if key is not None else MAX_LISTED)
        return sum(
            self._ready.put_again(each, generation, since)
            for each, generation, since, _ in rows
            if key is None or each == key
        )

    def drop(self, key: Key) -> bool:
        """Take a parked key out of the journal, although its item differs. Returns whether it was parked."""
        self._commit.flush()
        return self._file.drop_parked(key)
