"""What happened to keys lately, and in which order: a count that grows with every entry and every leave.

By it a comparison is told whether a key has been in the journal since it began; and another process, by a time, for how
long a key has not been. For each key that left it is remembered, for a while, when. Where memory does not reach back,
the answer is the careful one. It knows no file. Times are the caller's, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.dynamodb.schema import Key

_MAX_DEPARTURES: Final = 10_000


def any_key_of(table: str) -> Key:
    """Stands for all keys of a table, where it is not known which are meant."""
    return Key(table, "")


@dataclass(frozen=True, slots=True)
class Departure:
    """A key that has left: the generation it had, at which moment, and when."""

    generation: int
    sequence: int
    at: float


class KeyActivity:
    """Begins after `latest`, the last moment of the process before: what left before it, nobody knows any more."""

    def __init__(self, latest: int, now: float) -> None:
        self.sequence = latest + 1
        self._began = now
        self._forgotten = Departure(0, self.sequence, now)
        self._departures: OrderedDict[Key, Departure] = OrderedDict()
        self._by_table: dict[str, tuple[int, float]] = {}

    def enter(self, tables: Iterable[str], now: float) -> int:
        """Keys of these tables enter together. Gives the moment, which no other is."""
        self.sequence += 1
        for table in tables:
            self._by_table[table] = self.sequence, now
        return self.sequence

    def leave(self, key: Key, generation: int, now: float) -> None:
        self._departures[key] = Departure(generation, self.enter((key.table,), now), now)
        self._departures.move_to_end(key)
        if len(self._departures) > _MAX_DEPARTURES:
            self._forgotten = self._departures.popitem(last=False)[1]

    def departure(self, key: Key) -> Departure | None:
        """When it left last, as far as that is remembered."""
        return self._departures.get(key)

    def latest_activity(self, key: Key) -> tuple[int, float]:
        """The moment at which it left last, and when; or those at which what is forgotten had all left, if that was
        later. Of `any_of` a table, when one of its keys entered or left last; the time is no earlier than this process.
        """
        if key == any_key_of(key.table):
            return self._by_table.get(key.table, (0, self._began))
        left = self._departures.get(key, self._forgotten)
        left = left if left.sequence > self._forgotten.sequence else self._forgotten
        return left.sequence, left.at
