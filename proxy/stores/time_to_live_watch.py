"""Learns from DynamoDB by which attribute each table's items expire, for when DSQL answers and has to expire them.

It asks behind whatever met a table, or changed its time to live. Knows no SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import orjson
import structlog

from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.tables.time_to_live import DISABLED
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)

_AGAIN_SECONDS: Final = 10.0
_MAX_TABLES: Final = 10_000


class ExpiryRecords(Protocol):
    """Where it is kept by which attribute items expire (`proxy.stores.dsql.system_tables.table_properties`). Both
    methods raise StoreError."""

    async def keep_time_to_live(self, table: str, description: Mapping[str, Any]) -> None:
        """Replace what is known of a table."""

    async def drop(self, table: str) -> None:
        """Forget a table that was deleted."""


class TimeToLiveWatch:
    """The tables to ask about. `work` must run as a loop."""

    def __init__(self, call: Callable[[str, bytes], Awaitable[Outcome]], records: ExpiryRecords) -> None:
        """`call` asks DynamoDB."""
        self._call = call
        self._records = records
        self._pending: dict[str, bool] = {}
        self._wanted = asyncio.Event()
        self._refused = False

    def note(self, table: str, *, deleted: bool = False) -> None:
        """Learn about a table that was met, changed or deleted."""
        if len(self._pending) < _MAX_TABLES:
            self._pending[table] = deleted
            self._wanted.set()

    async def work(self) -> None:
        """Learn what was noted; wait until there is something."""
        await self._wanted.wait()
        try:
            while self._pending:
                table, deleted = next(iter(self._pending.items()))
                del self._pending[table]
                try:
                    await (self._records.drop(table) if deleted else self._learn(table))
                except StoreError:
                    self._pending.setdefault(table, deleted)
                    raise
        except StoreError as error:
            log.warning("time_to_live_not_learnt", tables=len(self._pending), reason=error.reason)
            await asyncio.sleep(_AGAIN_SECONDS)
        else:
            self._wanted.clear()

    async def _learn(self, table: str) -> None:
        outcome = await self._call("DescribeTimeToLive", orjson.dumps({"TableName": table}))
        if outcome.ok:
            await self._records.keep_time_to_live(table, outcome.document.get("TimeToLiveDescription") or DISABLED)
        elif not self._refused:
            self._refused = True
            log.warning(
                "time_to_live_unknown",
                table=table,
                reason=outcome.error_code,
                remedy="allow dynamodb:DescribeTimeToLive: no item of the table expires while DSQL answers",
            )
