"""Follow tables: what DynamoDB accepts of CreateTable, UpdateTable and DeleteTable is done on DSQL too, as documents.

Off by default. It lets any application's own test suite run through the proxy before a line of mapping is written. It
never touches a table that has a mapping file: those belong to the migrations.

What fails is tried again, with growing pauses, for as long as it is wanted: a table for as long as DynamoDB has it, a
drop until it is done. Another process may drop a table that this one has made; `missing` then makes it again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from proxy.background_tasks import BackgroundTasks
from proxy.mapping.document_mapping import DocumentMapping
from proxy.stores.errors import Refused, StoreError, Unreachable
from proxy.stores.table_registry import Table

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS: Final = 0.25
_LAST_RETRY_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 2.0
# Tables brought up to date at the same time, and tables that may wait for it: DynamoDB allows an account 10,000.
_AT_ONCE: Final = 4
_MOST_TABLES: Final = 10_000


@dataclass(slots=True)
class _Followed:
    """One table: what it is to be on DSQL, and how far that has come."""

    wanted: DocumentMapping | None = None
    """None where DynamoDB has no such table any more."""
    to_drop: bool = False
    """Whether DSQL may still have the table that was deleted on DynamoDB: dropped first, or its rows would stay."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while DSQL has the table as `wanted` says."""
    failure: StoreError | None = None
    """What the last attempt failed with; None once one has succeeded."""
    at_work: bool = False


class TableFollower:
    """`create` makes a mapping's table and indexes, or brings them up to date; `drop` removes a table by its name. Both
    may be done twice."""

    def __init__(
        self,
        create: Callable[[DocumentMapping], Awaitable[None]],
        drop: Callable[[str], Awaitable[None]],
    ) -> None:
        self._create = create
        self._drop = drop
        self._background = BackgroundTasks(_MOST_TABLES)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._tables: dict[str, _Followed] = {}

    async def close(self) -> None:
        await self._background.close()

    def ensure(self, tables: Iterable[Table]) -> None:
        """See to it that these tables exist on DSQL, soon."""
        for table in tables:
            mapping = table.mapping
            if not isinstance(mapping, DocumentMapping):
                continue
            followed = self._followed(table.name)
            if followed.wanted is not mapping:
                followed.wanted = mapping
                followed.ready.clear()
            self._start(table.name, followed)

    def drop(self, name: str) -> None:
        """The table is gone on DynamoDB. One of the same name that is made afterwards begins empty."""
        followed = self._followed(name)
        followed.wanted = None
        followed.to_drop = True
        followed.ready.clear()
        self._start(name, followed)

    def missing(self, names: Iterable[str]) -> bool:
        """DSQL does not have one of these tables: make again those that are followed. Whether there is one."""
        found = False
        for name in names:
            followed = self._tables.get(name)
            if followed is not None and followed.wanted is not None:
                found = True
                followed.ready.clear()
                self._start(name, followed)
        return found

    async def wait(self, names: Iterable[str]) -> None:
        """Wait until the mirror has the tables as their mappings want them.

        Raises Unreachable("table") where that takes long, as a large index does: it says nothing of the mirror's
        health. Raises what making the table failed with, if it has.
        """
        for name in names:
            followed = self._tables.get(name)
            if followed is None or followed.wanted is None or followed.ready.is_set():
                continue
            if isinstance(followed.failure, Refused):
                raise Refused("table_not_followed", f"DSQL would not make the table: {followed.failure}")
            if followed.failure is not None:
                raise Unreachable(followed.failure.reason, str(followed.failure))
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await followed.ready.wait()
            except TimeoutError:
                raise Unreachable("table", "the table is being made") from None

    def _followed(self, name: str) -> _Followed:
        return self._tables.setdefault(name, _Followed())

    def _start(self, name: str, followed: _Followed) -> None:
        # Where there is no room, the next request for the table comes here again.
        if not followed.ready.is_set() and not followed.at_work and self._background.has_capacity:
            followed.at_work = True
            self._background.start(self._bring(name, followed))

    async def _bring(self, name: str, followed: _Followed) -> None:
        """Bring one table to what is wanted of it, again while that fails or changes."""
        pause = _FIRST_RETRY_SECONDS
        try:
            while followed.to_drop or (followed.wanted is not None and not followed.ready.is_set()):
                try:
                    async with self._turns:
                        await self._step(name, followed)
                except StoreError as error:
                    followed.failure = error
                    log.warning("table_not_followed", table=name, reason=error.reason, detail=str(error))
                    await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
                    pause = min(pause * 2, _LAST_RETRY_SECONDS)
                else:
                    followed.failure = None
                    pause = _FIRST_RETRY_SECONDS
            if followed.wanted is None:
                self._tables.pop(name, None)
        finally:
            followed.at_work = False

    async def _step(self, name: str, followed: _Followed) -> None:
        """Drop what is to be dropped, or else make what is wanted."""
        if followed.to_drop:
            followed.to_drop = False
            try:
                await self._drop(name)
            except BaseException:
                followed.to_drop = True
                raise
            return
        wanted = followed.wanted
        if wanted is not None:
            await self._create(wanted)
            if followed.wanted is wanted and not followed.to_drop:
                followed.ready.set()
