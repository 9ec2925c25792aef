"""What DSQL must promise only as the authority, beside holding the items: kept in two small tables of Crossfade's own.

A transaction is serializable even about items that are not there (`absences`), and a client's token is remembered
(`remembered`). A mirror promises neither, and is spared the price. The tables are made when they are first needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import asyncpg

from proxy.dynamodb.idempotency import VALID_SECONDS, IdempotencyToken
from proxy.dynamodb.schema import Key
from proxy.stores.dsql.conflicts import is_conflict
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.conditional_write import ConditionalWrite
from proxy.stores.dsql.sqlstates import LOST_CONNECTION, UNSUPPORTED, to_store_error, to_unsent_error
from proxy.stores.dsql.system_tables.absence_locks import LOCKS_TABLE, AbsenceLocks, stripe
from proxy.stores.dsql.system_tables.idempotency_tokens import TOKENS_TABLE, IdempotencyTokens
from proxy.stores.dsql.system_tables.system_table import SystemTable

PROMISE_TABLES: Final = frozenset({LOCKS_TABLE, TOKENS_TABLE})
_BETWEEN_SWEEPS_SECONDS: Final = 0.1


class AuthorityGuarantees:
    """Over the same pool of connections as the store. asyncpg's errors come out as they are where a connection is
    given, for the store to sort; the other methods raise StoreError."""

    def __init__(self, pool: Pool, schema: str = "public") -> None:
        self._pool = pool
        self._absences = AbsenceLocks(schema)
        self._remembered = IdempotencyTokens(schema)
        self._notes = SystemTable(pool, self._remembered.table, self._remembered.create)
        self._tables = (SystemTable(pool, self._absences.table, self._absences.create), self._notes)
        self._making = asyncio.Lock()
        self._made = False
        self._in_one = True

    async def ensure_tables(self) -> None:
        """Make the tables, if this process has not done so."""
        async with self._making:
            if self._made:
                return
            for table in self._tables:
                await table.make()
            self._made = True

    def forget_tables(self) -> None:
        """A table was not there: it may be one of these."""
        self._made = False

    async def insert(self, connection: asyncpg.Connection, key: Key, planned: ConditionalWrite) -> str:
        """Carry out an INSERT, outside a transaction, that ends the item's absence. Gives its command tag."""
        if self._in_one:
            statement = self._absences.with_insert(planned.statement, len(planned.parameters))
            try:
                done: str = await connection.execute(statement, *planned.parameters, stripe(key))
                return done
            except asyncpg.PostgresError as error:
                if error.sqlstate not in UNSUPPORTED:
                    raise
                self._in_one = False
        await connection.execute("BEGIN")
        try:
            done = await connection.execute(planned.statement, *planned.parameters)
            await self.lock_absent_keys(connection, (key,))
        except Exception:
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return done

    async def lock_absent_keys(self, connection: asyncpg.Connection, keys: Iterable[Key]) -> None:
        """To be called in a transaction with the keys that it found absent, before its COMMIT."""
        stripes = sorted({stripe(key) for key in keys})
        if stripes:
            await connection.execute(self._absences.take(len(stripes)), *stripes)

    async def claim_token(self, connection: asyncpg.Connection, token: IdempotencyToken) -> bool:
        """As `AuthorityTransaction.answered`, in a transaction."""
        return await self._remembered.claim_token(connection, token)

    async def note(self, token: IdempotencyToken) -> None:
        """The other store has carried out the token's request: so that a client's retry after a flip finds it done."""
        await self.ensure_tables()
        await self._notes.execute(self._remembered.insert, token.name, token.request)

    async def tidy(self) -> None:
        """Wait as long as a token is good for, then delete what is too old, a little at a time. For a loop: every
        process may do it, and what one does not get to the next one will."""
        await asyncio.sleep(VALID_SECONDS)
        await self.sweep()

    async def sweep(self) -> None:
        """Delete what is too old, now."""
        await self.ensure_tables()
        after: str | None = ""
        while after is not None:
            try:
                async with self._pool.connection() as connection:
                    after = await self._remembered.tidy(connection, after)
            except asyncpg.PostgresError as error:
                if is_conflict(error):
                    return  # another process is at it
                self.forget_tables()
                raise to_store_error(error, None, reading=True) from error
            except LOST_CONNECTION as error:
                raise to_unsent_error(error, None) from error
            await asyncio.sleep(_BETWEEN_SWEEPS_SECONDS)
