"""The seam between DSQL's record and those who ask it: whoever writes a mirror or serves clients.

Every method answers from memory: `proxy.cutover.authority.watch` reads the record behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from proxy.cutover.stages import Scope
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord


class AuthorityGuard(Protocol):
    """What DSQL's record lets this process do."""

    @property
    def refuses(self) -> bool:
        """Whether there is a table that this process may not serve: only then need `refusal` be asked."""

    def refusal(self, table: str) -> str | None:
        """Return why a table may not be served; None if it may."""

    def may_mirror(self, table: str) -> bool:
        """Return whether a mirror of the table may be written now."""

    def contradiction(self, table: str) -> str | None:
        """Return why no mirror of the table may be written, however long one waits; None if that is not known."""

    def problems(self) -> list[str]:
        """Return how the record contradicts this process, a sentence each."""

    def notices(self) -> list[str]:
        """Return what sets this process apart from others without keeping it from its work."""

    def document(self) -> dict[str, Any]:
        """Return what is known of the record, ready for JSON."""


def scope_documents(record: AuthorityRecord) -> list[dict[str, Any]]:
    """Return what the record says of each scope, ready for JSON."""
    found = []
    for name, each in sorted(record.scopes.items()):
        scope = Scope.parse(name)
        found.append(
            {
                "table": scope.table,
                "type": scope.item_type or None,
                "authority": each.authority,
                "epoch": each.epoch,
                "mapping": each.mapping or None,
                "moving": each.moving is not None,
            }
        )
    return found


def report_of(record: AuthorityRecord, mappings: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    """Return what a process tells the others: its database, its mappings, and what the record says of mapped tables."""
    return {
        "database": record.database,
        "mappings": dict(mappings),
        "problems": problems,
        "scopes": {
            name: [each.authority, each.mapping]
            for name, each in sorted(record.scopes.items())
            if Scope.parse(name).table in mappings
        },
    }


class NoRecord:
    """The guard of a process that has no DSQL, or none to speak of: nothing is recorded, and nothing is refused."""

    refuses = False

    def refusal(self, table: str) -> str | None:  # noqa: ARG002
        return None

    def may_mirror(self, table: str) -> bool:  # noqa: ARG002
        return True

    def contradiction(self, table: str) -> str | None:  # noqa: ARG002
        return None

    def problems(self) -> list[str]:
        return []

    def notices(self) -> list[str]:
        return []

    def document(self) -> dict[str, Any]:
        return {}
