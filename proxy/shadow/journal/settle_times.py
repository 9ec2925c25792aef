"""Until when a write of an unknown outcome may still take effect: by key, and by table and store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.group_commit import GroupCommit
from proxy.shadow.journal.storage import JournalFile


class SettleTimes:
    """The settle times of the journal's keys, kept in memory and in the file. Times are seconds since the epoch, by
    `clock`."""

    def __init__(self, file: JournalFile, commit: GroupCommit, clock: Callable[[], float]) -> None:
        self._file = file
        self._commit = commit
        self._clock = clock
        self._by_table: dict[tuple[str, str], float] = {}
        self._latest = 0.0

    def load(self, latest: float) -> None:
        """Load what the file says. None of its keys is unsettled beyond `latest`.

        Raises sqlite3.Error.
        """
        self._by_table = self._file.lingering()
        self._latest = latest

    def mark(self, keys: Iterable[Key], seconds: float, store: str) -> None:
        """Note that a write to these keys may take effect on `store` within the next `seconds`."""
        until = self._clock() + seconds
        self._latest = max(self._latest, until)
        changes = self._commit.changes
        for key in keys:
            changes.unsettled[key] = max(until, changes.unsettled.get(key, 0.0))
            place = (key.table, store)
            changes.lingering[place] = self._by_table[place] = max(until, self._by_table.get(place, 0.0))

    @property
    def by_table(self) -> Mapping[tuple[str, str], float]:
        """Table and store → until when a write may take effect there."""
        return self._by_table

    def remaining(self, table: str, store: str) -> float:
        """Return for how many seconds a write to the table may yet take effect on the store; 0.0 if none may."""
        return max(0.0, self._by_table.get((table, store), 0.0) - self._clock())

    def pending_until(self, key: Key, since: float) -> float | None:
        """Return until when a write to the key may take effect; None if none could after `since`."""
        if since >= self._latest:
            return None
        row = self._commit.query(self._file.row, key)
        until = max(row.unsettled if row is not None else 0.0, self._commit.changes.unsettled.get(key, 0.0))
        return until if until > since else None
