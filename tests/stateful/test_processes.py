"""Two proxies over the same stores, and everything that can happen to them, in whatever order Hypothesis thinks of.

Clients write and read few keys at once; the mirror fails before and after it takes effect; calls to DynamoDB are cut;
transactions conflict; proxies are stopped, killed and started again in another stage; somebody writes past them. At
rest both stores hold the same and the journals are empty. No mismatch has been counted but for what was corrupted on
purpose, each corruption once, and for what somebody wrote past the proxies and no sweep had found yet.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.dynamodb.operations import WRITES, decode, parse_body
from proxy.dynamodb.schema import Key
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable
from tests.simulation.line import Weather
from tests.simulation.process import Silence
from tests.verdicts import traffic
from tests.verdicts.scenes import CORRUPTIONS
from tests.verdicts.tables import PAGES, SCHEMAS, page
from tests.verdicts.world import CALM, DSQL_SETTLE, Process, Stage, Told, World

NAMES: Final = ("1", "2", "3")
QUIET: Final = ("10", "11", "12")
# What is told of a key so long after it was written past the proxies, and mended, may still be about that.
_MEMORY_SECONDS: Final = 15.0

_FAILURES: Final[dict[str, StoreError]] = {
    "refused": Unreachable("connect"),
    "after it took effect": UnknownOutcome("timeout"),
    "conflict": Unreachable("occ"),
}
_WEATHERS: Final = {
    "calm": CALM,
    "cuts": Weather(0.01, DSQL_SETTLE, lost=0.1, cut=0.2, lingering=0.05),
    "refusals": Weather(0.01, DSQL_SETTLE, refused=0.3),
    "conflicts": Weather(0.005, DSQL_SETTLE, conflict=0.5),
    "slow": Weather(0.2, DSQL_SETTLE),
}


class Processes(RuleBasedStateMachine):
    """One world; each rule runs its loop on."""

    def __init__(self) -> None:
        super().__init__()
        self._silence = Silence()
        self._silence.__enter__()
        self._folder = tempfile.TemporaryDirectory()
        self._planted: list[tuple[Key, float]] = []
        # Keys written past the journals, each with when it was, and when it was mended.
        self._past: list[list[Any]] = []

    # -- the world -----------------------------------------------------------------------------------------------------

    @initialize(seed=st.integers(0, 2**32), eventual=st.sampled_from((0.0, 0.05)), index=st.sampled_from((0.0, 2.0)))
    def begin(self, seed: int, eventual: float, index: float) -> None:
        self.world = World(seed, Path(self._folder.name))
        self.world.authority.eventual, self.world.authority.index = eventual, index
        self.world.fill((PAGES.name, page("b", int(name), title={"S": "a"})) for name in QUIET)
        for process in self.world.processes:
            self._run(process.start())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.world.loop.run(work)

    async def _call(self, process: Process, action: str, request: dict[str, Any]) -> None:
        """A client that does not wait."""
        if action in WRITES and process.stage == "off":
            self._passed(decode(action, b"", request, SCHEMAS).keys)
        process.call(action, request)
        await asyncio.sleep(0)

    def _passed(self, keys: tuple[Key, ...]) -> None:
        self._past.extend([key, self.world.loop.time(), None] for key in keys)

    # -- what clients do -----------------------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1), writes=st.booleans(), table=st.sampled_from(sorted(SCHEMAS)), number=st.integers(1, 6))
    def clients(self, who: int, writes: bool, table: str, number: int) -> None:
        """Several at once."""
        for _ in range(number):
            asked = (traffic.write if writes else traffic.read)(self.world.chance, SCHEMAS[table], NAMES)
            self._run(self._call(self.world.processes[who], *asked))

    @rule(table=st.sampled_from(sorted(SCHEMAS)), number=st.integers(2, 12), gap=st.sampled_from((0.001, 0.02, 0.2)))
    def storm(self, table: str, number: int, gap: float) -> None:
        """Through both proxies."""

        async def story() -> None:
            for _ in range(number):
                asked = traffic.write if self.world.chance.random() < 0.6 else traffic.read
                process = self.world.chance.choice(self.world.processes)
                await self._call(process, *asked(self.world.chance, SCHEMAS[table], NAMES))
                await asyncio.sleep(gap * self.world.chance.random())

        self._run(story())

    @rule(seconds=st.sampled_from((0.001, 0.01, 0.1, 1.0, 6.0)))
    def time_passes(self, seconds: float) -> None:
        self._run(asyncio.sleep(seconds))

    @rule(table=st.sampled_from(sorted(SCHEMAS)), name=st.sampled_from(NAMES))
    def somebody_writes_past_them(self, table: str, name: str) -> None:
        item = traffic.item(self.world.chance, SCHEMAS[table], name)
        body = orjson.dumps({"TableName": table, "Item": item})
        operation = decode("PutItem", body, parse_body(body), SCHEMAS)
        self._passed(operation.keys)
        self.world.authority._do(operation, None)

    # -- what happens to them ------------------------------------------------------------------------------------------

    @rule(failure=st.sampled_from(sorted(_FAILURES)), times=st.integers(1, 6))
    def the_mirror_fails(self, failure: str, times: int) -> None:
        left = iter(range(times))
        self.world.mirror.failing = lambda _: _FAILURES[failure] if next(left, None) is not None else None

    @rule(store=st.integers(0, 1), weather=st.sampled_from(sorted(_WEATHERS)))
    def weather(self, store: int, weather: str) -> None:
        line = self.world.lines[store]
        line.weather = replace(_WEATHERS[weather], settle=line.weather.settle)

    @rule(who=st.integers(0, 1), killed=st.booleans(), stage=st.sampled_from(("off", "dualwrite", "shadow", "shadow")))
    def restart(self, who: int, killed: bool, stage: Stage) -> None:
        process = self.world.processes[who]
        if killed:
            process.kill()
        else:
            self._run(process.stop())
        process.stage = stage
        self._run(process.start())

    # -- what must hold ------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(QUIET), kind=st.sampled_from(sorted(CORRUPTIONS)), who=st.integers(0, 1))
    @precondition(lambda self: any(process.stage == "shadow" for process in self.world.processes))
    def a_corruption_is_found_once(self, name: str, kind: Any, who: int) -> None:
        self._rest()
        process = self.world.processes[who]
        if process.stage != "shadow":
            process = self.world.processes[1 - who]
        key = PAGES.key_of(traffic.key(PAGES, name))
        self.world.mirror.plant(key, CORRUPTIONS[kind](self.world.mirror.memory.rows[key]))
        self._planted.append((key, self.world.loop.time()))
        request = {"TableName": PAGES.name, "Key": traffic.key(PAGES, name)}
        for verdict in ("mismatch", "agreed"):
            told = self._run(self.world.said(process, "GetItem", request))
            assert told.verdict == verdict, told
            self._run(self.world.settle())

    @rule()
    def rest(self) -> None:
        self._rest()

    def _rest(self) -> None:
        """The weather clears, a sweep nominates what was written past the journals, and all converges."""
        world = self.world
        world.mirror.failing = lambda _: None
        for line in world.lines:
            line.weather = replace(CALM, settle=line.weather.settle)
        for process in world.processes:
            if process.stage == "off":
                self._run(process.stop())
                process.stage = "dualwrite"
                self._run(process.start())
        # Longer than any call of before may linger, and than an index may be late.
        self._run(asyncio.sleep(DSQL_SETTLE + 30))
        past = list(dict.fromkeys(key for key, _, mended in self._past if mended is None))
        self._run(world.processes[0].journal.enqueue(past))
        self._run(world.settle())
        for each in self._past:
            each[2] = each[2] or world.loop.time()
        assert world.unequal() == []
        for process in world.processes:
            depth = self._run(process.journal.depth())
            assert (depth.keys, depth.parked) == (0, 0)

    @invariant()
    def every_mismatch_is_one(self) -> None:
        if not hasattr(self, "world"):
            return
        found = [told for told in self.world.false if not self._excused(told)]
        assert len(found) <= len(self._planted), found
        for told, (key, at) in zip(found, self._planted, strict=False):
            assert [each.difference.key for each in told.judged] == [key.attributes] * len(told.judged), told
            assert told.at >= at

    def _excused(self, told: Told) -> bool:
        """Whether it is about what was written past the journals: the stores did differ, and nobody was to mend it."""
        about = [each.difference.key for each in told.judged]
        return any(
            since <= told.at <= (mended or told.at) + _MEMORY_SECONDS
            and any(named is None or named == key.attributes for named in about)
            for key, since, mended in self._past
        )

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self._rest()
                self.every_mismatch_is_one()
                for process in self.world.processes:
                    self._run(process.stop())
                assert self.world.loop.faults == []
            assert self._silence.faults == []
        finally:
            if hasattr(self, "world"):
                self.world.bury()
            self._silence.__exit__()
            self._folder.cleanup()


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
