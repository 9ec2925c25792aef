"""DSQL's transactions as DynamoDB's need them: reads and writes of items between BEGIN and COMMIT.

DSQL detects conflicts at COMMIT, or at a statement after another transaction has committed ("Concurrency control in
Aurora DSQL", user guide); either is a `Conflict`, and whoever began the transaction runs it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg

from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import SqlValues
from proxy.stores.attempts import CONFLICT_REASON
from proxy.stores.dsql.conflicts import is_conflict
from proxy.stores.dsql.sql.conditional_write import plan_write, stored_item
from proxy.stores.dsql.sql.many_keys import comparable, many_parameters, rows_by_key, select_many
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.dsql.sqlstates import DRIVER_ERRORS, LOST_CONNECTION, is_unfit, to_store_error, to_unsent_error
from proxy.stores.dsql.statement_runner import StatementRunner
from proxy.stores.dsql.system_tables.authority_guarantees import AuthorityGuarantees
from proxy.stores.errors import UnknownOutcome, Unreachable
from proxy.stores.execution.row_store import Conflict
from proxy.stores.interface import StoredItem

StatementsOf = Callable[[str], Statements]
"""The statements for a DynamoDB table, by its name. Raises Refused if it has no mapping."""


class SQLTransaction:
    """Reads and writes on one connection inside a transaction. `absent_keys` are the keys without an item."""

    __slots__ = ("_connection", "_guarantees", "_lock_rows", "_statements_of", "absent_keys")

    def __init__(
        self,
        connection: asyncpg.Connection,
        statements_of: StatementsOf,
        guarantees: AuthorityGuarantees | None,
        *,
        lock_rows: bool,
    ) -> None:
        self._connection = connection
        self._statements_of = statements_of
        self._guarantees = guarantees
        self._lock_rows = lock_rows
        self.absent_keys: list[Key] = []

    async def get_many(self, keys: Sequence[Key]) -> Mapping[Key, StoredItem]:
        """Read the keys, and lock their rows, in one statement a table."""
        found = dict.fromkeys(keys, StoredItem(None))
        by_table: dict[str, list[tuple[Key, SqlValues]]] = {}
        for key in keys:
            values = self._statements_of(key.table).mapping.key_values(key)
            if values is not None:
                by_table.setdefault(key.table, []).append((key, values))
        for table, wanted in by_table.items():
            statements = self._statements_of(table)
            capacity, parameters = many_parameters(statements, [values for _, values in wanted])
            sql = select_many(statements, capacity, lock=self._lock_rows)
            by_key = rows_by_key(statements, await self._connection.fetch(sql, *parameters))
            for key, values in wanted:
                row = by_key.get(comparable(values))
                if row is None:
                    self.absent_keys.append(key)
                found[key] = stored_item(statements.mapping, row)
        return found

    async def put(self, key: Key, wanted: Item | None, stored: StoredItem) -> StoredItem | None:
        write = plan_write(self._statements_of(key.table), key, wanted, stored)
        try:
            tag: str = await self._connection.execute(write.statement, *write.parameters)
        except asyncpg.PostgresError as error:
            if is_unfit(error):
                raise to_store_error(error, key) from error
            raise
        except ValueError as error:
            raise to_unsent_error(error, key) from error
        return write.result if tag.endswith(" 1") else None

    async def claim_token(self, token: IdempotencyToken) -> bool:
        return self._guarantees is not None and await self._guarantees.claim_token(self._connection, token)


@asynccontextmanager
async def open_transaction(
    runner: StatementRunner, statements_of: StatementsOf, guarantees: AuthorityGuarantees | None, *, read_only: bool
) -> AsyncIterator[SQLTransaction]:
    """A transaction that commits when its block ends, and is rolled back when the block raises.

    With `guarantees`, it also locks the keys that it found absent. Raises Conflict if another transaction was faster,
    and StoreError: UnknownOutcome only if the answer to COMMIT was lost.
    """
    async with runner.pool.borrowed(runner.acquire()) as connection:
        try:
            await connection.execute("BEGIN READ ONLY" if read_only else "BEGIN")
            transaction = SQLTransaction(connection, statements_of, guarantees, lock_rows=not read_only)
            yield transaction
            if guarantees is not None and not read_only:
                await guarantees.lock_absent_keys(connection, transaction.absent_keys)
        except asyncpg.PostgresError as error:
            await _roll_back(connection)
            if is_conflict(error):
                runner.on_retry(CONFLICT_REASON)
                raise Conflict from error
            # COMMIT has not been sent, so whatever went wrong, nothing has happened.
            raise to_store_error(error, None, reading=True) from error
        except LOST_CONNECTION as error:
            await _roll_back(connection)
            raise to_unsent_error(error, None) from error
        except asyncio.CancelledError:
            connection.terminate()
            raise
        except BaseException:
            await _roll_back(connection)
            raise
        await _commit(runner, connection, read_only=read_only)


async def _commit(runner: StatementRunner, connection: asyncpg.Connection, *, read_only: bool) -> None:
    try:
        await connection.execute("COMMIT")
    except asyncpg.PostgresError as error:
        if is_conflict(error):
            runner.on_retry(CONFLICT_REASON)
            raise Conflict from error
        raise to_store_error(error, None, reading=read_only) from error
    except LOST_CONNECTION as error:
        if read_only:
            raise Unreachable("connection", type(error).__name__) from error
        raise UnknownOutcome("connection", type(error).__name__) from error


async def _roll_back(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute("ROLLBACK")
    except DRIVER_ERRORS:
        connection.terminate()
