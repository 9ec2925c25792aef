"""Two stores and the processes over them, under a clock of their own: what becomes of every comparison, by its request.

A `Process` is the real layer, journal and all, composed as in production; it can be stopped, killed and started
again with other settings. A `World` is a function of its seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sqlite3
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import orjson

from proxy.app.compose_layer import ComposedLayer, compose_layer
from proxy.app.process import Process as LifeOfProcess
from proxy.app.process import compose_process
from proxy.dynamodb.item_writes import items_equal
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import TableMapping
from proxy.metrics.registry import Metrics
from proxy.settings import DSQL, Admin, CompareSettings, DynamoDB, JournalSettings, Settings, Shutdown
from proxy.settings import Mirror as MirrorSettings
from proxy.shadow.journal.journal import Journal as KeyJournal
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import StoreError
from proxy.stores.table_registry import Tables
from proxy.verdicts import JudgedDifference, Verdict
from tests.killed import end_as_killed
from tests.simulation.composition import hearing, simulated_stores
from tests.simulation.line import Line, Weather
from tests.simulation.loop import OWNER, Loop
from tests.simulation.memory import Board, Memory
from tests.verdicts.stores import MET, Authority, Met, Mirror
from tests.verdicts.tables import SCHEMAS, mapped

T = TypeVar("T")

Stage = Literal["off", "dualwrite", "shadow"]

_EPOCH: Final = 1_700_000_000.0
DYNAMODB_SETTLE: Final = 4.0
DSQL_SETTLE: Final = 8.0
CALM: Final = Weather(0.004, DSQL_SETTLE)


@dataclass(frozen=True, slots=True)
class Told:
    """One comparison's end: what was said of it, and of each difference."""

    request: str
    action: str
    verdict: Verdict
    judged: tuple[JudgedDifference, ...]
    reason: str | None
    at: float
    mirror: str = ""


@dataclass(slots=True)
class Life:
    """Whether a process lives; its callbacks end with it."""

    alive: bool = True
    asleep_until: float = 0.0


@dataclass(slots=True)
class Process:
    """One layer over the world's stores, with a journal of its own. `name` names its journal's file."""

    world: World
    name: str
    stage: Stage = "shadow"
    alone: bool = False
    messages: bool = False
    parts: ComposedLayer = field(init=False)
    journal: KeyJournal = field(init=False)
    metrics: Metrics = field(init=False)
    _life: Life = field(init=False, default_factory=Life)
    _process: LifeOfProcess = field(init=False)
    _stop: asyncio.Event = field(init=False)
    _main: asyncio.Task[None] = field(init=False)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._life = Life()
        context = copy_context()
        context.run(OWNER.set, self._life)
        self._stop = asyncio.Event()
        ready: asyncio.Future[None] = loop.create_future()
        self._main = loop.create_task(self._run(ready), context=context)
        await ready

    async def stop(self) -> None:
        """As SIGTERM does: what is under way ends, keys converge if they can."""
        self._stop.set()
        await self._main

    def kill(self) -> None:
        """As SIGKILL does: nothing of it ever runs again; its file stays."""
        self._life.alive = False
        end_as_killed(self.journal)

    @property
    def alive(self) -> bool:
        return self._life.alive

    def call(
        self, action: str, request: Mapping[str, Any], met: Met | None = None
    ) -> tuple[asyncio.Task[Outcome | None], str]:
        """One client's request: its outcome (None where the client got none), and the name by which it is told of."""
        context = copy_context()
        context.run(OWNER.set, self._life)
        context.run(MET.set, met)
        name = self.world.named(self, action)
        work = self._ask(action, orjson.dumps(request), name)
        return asyncio.get_running_loop().create_task(work, context=context), name

    async def _ask(self, action: str, body: bytes, name: str) -> Outcome | None:
        try:
            return await self.parts.layer.execute(action, body, name)
        except StoreError:
            return None

    async def _run(self, ready: asyncio.Future[None]) -> None:
        self._compose()
        await self._process.open()
        ready.set_result(None)
        await self._stop.wait()
        await self._process.close()
        self.journal.close()

    def _compose(self) -> None:
        world, metrics = self.world, Metrics()
        settings = Settings(
            stage=self.stage,
            dsql=DSQL(dsn="postgresql://nobody@127.0.0.1/nothing", settle_seconds=DSQL_SETTLE),
            dynamodb=DynamoDB(settle_seconds=DYNAMODB_SETTLE),
            journal=JournalSettings(path=world.folder / f"{self.name}.sqlite"),
            mirror=MirrorSettings(concurrency=4, alone=self.alone),
            compare=CompareSettings(messages=self.messages),
            shutdown=Shutdown(converge_seconds=10.0),
            admin=Admin(values=True),
        )
        authority = DynamoDBStore(world.authority, 30.0)  # type: ignore[arg-type]
        mappings = mapped()
        tables = Tables(authority.describe, mappings)
        for schema in SCHEMAS.values():
            tables.learn(schema)
        self.journal = KeyJournal(settings.journal.path, clock=lambda: _EPOCH + world.loop.time())
        self.journal.open({"dynamodb": DYNAMODB_SETTLE, "dsql": DSQL_SETTLE})
        stores = simulated_stores(authority, world.mirror, world.mirror, tables, world.board, mappings=mappings)
        self.parts = compose_layer(settings, metrics, stores, self.journal, hearing(self._hear))
        self._process = compose_process(settings, metrics, self.parts)
        self.metrics = metrics

    def _hear(self, record: VerdictRecord) -> None:
        call = record.call
        at = self.world.loop.time()
        action, mirror = call.operation.action, record.mirror
        self.world.hear(Told(call.request_id, action, record.verdict, record.judged, record.reason, at, mirror))


