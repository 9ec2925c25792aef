"""Runs one statement at a time on a pooled connection: retries conflicts, and translates PostgreSQL's errors.

The caller bounds the time. When a call is cancelled its connection is closed, because nobody can say what the statement
was doing. Knows no table and no SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from proxy.dynamodb.schema import Key
from proxy.stores.attempts import Attempts
from proxy.stores.dsql.conflicts import is_catalog_conflict, is_conflict
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sqlstates import DRIVER_ERRORS, LOST_CONNECTION, is_out_of_step, to_store_error, to_unsent_error
from proxy.stores.errors import TooMuchContention, UnknownOutcome, Unreachable

T = TypeVar("T")

_ATTEMPTS: Final = 6


class StatementRunner:
    """Runs statements over a pool.

    `on_retry` is called with the reason before each retry. `acquire_seconds` bounds the wait for a connection, which
    has no effect in the database; None leaves that to the caller's own limit, after which the outcome is unknown.
    """

    def __init__(self, pool: Pool, *, on_retry: Callable[[str], None], acquire_seconds: float | None) -> None:
        self.pool = pool
        self.on_retry = on_retry
        self._acquire_seconds = acquire_seconds

    async def acquire(self) -> asyncpg.Connection:
        """Take a connection from the pool; the caller must release it. Raises Unreachable."""
        try:
            async with asyncio.timeout(self._acquire_seconds):
                return await self.pool.acquire()
        except TimeoutError as error:
            raise Unreachable("busy", "no connection to DSQL became free in time") from error
        except DRIVER_ERRORS as error:
            raise Unreachable("connect", type(error).__name__) from error

    async def read(self, run: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Return the result of a statement that changes nothing, so that a failure leaves nothing unknown.

        Conflicts with a change of the catalog (OC001) are retried. Raises Unreachable and Refused.
        """
        attempts = Attempts(_ATTEMPTS, self.on_retry)
        async for _ in attempts:
            try:
                return await self._run(run)
            except asyncpg.PostgresError as error:
                if not is_conflict(error):
                    raise to_store_error(error, None, reading=True) from error
                if is_catalog_conflict(error):
                    attempts.skip_pause()
            except LOST_CONNECTION as error:
                raise to_unsent_error(error, None) from error
        raise TooMuchContention("every attempt met a conflict")

    async def write(self, run: Callable[[asyncpg.Connection], Awaitable[T]], key: Key | None) -> T:
        """Return the result of a statement that writes the row of a key, or (None) many rows. Conflicts are retried.

        Raises every StoreError: UnknownOutcome if the connection was lost, Unrepresentable if the row of `key` does not
        fit.
        """
        attempts = Attempts(_ATTEMPTS, self.on_retry)
        async for _ in attempts:
            try:
                return await self._run(run)
            except asyncpg.PostgresError as error:
                if not is_conflict(error):
                    raise to_store_error(error, key) from error
                if is_catalog_conflict(error):
                    attempts.skip_pause()
            except LOST_CONNECTION as error:
                if isinstance(error, ValueError):
                    raise to_unsent_error(error, key) from error
                raise UnknownOutcome("connection", type(error).__name__) from error
        raise TooMuchContention("every attempt met a conflict")

    async def _run(self, run: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        connection = await self.acquire()
        try:
            return await run(connection)
        except asyncio.CancelledError:
            connection.terminate()
            raise
        except LOST_CONNECTION as error:
            if is_out_of_step(error):
                connection.terminate()
            raise
        finally:
            self.pool.release(connection)
