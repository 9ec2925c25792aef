"""The journal on a file of its own, with a clock that the test winds: what enters, what leaves, and what never may."""

import asyncio
import os
import resource
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.app.service import open_journal
from proxy.cutover.flip.clocks import steady_wall_clock
from proxy.dynamodb.schema import Key
from proxy.settings import JournalSettings, Mirror, Settings
from proxy.shadow.journal.entries import ClaimedKey
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.storage import JournalLocked
from tests.killed import end_as_killed

A, B = Key("t", '{"id":{"S":"a"}}'), Key("t", '{"id":{"S":"b"}}')


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A journal to open and to leave in the lurch, as kill -9 does."""

    path: Path
    clock: Clock = field(default_factory=Clock)

    def open(self, lingering: float = 0) -> tuple[Journal, int]:
        journal = Journal(self.path, clock=self.clock)
        return journal, journal.open({"dynamodb": 0.0, "dsql": lingering})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "deep" / "journal.sqlite")


@pytest.fixture
async def journal(bench: Bench) -> AsyncIterator[Journal]:
    opened, _ = bench.open()
    yield opened
    opened.close()


async def keys(journal: Journal) -> tuple[int, int]:
    depth = await journal.depth()
    return depth.keys, depth.parked


def degraded(journal: Journal) -> bool:
    return journal.degraded


async def taken(journal: Journal, seconds: float = 60) -> ClaimedKey:
    async with asyncio.timeout(seconds):
        return await journal.next()


async def nothing_is_due(journal: Journal) -> None:
    with pytest.raises(TimeoutError):
        await taken(journal, 0.2)


def in_file(path: Path) -> list[tuple[str, int, float, str | None]]:
    side = sqlite3.connect(path)
    try:
        return side.execute("SELECT key, generation, unsettled, parked FROM journal ORDER BY key").fetchall()
    finally:
        side.close()


async def test_a_key_is_in_the_file_before_its_write_is_sent(journal: Journal, bench: Bench) -> None:
    await journal.enter([A, B, A])
    assert [row[0] for row in in_file(bench.path)] == [A.text, B.text]


async def test_a_key_leaves_when_it_has_converged(journal: Journal) -> None:
    journal.release(await journal.enter([A]))
    journal.mark_converged(await taken(journal))
    assert await keys(journal) == (0, 0)
    assert not journal.holds(A)


async def test_no_key_is_converged_while_its_write_is_under_way(journal: Journal) -> None:
    entry = await journal.enter([A])
    await nothing_is_due(journal)
    journal.release(entry)
    assert (await taken(journal)).key == A


async def test_finishing_an_earlier_write_never_clears_a_later_one(journal: Journal) -> None:
    journal.release(await journal.enter([A]))
    first = await taken(journal)
    later = await journal.enter([A])
    assert journal.mark_converged(first) is None
    assert await keys(journal) == (1, 0)
    journal.release(later)
    journal.mark_converged(await taken(journal))
    assert await keys(journal) == (0, 0)


async def test_a_write_that_was_answered_while_its_key_converged_is_converged_after_it(journal: Journal) -> None:
    journal.release(await journal.enter([A]))
    first = await taken(journal)
    journal.release(await journal.enter([A]))
    await nothing_is_due(journal)  # one at a time
    journal.mark_converged(first)
    second = await taken(journal)
    assert second.generation > first.generation


async def test_a_write_that_overlaps_is_told_so(journal: Journal) -> None:
    one = await journal.enter([A])
    other = await journal.enter([A, B])
    assert (one.overlapped, other.overlapped) == (frozenset(), frozenset({A}))
    assert journal.has_later_write(one)
    assert not journal.has_later_write(other)
    assert journal.release(one, claim=True) == []
    assert [work.key for work in journal.release(other, claim=True)] == [A, B]


async def test_a_key_taken_while_it_stands_in_line_is_not_missed_there(journal: Journal) -> None:
    """A write may take for itself a key that an earlier one has put in line; the worker that comes to it passes on."""
    journal.release(await journal.enter([A]))
    (work,) = journal.release(await journal.enter([A]), claim=True)
    journal.mark_converged(work)
    journal.release(await journal.enter([B]))
    assert (await taken(journal)).key == B


async def test_a_key_that_is_always_written_converges_in_between(journal: Journal, bench: Bench) -> None:
    entry = await journal.enter([A])
    for _ in range(3):
        following = await journal.enter([A])
        journal.release(entry)
        entry = following
    await nothing_is_due(journal)
    bench.clock.now += 2
    following = await journal.enter([A])
    journal.release(entry)
    work = await taken(journal)
    assert journal.mark_converged(work) is None
    assert await keys(journal) == (1, 0)
    journal.release(following)


async def test_a_key_that_failed_comes_again_when_it_is_due(journal: Journal, bench: Bench) -> None:
    journal.release(await journal.enter([A]))
    journal.retry_later(await taken(journal), 5)
    await nothing_is_due(journal)
    assert journal.holds(A)
    bench.clock.now += 5
    assert (await taken(journal)).key == A


async def test_an_unknown_outcome_keeps_the_key_until_nothing_can_linger(journal: Journal, bench: Bench) -> None:
    entry = await journal.enter([A])
    journal.mark_unsettled([A], 60, "dsql")
    journal.release(entry)
    assert journal.mark_converged(await taken(journal)) is None
    await nothing_is_due(journal)
    assert await keys(journal) == (1, 0)
    bench.clock.now += 60
    assert journal.mark_converged(await taken(journal)) is not None
    assert await keys(journal) == (0, 0)


async def test_a_later_write_does_not_settle_an_unknown_outcome(journal: Journal, bench: Bench) -> None:
    entry = await journal.enter([A])
    journal.mark_unsettled([A], 60, "dsql")
    journal.release(entry)
    journal.mark_converged(await taken(journal))
    bench.clock.now += 10
    journal.release(await journal.enter([A]))
    assert journal.mark_converged(await taken(journal)) is None
    assert await keys(journal) == (1, 0)


async def test_a_parked_key_waits_for_its_next_write(journal: Journal, bench: Bench) -> None:
    journal.release(await journal.enter([A]))
    journal.park(await taken(journal), "too long")
    assert await keys(journal) == (0, 1)
    assert journal.parked.reason_of(A) == "too long"
    bench.clock.now += 10_000
    await nothing_is_due(journal)
    journal.release(await journal.enter([A]))
    assert await keys(journal) == (1, 0)
    assert journal.parked.reason_of(A) is None
    journal.mark_converged(await taken(journal))
    assert await keys(journal) == (0, 0)


async def test_parking_an_earlier_write_does_not_park_a_later_one(journal: Journal) -> None:
    journal.release(await journal.enter([A]))
    first = await taken(journal)
    journal.release(await journal.enter([A]))
    journal.park(first, "too long")
    assert await keys(journal) == (1, 0)
    assert (await taken(journal)).generation > first.generation


async def test_what_a_killed_process_left_is_converged_at_once_and_once_more(bench: Bench) -> None:
    killed, _ = bench.open()
    await killed.enter([A])  # its write is under way
    killed.release(await killed.enter([B]))
    killed.park(await taken(killed), "too long")
    end_as_killed(killed)
    bench.clock.now += 100
    journal, left = bench.open(lingering=60)
    assert left == 2
    first, again = await taken(journal), await taken(journal)
    assert {first.key, again.key} == {A, B}
    assert journal.mark_converged(again) is None
    assert await keys(journal) == (2, 0)  # none is parked: the mapping may be another now
    entry = await journal.enter([again.key])
    assert entry.overlapped  # what the killed process began may still land
    assert entry.generation > again.generation
    journal.close()


async def test_nobody_else_may_read_it(journal: Journal, bench: Bench) -> None:
    await journal.enter([A])
    files = [bench.path, *bench.path.parent.glob(f"{bench.path.name}-*")]
    assert len(files) > 1
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_only_one_process_may_have_it(journal: Journal, bench: Bench) -> None:
    with pytest.raises(JournalLocked, match="in use by another process; give each proxy a journal"):
        bench.open()


async def test_the_queue_setting_bounds_the_keys_in_memory(tmp_path: Path) -> None:
    settings = Settings(journal=JournalSettings(path=tmp_path / "journal.sqlite"), mirror=Mirror(queue=20))
    with open_journal(settings) as journal:
        many = [Key("t", f'{{"id":{{"N":"{number}"}}}}') for number in range(600)]
        for start in range(0, len(many), 50):
            journal.release(await journal.enter(many[start : start + 50]))
            assert len(journal._active) <= 20
        assert (await keys(journal))[0] == 600
        seen: set[Key] = set()
        while len(seen) < 600:
            claim = await taken(journal)
            assert len(journal._active) <= 20 + 1  # the claimed one is not in the queue
            seen.add(claim.key)
            journal.mark_converged(claim)
        assert seen == set(many)
        assert await keys(journal) == (0, 0)


async def test_keys_left_by_an_earlier_process_are_loaded_within_the_same_bound(bench: Bench) -> None:
    """Whatever else is being written at that moment, and so in memory."""
    before, _ = bench.open()
    left = [Key("t", f'{{"id":{{"N":"{number}"}}}}') for number in range(40)]
    before.release(await before.enter(left))
    end_as_killed(before)
    journal = Journal(bench.path, clock=bench.clock, queue_limit=5)
    journal.open({"dynamodb": 0.0, "dsql": 0.0})
    bench.clock.now += 1
    being_written = [Key("t", f'{{"id":{{"S":"{number}"}}}}') for number in range(30)]
    writing = await journal.enter(being_written)
    for _ in left:
        claim = await taken(journal)
        assert len(journal._active) <= 5 + 1 + len(being_written)
        journal.mark_converged(claim)
    journal.release(writing)
    for _ in being_written:
        journal.mark_converged(await taken(journal))
    assert await keys(journal) == (0, 0)
    journal.close()


async def test_waiting_for_keys_to_leave(journal: Journal, bench: Bench) -> None:
    journal.release(await journal.enter([A, B]))
    assert not await journal.wait_until_absent([A], 0.05)
    waiting = asyncio.create_task(journal.wait_until_absent([A, B], 60))
    journal.mark_converged(await taken(journal))
    journal.retry_later(await taken(journal), 1)
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.clock.now += 1
    journal.mark_converged(await taken(journal))
    assert await waiting


async def test_touched_remembers_what_has_left(journal: Journal) -> None:
    before = journal.sequence
    assert not journal.active_since(A, before)
    journal.release(await journal.enter([A]))
    assert journal.active_since(A, journal.sequence)
    journal.mark_converged(await taken(journal))
    assert journal.active_since(A, before)
    assert not journal.active_since(A, journal.sequence)
    assert not journal.active_since(B, before)


async def test_a_file_that_cannot_be_written_does_not_stop_writes(journal: Journal, bench: Bench) -> None:
    other = sqlite3.connect(bench.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    entry = await journal.enter([A])
    assert degraded(journal)
    assert journal.holds(A)
    journal.release(entry)
    work = await taken(journal)
    journal.retry_later(work, 0)  # it stands in memory only, and nowhere in line
    other.execute("ROLLBACK")
    other.close()
    assert await keys(journal) == (1, 0)
    assert not degraded(journal)
    assert (await taken(journal)).key == A


async def test_depth_counts_from_the_first_entry(journal: Journal, bench: Bench) -> None:
    journal.release(await journal.enter([A]))
    journal.retry_later(await taken(journal), 1)
    bench.clock.now += 30
    journal.release(await journal.enter([A]))
    assert (await journal.depth()).oldest_seconds == 30


async def test_what_may_land_is_told_for_each_table_and_store(journal: Journal, bench: Bench) -> None:
    journal.mark_unsettled([A], 60, "dsql")
    assert journal.lingering(A.table, "dsql") == pytest.approx(60)
    assert journal.lingering(A.table, "dynamodb") == 0.0
    assert journal.lingering("another", "dsql") == 0.0
    bench.clock.now += 61
    assert journal.lingering(A.table, "dsql") == 0.0


async def test_what_may_land_outlives_the_process(bench: Bench) -> None:
    killed, _ = bench.open()
    await killed.enter([A])
    killed.mark_unsettled([A], 600, "dynamodb")
    end_as_killed(killed)
    journal, left = bench.open(lingering=60)
    assert left == 1
    assert journal.lingering(A.table, "dynamodb") == pytest.approx(600)
    assert journal.lingering(A.table, "dsql") == pytest.approx(60)
    journal.close()


async def test_the_keys_of_a_table_are_those_in_the_file_and_those_on_their_way_to_it(journal: Journal) -> None:
    entry = await journal.enter([A])
    entering = asyncio.ensure_future(journal.enter([B]))
    await asyncio.sleep(0)
    assert dict(journal.keys_of(A.table, 10)) == {A: False, B: False}
    journal.release(await entering)
    (work,) = journal.release(entry, claim=True)
    journal.park(work, "too long")
    assert dict(journal.keys_of(A.table, 10))[A] is True


async def test_without_descriptors_the_journal_goes_on(journal: Journal) -> None:
    """Connections of clients may have taken all of them: what the journal needs is open."""
    await journal.enter([A])
    assert await keys(journal) == (1, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        await journal.enter([B])
        assert await keys(journal) == (2, 0)
        assert not journal.degraded
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- the machine's clock -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_the_journal_s_clock_does_not_step_with_the_machine_s(step: float) -> None:
    wall, elapsed = Clock(), Clock()
    clock = steady_wall_clock(wall, elapsed)
    began = clock()
    assert began == wall()
    wall.now += step
    elapsed.now += 5
    assert clock() == began + 5


@pytest.mark.parametrize("step", [-3600.0, -60.0, 3600.0])
async def test_a_clock_that_was_set_between_two_starts_delays_nothing(bench: Bench, step: float) -> None:
    """What the file says of the future waits no longer than a start makes it wait anyway."""
    journal, _ = bench.open(300.0)
    await journal.enqueue([A])
    claim = await taken(journal)
    journal.mark_unsettled([A], 300.0, "dsql")
    journal.retry_later(claim, 3600.0)
    journal.close()
    bench.clock.now += step
    journal, _ = bench.open(300.0)
    assert journal.lingering(A.table, "dsql") <= 300.0
    claim = await taken(journal)
    assert claim.key == A, "it is due at once"
    depth = await journal.depth()
    assert depth.oldest_seconds >= 0.0
    bench.clock.now += 7
    assert (await journal.depth()).oldest_seconds == pytest.approx(depth.oldest_seconds + 7)
    journal.retry_later(claim, 0.0)
    journal.close()
