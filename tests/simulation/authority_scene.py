"""Processes that watch DSQL's record of the authority and take part in moves, on a virtual clock.

The real watches, participants, coordinator and stage table; the record is in memory, with the conditions of its
statements. Looked at after each change of either: where the record says nothing of a move it says what the stage table
does, so that at no moment two stores can be taken for the truth.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

from proxy.cutover.authority.beliefs import WatchedTables
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.flip.active_move import MoveCommitted
from proxy.cutover.flip.clocks import Clocks
from proxy.cutover.flip.coordinator import Coordinator
from proxy.cutover.flip.participant import Participant, ProcessIdentity
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import Stage, Stages
from proxy.settings import DSQL, Settings
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord, RecordedMove, RecordedScope
from proxy.stores.errors import StoreError, UnknownOutcome
from tests.simulation.flip_scene import BILLIO, EPOCH, CountingFloor
from tests.simulation.line import Line, Weather
from tests.simulation.loop import OWNER, Loop
from tests.simulation.stage_memory import NAME, StageMemory

T = TypeVar("T")

LEASE_SECONDS: Final = 2.0
_LIMIT_SECONDS: Final = 1.0
_SETTINGS: Final = Settings(stage="shadow", dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/nothing"))
_TYPES: Final = {"billio": ("Book", "Feature")}


class RecordMemory:
    """The table, and what its statements do. `changed` is called after each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.record = AuthorityRecord()
        self._changed = changed

    def claim(self, record: AuthorityRecord) -> None:
        if self.record.installation is None:
            self._put(replace(record, scopes=self.record.scopes))

    def declare(self, record: AuthorityRecord) -> None:
        self._put(replace(self.record, scopes={**record.scopes, **self.record.scopes}))

    def announce(self, scope: str, held: str, move: RecordedMove) -> None:
        at = self.record.scopes.get(scope) or RecordedScope(authority=held)
        if at.moving is None and at.epoch < move.epoch:
            self.set(scope, replace(at, moving=move))

    def finish(self, scope: str, move: RecordedMove) -> None:
        at = self.record.scopes.get(scope)
        if at is not None and at.moving == move:
            self.set(scope, RecordedScope(authority=move.authority, epoch=move.epoch, mapping=move.mapping))

    def withdraw(self, scope: str, move: RecordedMove) -> None:
        at = self.record.scopes.get(scope)
        if at is not None and at.moving == move:
            self.set(scope, replace(at, moving=None))

    def set_mapping(self, record: AuthorityRecord, scope: str, mapping: str) -> None:
        at, held = self.record.scopes[scope], record.scopes[scope]
        if at.moving is None and (at.mapping, at.epoch) == (held.mapping, held.epoch):
            self.set(scope, replace(at, mapping=mapping))

    def advance(self, pulse: int) -> None:
        if self.record.pulse < pulse:
            self._put(replace(self.record, pulse=pulse))

    def set(self, scope: str, to: RecordedScope) -> None:
        self._put(replace(self.record, scopes={**self.record.scopes, scope: to}))

    def _put(self, record: AuthorityRecord) -> None:
        self.record = record
        self._changed()


class Records:
    """`AuthorityRecords` over a line."""

    def __init__(self, memory: RecordMemory, line: Line) -> None:
        self._memory = memory
        self._line = line

    async def read(self) -> AuthorityRecord:
        return await self._ask(lambda: self._memory.record, writes=False)

    async def claim(self, record: AuthorityRecord, by: str) -> None:
        await self._ask(lambda: self._memory.claim(record))

    async def join(self, installation: str, stage_table: str, by: str) -> None:
        raise AssertionError("no stages are pinned here")

    async def declare(self, record: AuthorityRecord, by: str) -> None:
        await self._ask(lambda: self._memory.declare(record))

    async def set_mapping(self, record: AuthorityRecord, scope: str, mapping: str, by: str) -> None:
        await self._ask(lambda: self._memory.set_mapping(record, scope, mapping))

    async def announce(self, installation: str, scope: str, held: str, move: RecordedMove, by: str) -> None:
        await self._ask(lambda: self._memory.announce(scope, held, move))

    async def finish(self, installation: str, scope: str, move: RecordedMove, by: str) -> None:
        await self._ask(lambda: self._memory.finish(scope, move))

    async def withdraw(self, installation: str, scope: str, move: RecordedMove, by: str) -> None:
        await self._ask(lambda: self._memory.withdraw(scope, move))

    async def advance(self, installation: str, pulse: int) -> None:
        await self._ask(lambda: self._memory.advance(pulse))

    async def replace(self, record: AuthorityRecord, by: str, because: str) -> None:
        raise AssertionError("nobody takes over here")

    async def attend(self, process: str, *, at_work: bool) -> None:
        raise AssertionError("no stages are pinned here")

    async def depart(self, process: str) -> None:
        raise AssertionError("no stages are pinned here")

    async def repin(self, record: AuthorityRecord, scope: str, authority: str, by: str) -> None:
        raise AssertionError("no stages are pinned here")

    async def _ask(self, effect: Callable[[], T], *, writes: bool = True) -> T:
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                return await self._line.ask(effect, writes=writes, keys=())
        except TimeoutError:
            raise UnknownOutcome("timeout") from None


