"""How full the journal is, in all and by table. Pure: from the rows of its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.dynamodb.schema import Key


@dataclass(frozen=True, slots=True)
class JournalDepth:
    """How full the journal is: keys (parked ones not counted), age of the oldest in seconds, parked keys."""

    keys: int
    oldest_seconds: float
    parked: int


@dataclass(frozen=True, slots=True)
class TableBacklog:
    """How a table stands: keys (parked ones not counted), age of the oldest in seconds, parked keys, and for how many
    seconds a write of an unknown outcome may yet land, by store."""

    keys: int = 0
    oldest_seconds: float = 0.0
    parked: tuple[Key, ...] = ()
    lingering: Mapping[str, float] = field(default_factory=dict)


def table_backlogs(
    rows: Iterable[tuple[str, int, float | None]],
    parked: Sequence[Key],
    lingering: Mapping[tuple[str, str], float],
    now: float,
) -> dict[str, TableBacklog]:
    """Return the backlog of each table that has a row, or a write that may yet land.

    `rows` are table, keys that are not parked, and when the oldest of them entered; `lingering` is table and store →
    until when a write of an unknown outcome may land. All times are seconds by the journal's clock.
    """
    left: dict[str, dict[str, float]] = {}
    for (table, store), until in lingering.items():
        if until > now:
            left.setdefault(table, {})[store] = until - now
    backlogs = {table: TableBacklog(lingering=each) for table, each in left.items()}
    for table, keys, since in rows:
        age = max(0.0, now - since) if since is not None else 0.0
        backlogs[table] = TableBacklog(
            keys, age, tuple(key for key in parked if key.table == table), left.get(table, {})
        )
    return backlogs
