"""Locks for items that are not there, so that transactions are serializable even about those.

DSQL isolates by snapshots: two transactions conflict where both write, or lock by FOR UPDATE, one row. An item that is
not there has no row, so that each of two transactions could check that the other's item is absent, and both insert
("Concurrency control in Aurora DSQL"; docs/decisions/004-absent-items.md). Whoever relies on an item's absence, or ends
it, therefore writes the same small row: one of a fixed number, chosen by a hash of the key. Two keys that share a row
cost a retry now and then and nothing else. The rows say nothing of what is in a key and are never deleted.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Final

from proxy.dynamodb.schema import Key
from proxy.stores.dsql.sql.statements import qualified

LOCKS_TABLE: Final = "crossfade_locks"
STRIPES: Final = 65_536


def stripe(key: Key) -> int:
    """Which row stands for the key: the same in every process and version."""
    return int.from_bytes(blake2b(f"{key.table}\0{key.text}".encode("utf-8", "surrogatepass"), digest_size=2).digest())


class AbsenceLocks:
    """The statements. Text only."""

    def __init__(self, schema: str) -> None:
        self.table = qualified(schema, LOCKS_TABLE)
        self.create = (
            f"CREATE TABLE IF NOT EXISTS {self.table} (stripe integer PRIMARY KEY, taken timestamptz NOT NULL)"
        )

    def take(self, stripes: int) -> str:
        """Lock so many stripes, which are the parameters: each once, in ascending order."""
        return self._upsert(range(1, stripes + 1))

    def with_insert(self, insert: str, parameters: int) -> str:
        """An INSERT of so many parameters that also locks a stripe, which is one parameter more.

        PostgreSQL carries out an INSERT in WITH to its end whether or not anything reads it ("WITH Queries").
        """
        return f"WITH taken AS ({self._upsert([parameters + 1])}) {insert}"

    def _upsert(self, numbers: Collection[int]) -> str:
        rows = ", ".join(f"(${number}, now())" for number in numbers)
        return (
            f"INSERT INTO {self.table} (stripe, taken) VALUES {rows} "  # noqa: S608
            "ON CONFLICT (stripe) DO UPDATE SET taken = excluded.taken"
        )
