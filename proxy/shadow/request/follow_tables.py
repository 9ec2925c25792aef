"""Follows tables: a CreateTable, UpdateTable or DeleteTable that DynamoDB accepts is repeated on DSQL, as documents.

Off by default. With it, an application's own test suite can run through the proxy before any mapping is written. It
never touches a table that has a mapping file: such tables belong to the migrations.

A failure is retried, with growing pauses, for as long as the result is wanted: a table for as long as DynamoDB has it,
a drop until it is done. Another process may drop a table that this one has created; `missing` then creates it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from proxy.background_tasks import BackgroundTasks
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.stores.errors import Refused, StoreError, Unreachable
from proxy.stores.table_registry import Table, Tables

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS: Final = 0.25
_LAST_RETRY_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 2.0
# Tables created or updated at the same time, and tables that may wait for that: DynamoDB allows an account 10,000.
_CONCURRENCY: Final = 4
_MAX_TABLES: Final = 10_000


@dataclass(slots=True)
class _TableState:
    """What one table is to be on DSQL, and how far that has come."""

    wanted: DocumentMapping | None = None
    """The mapping that DSQL's table is to have; None if DynamoDB has no such table any more."""
    to_drop: bool = False
    """Whether DSQL may still have a table that DynamoDB has deleted: it is dropped first, or its rows would stay."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while DSQL has the table as `wanted` describes it."""
    failure: StoreError | None = None
    """The error of the last attempt; None after a success."""
    working: bool = False
    """Whether a task is working on it."""


class TableFollower:
    """The part that keeps DSQL's document tables up to date with DynamoDB's tables."""

    def __init__(
        self,
        create: Callable[[DocumentMapping], Awaitable[None]],
        drop: Callable[[str], Awaitable[None]],
    ) -> None:
        """`create` creates a mapping's table and indexes, or updates them; `drop` removes a table by its name. Both may
        be repeated."""
        self._create = create
        self._drop = drop
        self._background = BackgroundTasks(_MAX_TABLES)
        self._turns = asyncio.Semaphore(_CONCURRENCY)
        self._tables: dict[str, _TableState] = {}

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._background.close()

    def ensure(self, tables: Iterable[Table]) -> None:
        """Create or update these tables on DSQL in the background."""
        for table in tables:
            mapping = table.mapping
            if not isinstance(mapping, DocumentMapping):
                continue
            state = self._state_of(table.name)
            if state.wanted is not mapping:
                state.wanted = mapping
                state.ready.clear()
            self._start(table.name, state)

    def drop(self, name: str) -> None:
        """Remove a table that DynamoDB has deleted. A new table of the same name begins empty."""
        state = self._state_of(name)
        state.wanted = None
        state.to_drop = True
        state.ready.clear()
        self._start(name, state)

    def is_ready(self, name: str) -> bool:
        """Return whether a table is as it is wanted, as far as this process knows."""
        state = self._tables.get(name)
        return state is None or state.ready.is_set()

    async def finished(self, name: str, seconds: float) -> None:
        """Wait until a table is as it is wanted, or the seconds are over."""
        state = self._tables.get(name)
        if state is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await state.ready.wait()

    def missing(self, names: Iterable[str]) -> bool:
        """DSQL lacks one of these tables: create those that are followed again. Returns whether there is any."""
        found = False
        for name in names:
            state = self._tables.get(name)
            if state is not None and state.wanted is not None:
                found = True
                state.ready.clear()
                self._start(name, state)
        return found

    async def wait(self, names: Iterable[str]) -> None:
        """Wait until DSQL has the tables as their mappings describe them.

        Raises Unreachable("table") if that takes long, as a large index does; this says nothing about the health of
        DSQL. Raises Refused or Unreachable if creating the table has failed.
        """
        for name in names:
            state = self._tables.get(name)
            if state is None or state.wanted is None or state.ready.is_set():
                continue
            if isinstance(state.failure, Refused):
                raise Refused("table_not_followed", f"DSQL refused to create the table: {state.failure}")
            if state.failure is not None:
                raise Unreachable(state.failure.reason, str(state.failure))
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await state.ready.wait()
            except TimeoutError:
                raise Unreachable("table", "the table is being created") from None

    def _state_of(self, name: str) -> _TableState:
        return self._tables.setdefault(name, _TableState())

    def _start(self, name: str, state: _TableState) -> None:
        # Without capacity nothing starts now: the next request for the table comes here again.
        if not state.ready.is_set() and not state.working and self._background.has_capacity:
            state.working = True
            self._background.start(self._reconcile(name, state))

    async def _reconcile(self, name: str, state: _TableState) -> None:
        """Work on one table until it is as wanted, retrying while that fails or what is wanted changes."""
        pause = _FIRST_RETRY_SECONDS
        try:
            while state.to_drop or (state.wanted is not None and not state.ready.is_set()):
                try:
                    async with self._turns:
                        await self._reconcile_once(name, state)
                except StoreError as error:
                    state.failure = error
                    log.warning("table_not_followed", table=name, reason=error.reason, detail=str(error))
                    await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
                    pause = min(pause * 2, _LAST_RETRY_SECONDS)
                else:
                    state.failure = None
                    pause = _FIRST_RETRY_SECONDS
            if state.wanted is None:
                self._tables.pop(name, None)
        finally:
            state.working = False

    async def _reconcile_once(self, name: str, state: _TableState) -> None:
        """Drop the table if that is due; otherwise create or update it as wanted."""
        if state.to_drop:
            state.to_drop = False
            try:
                await self._drop(name)
            except BaseException:
                state.to_drop = True
                raise
            return
        wanted = state.wanted
        if wanted is not None:
            await self._create(wanted)
            if state.wanted is wanted and not state.to_drop:
                state.ready.set()


class ClientTables:
    """`TableMaker` of the control plane without DynamoDB: clients make, change and delete document tables."""

    def __init__(self, follow: TableFollower, tables: Tables) -> None:
        self._follow = follow
        self._tables = tables
        self._before: dict[str, frozenset[str]] = {}

    def make(self, schema: TableSchema, /) -> None:
        """Create or update a table in the background. Its schema counts from now on."""
        known = self._tables.known(schema.name)
        if known is not None:
            self._before[schema.name] = frozenset(known.schema.indexes)
        self._follow.ensure([self._tables.learn(schema)])

    def drop(self, name: str, /) -> None:
        """Drop a table in the background."""
        self._before.pop(name, None)
        self._tables.forget(name)
        self._follow.drop(name)

    async def finished(self, name: str, seconds: float, /) -> None:
        """Wait until nothing is being made or changed, or the seconds are over."""
        await self._follow.finished(name, seconds)

    def status(self, name: str, /) -> str:
        """Return ACTIVE, CREATING or UPDATING, as far as this process knows."""
        if self._follow.is_ready(name):
            return "ACTIVE"
        return "UPDATING" if name in self._before else "CREATING"

    def usable_indexes(self, name: str, /) -> frozenset[str]:
        """Return the indexes that a table had before it was changed."""
        return self._before.get(name, frozenset())
