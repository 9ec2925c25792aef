"""Aurora DSQL (or PostgreSQL standing in for it) as a store, on asyncpg.

It turns items into rows by their mapping, executes DynamoDB's operations through `executor`, and sorts what can go
wrong into the seam's errors: nothing happened (`Unreachable`), nobody knows (`UnknownOutcome`), it never will
(`Refused`), the row moved on (a result), or the item cannot be held (`Unrepresentable`). Time limits are the caller's:
when a call is cancelled its connection is dropped, because what it was doing can no longer be told.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

import asyncpg

from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.item_writes import WriteResult
from proxy.dynamodb.listing import Listing
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.foreign_rows import UnreadableRow
from proxy.mapping.interface import Fault, TableMapping
from proxy.stores.attempts import REASON, Attempts
from proxy.stores.dsql.conflicts import is_conflict
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql import conditional_write as guarded
from proxy.stores.dsql.sql.listing_statements import count_statement, page_statement
from proxy.stores.dsql.sql.ranges import ranged
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.dsql.sqlstates import MISSING, NO_TABLE, UNFIT, to_store_error, to_unsent_error
from proxy.stores.dsql.system_tables.authority_guarantees import AuthorityGuarantees
from proxy.stores.dsql.unreadable_rows import UnreadableRowLog
from proxy.stores.errors import Refused, TooMuchContention, UnknownOutcome, Unreachable
from proxy.stores.execution import executor
from proxy.stores.execution.row_store import Conflict
from proxy.stores.interface import ExecutionResult, StoredItem

T = TypeVar("T")

_ATTEMPTS: Final = 6
_FIRST_ROWS: Final = 100
_MOST_ROWS: Final = 1000
_STATEMENTS: Final = 512  # prepared statements that each connection keeps


class FollowedTables(Protocol):
    """The tables that are made on DSQL as DynamoDB's are (`proxy.shadow.request.follow_tables`)."""

    async def wait(self, names: Iterable[str], /) -> None:
        """Until those of the tables that are followed are there. Raises StoreError."""

    def missing(self, names: Iterable[str], /) -> bool:
        """Whether one of the tables is followed, and so made again now that it was not there."""


