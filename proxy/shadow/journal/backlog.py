"""The journal's backlog by table, as evidence for the gate: parked keys are counted by item type."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import Final

from proxy.cutover.gate.evidence import JournalBacklog
from proxy.shadow.journal.journal import Journal
from proxy.stores.table_registry import Tables

_MAX_PARKED: Final = 1000


async def backlog_by_table(journal: Journal, tables: Tables) -> dict[str, JournalBacklog]:
    """Return each table's backlog. A parked key of a table that this process has not met yet is of no type. Raises
    sqlite3.Error."""
    backlogs = {}
    for name, backlog in (await journal.count_by_table(_MAX_PARKED)).items():
        parked: Counter[str] = Counter()
        for key in backlog.parked:
            parked[tables.type_of(key)] += 1
        lingering = MappingProxyType(dict(backlog.lingering))
        backlogs[name] = JournalBacklog(backlog.keys, backlog.oldest_seconds, MappingProxyType(dict(parked)), lingering)
    return backlogs
