"""The floor: what is held, what is under way, and what a flip is told of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.cutover.flip.fencing import DrainStatus
from proxy.cutover.stages import Scope, Stage, StagePlacement, Stages
from proxy.dynamodb.schema import Key, TableSchema
from proxy.mapping.load import load
from proxy.settings import Settings
from proxy.shadow.journal.journal import Journal
from proxy.shadow.write_fence import WriteFence
from proxy.stores.errors import Unreachable
from proxy.stores.table_registry import Tables
from tests.standins.billio import HASH_KEY, TABLE

MAPPED = load(Path(__file__).parents[2] / "config" / "billio.toml")
BOOK, GAME = (Key(TABLE, f'{{"{HASH_KEY}":{{"S":"{name}:1"}}}}') for name in ("Book", "VideoGame"))
BOOKS, ALL = Scope(TABLE, "Book"), Scope(TABLE)


async def nowhere(_: str) -> TableSchema | None:
    return None


class Bench:
    def __init__(self, folder: Path) -> None:
        self.stages = Stages(Settings(), {TABLE: ["Book", "VideoGame"]})
        self.journal = Journal(folder / "journal.sqlite")
        self.journal.open({"dynamodb": 0.0, "dsql": 0.0})
        self.tables = Tables(nowhere, {TABLE: MAPPED})
        self.tables.learn(TableSchema(TABLE, HASH_KEY, None, {HASH_KEY: "S"}, {}))
        self.floor = WriteFence(self.stages, self.journal, self.tables, hold_seconds=0.05, can_mirror=True)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    here = Bench(tmp_path)
    yield here
    here.journal.close()


async def test_a_scope_holds_its_own_types_only(bench: Bench) -> None:
    floor = bench.floor
    floor.hold(BOOKS)
    assert floor.holds([(TABLE, "Book")])
    assert floor.holds([(TABLE, "VideoGame"), (TABLE, "Book")])
    assert not floor.holds([(TABLE, "VideoGame")])
    assert not floor.holds([("another", "Book")])
    floor.hold(ALL)
    assert floor.holds([(TABLE, "VideoGame")])
    floor.release()
    assert not floor.holds([(TABLE, "Book")])


async def test_a_held_write_goes_on_when_released_and_is_refused_when_that_takes_too_long(bench: Bench) -> None:
    floor = bench.floor
    floor.hold(ALL)
    waiting = asyncio.ensure_future(floor.wait())
    await asyncio.sleep(0)
    floor.release()
    await waiting
    floor.hold(ALL)
    with pytest.raises(Unreachable) as refused:
        await floor.wait()
    assert refused.value.reason == "held"


async def test_what_is_under_way_and_what_is_in_the_journal_stand_in_the_way(bench: Bench) -> None:
    floor = bench.floor
    assert floor.clean
    entry = floor.begin(((TABLE, "Book"),))
    ticket = await bench.journal.enter([BOOK, GAME])
    assert floor.drain(BOOKS) == DrainStatus(1, 1, 0.0, 0)
    assert floor.drain(ALL) == DrainStatus(1, 2, 0.0, 0)
    floor.end(entry)
    for work in bench.journal.release(ticket, claim=True):
        bench.journal.mark_converged(work)
    assert floor.drain(ALL).done
    assert floor.clean


async def test_what_was_not_decoded_may_be_in_any_scope(bench: Bench) -> None:
    entry = bench.floor.begin(())
    assert bench.floor.drain(BOOKS).writers == 1
    bench.floor.end(entry)
    assert bench.floor.drain(BOOKS).done


async def test_a_parked_key_is_told_apart(bench: Bench) -> None:
    (work,) = bench.journal.release(await bench.journal.enter([BOOK]), claim=True)
    bench.journal.park(work, "too long")
    assert bench.floor.drain(BOOKS) == DrainStatus(0, 0, 0.0, 1)
    assert not bench.floor.clean


async def test_what_may_land_on_either_store_stands_in_the_way(bench: Bench) -> None:
    bench.journal.mark_unsettled([BOOK], 60, "dynamodb")
    assert bench.floor.drain(ALL).lingering_seconds == pytest.approx(60, abs=30)
    assert not bench.floor.drain(ALL).done
    assert bench.floor.drain(Scope("another")).done


async def test_writes_that_began_under_earlier_stages_are_counted_until_they_end(bench: Bench) -> None:
    floor = bench.floor
    early = floor.begin(((TABLE, "Book"),))
    floor.adopt(bench.stages.map.with_move(BOOKS, StagePlacement(Stage.SHADOW)))
    late = floor.begin(((TABLE, "Book"),))
    assert floor.began_before(BOOKS) == 1
    assert floor.began_before(Scope(TABLE, "VideoGame")) == 0
    floor.end(early)
    assert floor.began_before(BOOKS) == 0
    floor.end(late)


async def test_what_is_drained_stays_so(bench: Bench) -> None:
    """A comparison that ends while writes are held nominates nothing in the scope."""
    bench.floor.hold(BOOKS)
    await bench.floor.nominate([BOOK, GAME])
    assert bench.floor.drain(BOOKS).done
    assert bench.floor.drain(ALL).keys == 1


async def test_a_type_that_the_mapping_does_not_declare_cannot_be_moved(bench: Bench) -> None:
    assert bench.floor.problem(Scope(TABLE, "Bok"), Stage.LIVE) is not None
    assert bench.floor.problem(BOOKS, Stage.LIVE) is None
    without = WriteFence(bench.stages, bench.journal, bench.tables, hold_seconds=1, can_mirror=False)
    assert "no DSQL" in str(without.problem(ALL, Stage.SHADOW))
    assert without.problem(ALL, Stage.OFF) is None


async def test_what_may_land_on_the_store_that_one_leaves_does_not_hold_up_the_way_back(bench: Bench) -> None:
    """Live; DSQL's connections are cut at COMMIT again and again (J4). The key has converged and only settles."""
    floor, journal = bench.floor, bench.journal
    (claim,) = journal.release(await journal.enter([BOOK]), claim=True)
    assert floor.drain(ALL, "dynamodb").keys == 1
    journal.mark_unsettled([BOOK], 60, "dsql")
    journal.mark_converged(claim)
    assert not floor.drain(ALL, "dsql").done, "on the truth nothing may land"
    assert not floor.drain(ALL).done
    assert floor.drain(ALL, "dynamodb").done
    # A reader may have seen what landed since: once writes are held, the key converges again before all is drained.
    floor.hold(ALL)
    assert floor.drain(ALL, "dynamodb").keys == 1
    again = await asyncio.wait_for(journal.next(), 60)
    assert again.key == BOOK
    assert floor.drain(ALL, "dynamodb").keys == 1
    journal.mark_converged(again)
    assert floor.drain(ALL, "dynamodb") == DrainStatus(0, 0, 0.0, 0)
    assert journal.holds(BOOK), "it converges once more when it is settled"
    floor.release()
    # A later write has yet to converge, whatever an earlier one did.
    journal.release(await journal.enter([BOOK]))
    assert floor.drain(ALL, "dynamodb").keys == 1
