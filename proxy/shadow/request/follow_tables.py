"""Follow tables: what DynamoDB accepts of CreateTable, UpdateTable and DeleteTable is done on DSQL too, as documents.

Off by default. It lets any application's own test suite run through the proxy before a line of mapping is written. It
never touches a table that has a mapping file: those belong to the migrations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from proxy.background_tasks import BackgroundTasks
from proxy.mapping.document_mapping import DocumentMapping
from proxy.stores.errors import Refused, StoreError, Unreachable
from proxy.stores.table_registry import Table

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 60.0
_WAIT_SECONDS: Final = 2.0
_MOST_TABLES: Final = 1000


class TableFollower:
    """`create` makes a mapping's table and indexes, or brings them up to date; `drop` removes a table by its name."""

    def __init__(
        self,
        create: Callable[[DocumentMapping], Awaitable[None]],
        drop: Callable[[str], Awaitable[None]],
    ) -> None:
        self._create = create
        self._drop = drop
        self._background = BackgroundTasks(_MOST_TABLES)
        self._ready: dict[str, asyncio.Event] = {}
        self._latest: dict[str, DocumentMapping] = {}
        self._to_drop: set[str] = set()
        self._failed: dict[str, StoreError] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        await self._background.close()

    def ensure(self, tables: Iterable[Table]) -> None:
        """See to it that these tables exist on DSQL, soon."""
        for table in tables:
            mapping = table.mapping
            if not isinstance(mapping, DocumentMapping) or self._latest.get(table.name) is mapping:
                continue
            self._latest[table.name] = mapping
            self._ready_event(table.name).clear()
            self._start(table.name)

    def drop(self, name: str) -> None:
        """The table is gone on DynamoDB. One of the same name that is made afterwards begins empty."""
        self._latest.pop(name, None)
        self._to_drop.add(name)
        self._ready_event(name).clear()
        self._start(name)

    async def wait(self, names: Iterable[str]) -> None:
        """Wait until the mirror has the tables as their mappings want them.

        Raises Unreachable("table") where that takes long, as a large index does: it says nothing of the mirror's
        health. Raises what making the table failed with, if it has.
        """
        for name in names:
            if name not in self._latest or self._ready_event(name).is_set():
                continue
            failed = self._failed.get(name)
            if isinstance(failed, Refused):
                raise Refused("table_not_followed", f"DSQL would not make the table: {failed}")
            if failed is not None:
                raise Unreachable(failed.reason, str(failed))
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._ready_event(name).wait()
            except TimeoutError:
                raise Unreachable("table", "the table is being made") from None

    def _ready_event(self, name: str) -> asyncio.Event:
        return self._ready.setdefault(name, asyncio.Event())

    def _start(self, name: str) -> None:
        if self._background.has_capacity:
            self._background.start(self._reconcile(name))

    async def _reconcile(self, name: str) -> None:
        """Bring one table to its latest wish; one at a time, and again while it fails or the wish changes."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            pause = _FIRST_RETRY_SECONDS
            while not await self._reconcile_once(name):
                if name in self._failed:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LAST_RETRY_SECONDS)

    async def _reconcile_once(self, name: str) -> bool:
        """Whether nothing is left to do. What was dropped on DynamoDB is dropped first, or its rows would stay."""
        try:
            if name in self._to_drop:
                self._to_drop.discard(name)
                try:
                    await self._drop(name)
                except StoreError:
                    self._to_drop.add(name)
                    raise
                return False
            wish = self._latest.get(name)
            if wish is not None and not self._ready_event(name).is_set():
                await self._create(wish)
        except StoreError as error:
            self._failed[name] = error
            log.warning("table_not_followed", table=name, reason=error.reason, detail=str(error))
            return False
        self._failed.pop(name, None)
        if self._latest.get(name) is not wish:
            return False
        self._ready_event(name).set()
        return True