class DSQLStore:
    """See the module.

    `mapping_of` gives the mapping of a DynamoDB table; KeyError means that there is none. `followed` are the tables
    that are made as DynamoDB's are. With `promises` it is asked as the authority, and its answers are for clients;
    without, it is a mirror. There may be one of each over one pool. `wait_seconds` bounds the wait for a connection,
    which has no effect in the store, apart from the caller's limit, after which nobody knows.
    """

    name = "dsql"

    def __init__(
        self,
        pool: Pool,
        mapping_of: Callable[[str], TableMapping],
        *,
        schema: str = "public",
        followed: FollowedTables | None = None,
        retried: Callable[[str], None] = lambda _: None,
        observe: Callable[[str, float], None] = lambda _, __: None,
        promises: AuthorityGuarantees | None = None,
        wait_seconds: float | None = None,
    ) -> None:
        self._pool = pool
        self._mapping_of = mapping_of
        self._schema = schema
        self._followed = followed
        self._retried = retried
        self._observe = observe
        self._promises = promises
        self._wait_seconds = wait_seconds
        self._statements: dict[str, tuple[TableMapping, Statements]] = {}
        self._left_out = UnreadableRowLog()

    # -- the seam ---------------------------------------------------------------------------------------------------

    async def execute(self, operation: Operation) -> ExecutionResult:
        started = time.perf_counter()
        if self._followed is not None:
            await self._followed.wait(operation.tables)
        try:
            if self._promises is None:
                return await executor.execute(self, operation)
            await self._promises.ensure_tables()
            return await executor.execute_for_client(self, operation)
        except Refused as error:
            if self._promises is not None and error.reason == NO_TABLE:
                self._promises.missing()
            self._restore(error, operation.tables)
            raise
        finally:
            self._observe(operation.action, time.perf_counter() - started)

    async def get(self, key: Key) -> StoredItem:
        if self._followed is not None:
            await self._followed.wait((key.table,))
        statements = self.statements(key.table)
        values = statements.mapping.key_values(key)
        if values is None:
            return StoredItem(None)
        try:
            row = await self._read(lambda c: c.fetchrow(statements.select, *values))
        except Refused as error:
            self._restore(error, (key.table,))
            raise
        return guarded.held(statements.mapping, row)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        if wanted is None and held.token is None:
            return held if (await self.get(key)).item is None else None
        statements = self.statements(key.table)
        planned = guarded.plan(statements, key, wanted, held)
        promises = self._promises
        try:
            if promises is not None and planned.creates:
                await promises.ensure_tables()
                done = await self._write(lambda c: promises.insert(c, key, planned), key)
            else:
                done = await self._write(lambda c: c.execute(planned.statement, *planned.parameters), key)
        except Refused as error:
            self._restore(error, (key.table,))
            raise
        return planned.left if done.endswith(" 1") else None

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        if item is None:
            return None, ()
        encoded = guarded.encode(self._mapping_of(key.table), key, item)
        return encoded.image, encoded.faults

    # -- rows -------------------------------------------------------------------------------------------------------

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        held = dict.fromkeys(keys, StoredItem(None))
        by_table: dict[str, list[tuple[Key, tuple[Any, ...]]]] = {}
        for key in keys:
            values = self._mapping_of(key.table).key_values(key)
            if values is not None:
                by_table.setdefault(key.table, []).append((key, values))
        for table, wanted in by_table.items():
            statements = self.statements(table)
            # A power of two of keys, the last one repeated, keeps the number of prepared statements small.
            room = 1 << (len(wanted) - 1).bit_length()
            padded = [*wanted, *[wanted[-1]] * (room - len(wanted))]
            parameters = [value for _, values in padded for value in values]
            sql = statements.select_many(room)
            rows = await self._read(lambda c, s=sql, p=parameters: c.fetch(s, *p))  # type: ignore[misc]
            places = [
                next(n for n, column in enumerate(statements.mapping.columns) if column.name == name)
                for name in statements.mapping.key_columns
            ]
            found = {_comparable(row[n] for n in places): row for row in rows}
            for key, values in wanted:
                held[key] = guarded.held(statements.mapping, found.get(_comparable(values)))
        return held

    async def range(self, request: PageRequest) -> AsyncIterator[Item]:
        statements = self.statements(request.schema.name)
        found = ranged(statements, request)
        if found is None:
            return
        try:
            after = found.start()
        except KeyError as unknown:
            after = found.start_with(await self._row_tells(statements, request, str(unknown.args[0])))
        rows_wanted = min(request.limit or _FIRST_ROWS, _MOST_ROWS)
        while True:
            sql, parameters = found.next(after, rows_wanted)
            rows = await self._read(lambda c, s=sql, p=parameters: c.fetch(s, *p))  # type: ignore[misc]
            for row in rows:
                item = self._item(statements.mapping, row)
                if item is not None:
                    yield item
            if len(rows) < rows_wanted:
                return
            after = tuple(rows[-1][name] for name in found.order)
            rows_wanted = min(rows_wanted * 2, _MOST_ROWS)

    async def listed(self, listing: Listing, count: int) -> list[Item]:
        statements = self.statements(listing.schema.name)
        asked = page_statement(statements, listing, count)
        if asked is None:
            return []
        rows = await self._read(lambda c: c.fetch(asked.sql, *asked.parameters))
        found = (self._item(statements.mapping, row) for row in rows)
        return [item for item in found if item is not None]

    async def counted(self, listing: Listing) -> int:
        asked = count_statement(self.statements(listing.schema.name), listing)
        return 0 if asked is None else await self._read(lambda c: c.fetchval(asked.sql, *asked.parameters))

    @asynccontextmanager
    async def transaction(self, *, read_only: bool) -> AsyncIterator[SQLTransaction]:
        async with self._pool.borrowed(self._take()) as connection:
            try:
                await connection.execute("BEGIN READ ONLY" if read_only else "BEGIN")
                transaction = SQLTransaction(self, connection, self._promises, locked=not read_only)
                yield transaction
                if self._promises is not None and not read_only:
                    await self._promises.lock_absent_keys(connection, transaction.absent)
            except asyncpg.PostgresError as error:
                await _rollback(connection)
                if is_conflict(error):
                    self._retried(REASON)
                    raise Conflict from error
                # COMMIT has not been sent, so whatever went wrong, nothing has happened.
                raise to_store_error(error, None, reading=True) from error
            except (OSError, asyncpg.InterfaceError) as error:
                await _rollback(connection)
                raise to_unsent_error(error, None) from error
            except asyncio.CancelledError:
                connection.terminate()
                raise
            except BaseException:
                await _rollback(connection)
                raise
            await self._commit(connection, reading=read_only)

    def after_update(self, key: Key, written: WriteResult) -> Item | None:
        if written.item is None:
            return None
        return self._mapping_of(key.table).after_update(written.item, written.touched)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _restore(self, error: Refused, tables: Iterable[str]) -> None:
        """Have a followed table made again where the error says that it is not there, or not as it was made. Raises
        Unreachable then: the same request can be answered once it is."""
        if error.reason in MISSING and self._followed is not None and self._followed.missing(tables):
            raise Unreachable("table", "the table is not there as it was made: it is made again") from error

    def statements(self, table: str) -> Statements:
        """The statements for a table; made again when its mapping has been replaced. Raises Refused without one."""
        try:
            mapping = self._mapping_of(table)
        except KeyError:
            raise Refused("unmapped", f"{table} has no mapping") from None
        made = self._statements.get(table)
        if made is None or made[0] is not mapping:
            made = self._statements[table] = (mapping, Statements(self._schema, mapping))
        return made[1]

    def _item(self, mapping: TableMapping, row: asyncpg.Record) -> Item | None:
        """A row's item; None for a row that cannot be read as one, which a page leaves out and the log names."""
        try:
            return mapping.decode(tuple(row))
        except UnreadableRow as error:
            self._left_out.log(mapping.table, error)
            return None

    async def _row_tells(self, statements: Statements, request: PageRequest, column: str) -> dict[str, Any]:
        """A column of the row that the start key names: one that a plan orders by and the key does not have."""
        key = request.schema.key_of(request.start or {})
        values = statements.mapping.key_values(key) or ()
        row = await self._read(lambda c: c.fetchrow(statements.select, *values))
        if row is None:
            raise Refused("cursor", "the row that the start key names is gone")
        return {column: row[column]}

    async def _take(self) -> asyncpg.Connection:
        try:
            async with asyncio.timeout(self._wait_seconds):
                return await self._pool.acquire()
        except TimeoutError as error:
            raise Unreachable("busy", "no connection to DSQL came free in time") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unreachable("connect", type(error).__name__) from error

    async def _ask(self, ask: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """One statement. The connection is dropped if its user was cancelled in the middle."""
        connection = await self._take()
        try:
            return await ask(connection)
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            self._pool.release(connection)

    async def _read(self, ask: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """A read: whatever goes wrong, nothing has happened. Conflicts with the catalog (OC001) are tried again."""
        async for _ in Attempts(_ATTEMPTS, self._retried):
            try:
                return await self._ask(ask)
            except asyncpg.PostgresError as error:
                if not is_conflict(error):
                    raise to_store_error(error, None, reading=True) from error
            except (OSError, asyncpg.InterfaceError) as error:
                raise to_unsent_error(error, None) from error
        raise TooMuchContention("conflicts went on")

    async def _write(self, ask: Callable[[asyncpg.Connection], Awaitable[str]], key: Key) -> str:
        async for _ in Attempts(_ATTEMPTS, self._retried):
            try:
                return await self._ask(ask)
            except asyncpg.PostgresError as error:
                if not is_conflict(error):
                    raise to_store_error(error, key) from error
            except (OSError, asyncpg.InterfaceError) as error:
                if isinstance(error, ValueError):
                    raise to_unsent_error(error, key) from error
                raise UnknownOutcome("connection", type(error).__name__) from error
        raise TooMuchContention("conflicts went on")

    async def _commit(self, connection: asyncpg.Connection, *, reading: bool) -> None:
        try:
            await connection.execute("COMMIT")
        except asyncpg.PostgresError as error:
            if is_conflict(error):
                self._retried(REASON)
                raise Conflict from error
            raise to_store_error(error, None, reading=reading) from error
        except (OSError, asyncpg.InterfaceError) as error:
            if reading:
                raise Unreachable("connection", type(error).__name__) from error
            raise UnknownOutcome("connection", type(error).__name__) from error


class SQLTransaction:
    """Reads and writes on one connection inside BEGIN and COMMIT. `absent` are the keys that it found no item for."""

    __slots__ = ("_connection", "_locked", "_promises", "_store", "absent")

    def __init__(
        self, store: DSQLStore, connection: asyncpg.Connection, promises: AuthorityGuarantees | None, *, locked: bool
    ) -> None:
        self._store = store
        self._connection = connection
        self._promises = promises
        self._locked = locked
        self.absent: list[Key] = []

    async def get(self, key: Key) -> StoredItem:
        statements = self._store.statements(key.table)
        values = statements.mapping.key_values(key)
        if values is None:
            return StoredItem(None)
        sql = statements.select_locked if self._locked else statements.select
        row = await self._connection.fetchrow(sql, *values)
        if row is None:
            self.absent.append(key)
        return guarded.held(statements.mapping, row)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        planned = guarded.plan(self._store.statements(key.table), key, wanted, held)
        try:
            done: str = await self._connection.execute(planned.statement, *planned.parameters)
        except asyncpg.PostgresError as error:
            if error.sqlstate is not None and error.sqlstate.startswith(UNFIT):
                raise to_store_error(error, key) from error
            raise
        except ValueError as error:
            raise to_unsent_error(error, key) from error
        return planned.left if done.endswith(" 1") else None

    async def claim_token(self, token: IdempotencyToken) -> bool:
        return self._promises is not None and await self._promises.claim_token(self._connection, token)


def _comparable(values: Iterable[Any]) -> tuple[Any, ...]:
    """Key values as sent and as read, alike: asyncpg reads a uuid as an object and takes it as text."""
    return tuple(str(value) if isinstance(value, uuid.UUID) else value for value in values)


async def _rollback(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()


async def create_pool(dsn: str, *, maximum: int, connect_seconds: float) -> Pool:
    """A pool that has opened no connection yet: DSQL may be down when the proxy starts."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(dsn, timeout=connect_seconds, statement_cache_size=_STATEMENTS)

    return Pool(connect, maximum)
