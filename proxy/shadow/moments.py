"""What happened to keys lately, and in which order: a count that grows with every entry and every leave.

By it others are told whether a key was in the journal at some time, or has been since: for each key that left it is
remembered, for a while, when. Where memory does not reach back, the answer is the careful one. It knows no file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from proxy.dynamodb.schema import Key

_REMEMBERED: Final = 10_000
# How finely, and how far back, a time is known as a moment: two minutes.
_SAMPLE_SECONDS: Final = 0.05
_SAMPLES: Final = 2400


@dataclass(frozen=True, slots=True)
class Left:
    """A key that has left: the generation it had, and when."""

    generation: int
    moment: int


class Moments:
    """Begins after `latest`, the last moment of the process before: what left before it, nobody knows any more."""

    def __init__(self, latest: int, now: float) -> None:
        self.latest = latest + 1
        self._forgotten = self.latest
        self._left: OrderedDict[Key, Left] = OrderedDict()
        self._tables: dict[str, int] = {}
        self._samples: deque[tuple[float, int]] = deque([(now, self.latest)], maxlen=_SAMPLES)

    def next(self, now: float) -> int:
        """A moment that no other is."""
        self.latest += 1
        if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, self.latest - 1))
        return self.latest

    def happened(self, table: str, moment: int) -> None:
        """Something of a table entered or left."""
        self._tables[table] = moment

    def leave(self, key: Key, generation: int, now: float) -> None:
        moment = self.next(now)
        self.happened(key.table, moment)
        self._left[key] = Left(generation, moment)
        self._left.move_to_end(key)
        if len(self._left) > _REMEMBERED:
            self._forgotten = self._left.popitem(last=False)[1].moment

    def left(self, key: Key) -> Left | None:
        """When it left last, as far as that is remembered."""
        return self._left.get(key)

    def may_have_left(self, key: Key, since: int) -> bool:
        """Whether it has left since a moment; yes where memory does not reach back so far."""
        left = self._left.get(key)
        return self._forgotten > since or (left is not None and left.moment > since)

    def any_of(self, table: str, since: int) -> bool:
        """Whether a key of a table has entered or left since a moment, in this process."""
        return self._tables.get(table, 0) > since

    def before(self, then: float) -> int:
        """The moment that it was at a time (clock), or one somewhat earlier; -1 where memory does not reach back."""
        later = self.latest
        for at, moment in reversed(self._samples):
            if at + _SAMPLE_SECONDS <= then:
                # What a sample stands for had all happened by then, however long ago that was.
                return later
            if at <= then:
                return moment
            later = moment
        return -1
