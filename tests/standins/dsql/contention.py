"""Who stands in whose way: sessions that wait for another's lock, and those that then step back.

PostgreSQL says who waits for whom. A session that holds a lock between two of its statements steps back at once; one
that is at work ends its statement first, or finds itself in a deadlock, which PostgreSQL ends after a few milliseconds.
"""

import asyncio
from typing import Final

import asyncpg

from tests.standins.dsql.connections.backend import BackendLost
from tests.standins.dsql.sessions import Session

_SHORTEST: Final = 0.002
_LONGEST: Final = 0.05
_WHO: Final = "SELECT pid, pg_blocking_pids(pid) AS blockers FROM unnest($1::int[]) AS pid"


class Contention:
    """One for the gate: `blocked` is told of a session whose statement takes long."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._sessions: dict[int, Session] = {}
        self._waiting: set[Session] = set()
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection | None = None

    def add(self, session: Session) -> None:
        """A session that may stand in others' way from now on."""
        self._sessions[session.backend.pid] = session

    def remove(self, session: Session) -> None:
        """It is over."""
        self._sessions.pop(session.backend.pid, None)
        self._waiting.discard(session)

    def blocked(self, session: Session) -> None:
        """A session's statement takes long: perhaps it waits for another's lock."""
        self._waiting.add(session)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()

    async def _watch(self) -> None:
        pause = _SHORTEST
        while self._waiting:
            self._waiting = {session for session in self._waiting if session.lock.locked()}
            moved = False
            for row in await self._ask([session.backend.pid for session in self._waiting]):
                for pid in row["blockers"]:
                    holder = self._sessions.get(pid)
                    if holder is not None:
                        moved = await self._step_back(holder) or moved
            pause = _SHORTEST if moved else min(pause * 2, _LONGEST)
            await asyncio.sleep(pause)

    async def _step_back(self, holder: Session) -> bool:
        try:
            return await holder.step_back()
        except BackendLost:
            return True

    async def _ask(self, pids: list[int]) -> list[asyncpg.Record]:
        if not pids:
            return []
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._dsn)
            return list(await self._connection.fetch(_WHO, pids))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # The server has gone, and with it whoever waited there.
            return []
