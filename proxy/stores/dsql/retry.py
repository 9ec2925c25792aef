"""Runs a piece of work on a pooled connection, repeats it after conflicts, and translates its failures to the seam's.

For work that may be repeated without harm, or that reports an unknown outcome itself. Knows no statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from proxy.stores.attempts import Attempts
from proxy.stores.dsql.conflicts import is_catalog_conflict, is_conflict
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sqlstates import (
    DRIVER_ERRORS,
    LOST_CONNECTION,
    NO_TABLE,
    is_ddl_race,
    to_store_error,
    to_unsent_error,
)
from proxy.stores.errors import Refused, Unreachable

T = TypeVar("T")


async def run_with_retry(
    pool: Pool,
    work: Callable[[asyncpg.Connection], Awaitable[T]],
    *,
    on_retry: Callable[[str], None] = lambda _: None,
    create: str | None = None,
    seconds: float | None = None,
) -> T:
    """Return the result of the work. `on_retry` is called with the reason before each retry.

    If the work finds its table missing, the statement `create` creates the table, within `seconds`. Raises Unreachable,
    Refused, and any StoreError of the work.
    """
    missing: str | None = None
    attempts = Attempts(on_retry=on_retry)
    async for _ in attempts:
        connection = await _acquire(pool)
        try:
            if missing is not None:
                await _create(connection, missing, seconds)
            return await work(connection)
        except asyncpg.PostgresError as error:
            missing = create if error.sqlstate == NO_TABLE else None
            if missing is None and not is_conflict(error):
                raise to_store_error(error, None, reading=True) from error
            if is_catalog_conflict(error):
                attempts.skip_pause()
        except LOST_CONNECTION as error:
            connection.terminate()
            raise to_unsent_error(error, None) from error
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            pool.release(connection)
    if missing is not None:
        raise Refused(NO_TABLE, "the table is missing each time it has been created")
    raise Unreachable("occ", "every attempt met a conflict")


async def _acquire(pool: Pool) -> asyncpg.Connection:
    try:
        return await pool.acquire()
    except DRIVER_ERRORS as error:
        detail = f"DSQL cannot be reached ({type(error).__name__}): see endpoint or dsn in [dsql], and whether it runs"
        raise Unreachable("connect", detail) from error


async def _create(connection: asyncpg.Connection, create: str, seconds: float | None) -> None:
    """Create the table. If another session does so meanwhile, the work finds it there, or missing once more."""
    try:
        await connection.execute(create, timeout=seconds)
    except asyncpg.PostgresError as error:
        if not is_ddl_race(error):
            raise
