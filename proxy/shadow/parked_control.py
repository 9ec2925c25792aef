"""What an operator sees of the parked keys, and may do about them: have them tried again, or give them up.

Keys are redacted as differences are. Everything that an operator does is logged, with who and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from proxy.dynamodb.schema import Key
from proxy.shadow.journal.journal import Journal
from proxy.stores.error_remedies import parked_remedy
from proxy.stores.table_registry import Tables

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedControl:
    """`ParkedKeysControl` (`proxy.cutover.process_status`) over this process's journal."""

    journal: Journal
    """The journal that holds the keys."""
    tables: Tables
    """The tables that have been met: they know a key's type."""
    show_key: Callable[[Key], Any]
    """Gives the attributes of a key as they may be shown."""

    def list(self, limit: int) -> list[dict[str, Any]]:
        """Return at most `limit` parked keys, the oldest first: id, table, type, redacted key, reason, remedy, age."""
        return [
            {
                "id": each.id,
                "table": each.key.table,
                "type": self.tables.type_of(each.key),
                "key": self.show_key(each.key),
                "reason": each.reason,
                "remedy": parked_remedy(each.id),
                "seconds": round(each.age, 3),
            }
            for each in self.journal.parked.list(limit=limit)
        ]

    def retry(self, key_id: str | None = None) -> int:
        """Have one parked key, or all, converge once more. Returns how many."""
        if key_id is None:
            return self.journal.parked.retry()
        found = self.journal.parked.find(key_id)
        return self.journal.parked.retry(key=found.key) if found is not None else 0

    def drop(self, key_id: str, by: str, because: str) -> bool:
        """Take a parked key out of the journal. Returns whether there was one of this id."""
        found = self.journal.parked.find(key_id)
        if found is None or not self.journal.parked.drop(found.key):
            return False
        log.warning(
            "parked_key_dropped", table=found.key.table, key=key_id, reason=found.reason, by=by, because=because
        )
        return True
