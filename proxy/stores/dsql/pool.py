"""Connections to DSQL: a bounded number, kept warm, the last used taken first.

asyncpg's own pool starts a task for each connection that is given back and wraps every call on it, 30 µs a statement
(measured); its reset calls `pg_advisory_unlock_all`, which DSQL does not have. Connections here carry no session state,
so none is reset.

Whoever wants a connection gets the last one used, or waits in line for any that is given back or newly made.
Connections are made by tasks of the pool's own, so that a caller whose time is up throws no handshake away: never more
than `connects_a_second` in any second, one at a time while they fail, and then with a growing, jittered pause
in which whoever comes is told at once. A pool knows no SQL but `SELECT 1`.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

import asyncpg
import structlog

from proxy.stores.dsql.conflicts import is_conflict
from proxy.stores.dsql.connect_errors import ConnectError, Target, explained
from proxy.stores.dsql.sqlstates import DRIVER_ERRORS

log = structlog.get_logger(__name__)

Connect = Callable[[], Awaitable[asyncpg.Connection]]

# DSQL ends a connection after an hour ("Cluster quotas and database limits", user guide): each goes before that, and
# not all of them at once.
OLDEST_SECONDS: Final = (45 * 60.0, 55 * 60.0)
# One that lay unused for longer is asked before it is handed out: what stands between (NAT gateways, balancers) forgets
# connections without a word. It costs a round trip where traffic is thin, and DSQL nothing while there is none: asking
# all of them by the clock would keep an idle cluster, which is paid by use, at work for ever.
DOUBTFUL_SECONDS: Final = 30.0
PROBE_SECONDS: Final = 1.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 3.0
CLOSE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 15.0
_SOMEWHERE: Final = Target("dsn in [dsql]")


class PoolObserver(Protocol):
    """What is told of a pool. `reason` is one of a few words."""

    def dsql_connected(self, seconds: float) -> None: ...

    def dsql_connect_failed(self, reason: str) -> None: ...

    def dsql_connection_dropped(self, reason: str) -> None:
        """expired (its time was up), outdated (a table was changed), dead (cut by either side, or without answer)."""


class _Unwatched:
    def dsql_connected(self, seconds: float) -> None: ...

    def dsql_connect_failed(self, reason: str) -> None: ...

    def dsql_connection_dropped(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class PoolState:
    """How many connections are open (idle ones among them) and being made, and how many callers wait for one."""

    open: int
    idle: int
    connecting: int
    waiting: int


@dataclass(slots=True)
class _PooledConnection:
    """An open connection: until when it may be used, and since when it lies idle (loop's time)."""

    until: float
    idle_since: float = 0.0


class Pool:
    """At most `maximum` connections, each made by `connect`. Use from one event loop; end with `close` or `terminate`.

    `start` opens `minimum` of them (and one to know whether it can be done) without waiting, and keeps so many open.
    Raises NotConnected where none can be had, and asyncpg.InterfaceError once it is closed.
    """

    def __init__(
        self,
        connect: Connect,
        maximum: int,
        *,
        minimum: int = 0,
        connects_a_second: int = 100,
        target: Target = _SOMEWHERE,
        watch: PoolObserver | None = None,
    ) -> None:
        self._connect = connect
        self._maximum = maximum
        self._minimum = minimum
        self._target = target
        self._watch = watch or _Unwatched()
        self._idle: list[asyncpg.Connection] = []
        self._lines: dict[asyncpg.Connection, _PooledConnection] = {}
        self._waiters: deque[asyncio.Future[asyncpg.Connection]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._began: deque[float] = deque(maxlen=connects_a_second)
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False
        # Failures on end, when the last counted one was, and until when nobody tries.
        self._failures = 0
        self._failed_at = 0.0
        self._not_before = 0.0
        self._failure: ConnectError | None = None

    @property
    def state(self) -> PoolState:
        return PoolState(len(self._lines), len(self._idle), len(self._tasks), len(self._waiters))

    @property
    def failure(self) -> ConnectError | None:
        """Why the last connect failed; None if it did not, or none was tried."""
        return self._failure

    def start(self) -> None:
        """Begin to open the warm connections, in the background. Must be called on the running loop."""
        self._keep_warm()
        self._more(least=1)

    async def acquire(self) -> asyncpg.Connection:
        """A connection, to be given back whatever happens."""
        if self._closed:
            raise asyncpg.InterfaceError("the pool is closed")
        while self._idle:
            connection = self._idle.pop()
            line, now = self._lines[connection], self._time()
            if now >= line.until or connection.is_closed():
                self._drop(connection)
            elif now - line.idle_since < DOUBTFUL_SECONDS or await self._answers(connection):
                return connection
        waiter: asyncio.Future[asyncpg.Connection] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._more()
        if self._failure is not None and not self._lines and not self._tasks:
            self._waiters.remove(waiter)
            raise self._failure.again()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):  # passed over already by whoever had a connection to hand over
                    self._waiters.remove(waiter)
            elif waiter.exception() is None:
                self.release(waiter.result())  # it was ours already: pass it on
            raise

    def release(self, connection: asyncpg.Connection) -> None:
        """The connection is not used any more. One that was terminated, or is past its time, is not used again."""
        line, now = self._lines[connection], self._time()
        if now >= line.until or connection.is_closed() or self._closed:
            self._drop(connection)
            self._more()
        elif self._waiters:
            self._hand_over(connection)
        else:
            line.idle_since = now
            self._idle.append(connection)

    def connection(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A connection for a block."""
        return self.borrowed(self.acquire())

    @asynccontextmanager
    async def borrowed(self, taking: Awaitable[asyncpg.Connection]) -> AsyncIterator[asyncpg.Connection]:
        """The connection that `taking` takes, for a block; dropped if the block is cancelled, because what it was doing
        cannot be told."""
        connection = await taking
        try:
            yield connection
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            self.release(connection)

    def expire_connections(self) -> None:
        """What connections have prepared is out of date: none that is open now is taken again."""
        for line in self._lines.values():
            line.until = 0.0

    async def close(self) -> None:
        """Wait until all are given back, and end them in good order."""
        self._stop()
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks)
        if len(self._lines) > len(self._idle):
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied
        while self._idle:
            connection = self._idle.pop()
            del self._lines[connection]
            await connection.close()

    async def close_or_terminate(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close the pool, or cut its connections if they are not all released within `seconds`."""
        try:
            await asyncio.wait_for(self.close(), seconds)
        except TimeoutError:
            self.terminate()

    def terminate(self) -> None:
        """Cut every connection."""
        self._stop()
        for connection in self._lines:
            connection.terminate()
        for connection in self._idle:
            del self._lines[connection]
        self._idle.clear()

    # -- making connections ----------------------------------------------------------------------------------------

    def _more(self, least: int = 0) -> None:
        """Begin to make as many connections as are wanted and allowed now, and come back when more are allowed."""
        wanted = max(len(self._waiters), self._minimum - len(self._lines), least)
        wanted = min(wanted, self._maximum - len(self._lines)) - len(self._tasks)
        if self._closed or wanted <= 0:
            return
        loop = asyncio.get_running_loop()
        for _ in range(wanted):
            if self._failure is not None and self._tasks:
                return  # one at a time until it answers again: its end comes back here
            pause = self._pause(loop.time())
            if pause > 0:
                if self._timer is None:
                    self._timer = loop.call_later(pause, self._again)
                return
            self._began.append(loop.time())
            task = loop.create_task(self._make(), name="dsql-connect")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)  # one that is cancelled before it runs never gets to its end

    def _pause(self, now: float) -> float:
        """Seconds until the next connect may begin."""
        paced = self._began[0] + 1.0 if len(self._began) == self._began.maxlen else 0.0
        return max(paced, self._not_before) - now

    def _again(self) -> None:
        self._timer = None
        self._more()

    async def _make(self) -> None:
        """One connect, whoever it is for. Its outcome goes to those who wait."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        task = asyncio.current_task()
        assert task is not None
        try:
            connection = await self._connect()
        except asyncio.CancelledError:
            self._tasks.discard(task)
            if task.cancelling():
                raise
            # The driver's own doing, as where a connection is cut in the middle of its handshake.
            self._failed(began, ConnectError("refused", "", "the connect was broken off"))
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear of it
            self._tasks.discard(task)
            self._failed(began, explained(error, self._target))
            return
        self._tasks.discard(task)
        if self._closed:
            connection.terminate()
            return
        self._watch.dsql_connected(loop.time() - began)
        if self._failure is not None:
            log.info("dsql_connected", after=self._failure.reason)
        self._failures, self._not_before, self._failure = 0, 0.0, None
        self._lines[connection] = _PooledConnection(loop.time() + random.uniform(*OLDEST_SECONDS))  # noqa: S311
        self._hand_over(connection)
        self._more()

    def _failed(self, began: float, failure: ConnectError) -> None:
        now = asyncio.get_running_loop().time()
        self._watch.dsql_connect_failed(failure.reason)
        if not self._failures or began >= self._failed_at:  # of several under way at once, the first counts
            self._failures += 1
            self._failed_at = now
            longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 30))
            self._not_before = now + random.uniform(longest / 2, longest)  # noqa: S311
        if self._failure is None or self._failure.reason != failure.reason:
            log.error("dsql_not_connected", reason=failure.reason, error=failure.said, remedy=failure.remedy)
        self._failure = failure
        if not self._lines and not self._tasks:
            # Nothing will be given back and nothing is under way. Else those who wait may yet get one.
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(failure.again())
            self._waiters.clear()
        self._more()

    def _keep_warm(self) -> None:
        """Now and then: let go of idle connections whose time is up, and make others before they are wanted."""
        for connection in [each for each in self._idle if not self._usable(each)]:
            self._idle.remove(connection)
            self._drop(connection)
        self._more()
        self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._keep_warm)

    # -- those that are there ----------------------------------------------------------------------------------------

    def _hand_over(self, connection: asyncpg.Connection) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._lines[connection].idle_since = self._time()
        self._idle.append(connection)

    async def _answers(self, connection: asyncpg.Connection) -> bool:
        """Whether a doubtful connection still leads somewhere. If not, those that lay idle for longer go with it."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await connection.execute("SELECT 1")
        except DRIVER_ERRORS as error:  # a TimeoutError is an OSError
            if is_conflict(error):
                return True  # another session's DDL (OC001): the server has answered
            connection.terminate()
            for each in (connection, *filter(self._doubtful, self._idle)):
                self._drop(each, "dead")
            self._idle = [each for each in self._idle if each in self._lines]
            return False
        except BaseException:
            connection.terminate()
            self.release(connection)
            raise
        return True

    def _time(self) -> float:
        """The loop's time. Its clock is kept: to ask for the loop each time doubles what a taking costs (measured)."""
        self._time = asyncio.get_running_loop().time  # type: ignore[method-assign]
        return self._time()

    def _doubtful(self, connection: asyncpg.Connection) -> bool:
        return self._time() - self._lines[connection].idle_since >= DOUBTFUL_SECONDS

    def _usable(self, connection: asyncpg.Connection) -> bool:
        return self._time() < self._lines[connection].until and not connection.is_closed()

    def _drop(self, connection: asyncpg.Connection, reason: str | None = None) -> None:
        line = self._lines.pop(connection)
        if reason is None:
            reason = "dead" if connection.is_closed() else "expired" if line.until else "outdated"
        self._watch.dsql_connection_dropped(reason)
        connection.terminate()
        self._see_empty()

    def _see_empty(self) -> None:
        if self._emptied is not None and not self._emptied.done() and len(self._lines) == len(self._idle):
            self._emptied.set_result(None)

    def _stop(self) -> None:
        self._closed = True
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(asyncpg.InterfaceError("the pool is closed"))
        self._waiters.clear()
