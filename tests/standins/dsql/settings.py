"""What can be set on the gate, at its start and while it runs: its limits, and how it treats who connects."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

SERVER_VERSION: Final = "16.15"
SERVER_VERSION_NUMBER: Final = "160015"
VERSION: Final = "PostgreSQL 16"
MAX_CONNECTIONS: Final = "20"
"""What SHOW max_connections answers on a cluster, which says nothing about the limit."""


@dataclass(kw_only=True, slots=True)
class GateSettings:
    """DSQL's figures, unless a test wants others."""

    max_rows: int = 3000
    """Rows that one transaction may modify; refused at the statement."""
    max_bytes: int = 10 * 1024 * 1024
    """Bytes that one transaction may modify; refused at COMMIT."""
    max_age: float = 300.0
    """Seconds that a transaction may be open; refused at the next statement and at COMMIT."""
    clock_ahead: float = 0.0
    """Seconds by which every open transaction is older than it is, so that nobody has to wait."""
    max_message: int = 10 * 1024 * 1024
    """Bytes of one message; a longer one closes the connection without an error."""
    connection_seconds: float = 3600.0
    """Seconds that a connection lives; then the server closes it, between two statements, without a word."""
    connections: int = 10_000
    connection_rate: float = 100.0
    connection_burst: int = 1000
    job_seconds: float = 0.05
    """How long a job of CREATE INDEX ASYNC and its like takes at the least."""
    unique_while_building: str = "refused"
    """Duplicates for a unique index that is still building: `refused` (23505) or `accepted` (the job then fails)."""
    waking: int = 0
    """How many connections are still refused because the cluster wakes up."""
    denied: dict[str, str] = field(default_factory=dict)
    """HINT by user name: whoever connects under that name is denied access (08006)."""
    unavailable: int = 0
    """How many statements are still answered XX000 `server unavailable`, and not carried out."""
    catalog_conflicts: bool = True
    """Whether another session's DDL or GRANT gives OC001."""

    def change(self, changes: dict[str, Any]) -> None:
        """Raises ValueError for a name that is none of these."""
        known = {each.name for each in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"the gate has no setting {name}")
            setattr(self, name, value)
