"""One piece of work on a connection of the pool's, done again while DSQL answers with a conflict; its failures are told
in the seam's words. For work that may be done twice, or that says itself what may have happened. Knows no statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from proxy.stores.attempts import Attempts
from proxy.stores.dsql.conflicts import is_conflict
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sqlstates import NO_TABLE, is_ddl_race, to_store_error, to_unsent_error
from proxy.stores.errors import Refused, Unreachable

T = TypeVar("T")


async def run_with_retry(
    pool: Pool,
    work: Callable[[asyncpg.Connection], Awaitable[T]],
    *,
    again: Callable[[str], None] = lambda _: None,
    create: str | None = None,
    seconds: float | None = None,
) -> T:
    """What the work gives. `again` hears of each time it is done once more; `create` makes the table that it finds
    missing, within `seconds`. Raises Unreachable, Refused, and what the work raises of StoreError."""
    missing: str | None = None
    async for _ in Attempts(again=again):
        connection = await _taken(pool)
        try:
            if missing is not None:
                await _make(connection, missing, seconds)
            return await work(connection)
        except asyncpg.PostgresError as error:
            missing = create if error.sqlstate == NO_TABLE else None
            if missing is None and not is_conflict(error):
                raise to_store_error(error, None, reading=True) from error
        except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
            connection.terminate()
            raise to_unsent_error(error, None) from error
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            pool.release(connection)
    if missing is not None:
        raise Refused(NO_TABLE, "the table is missing, however often it is made")
    raise Unreachable("occ", "conflicts went on")


async def _taken(pool: Pool) -> asyncpg.Connection:
    try:
        return await pool.acquire()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        detail = f"DSQL cannot be reached ({type(error).__name__}): see endpoint or dsn in [dsql], and whether it runs"
        raise Unreachable("connect", detail) from error


async def _make(connection: asyncpg.Connection, create: str, seconds: float | None) -> None:
    """Make the table, unless another session is at it: then the work finds it made, or missing once more."""
    try:
        await connection.execute(create, timeout=seconds)
    except asyncpg.PostgresError as error:
        if not is_ddl_race(error):
            raise
