"""Faults that simulations found, each as the shortest course of events that shows it, on the real journal.

They run on the simulation's loop, by its clock; most of them once took thousands of stories to meet.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest

from proxy.dynamodb.schema import Key
from proxy.shadow.comparison.peers import Peers
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.key_activity import any_key_of
from tests.simulation.line import Line
from tests.simulation.loop import Loop
from tests.simulation.memory import Board
from tests.simulation.process import FullDisk, Silence

OTHER, KEY = Key("things", '{"id":{"S":"k1"}}'), Key("things", '{"id":{"S":"k0"}}')
T = TypeVar("T")
Course = Callable[[Journal], Awaitable[None]]


@pytest.fixture
def follow(tmp_path: Path) -> Callable[[Course], None]:
    """Runs a course of events over a journal of its own."""

    def run(course: Course) -> None:
        loop = Loop(0)
        journal = Journal(tmp_path / "journal.sqlite", clock=lambda: 1e9 + loop.time())

        async def main() -> None:
            journal.open(lingering={"dsql": 0.0})
            await course(journal)
            journal.close()

        with Silence():
            loop.run(main())

    return run


def test_a_convergence_between_writes_does_not_clear_the_one_under_way(follow: Callable[[Course], None]) -> None:
    """A key that always has a write under way converges in between, before that write lands."""

    async def course(journal: Journal) -> None:
        first, second = await journal.enter([KEY]), await journal.enter([KEY])
        await asyncio.sleep(2.0)
        journal.release(first)
        work = await journal.next()
        journal.release(second)
        journal.mark_converged(work)
        assert journal.holds(KEY)

    follow(course)


def test_a_convergence_must_begin_after_the_settle_time(follow: Callable[[Course], None]) -> None:
    """What lingers can land while the convergence reads, in the last moment before nothing can."""

    async def course(journal: Journal) -> None:
        ticket = await journal.enter([KEY])
        journal.mark_unsettled([KEY], 5.0, "dsql")
        journal.release(ticket)
        await asyncio.sleep(4.9)
        work = await journal.next()
        await asyncio.sleep(0.2)
        journal.mark_converged(work)
        assert journal.holds(KEY)
        journal.mark_converged(await journal.next())
        assert not journal.holds(KEY)

    follow(course)


def test_a_parked_key_whose_item_may_yet_change_is_tried_again(follow: Callable[[Course], None]) -> None:
    """The write that lingers replaces the item that the mapping cannot hold by one that it can."""

    async def course(journal: Journal) -> None:
        ticket = await journal.enter([KEY])
        journal.mark_unsettled([KEY], 5.0, "dsql")
        journal.release(ticket)
        journal.park(await journal.next(), "it cannot be held")
        async with asyncio.timeout(6.0):
            journal.park(await journal.next(), "it cannot be held")
        assert journal.parked.reason_of(KEY) == "it cannot be held"

    follow(course)


def test_what_lingers_is_remembered_while_the_disk_is_full(follow: Callable[[Course], None]) -> None:
    async def course(journal: Journal) -> None:
        database = journal._file._database
        journal._file._database = cast("sqlite3.Connection", FullDisk(database))
        ticket = await journal.enter([KEY])
        journal.mark_unsettled([KEY], 5.0, "dsql")
        journal.release(ticket)
        journal.mark_converged(await journal.next())
        assert journal.holds(KEY)
        journal._file._database = database
        await journal.depth()
        while asyncio.get_running_loop().time() < 5.0:
            journal.mark_converged(await journal.next())
        assert not journal.holds(KEY)

    follow(course)


def test_who_gives_up_entering_does_not_take_others_along(follow: Callable[[Course], None]) -> None:
    """Entries of one turn of the loop share a commit; a client that hangs up there must not cancel it."""

    async def course(journal: Journal) -> None:
        gives_up = asyncio.create_task(journal.enter([KEY]))
        stays = asyncio.create_task(journal.enter([KEY]))
        while journal._commit._committed is None:  # noqa: ASYNC110  # it is set by the other's first step
            await asyncio.sleep(0)
        gives_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gives_up
        journal.release(await stays)
        journal.mark_converged(await journal.next())
        assert not journal.holds(KEY)

    follow(course)


def test_waiting_for_a_hot_key_leaves_nothing_behind(follow: Callable[[Course], None]) -> None:
    """A key that never leaves had a waiter more for every comparison that gave up waiting."""

    async def course(journal: Journal) -> None:
        ticket = await journal.enter([KEY])
        for _ in range(100):
            assert not await journal.wait_until_absent([KEY], 0.1)
        left = journal._active[KEY].departed
        assert left is not None
        assert not left._waiters
        journal.release(ticket)

    follow(course)


class SlowLine:
    """Over it what is posted is seen after a second, and what is read is a second old."""

    async def ask(self, effect: Callable[[], T], *, writes: bool, keys: object) -> T:
        if writes:
            await asyncio.sleep(1.0)
            return effect()
        found = effect()
        await asyncio.sleep(1.0)
        return found


def test_a_slow_board_does_not_hide_what_another_process_wrote(
    follow: Callable[[Course], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a question is about was counted from when it could be read, and not from when it was asked."""
    for limit in ("_ANSWER_SECONDS", "_CALL_SECONDS"):
        monkeypatch.setattr(f"proxy.shadow.comparison.peers.{limit}", 30.0)

    async def course(journal: Journal) -> None:
        loop = asyncio.get_running_loop()
        other = Journal(tmp_path / "other.sqlite", clock=lambda: 1e9 + loop.time())
        other.open(lingering={"dsql": 0.0})
        board = Board(cast("Line", SlowLine()), loop.time)
        asking, answering = Peers(board, journal, 30.0), Peers(board, other)

        async def answer() -> None:
            while True:
                await answering.poll()

        working = asyncio.create_task(answer())
        await asyncio.sleep(60.0)
        began = loop.time()
        other.release(await other.enter([KEY]))
        other.mark_converged(await other.next())
        await asyncio.sleep(0.3)
        assert list(await asking.recently_written([KEY, OTHER], loop.time() - began) or ()) == [KEY]
        assert list(await asking.recently_written([any_key_of("things")], loop.time() - began) or ()) == [
            any_key_of("things")
        ]
        await asyncio.sleep(60.0)
        assert await asking.recently_written([KEY, any_key_of("things")], 0.3) == frozenset()
        working.cancel()
        await asyncio.wait({working})
        other.close()

    follow(course)
