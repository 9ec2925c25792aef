"""The pool of connections as a state machine, and what it promises whatever happens in whatever order.

Time is the simulation's: nothing is waited for, and a seed decides which ready callback runs next. Connections are not
PostgreSQL's but have the four methods that a pool knows of them; how real ones behave is tests/integration's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.stores.dsql.connect_errors import ConnectError
from proxy.stores.dsql.pool import DOUBTFUL_SECONDS, OLDEST_SECONDS, PROBE_SECONDS, Pool
from tests.simulation.loop import Loop

T = TypeVar("T")


class Line:
    """A connection: `alive` as its peer knows it; `cut` is what this side has noticed."""

    def __init__(self) -> None:
        self.alive = True
        self.cut = False
        self.asked = 0

    def is_closed(self) -> bool:
        return self.cut

    def terminate(self) -> None:
        self.cut = True

    async def close(self) -> None:
        self.cut = True

    async def execute(self, _: str) -> str:
        self.asked += 1
        if not self.alive:
            await asyncio.sleep(3600)  # nobody answers, and nobody says so
        return "SELECT 1"


class Server:
    """What is connected to. It may be down, or slow; it counts, and remembers when it was asked."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.up = True
        self.seconds = seconds
        self.begun: list[float] = []
        self.lines: list[Line] = []

    async def connect(self) -> Any:
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if not self.up:
            raise ConnectionRefusedError(111, "Connect call failed")
        self.lines.append(Line())
        return self.lines[-1]

    @property
    def open(self) -> int:
        return sum(not line.cut for line in self.lines)


class Heard:
    """What a pool says to be counted."""

    def __init__(self) -> None:
        self.connected: list[float] = []
        self.failed: list[str] = []
        self.dropped: list[str] = []

    def dsql_connected(self, seconds: float) -> None:
        self.connected.append(seconds)

    def dsql_connect_failed(self, reason: str) -> None:
        self.failed.append(reason)

    def dsql_connection_dropped(self, reason: str) -> None:
        self.dropped.append(reason)


def played(work: Callable[[], Coroutine[Any, Any, T]], seed: int = 0) -> T:
    """The result of `work` under a clock of its own. No task may have ended in an error that nobody heard."""
    loop = Loop(seed)
    result = loop.run(work())
    assert loop.faults == []
    return result


def now() -> float:
    return asyncio.get_running_loop().time()


async def use(pool: Pool, seconds: float) -> None:
    async with pool.connection():
        await asyncio.sleep(seconds)


# --- what is promised, one by one -------------------------------------------------------------------------------------


def test_connections_are_kept_warm_without_anybody_waiting() -> None:
    async def story() -> None:
        server = Server()
        pool = Pool(server.connect, 8, minimum=3)
        pool.start()
        assert now() == 0
        await asyncio.sleep(0.1)
        assert (pool.state.open, pool.state.idle) == (3, 3)
        before = now()
        taken = [await pool.acquire() for _ in range(3)]
        assert now() == before
        for each in taken:
            pool.release(each)
        server.lines[0].cut = server.lines[2].cut = True  # DSQL said goodbye
        await asyncio.sleep(20)
        assert server.open == 3
        pool.terminate()
        assert server.open == 0

    played(story)


def test_a_pool_without_a_minimum_still_tries_once_so_that_a_fault_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        server = Server()
        server.up = False
        pool = Pool(server.connect, 8)
        pool.start()
        await asyncio.sleep(60)
        assert len(server.begun) == 1
        assert pool.failure is not None
        assert pool.failure.reason == "refused"

    played(story)
    said = capsys.readouterr().out
    assert said.count("dsql_not_connected") == 1
    assert "see dsn in [dsql] and its port" in said


@pytest.mark.parametrize("rate", [1, 5, 20])
def test_the_rate_of_new_connections_is_held_in_every_second(rate: int) -> None:
    async def story() -> list[float]:
        server = Server(seconds=0.3)
        pool = Pool(server.connect, 60, connects_a_second=rate)
        users = [asyncio.create_task(use(pool, 1000)) for _ in range(60)]
        await asyncio.sleep(60 / rate + 1)
        for each in users:
            each.cancel()
        await asyncio.wait(users)
        assert len(server.begun) == 60
        return server.begun

    begun = played(story)
    for first, later in zip(begun, begun[rate:], strict=False):
        assert later - first >= 1.0 - 1e-9
    assert begun[-1] <= 60 / rate  # nor is it slower than it may be


