"""Follow tables: what DynamoDB accepts of CreateTable, UpdateTable and DeleteTable is done on DSQL too, as documents.

Off by default. It lets any application's own test suite run through the proxy before a line of mapping is written. It
never touches a table that has a mapping file: those belong to the migrations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from proxy.mapping.document import DocumentMapping
from proxy.shadow.behind import Behind
from proxy.shadow.tables import Table
from proxy.stores.failures import StoreError

log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 2.0
_MOST_TABLES: Final = 1000


class Follow:
    """`create` makes a mapping's table and indexes, or brings them up to date; `drop` removes a table by its name."""

    def __init__(
        self,
        create: Callable[[DocumentMapping], Awaitable[None]],
        drop: Callable[[str], Awaitable[None]],
    ) -> None:
        self._create = create
        self._drop = drop
        self._behind = Behind(_MOST_TABLES)
        self._ready: dict[str, asyncio.Event] = {}
        self._latest: dict[str, DocumentMapping | None] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def open(self) -> None:
        await self._behind.open()

    async def close(self) -> None:
        await self._behind.close()

    def ensure(self, tables: Iterable[Table]) -> None:
        """See to it that these tables exist on DSQL, soon."""
        for table in tables:
            mapping = table.mapping
            if not isinstance(mapping, DocumentMapping) or self._latest.get(table.name) is mapping:
                continue
            self._latest[table.name] = mapping
            self._made(table.name).clear()
            self._start(table.name)

    def drop(self, name: str) -> None:
        """The table is gone on DynamoDB."""
        self._latest[name] = None
        self._start(name)

    async def wait(self, names: Iterable[str]) -> None:
        """Wait until the mirror has the tables as their mappings want them. The caller sets the limit."""
        for name in names:
            if self._latest.get(name) is not None:
                await self._made(name).wait()

    def _made(self, name: str) -> asyncio.Event:
        return self._ready.setdefault(name, asyncio.Event())

    def _start(self, name: str) -> None:
        if self._behind.has_room:
            self._behind.start(self._bring(name))

    async def _bring(self, name: str) -> None:
        """Bring one table to its latest wish; one at a time, and again while it fails or the wish changes."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            while True:
                wish = self._latest.get(name)
                if wish is not None and self._made(name).is_set():
                    return
                try:
                    await (self._drop(name) if wish is None else self._create(wish))
                    if self._latest.get(name) is wish:
                        self._made(name).set()
                        return
                except StoreError as error:
                    log.warning("table_not_followed", table=name, reason=error.reason, retry_seconds=_RETRY_SECONDS)
                    await asyncio.sleep(_RETRY_SECONDS)
