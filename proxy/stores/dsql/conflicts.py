"""Which of PostgreSQL's errors are conflicts between writers, and how a call that met one is made again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from proxy.stores.attempts import ATTEMPTS, Attempts

T = TypeVar("T")

# OC000 (data) and OC001 (catalog) stand in the message only; both are 40001. 40P01 is a PostgreSQL's deadlock: DSQL,
# where nothing waits, has none.
CONFLICTS: Final = frozenset({"40001", "40P01"})


def is_conflict(error: BaseException) -> bool:
    """Whether the database says that another writer was faster, so that nothing has happened."""
    return getattr(error, "sqlstate", None) in CONFLICTS


async def retry_conflicts(
    ask: Callable[[], Awaitable[T]],
    most: int = ATTEMPTS,
    again: Callable[[str], None] = lambda _: None,
    lost: Callable[[BaseException], bool] = is_conflict,
) -> T:
    """The result of `ask`, called again while `lost` says that its error means another session was faster. Raises the
    last such error, and every other at once."""
    conflict: BaseException | None = None
    async for _ in Attempts(most, again):
        try:
            return await ask()
        except asyncpg.PostgresError as error:
            if not lost(error):
                raise
            conflict = error
    assert conflict is not None
    raise conflict