def test_what_is_down_is_not_hammered_and_is_found_again_soon() -> None:
    async def story() -> None:
        server, heard = Server(), Heard()
        server.up = False
        pool = Pool(server.connect, 16, minimum=4, watch=heard)
        pool.start()
        refused = 0
        for _ in range(6000):  # ten callers a second, for ten minutes
            began = now()
            with pytest.raises(ConnectError):
                await pool.acquire()
            assert now() - began < 0.2
            refused += 1
            await asyncio.sleep(max(0.0, 0.1 - (now() - began)))
        assert refused == 6000
        tries = len(server.begun)
        assert tries < 600 / 1.5 + 20
        assert heard.failed == ["refused"] * tries
        pauses = [later - first for first, later in zip(server.begun[-50:], server.begun[-49:], strict=False)]
        assert min(pauses) >= 1.5
        assert max(pauses) <= 3.1
        assert len({round(each, 3) for each in pauses}) > 10  # no two proxies in step
        server.up = True
        await asyncio.sleep(4)
        assert pool.state.open == 4
        assert pool.failure is None

    played(story)


def test_while_it_is_down_whoever_waits_for_a_connection_that_is_in_use_still_gets_it() -> None:
    async def story() -> None:
        server = Server()
        pool = Pool(server.connect, 2)
        first = await pool.acquire()
        server.up = False
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(5)
        assert not waiting.done()
        assert len(server.begun) < 12
        pool.release(first)
        assert await waiting is first

    played(story)


def test_a_caller_whose_time_is_up_throws_no_handshake_away() -> None:
    async def story() -> None:
        server = Server(seconds=2)
        pool = Pool(server.connect, 4)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await pool.acquire()
        await asyncio.sleep(1.5)
        assert pool.state.idle == 1
        assert len(server.begun) == 1

    played(story)


def test_what_died_while_it_lay_idle_is_not_handed_out() -> None:
    async def story() -> None:
        server, heard = Server(), Heard()
        pool = Pool(server.connect, 4, watch=heard)
        taken = [await pool.acquire() for _ in range(4)]
        for each in taken:
            pool.release(each)
        for line in server.lines[:3]:
            line.alive = False  # a gateway between forgot them, and told nobody
        server.lines[3].cut = True  # this one was ended in good order
        await asyncio.sleep(DOUBTFUL_SECONDS)
        began = now()
        got = await pool.acquire()
        assert got is server.lines[4]
        # One was asked, and its silence told of the others.
        assert now() - began < PROBE_SECONDS + 0.1
        assert [line.asked for line in server.lines[:3]] == [0, 0, 1]
        assert heard.dropped == ["dead"] * 4
        pool.release(got)

    played(story)


def test_one_in_use_is_not_asked_each_time() -> None:
    async def story() -> None:
        server = Server()
        pool = Pool(server.connect, 4)
        for _ in range(100):
            await use(pool, 5)
        await asyncio.sleep(DOUBTFUL_SECONDS)
        await use(pool, 1)
        assert [line.asked for line in server.lines] == [1]

    played(story)


def test_none_is_used_for_an_hour_and_they_do_not_all_go_at_once() -> None:
    async def story() -> None:
        server, heard = Server(), Heard()
        pool = Pool(server.connect, 10, minimum=10, watch=heard)
        pool.start()
        await asyncio.sleep(1)
        ends: list[float] = []
        while server.open and now() < 3600:
            await asyncio.sleep(10)
            ends.extend([now()] * (len(heard.dropped) - len(ends)))
            assert pool.state.open >= 9
        assert len(ends) >= 10
        assert OLDEST_SECONDS[0] <= min(ends)
        assert max(ends[:10]) <= OLDEST_SECONDS[1] + 20
        assert max(ends[:10]) - min(ends) > 60
        pool.terminate()

    played(story)


def test_closing_waits_for_what_is_out_and_turns_others_away() -> None:
    async def story() -> None:
        server = Server()
        pool = Pool(server.connect, 1, minimum=1)
        pool.start()
        user = asyncio.create_task(use(pool, 5))
        await asyncio.sleep(1)
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
        closing = asyncio.create_task(pool.close())
        with pytest.raises(asyncpg.InterfaceError):
            await waiting
        with pytest.raises(asyncpg.InterfaceError):
            await pool.acquire()
        await closing
        assert now() == pytest.approx(5.02)
        assert user.done()
        assert server.open == 0

    played(story)


# --- whatever happens -------------------------------------------------------------------------------------------------

