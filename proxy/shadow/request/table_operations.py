"""Operations that the layer does not decode: they pass through unread, or DSQL answers them where DynamoDB is gone.

A table that such an operation has created, changed or deleted is described anew, and followed where that is on. Knows
nothing of items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from proxy.cutover.authority.guard import AuthorityGuard
from proxy.cutover.stages import Stages
from proxy.dynamodb.errors import unknown_operation
from proxy.dynamodb.operations import parse_body, tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.tables.control_plane import unsupported
from proxy.shadow.instrumentation import Passthrough
from proxy.shadow.request.follow_tables import TableFollower
from proxy.stores.table_registry import Tables

log = structlog.get_logger(__name__)

_STREAMS: Final = "DynamoDBStreams_"
_OLD_API: Final = "DynamoDB_20111205."
_OLD_API_REFUSED: Final = (
    "the API of 2011 is not followed, and its writes would never reach DSQL; use an SDK that speaks DynamoDB_20120810"
)


# Reads of items that nothing on DSQL serves.
_UNSERVED: Final = frozenset({"SearchVectors"})


class OfflineControl(Protocol):
    """What answers operations on tables where there is no DynamoDB (`proxy.stores.dsql.offline_control_plane`)."""

    async def answer(self, action: str, body: bytes, host: str) -> Outcome:
        """Return the outcome for a client that reached this process at `host`. Raises StoreError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOperations:
    """The path of all operations but the ten on items."""

    stages: Stages
    """The stages of this process: a table in `off` is not followed."""
    tables: Tables
    """The tables that have been met."""
    authority: AuthorityGuard
    """DSQL's record of the authority: no table of the truth is dropped."""
    dynamodb: Passthrough
    """DynamoDB, called past the mirror."""
    control: OfflineControl | None
    """What answers where there is no DynamoDB; None where there is one."""
    follow: TableFollower | None
    """What repeats the changes of tables on DSQL; None where that is off."""
    on_table_deleted: Callable[[str], None]
    """Called with the name of a table that DynamoDB has deleted."""
    on_table_described: Callable[[Mapping[str, Any]], None]
    """Called with the description of a table that DynamoDB has created or changed."""
    on_time_to_live: Callable[[str], None]
    """Called with the name of a table whose time to live DynamoDB has changed."""

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send an operation to DynamoDB unread, and return its outcome. Raises StoreError."""
        if target.startswith(_OLD_API) and not self.stages.all_off:
            return Outcome.failed(unknown_operation(f"Crossfade: {target}: {_OLD_API_REFUSED}"))
        if self.control is not None:
            return await self.control.answer(action, body, headers.get("Host", ""))
        if action in _UNSERVED and any(map(self.stages.past_the_flip, tables_of(action, parse_body(body)))):
            # DynamoDB is no more than the mirror.
            return Outcome.failed(unsupported(action))
        outcome = await self.dynamodb.carry(target, body, headers)
        if outcome.ok and not target.startswith(_STREAMS):
            self._notice(action, body, outcome)
        return outcome

    def _notice(self, action: str, body: bytes, outcome: Outcome) -> None:
        """Forget what was known of a table that was created, changed or deleted, and follow it."""
        if action == "UpdateTimeToLive":
            for name in tables_of(action, parse_body(body)):
                self.on_time_to_live(name)
        if action not in ("CreateTable", "UpdateTable", "DeleteTable"):
            return
        description = outcome.document.get("TableDescription")
        if not isinstance(description, dict) or "TableName" not in description:
            return
        name = description["TableName"]
        self.tables.forget(name)
        if action == "DeleteTable":
            self.on_table_deleted(name)
        else:
            self.on_table_described(description)
        if self.follow is None or not self.stages.active(name) or self.tables.mapped(name):
            return
        if action == "DeleteTable":
            if self.authority.contradiction(name) is None:
                self.follow.drop(name)
            return
        try:
            schema = TableSchema.from_description(description)
        except ValueError as error:
            log.error("table_not_described", table=name, detail=str(error), remedy="none: it is passed through")
            return
        self.follow.ensure([self.tables.learn(schema)])