class WatchingProcess:
    """One process: its participant and its watch. It can be killed, and put to sleep."""

    def __init__(self, world: AuthorityWorld, name: str, life: int, dsql: Line) -> None:
        self.alive = True
        self.asleep_until = 0.0
        self.name = name
        table = StageTable(world.stages.by(world.dynamodb), NAME)
        self.watch = AuthorityWatch(
            Records(world.records, dsql),
            table,
            Stages(_SETTINGS, _TYPES),
            WatchedTables(names=lambda: ("billio",), digest_of=lambda _: "m1", find=_found),
            process=name,
            lease_seconds=LEASE_SECONDS,
            clock=world.loop.time,
            identify=lambda: f"i{world.chance.randrange(1 << 40)}",
        )
        self.participant = Participant(
            table,
            CountingFloor(),
            ProcessIdentity(name=name, initial_stages="shadow", incarnation=f"{name}-{life}"),
            lease_seconds=LEASE_SECONDS,
            clocks=world.clocks,
            recorder=self.watch,
        )
        self._loop = world.loop
        self._nap: Callable[[], float] = lambda: world.chance.uniform(0.0, 0.3)
        self._context = contextvars.copy_context()
        self._context.run(OWNER.set, self)

    def start(self) -> None:
        self._loop.create_task(self._live(), context=self._context)

    def look_on(self) -> None:
        """Look again and again."""
        self._loop.create_task(self._look_on(), context=self._context)

    async def _look_on(self) -> None:
        while True:
            await self.watch.look()
            await asyncio.sleep(self._nap())

    async def _live(self) -> None:
        with suppress(StoreError):
            await self.participant.join()
        running = asyncio.get_running_loop().create_task(self.participant.run())
        await self.watch.look()
        while not running.done():
            await self.watch.watch()


async def _found(_: str) -> None:
    return None


