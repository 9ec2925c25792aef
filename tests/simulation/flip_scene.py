"""Processes that take part in moves, without a layer: the real participants, drivers and stage table on a virtual
clock, and floors on which writes and keys are only counted.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from proxy.cutover.flip.active_move import MoveAborted, MoveCommitted, MoveProgress
from proxy.cutover.flip.clocks import Clocks
from proxy.cutover.flip.coordinator import Coordinator
from proxy.cutover.flip.fencing import DrainStatus
from proxy.cutover.flip.participant import Participant, ProcessIdentity
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import Scope, Stage, StageMap, Stages
from proxy.settings import DSQL, Settings
from tests.simulation.line import Fate, Line, Weather
from tests.simulation.loop import OWNER, Loop
from tests.simulation.stage_memory import NAME, StageMemory

T = TypeVar("T")

EPOCH: Final = 1_800_000_000.0
DELAY: Final = 0.01
BILLIO: Final = Scope("billio")
_SETTINGS: Final = Settings(stage="shadow", dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/nothing"))


@dataclass(slots=True)
class CountingFloor:
    """`writers`, `keys`, `lingering` and `parked` are what a test says they are."""

    writers: int = 0
    keys: int = 0
    lingering: float = 0.0
    parked: int = 0
    old_writers: int = 0
    refuses: str | None = None
    held: Scope | None = None
    map: StageMap = field(default_factory=StageMap)
    holds: int = 0

    def hold(self, scope: Scope) -> None:
        self.held = scope
        self.holds += 1

    def drain(self, scope: Scope, authority: str | None = None) -> DrainStatus:
        return DrainStatus(self.writers, self.keys, self.lingering, self.parked)

    def adopt(self, new: StageMap) -> None:
        self.map = new

    def release(self) -> None:
        self.held = None

    def began_before(self, scope: Scope) -> int:
        return self.old_writers

    def problem(self, scope: Scope, to: Stage) -> str | None:
        return self.refuses

    @property
    def clean(self) -> bool:
        return not self.writers and not self.keys

    def stage(self) -> Stage:
        placed = self.map.placements.get(BILLIO)
        return placed.stage if placed is not None else Stage.SHADOW


class Proxy:
    """One process: it can be killed, and put to sleep."""

    def __init__(self, scene: Scene, name: str, line: Line, life: str) -> None:
        self.alive = True
        self.asleep_until = 0.0
        self.name = name
        self.floor = CountingFloor()
        self.participant = Participant(
            StageTable(scene.store.by(line), NAME),
            self.floor,
            ProcessIdentity(name=name, initial_stages="dynamodb", incarnation=life),
            clocks=scene.clocks,
        )
        self._scene = scene
        self._context = contextvars.copy_context()
        self._context.run(OWNER.set, self)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.do(self.participant.join())
        self._running = self._scene.loop.create_task(self.participant.run(), context=self._context)

    async def leave(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self.do(self.participant.leave())

    def kill(self) -> None:
        self.alive = False

    def sleep(self, seconds: float) -> None:
        self.asleep_until = self._scene.loop.time() + seconds

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in this process."""
        task: asyncio.Task[T] = self._scene.loop.create_task(work, context=self._context)
        return await task


class Scene:
    """`line` can be given other weather in the middle of things."""

    def __init__(self, seed: int = 1, delay: float = DELAY) -> None:
        self.loop = Loop(seed)
        self.clocks = Clocks(elapsed=self.loop.time, wall=lambda: EPOCH + self.loop.time())
        self.failed: list[Fate] = []
        self._delay = delay
        self._chance = random.Random(seed)
        self.line = self.way()
        self.store = StageMemory(self.loop.time)
        self.table = StageTable(self.store.by(None), NAME)
        self.said: list[MoveProgress] = []
        self._lives = 0

    def way(self) -> Line:
        return Line(self.loop, self._chance, Weather(self._delay, 4.0), (), lambda _, fate: self.failed.append(fate))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        try:
            result = self.loop.run(main)
            assert not self.loop.faults, self.loop.faults
            return result
        finally:
            self.loop.bury()

    async def proxy(self, name: str, line: Line | None = None) -> Proxy:
        self._lives += 1
        proxy = Proxy(self, name, line or self.line, f"{name}-{self._lives}")
        await proxy.start()
        return proxy

    def driver(self, line: Line | None = None, **options: Any) -> Coordinator:
        return Coordinator(
            StageTable(self.store.by(line or self.line), NAME),
            Stages(_SETTINGS, {"billio": ("Book", "Feature")}),
            clocks=self.clocks,
            name="driver",
            new_id=lambda: f"f{self._chance.randrange(1 << 40)}",
            **options,
        )

    async def move(
        self, to: Stage, *, driver: Coordinator | None = None, **options: Any
    ) -> MoveCommitted | MoveAborted:
        """Make a move, keep what is said on the way, and give its end."""
        move = MoveRequest(options.pop("scope", BILLIO), to, options.pop("by", "me"), **options)
        async for each in (driver or self.driver()).move(move):
            if not isinstance(each, MoveProgress):
                return each
            self.said.append(each)
        raise AssertionError("it ended without a word")

    async def until(self, true: Callable[[], bool], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
