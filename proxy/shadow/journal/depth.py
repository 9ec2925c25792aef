"""How full the journal is, in all and by table. Pure: computed from the rows of its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.dynamodb.schema import Key


@dataclass(frozen=True, slots=True)
class JournalDepth:
    """How full the journal is."""

    keys: int
    """Keys in the journal, parked ones not counted."""
    oldest_seconds: float
    """For how long the oldest of them has been there."""
    parked: int
    """Parked keys."""


@dataclass(frozen=True, slots=True)
class TableBacklog:
    """How full the journal is with the keys of one table."""

    keys: int = 0
    """Keys of the table, parked ones not counted."""
    oldest_seconds: float = 0.0
    """For how long the oldest of them has been there."""
    parked: tuple[Key, ...] = ()
    """Parked keys, up to the limit that the caller set."""
    lingering: Mapping[str, float] = field(default_factory=dict)
    """Store → for how many seconds a write of an unknown outcome may yet land there."""


def table_backlogs(
    rows: Iterable[tuple[str, int, float | None]],
    parked: Sequence[Key],
    lingering: Mapping[tuple[str, str], float],
    now: float,
) -> dict[str, TableBacklog]:
    """Return the backlog of each table that has a row, or a write that may yet land.

    `rows` are table, number of keys that are not parked, and when the oldest of them entered. `lingering` is table and
    store → until when a write of an unknown outcome may land. All times are seconds by the journal's clock.
    """
    remaining: dict[str, dict[str, float]] = {}
    for (table, store), until in lingering.items():
        if until > now:
            remaining.setdefault(table, {})[store] = until - now
    backlogs = {table: TableBacklog(lingering=each) for table, each in remaining.items()}
    for table, keys, since in rows:
        backlogs[table] = TableBacklog(
            keys,
            max(0.0, now - since) if since is not None else 0.0,
            tuple(key for key in parked if key.table == table),
            remaining.get(table, {}),
        )
    return backlogs
