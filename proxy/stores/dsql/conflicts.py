"""Conflicts between writers: which of PostgreSQL's errors are conflicts, and the retry of a call that met one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from proxy.stores.attempts import ATTEMPTS, Attempts

T = TypeVar("T")

# DSQL names OC000 (data) or OC001 (catalog) in the message only; both are 40001. 40P01 is PostgreSQL's deadlock: DSQL,
# where no transaction waits for another, has none.
CONFLICTS: Final = frozenset({"40001", "40P01"})


def is_conflict(error: BaseException) -> bool:
    """Whether the database says that another writer was faster, and that nothing has happened."""
    return getattr(error, "sqlstate", None) in CONFLICTS


def is_catalog_conflict(error: BaseException) -> bool:
    """Whether the session did not know the catalog as another session's DDL has left it. It does from now on, and the
    sooner it tries again, the smaller is the chance of another change: pauses would lose to a row of them."""
    return is_conflict(error) and "(OC001)" in str(error)


async def retry_conflicts(
    call: Callable[[], Awaitable[T]],
    attempts: int = ATTEMPTS,
    on_retry: Callable[[str], None] = lambda _: None,
    is_retryable: Callable[[BaseException], bool] = is_conflict,
) -> T:
    """Return the result of `call`, repeated while its error means that another session was faster.

    Raises asyncpg's error: the last such one after `attempts`, and any other at once.
    """
    conflict: BaseException | None = None
    sequence = Attempts(attempts, on_retry)
    async for _ in sequence:
        try:
            return await call()
        except asyncpg.PostgresError as error:
            if not is_retryable(error):
                raise
            if is_catalog_conflict(error):
                sequence.skip_pause()
            conflict = error
    assert conflict is not None
    raise conflict
