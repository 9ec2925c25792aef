"""Which store gave out a cursor: what one process remembers, for an hour.

The cursor itself cannot say so: it is key attributes and nothing else. The same key may end a page of either store, for
two clients that page through one table at a flip; so a cursor is also remembered with its client, a connection. Pure,
but for the clock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

KEPT_SECONDS: Final = 3600.0
_MAX_CURSORS: Final = 50_000
_MAX_CLIENTS: Final = 16


@dataclass(frozen=True, slots=True, order=True)
class CursorRecord:
    """A store that gave out a cursor, and when. The greatest of several records is the newest."""

    at: float
    """When, in seconds of the memory's clock."""
    store: str
    """The name of the store."""


class CursorMemory:
    """The cursors that this process gave out. Beyond its bounds, the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """`clock` is the running event loop's by default."""
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._given: OrderedDict[str, dict[str, CursorRecord]] = OrderedDict()

    def remember(self, digests: Iterable[str], store: str, client: str) -> None:
        """Note that a client was given cursors of a store."""
        now = self._clock()
        for digest in digests:
            records = self._given.setdefault(digest, {})
            records.pop(client, None)
            records[client] = CursorRecord(now, store)
            if len(records) > _MAX_CLIENTS:
                del records[next(iter(records))]
            self._given.move_to_end(digest)
        self._forget_old(now)

    def of_client(self, digest: str, client: str) -> CursorRecord | None:
        """Return who gave this client the cursor; None if this process does not know."""
        return self._current(digest).get(client) if client else None

    def newest(self, digest: str) -> CursorRecord | None:
        """Return who gave out the cursor last, to anybody."""
        return max(self._current(digest).values(), default=None)

    def age(self, record: CursorRecord) -> float:
        """Return how long ago the cursor of a record was given out, in seconds."""
        return self._clock() - record.at

    def _current(self, digest: str) -> dict[str, CursorRecord]:
        oldest = self._clock() - KEPT_SECONDS
        return {client: record for client, record in self._given.get(digest, {}).items() if record.at >= oldest}

    def _forget_old(self, now: float) -> None:
        while self._given:
            digest, records = next(iter(self._given.items()))
            if len(self._given) <= _MAX_CURSORS and max(records.values()).at >= now - KEPT_SECONDS:
                return
            del self._given[digest]
