"""How the tables stand in this process's journal, as evidence for the gate: parked keys by item type."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import Final

from proxy.cutover.gate.evidence import JournalBacklog
from proxy.shadow.journal.journal import Journal
from proxy.stores.table_registry import Tables

_MAX_PARKED: Final = 1000


async def backlog_by_table(journal: Journal, tables: Tables) -> dict[str, JournalBacklog]:
    """By table. A parked key of a table that has not been met is of no type."""
    found = {}
    for name, stand in (await journal.count_by_table(_MAX_PARKED)).items():
        parked: Counter[str] = Counter()
        for key in stand.parked:
            parked[tables.type_of(key)] += 1
        lingering = MappingProxyType(dict(stand.lingering))
        found[name] = JournalBacklog(stand.keys, stand.oldest_seconds, MappingProxyType(dict(parked)), lingering)
    return found
