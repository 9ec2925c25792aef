"""When keys were last in the journal, by a sequence number and by time.

The sequence number grows with every entry and every departure. By it, a comparison learns whether a key has been in the
journal since the comparison began; by the time, another process learns for how long a key has not been. The newest
departures are remembered; for a key that is not among them the answer is the cautious one, that it was active later
than it may have been. Knows no file. Times are the caller's, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.dynamodb.schema import Key

_MAX_DEPARTURES: Final = 10_000
_MAX_WATCHED: Final = 10_000


def any_key_of(table: str) -> Key:
    """Return the key that stands for every key of a table, where it is not known which are meant."""
    return Key(table, "")


@dataclass(frozen=True, slots=True)
class Departure:
    """The departure of a key from the journal."""

    generation: int
    """The generation that the key had."""
    sequence: int
    """The sequence number of the departure."""
    at: float
    """When it departed, in seconds."""


class KeyActivity:
    """The recent departures of keys, and the latest activity of each table."""

    def __init__(self, latest: int, now: float) -> None:
        """`latest` is the highest generation in the file: numbers go on after it. `now` is the beginning of memory."""
        self.sequence = latest + 1
        """The latest sequence number."""
        self._began = now
        self._forgotten = Departure(0, self.sequence, now)
        self._departures: OrderedDict[Key, Departure] = OrderedDict()
        self._by_table: dict[str, tuple[int, float]] = {}
        # Keys that somebody has asked about: since when they have not been written, however many others have.
        self._watched: OrderedDict[Key, float] = OrderedDict()

    def enter(self, keys: Iterable[Key], now: float) -> int:
        """Note that these keys enter together. Returns the sequence number, which is theirs alone."""
        self.sequence += 1
        for key in keys:
            self._by_table[key.table] = self.sequence, now
            if key in self._watched:
                self._watched[key] = now
        return self.sequence

    def leave(self, key: Key, generation: int, now: float) -> None:
        """Note that a key departs."""
        self._departures[key] = Departure(generation, self.enter((key,), now), now)
        self._departures.move_to_end(key)
        if len(self._departures) > _MAX_DEPARTURES:
            self._forgotten = self._departures.popitem(last=False)[1]

    def departure(self, key: Key) -> Departure | None:
        """Return the key's last departure; None where that is not remembered."""
        return self._departures.get(key)

    def latest_activity(self, key: Key) -> tuple[int, float]:
        """Return the sequence number and the time of the key's last departure.

        For a key that is not remembered these are of the latest departure that was forgotten. For `any_key_of` a table
        they are of the last entry or departure of any of its keys; the time is not before this process began.
        """
        if key == any_key_of(key.table):
            return self._by_table.get(key.table, (0, self._began))
        departure = self._departures.get(key, self._forgotten)
        latest = departure if departure.sequence > self._forgotten.sequence else self._forgotten
        return latest.sequence, latest.at

    def idle_since(self, key: Key, now: float) -> float:
        """Return since when the key is known not to have been in the journal. From now on it is known exactly, until
        many other keys have been asked about."""
        since = self.latest_activity(key)[1]
        if key == any_key_of(key.table):
            return since
        watched = self._watched.setdefault(key, now)
        if len(self._watched) > _MAX_WATCHED:
            self._watched.popitem(last=False)
        return min(since, watched)