class AuthorityWorld:
    """One simulation of `moves` moves there and back: coordinators die, processes die and sleep, calls are lost."""

    def __init__(self, seed: int, *, processes: int = 3, moves: int = 6, onlookers: int = 2) -> None:
        """`onlookers` watch and take no part in moves, as the function does that takes a stream's batches."""
        self.chance = random.Random(seed)
        self.loop = Loop(seed)
        self.clocks = Clocks(elapsed=self.loop.time, wall=lambda: EPOCH + self.loop.time())
        self.dynamodb, self._near = self._line(), self._line()
        # Between an onlooker's looks at the two stores a whole move may go by.
        self._far = self._line(delay=2.0)
        self.stages = StageMemory(self.loop.time, changed=lambda _, __: self._look())
        self.records = RecordMemory(self._look)
        self.violated: str | None = None
        self.committed = 0
        self._moves = moves
        self._lives = 0
        self._processes = [self._begin(f"p{n}") for n in range(processes)]
        self._onlookers = [WatchingProcess(self, f"o{n}", n, self._far) for n in range(onlookers)]

    def run(self) -> str | None:
        """Return what was violated; None if nothing was."""
        try:
            self.loop.run(self._main())
        finally:
            self.loop.bury()
        return self.violated or (f"fault: {self.loop.faults[0]}" if self.loop.faults else None)

    def _line(self, delay: float = 0.05) -> Line:
        share = self.chance.choice((0.0, 0.02, 0.05))
        weather = Weather(delay, 4.0, refused=share, lost=share, cut=share, lingering=share, silent=share / 2)
        return Line(self.loop, self.chance, weather, (), lambda _, __: None)

    def _begin(self, name: str) -> WatchingProcess:
        self._lives += 1
        return WatchingProcess(self, name, self._lives, self._near)

    async def _main(self) -> None:
        for each in self._processes:
            each.start()
        for each in self._onlookers:
            each.look_on()
        accidents = self.loop.create_task(self._accidents())
        watching = self.loop.create_task(self._watching())
        await asyncio.sleep(3)
        stage = Stage.SHADOW
        for _ in range(self._moves):
            wanted = Stage.LIVE if stage is Stage.SHADOW else Stage.SHADOW
            if await self._move(wanted):
                stage = wanted
                self.committed += 1
            await asyncio.sleep(self.chance.uniform(0, 4))
            stage = self._authority()[1]
        accidents.cancel()
        self.dynamodb.clear_up()
        self._near.clear_up()
        self._far.clear_up()
        await asyncio.sleep(30)
        watching.cancel()
        self._at_rest()

    async def _move(self, to: Stage) -> bool:
        """Whether it was committed, for all that its coordinator says: some die in the middle."""
        mortal = _Mortal()
        context = contextvars.copy_context()
        context.run(OWNER.set, mortal)
        ended = self.loop.create_future()
        self.loop.create_task(self._drive(to, ended), context=context)
        done, _ = await asyncio.wait([ended], timeout=self._patience())
        if not done:
            mortal.alive = False
            return False
        return bool(ended.result())

    def _patience(self) -> float:
        """How long a coordinator lives."""
        return self.chance.choice((30.0, 30.0, self.chance.uniform(0.05, 1.5)))

    async def _drive(self, to: Stage, ended: asyncio.Future[bool]) -> None:
        coordinator = Coordinator(
            StageTable(self.stages.by(self.dynamodb), NAME),
            Stages(_SETTINGS, _TYPES),
            lease_seconds=LEASE_SECONDS,
            clocks=self.clocks,
            name="driver",
            new_id=lambda: f"f{self.chance.randrange(1 << 40)}",
        )
        moved = False
        with suppress(StoreError):
            async for event in coordinator.move(MoveRequest(BILLIO, to, "me")):
                moved = isinstance(event, MoveCommitted)
        ended.set_result(moved)

    async def _accidents(self) -> None:
        """Kill a process and start it again, or put it to sleep, now and then."""
        while True:
            await asyncio.sleep(self.chance.uniform(1, 6))
            n = self.chance.randrange(len(self._processes))
            if self.chance.random() < 0.5:
                self._processes[n].asleep_until = self.loop.time() + self.chance.uniform(0.2, 5)
                continue
            self._processes[n].alive = False
            await asyncio.sleep(self.chance.uniform(0, 2))
            self._processes[n] = self._begin(self._processes[n].name)
            self._processes[n].start()

    async def _watching(self) -> None:
        """No process of the installation is ever refused by the record of its own moves."""
        while True:
            await asyncio.sleep(0.05)
            for each in (process for process in (*self._processes, *self._onlookers) if process.alive):
                for sentence in each.watch.problems():
                    if "has not been read yet" not in sentence:
                        self._violate(f"{each.name} is refused: {sentence}")

    # -- what must hold -----------------------------------------------------------------------------------------------

    def _authority(self) -> tuple[str, Stage]:
        placed = self.stages.state.map.placements.get(BILLIO)
        stage = placed.stage if placed is not None else Stage.SHADOW
        return stage.authority, stage

    def _look(self) -> None:
        found = self.records.record.scopes.get("billio")
        pairing = self.stages.state.map.pairing
        if found is None or found.moving is not None or (pairing is not None and pairing.unrecorded):
            return
        truth = self._authority()[0]
        if found.authority != truth:
            self._violate(f"DSQL says that {found.authority} is the truth, with no move under way; it is {truth}")

    def _at_rest(self) -> None:
        found = self.records.record.scopes.get("billio")
        pairing = self.stages.state.map.pairing
        if found is None or pairing is None:
            self._violate("nothing was ever recorded")
        elif found.moving is not None:
            self._violate("a move is on record for ever")
        elif found.epoch != pairing.flipped:
            self._violate(f"the record is of epoch {found.epoch}, the last flip of {pairing.flipped}")
        for each in self._processes:
            if each.alive and not each.watch.may_mirror("billio"):
                self._violate(f"{each.name} may write no mirror")

    def _violate(self, what: str) -> None:
        self.violated = self.violated or f"{self.loop.time():.3f}: {what}"


class DesertedWorld(AuthorityWorld):
    """An authority is moved while no process is there, and then moved back where `there_and_back`."""

    def __init__(self, seed: int, *, there_and_back: bool) -> None:
        super().__init__(seed, onlookers=0)
        self._there_and_back = there_and_back

    def _patience(self) -> float:
        return 30.0

    async def _main(self) -> None:
        for line in (self.dynamodb, self._near, self._far):
            line.clear_up()
        for each in self._processes:
            each.start()
        await asyncio.sleep(5)
        for each in self._processes:
            each.alive = False
        await asyncio.sleep(4 * LEASE_SECONDS)
        for stage in (Stage.LIVE, Stage.SHADOW) if self._there_and_back else (Stage.LIVE,):
            if not await self._move(stage):
                self._violate(f"not moved to {stage}")
        watching = self.loop.create_task(self._watching())
        self._processes = [self._begin("later")]
        self._processes[0].start()
        await asyncio.sleep(10)
        watching.cancel()
        self._at_rest()
        if self.stages.state.map.pairing is not None and self.stages.state.map.pairing.unrecorded:
            self._violate("nobody has caught up")


class _Mortal:
    """Whoever drives a move."""

    def __init__(self) -> None:
        self.alive = True
        self.asleep_until = 0.0