class World:
    """`processes` of them over one authority and one mirror."""

    def __init__(
        self, seed: int, folder: Path, *, processes: int = 2, weather: Weather = CALM, alone: bool = False
    ) -> None:
        random.seed(seed)  # the layer's own pauses are drawn from it
        self.chance = random.Random(seed)
        self.folder = folder
        self.loop = Loop(seed)
        self.told: list[Told] = []
        self.hears: Callable[[Told], None] = lambda _: None
        self._waiting: dict[str, asyncio.Future[Told]] = {}
        self.changed: dict[Key, float] = {}
        mappings: dict[str, TableMapping] = {}
        tables = Tables(_nowhere, mapped())
        for schema in SCHEMAS.values():
            mappings[schema.name] = tables.learn(schema).mapping

        def line(settle: float = DSQL_SETTLE) -> Line:
            return Line(self.loop, self.chance, replace(weather, settle=settle), (), lambda _, __: None)

        clock = self.loop.time
        self.lines = (line(DYNAMODB_SETTLE), line())
        self.authority = Authority(self.lines[0], Memory(clock, self._note), clock)
        self.mirror = Mirror(self.lines[1], Memory(clock, self._note), mappings.__getitem__)
        self.board = Board(line(), clock)
        self.processes = [Process(self, f"{n}", alone=alone) for n in range(processes)]
        self._count = itertools.count()

    def _note(self, key: Key, _: Item | None) -> None:
        self.changed[key] = self.loop.time()

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a story from the opening of the processes to their end."""

        async def whole() -> T:
            for process in self.processes:
                await process.start()
            try:
                return await story
            finally:
                for process in self.processes:
                    if process.alive:
                        await process.stop()

        result = self.loop.run(whole())
        assert not self.loop.faults, self.loop.faults
        return result

    def named(self, process: Process, action: str) -> str:
        return f"{process.name}.{next(self._count)}.{action}"

    def hear(self, told: Told) -> None:
        self.told.append(told)
        self.hears(told)
        if told.request in self._waiting:
            self._waiting.pop(told.request).set_result(told)

    async def said(self, process: Process, action: str, request: Mapping[str, Any], met: Met | None = None) -> Told:
        """What is said of one request."""
        task, name = process.call(action, request, met)
        told: asyncio.Future[Told] = self.loop.create_future()
        self._waiting[name] = told
        await task
        async with asyncio.timeout(60):
            return await asyncio.shield(told)

    @property
    def false(self) -> list[Told]:
        """What was called a mismatch."""
        return [told for told in self.told if told.verdict is Verdict.MISMATCH]

    def fill(self, items: Iterable[tuple[str, Item]]) -> None:
        """Items (table, item) that both stores hold, as after a migration."""
        for table, item in items:
            key = SCHEMAS[table].key_of(item)
            self.authority.memory.put(key, item)
            self.mirror.plant(key, self.mirror.image(key, item)[0])

    def unequal(self) -> list[Key]:
        """The keys for which the stores differ, though the mapping can hold the item."""
        one, other = self.authority.memory.rows, self.mirror.memory.rows
        images = {key: self.mirror.image(key, one.get(key)) for key in {*one, *other}}
        return [key for key, (image, faults) in images.items() if not faults and not items_equal(image, other.get(key))]

    def bury(self) -> None:
        """Forget the tasks of killed processes, without a word and without running them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # some had not even begun
            for task in self.loop.tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    with contextlib.suppress(RuntimeError, ValueError, sqlite3.Error):
                        task.get_coro().close()

    async def settle(self, seconds: float = 120.0) -> None:
        """Wait until no process compares anything and all journals are empty (parked keys not counted)."""
        async with asyncio.timeout(seconds):
            while any([await self._busy(process) for process in self.processes if process.alive]):  # noqa: ASYNC110
                await asyncio.sleep(0.25)

    async def _busy(self, process: Process) -> bool:
        return bool(process.parts.background.running or (await process.journal.depth()).keys)


async def _nowhere(_: str) -> None:
    return None
