"""Participants and drivers on a virtual clock: what a move comes to, whoever dies, sleeps, owes or is out of reach."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from proxy.cutover.flip.active_move import MoveAborted, MoveCommitted, MoveProgress, read_state
from proxy.cutover.flip.coordinator import GateDecision
from proxy.cutover.flip.forget_process import forget
from proxy.cutover.flip.protocol import Phase, Vote
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import StageRow
from proxy.cutover.stages import Scope, Stage
from proxy.stores.errors import Refused, Unreachable
from tests.simulation.flip_scene import BILLIO, EPOCH, Proxy, Scene
from tests.simulation.line import Outage, Weather


async def history(scene: Scene) -> list[Any]:
    return list(await scene.table.history(10))


def test_a_move_is_made_and_back_again_and_everyone_has_followed() -> None:
    scene = Scene()

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(3)]
        end = await scene.move(Stage.LIVE, because="it is time")
        assert isinstance(end, MoveCommitted)
        assert end.epoch == 1
        assert 0 < end.held_ms < 250
        assert [proxy.floor.stage() for proxy in proxies] == [Stage.LIVE] * 3
        await scene.until(lambda: not any(proxy.floor.held for proxy in proxies), 0.2)
        assert all(proxy.floor.holds == 1 for proxy in proxies)
        assert scene.said[0].phase == Phase.ANNOUNCED
        assert {each.phase for each in scene.said} == set(Phase)
        assert {each.phase for said in scene.said for each in said.processes} >= {"announced", "ready", "drained"}
        back = await scene.move(Stage.SHADOW)
        assert isinstance(back, MoveCommitted)
        assert back.epoch == 2
        second, first = await history(scene)
        assert (first["from"], first["to"], first["outcome"], first["by"], first["because"], first["epoch"]) == (
            "shadow", "live", "moved", "me", "it is time", 1,
        )  # fmt: skip
        assert (second["to"], second["outcome"], second["epoch"]) == ("shadow", "moved", 2)
        assert 0 < first["held_ms"] < 250
        assert (await scene.table.state()).flip is None

    scene.run(main())


def test_nothing_is_held_where_the_authority_stays() -> None:
    scene = Scene()

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(2)]
        assert await scene.move(Stage.DUALWRITE) == MoveCommitted(1, 0)
        assert await scene.move(Stage.SHADOW, ramp=5.0) == MoveCommitted(2, 0)
        assert await scene.move(Stage.SHADOW, ramp=20.0) == MoveCommitted(3, 0)
        assert [proxy.floor.map.placements[BILLIO].ramp for proxy in proxies] == [20.0, 20.0]
        assert [proxy.floor.holds for proxy in proxies] == [0, 0]
        assert await scene.move(Stage.SHADOW, ramp=20.0) == MoveAborted(3, "billio is in shadow already")

    scene.run(main())


def test_it_waits_for_writes_that_began_under_the_old_stage() -> None:
    scene = Scene()

    async def main() -> None:
        proxy = await scene.proxy("p0")
        proxy.floor.old_writers = 1
        move = asyncio.ensure_future(scene.move(Stage.DUALWRITE))
        await scene.until(lambda: proxy.floor.stage() is Stage.DUALWRITE)
        await asyncio.sleep(3.0)
        assert not move.done()
        proxy.floor.old_writers = 0
        assert await move == MoveCommitted(1, 0)

    scene.run(main())


def test_a_move_of_one_type_leaves_the_others() -> None:
    scene = Scene()

    async def main() -> None:
        proxy = await scene.proxy("p0")
        assert isinstance(await scene.move(Stage.LIVE, scope=Scope("billio", "Book")), MoveCommitted)
        assert {str(scope) for scope in proxy.floor.map.placements} == {"billio/Book"}
        # The table's own move takes its types with it: back to where all of them are read from DynamoDB, it holds.
        assert isinstance(await scene.move(Stage.SHADOW), MoveCommitted)
        assert proxy.floor.holds == 2
        assert {str(scope) for scope in proxy.floor.map.placements} == {"billio"}

    scene.run(main())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"force": True}, "force needs a reason"),
        ({"ramp": 5.0}, "a ramp belongs to shadow"),
    ],
)
def test_what_makes_no_sense_is_not_announced(asked: dict[str, Any], said: str) -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        before = await scene.table.state()
        end = await scene.move(Stage.LIVE, **asked)
        assert isinstance(end, MoveAborted)
        assert said in end.reason
        assert (await scene.table.state()) == before

    scene.run(main())


def test_the_gate_is_asked_and_force_goes_past_it() -> None:
    scene = Scene()

    async def judge(move: MoveRequest) -> GateDecision:
        return GateDecision(("too few comparisons of Book",), {"comparisons": 3})

    async def main() -> None:
        await scene.proxy("p0")
        end = await scene.move(Stage.LIVE, driver=scene.driver(gate_check=judge))
        assert end == MoveAborted(0, "too few comparisons of Book")
        forced = scene.move(Stage.LIVE, driver=scene.driver(gate_check=judge), force=True, because="a rehearsal")
        assert isinstance(await forced, MoveCommitted)
        (entry,) = await history(scene)
        assert (entry["forced"], entry["because"], entry["gate"]) == (True, "a rehearsal", {"comparisons": 3})

    scene.run(main())


def test_a_dry_run_says_what_would_happen_and_changes_nothing() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        before = await scene.table.state()
        assert await scene.move(Stage.LIVE, dry_run=True) == MoveAborted(0, "this was a dry run")
        assert "new writes to it would be held" in scene.said[-1].text
        assert (await scene.table.state()) == before

    scene.run(main())


def test_of_two_moves_at_once_one_is_made() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        ends = await asyncio.gather(scene.move(Stage.LIVE), scene.move(Stage.LIVE, by="you"))
        assert sorted(type(end).__name__ for end in ends) == ["MoveAborted", "MoveCommitted"]
        assert (await scene.table.state()).epoch == 1

    scene.run(main())


def test_who_cannot_drain_in_time_ends_it_and_writes_go_on() -> None:
    scene = Scene()

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(2)]
        proxies[1].floor.keys = 7
        began = scene.loop.time()
        end = await scene.move(Stage.LIVE)
        assert isinstance(end, MoveAborted)
        assert "held for 2 s, waiting for p1 (0 writes in flight, 7 keys to converge)" in end.reason
        assert scene.loop.time() - began < 4.5
        await scene.until(lambda: not any(proxy.floor.held for proxy in proxies), 0.2)
        assert [proxy.floor.stage() for proxy in proxies] == [Stage.SHADOW] * 2
        (entry,) = await history(scene)
        assert (entry["outcome"], entry["reason"], entry["epoch"]) == ("kept", end.reason, 0)

    scene.run(main())


def test_nothing_is_held_while_a_write_may_yet_take_effect() -> None:
    scene = Scene()

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(2)]
        proxies[0].floor.lingering = 250.0
        end = await scene.move(Stage.LIVE)
        assert end == MoveAborted(0, "writes whose outcome is unknown may still take effect: try again in 250 s")
        proxies[0].floor.lingering, proxies[0].floor.parked = 0.0, 2
        end = await scene.move(Stage.LIVE)
        assert isinstance(end, MoveAborted)
        assert "2 keys are parked" in end.reason
        assert all(proxy.floor.holds == 0 for proxy in proxies)
        assert isinstance(await scene.move(Stage.LIVE, force=True, because="they are of no use"), MoveCommitted)

    scene.run(main())


def test_what_has_settled_is_said_soon() -> None:
    scene = Scene()

    async def main() -> None:
        proxy = await scene.proxy("p0")
        await asyncio.sleep(5.0)
        proxy.floor.lingering = 8.0
        move = asyncio.ensure_future(scene.move(Stage.LIVE))
        await asyncio.sleep(3.0)
        assert not move.done()
        proxy.floor.lingering = 0.0
        began = scene.loop.time()
        assert isinstance(await move, MoveCommitted)
        assert scene.loop.time() - began < 0.8

    scene.run(main())


def test_who_cannot_take_part_says_why() -> None:
    scene = Scene()

    async def main() -> None:
        proxy = await scene.proxy("p0")
        proxy.floor.refuses = "it has no DSQL"
        end = await scene.move(Stage.LIVE)
        assert isinstance(end, MoveAborted)
        assert end.reason.endswith("cannot take part: it has no DSQL")
        assert proxy.floor.holds == 0

    scene.run(main())


def test_settings_that_begin_differently_are_noticed() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        other = await scene.proxy("p1")
        other.participant._identity = replace(other.participant._identity, initial_stages="something else")
        await asyncio.sleep(5.0)
        end = await scene.move(Stage.LIVE)
        assert isinstance(end, MoveAborted)
        assert "begin with different stages" in end.reason

    scene.run(main())


# -- who dies or sleeps -----------------------------------------------------------------------------------------------


async def killed(scene: Scene, name: str, *, owing: bool) -> Proxy:
    proxy = await scene.proxy(name)
    if owing:
        await proxy.do(proxy.participant.lease.owe())
        proxy.floor.keys = 1
    await asyncio.sleep(5.0)
    proxy.kill()
    return proxy


def test_one_that_is_gone_and_owes_nothing_is_passed_over_and_swept_away() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        await killed(scene, "p1", owing=False)
        began = scene.loop.time()
        assert isinstance(await scene.move(Stage.LIVE), MoveCommitted)
        assert 12.0 < scene.loop.time() - began < 16.0
        assert [lease.process for lease in await scene.table.leases()] == ["p0"]
        (entry,) = await history(scene)
        assert entry["passed_over"] == ["p1"]

    scene.run(main())


def test_one_that_is_gone_and_owes_blocks_until_it_is_back() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        await killed(scene, "p1", owing=True)
        end = await scene.move(Stage.LIVE)
        assert isinstance(end, MoveAborted)
        assert "is gone and its journal may hold keys" in end.reason
        assert "crossfade stage forget p1" in end.reason
        # Where the authority stays it blocks nothing.
        assert isinstance(await scene.move(Stage.DUALWRITE), MoveCommitted)
        back = await scene.proxy("p1")
        assert back.participant.lease.owing
        assert isinstance(await scene.move(Stage.LIVE), MoveCommitted)

    scene.run(main())


def test_one_that_owes_is_forgotten_when_an_operator_says_so() -> None:
    scene = Scene()

    async def main() -> None:
        alive = await scene.proxy("p0")
        await killed(scene, "p1", owing=True)

        async def forgotten(process: str) -> MoveCommitted | MoveAborted:
            ends = [
                each
                async for each in forget(scene.table, process, by="me", because="its disk is gone", clocks=scene.clocks)
                if not isinstance(each, MoveProgress)
            ]
            return ends[-1]

        assert await forgotten("p2") == MoveAborted(0, "there is no process p2 in the stage table")
        refused = await forgotten("p0")
        assert isinstance(refused, MoveAborted)
        assert "p0 is alive" in refused.reason
        assert alive.participant.lease.valid
        assert await forgotten("p1") == MoveCommitted(0, 0)
        (entry,) = await history(scene)
        assert (entry["outcome"], entry["process"], entry["owed"], entry["because"]) == (
            "forgotten", "p1", True, "its disk is gone",
        )  # fmt: skip
        before = (await read_state(scene.table)).map
        assert (before.forgotten.count, before.forgotten.last_process) == (1, "p1")
        # One that owes nothing is missed by nobody.
        await killed(scene, "p3", owing=False)
        assert await forgotten("p3") == MoveCommitted(0, 0)
        assert (await read_state(scene.table)).map == before
        assert isinstance(await scene.move(Stage.LIVE), MoveCommitted)

    scene.run(main())


def test_what_was_judged_before_somebody_was_forgotten_is_judged_again() -> None:
    """Else a move that was prepared a moment earlier would pass over what the lost process owed."""
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        await killed(scene, "p1", owing=True)
        judged = (await read_state(scene.table)).map

        async def judge(_: MoveRequest) -> GateDecision:
            return GateDecision(stage_map=judged)

        async for _ in forget(scene.table, "p1", by="me", because="its disk is gone", clocks=scene.clocks):
            pass
        end = await scene.move(Stage.LIVE, driver=scene.driver(gate_check=judge), force=True, because="I will")
        assert isinstance(end, MoveAborted)
        assert "another change of the stages came first" in end.reason
        judged = (await read_state(scene.table)).map
        assert isinstance(await scene.move(Stage.LIVE, driver=scene.driver(gate_check=judge)), MoveCommitted)

    scene.run(main())


def test_one_that_was_forgotten_and_is_alive_has_lost_its_lease() -> None:
    scene = Scene()

    async def main() -> None:
        proxy = await scene.proxy("p0")
        await proxy.do(proxy.participant.lease.owe())
        term = proxy.participant.lease.term
        proxy.sleep(30.0)
        await asyncio.sleep(20.0)
        (lease,) = await scene.table.leases()
        assert await scene.table.delete_lease(lease)
        await asyncio.sleep(11.0)
        assert proxy.participant.lease.valid
        assert not proxy.participant.lease.holds(term)
        assert not proxy.participant.lease.owing

    scene.run(main())


def test_a_sleeper_is_not_waited_for_in_switched_longer_than_its_short_lease() -> None:
    scene = Scene()

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(2)]
        sleeper = proxies[1]
        term = sleeper.participant.lease.term
        move = asyncio.ensure_future(scene.move(Stage.LIVE))
        await scene.until(lambda: sleeper.participant._sent_vote[1] == Vote.DRAINED)
        sleeper.sleep(30.0)
        end = await move
        assert isinstance(end, MoveCommitted)
        assert 1000 < end.held_ms < 1600
        assert sleeper.floor.stage() is Stage.SHADOW
        assert not sleeper.participant.lease.holds(term)
        await scene.until(lambda: sleeper.participant.lease.valid)
        assert sleeper.floor.stage() is Stage.LIVE
        assert sleeper.floor.held is None
        assert not sleeper.participant.lease.holds(term)

    scene.run(main())


def test_a_sleeper_that_has_not_drained_ends_the_move() -> None:
    scene = Scene()

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(2)]
        proxies[1].floor.keys = 1
        move = asyncio.ensure_future(scene.move(Stage.LIVE))
        await scene.until(lambda: proxies[1].floor.held is not None)
        proxies[1].sleep(30.0)
        assert isinstance(await move, MoveAborted)
        await scene.until(lambda: proxies[0].floor.held is None, 0.2)
        await asyncio.sleep(31.0)
        assert proxies[1].floor.held is None
        assert (await scene.table.state()).epoch == 0

    scene.run(main())


@pytest.mark.parametrize("phase", list(Phase))
def test_a_driver_that_is_killed_leaves_nothing_held(phase: Phase) -> None:
    scene = Scene()

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(2)]
        if phase is Phase.HOLDING:
            proxies[0].floor.keys = 1
        elif phase is Phase.ANNOUNCED:
            proxies[0].floor.lingering = 5.0
        ghost = Proxy(scene, "ghost", scene.line, "ghost-1")
        proxies_at_it = scene.loop.create_task(scene.move(Stage.LIVE), context=ghost._context)

        def has_come() -> bool:
            return any(proxy.participant.flip and proxy.participant.flip.phase is phase for proxy in proxies)

        await scene.until(has_come)
        ghost.kill()
        began = scene.loop.time()
        await scene.until(lambda: all(proxy.participant.flip is None for proxy in proxies), 5.0)
        assert scene.loop.time() - began < 2.5
        assert all(proxy.floor.held is None for proxy in proxies)
        (entry,) = await history(scene)
        if phase is Phase.SWITCHED:
            assert [proxy.floor.stage() for proxy in proxies] == [Stage.LIVE] * 2
            assert (entry["outcome"], entry["epoch"]) == ("moved", 1)
        else:
            assert [proxy.floor.stage() for proxy in proxies] == [Stage.SHADOW] * 2
            assert (entry["outcome"], entry["reason"]) == ("kept", "its coordinator (driver) was gone")
        proxies_at_it.cancel()

    scene.run(main())


@pytest.mark.parametrize("seed", range(40))
def test_ctrl_c_at_any_moment_leaves_nothing_held(seed: int) -> None:
    scene = Scene(seed)

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(2)]
        move = asyncio.ensure_future(scene.move(Stage.LIVE))
        await asyncio.sleep(0.6 * scene.loop._random.random())
        move.cancel()
        interrupted = not move.done()
        with pytest.raises(asyncio.CancelledError) if interrupted else pytest.MonkeyPatch.context():
            await move
        await asyncio.sleep(0.3)
        state = await scene.table.state()
        assert state.flip is None
        assert all(proxy.floor.held is None for proxy in proxies)
        stage = Stage.LIVE if state.epoch else Stage.SHADOW
        assert [proxy.floor.stage() for proxy in proxies] == [stage] * 2
        if state.version > 1:
            (entry,) = await history(scene)
            assert entry["outcome"] == ("moved" if state.epoch else "kept")

    scene.run(main())


def test_one_that_comes_while_writes_are_held_holds_them_too() -> None:
    scene = Scene()

    async def main() -> None:
        first = await scene.proxy("p0")
        first.floor.writers = 1
        move = asyncio.ensure_future(scene.move(Stage.LIVE))
        await scene.until(lambda: first.floor.held is not None)
        second = await scene.proxy("p1")
        assert second.floor.held == BILLIO
        first.floor.writers = 0
        assert isinstance(await move, MoveCommitted)
        await scene.until(lambda: second.floor.held is None, 0.2)
        assert second.floor.stage() is Stage.LIVE

    scene.run(main())


def test_one_that_starts_goes_by_the_stages_of_the_others() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        assert isinstance(await scene.move(Stage.LIVE), MoveCommitted)
        assert (await scene.proxy("p1")).floor.stage() is Stage.LIVE

    scene.run(main())


# -- leases -----------------------------------------------------------------------------------------------------------


def test_who_cannot_reach_the_table_serves_until_its_lease_ends() -> None:
    scene = Scene()

    async def main() -> None:
        line = scene.way()
        proxy = await scene.proxy("p0", line)
        await asyncio.sleep(3.0)
        lease = proxy.participant.lease
        term = lease.term
        line._outages = (Outage(scene.loop.time(), scene.loop.time() + 60.0, False),)
        await asyncio.sleep(7.0)
        assert lease.holds(term)
        await asyncio.sleep(4.0)
        assert not lease.valid
        assert "cannot be read" in str(proxy.participant.problem)
        with pytest.raises(Unreachable):
            await lease.owe()
        line._outages = ()
        await scene.until(lambda: lease.valid, 2.0)
        assert "None" in str(proxy.participant.problem)
        assert not lease.holds(term)

    scene.run(main())


def test_it_owes_before_it_writes_and_no_longer_when_it_has_been_clean() -> None:
    scene = Scene()

    async def owes() -> bool:
        (lease,) = await scene.table.leases()
        return lease.owes

    async def main() -> None:
        proxy = await scene.proxy("p0")
        lease = proxy.participant.lease
        assert not await owes()
        began = scene.loop.time()
        await asyncio.gather(*(proxy.do(lease.owe()) for _ in range(5)))
        assert scene.loop.time() - began < 0.1
        assert await owes()
        proxy.floor.keys = 1
        await asyncio.sleep(60.0)
        assert lease.owing
        proxy.floor.keys = 0
        await asyncio.sleep(25.0)
        assert lease.owing
        await asyncio.sleep(15.0)
        assert not await owes()

    scene.run(main())


def test_one_that_leaves_clean_is_gone_and_one_that_does_not_is_known_to_owe() -> None:
    scene = Scene()

    async def main() -> None:
        clean, owing = [await scene.proxy(f"p{n}") for n in range(2)]
        owing.floor.keys = 3
        await clean.leave()
        await owing.leave()
        (lease,) = await scene.table.leases()
        assert (lease.process, lease.owes) == ("p1", True)
        assert not clean.participant.lease.valid
        assert not owing.participant.lease.valid
        await scene.proxy("p2")
        began = scene.loop.time()
        end = await scene.move(Stage.LIVE)
        assert isinstance(end, MoveAborted)
        assert "p1" in end.reason
        assert scene.loop.time() - began < 1.5

    scene.run(main())


def test_a_journal_that_was_copied_is_noticed() -> None:
    scene = Scene()

    async def main() -> None:
        first = await scene.proxy("p0")
        twin = await scene.proxy("p0")
        await asyncio.sleep(15.0)
        assert not first.participant.lease.valid
        assert twin.participant.lease.valid
        assert "give each process a journal of its own" in str(first.participant.problem)

    scene.run(main())


def test_a_table_that_was_replaced_is_not_believed() -> None:
    scene = Scene()

    async def main() -> None:
        proxy = await scene.proxy("p0")
        assert isinstance(await scene.move(Stage.LIVE), MoveCommitted)
        state = await scene.table.state()
        await scene.table.write_state(
            replace(state, version=state.version + 1, epoch=0, map={"epoch": 0, "placed": {}})
        )
        await asyncio.sleep(15.0)
        assert not proxy.participant.lease.valid
        assert proxy.floor.stage() is Stage.LIVE
        assert "was replaced" in str(proxy.participant.problem)

    scene.run(main())


def test_what_another_version_has_written_is_told() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.table.write_state(StageRow(1, 0, {"epoch": 0, "placed": {"billio": {"stage": "sideways"}}}))
        with pytest.raises(Refused, match="run one version"):
            await scene.proxy("p0")
        with pytest.raises(Refused, match="run one version"):
            await scene.move(Stage.LIVE)

    scene.run(main())


def test_at_rest_it_asks_little() -> None:
    scene = Scene()

    async def main() -> None:
        await scene.proxy("p0")
        await asyncio.sleep(5.0)
        scene.store.asked.clear()
        await asyncio.sleep(100.0)
        assert scene.store.asked.keys() == {"GetItem", "PutItem"}
        assert scene.store.asked["GetItem"] <= 101
        assert scene.store.asked["PutItem"] <= 41

    scene.run(main())


@pytest.mark.parametrize("seed", range(30))
def test_in_bad_weather_a_move_ends_one_way_or_the_other(seed: int) -> None:
    scene = Scene(seed)

    async def main() -> None:
        proxies = [await scene.proxy(f"p{n}") for n in range(3)]
        scene.line.weather = Weather(0.05, 4.0, refused=0.05, lost=0.03, cut=0.05, lingering=0.03, silent=0.02)
        for to in (Stage.LIVE, Stage.SHADOW, Stage.LIVE):
            try:
                end = await scene.move(to)
            except Unreachable:
                continue
            if isinstance(end, MoveCommitted):
                assert (await scene.table.state()).epoch == end.epoch
        scene.line.clear_up()
        await asyncio.sleep(16.0)
        state = await scene.table.state()
        assert state.flip is None
        assert all(proxy.participant.lease.valid for proxy in proxies)
        assert {proxy.floor.map.epoch for proxy in proxies} == {state.epoch}
        assert all(proxy.floor.held is None for proxy in proxies)
        ended = await scene.table.history(10)
        assert sum(entry["outcome"] == "moved" for entry in ended) == state.epoch
        assert all(entry["at"] >= EPOCH for entry in ended)

    scene.run(main())