_EVENTS = st.lists(
    st.tuples(
        st.floats(0, 40),
        st.one_of(
            st.tuples(st.just("use"), st.floats(0, 5), st.floats(0.001, 8)),
            st.tuples(st.sampled_from(("down", "up", "forget", "cut", "outdate"))),
        ),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(_EVENTS, st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 3), st.integers(1, 5))
def test_whatever_happens(events: list[tuple[float, Any]], seed: int, maximum: int, minimum: int, rate: int) -> None:
    """Users come and go, give up, find it down; lines are cut and forgotten. In the end all is given back."""
    minimum = min(minimum, maximum)

    async def story() -> None:
        server = Server(seconds=0.05)
        heard = Heard()
        pool = Pool(server.connect, maximum, minimum=minimum, connects_a_second=rate, watch=heard)
        out: set[Any] = set()

        async def user(seconds: float, patience: float) -> None:
            try:
                async with asyncio.timeout(patience), pool.connection() as line:
                    assert line not in out, "one connection for two"
                    assert not line.cut, "handed out when it was known to be cut"
                    out.add(line)
                    try:
                        await asyncio.sleep(seconds)
                    finally:
                        out.discard(line)
            except (TimeoutError, ConnectError):
                pass

        pool.start()
        users = []
        for pause, (what, *how) in events:
            await asyncio.sleep(pause / 10)
            match what:
                case "use":
                    users.append(asyncio.create_task(user(*how)))
                case "down" | "up":
                    server.up = what == "up"
                case "outdate":
                    pool.expire_connections()
                case _:
                    for line in server.lines[::2]:
                        line.alive = False
                        line.cut = line.cut or (what == "cut" and line not in out)
            state = pool.state
            assert state.open + state.connecting <= maximum
            assert 0 <= state.idle <= state.open
        await asyncio.gather(*users)
        server.up = True
        await asyncio.sleep(60)
        state = pool.state
        assert (state.connecting, state.waiting) == (0, 0)
        assert state.open == state.idle
        assert state.open >= minimum
        assert server.open == state.open, "one that nobody holds"
        for first, later in zip(server.begun, server.begun[rate:], strict=False):
            assert later - first >= 1.0 - 1e-9
        assert len(heard.connected) == len(server.lines)
        assert len(heard.connected) + len(heard.failed) == len(server.begun)
        assert len(heard.dropped) == len(server.lines) - state.open
        async with asyncio.timeout(5):
            for _ in range(3):
                await use(pool, 0.01)
        await pool.close()
        assert server.open == 0

    played(story, seed)


class Machine(RuleBasedStateMachine):
    """One step at a time, beside a model: who has which connection, and who must be waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.server = Server(seconds=0.0)
        self.held: list[Any] = []
        self.waiting: list[asyncio.Task[Any]] = []

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(maximum=st.integers(1, 3))
    def made(self, maximum: int) -> None:
        self.maximum = maximum

        async def make() -> Pool:
            return Pool(self.server.connect, maximum, connects_a_second=1000)

        self.pool = self.do(make())

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        for task in [each for each in self.waiting if each.done()]:
            self.waiting.remove(task)
            self.held.append(task.result())

    @rule()
    def take(self) -> None:
        async def step() -> None:
            self.waiting.append(asyncio.create_task(self.pool.acquire()))
            await self.settle()

        self.do(step())

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        line = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

        async def step() -> None:
            self.pool.release(line)
            await self.settle()

        self.do(step())

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def break_and_give_back(self, data: st.DataObject) -> None:
        line = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

        async def step() -> None:
            line.terminate()
            self.pool.release(line)
            await self.settle()

        self.do(step())

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        task = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))

        async def step() -> None:
            task.cancel()
            await asyncio.wait([task])
            await self.settle()

        self.do(step())

    @precondition(lambda self: self.held and self.waiting)
    @rule()
    def give_back_to_one_who_gives_up(self) -> None:
        """Both at once: the connection must go to the next, or lie idle, and not be lost."""
        line, task = self.held.pop(), self.waiting.pop(0)

        async def step() -> None:
            self.pool.release(line)
            task.cancel()
            await asyncio.wait([task])
            await self.settle()

        self.do(step())

    @rule()
    def outdate(self) -> None:
        async def step() -> None:
            self.pool.expire_connections()

        self.do(step())

    @invariant()
    def nobody_waits_who_need_not_and_nobody_shares(self) -> None:
        if not hasattr(self, "pool"):
            return
        state = self.pool.state
        assert len(set(map(id, self.held))) == len(self.held)
        assert state.open == len(self.held) + state.idle
        assert state.waiting == len(self.waiting)
        assert state.connecting == 0
        assert len(self.held) <= self.maximum
        assert not self.waiting or len(self.held) == self.maximum
        assert self.server.open == state.open

    def teardown(self) -> None:
        async def end() -> None:
            for task in self.waiting:
                task.cancel()
            if self.waiting:
                await asyncio.wait(self.waiting)
            for line in self.held:
                self.pool.release(line)
            await self.pool.close()

        self.do(end())
        assert self.server.open == 0
        self.runner.close()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
