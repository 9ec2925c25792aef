"""One proxy process: the real layer with its journal, composed by `proxy.app.compose_layer` over simulated stores.

It can be killed at any step, stopped as an operator stops it, started again on the same journal, and its disk can be
full. Requests come in as the wire would bring them, each in a task of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import pytest
import structlog

from proxy.app.compose_layer import ComposedLayer, compose_layer
from proxy.app.process import compose_process
from proxy.cutover.flip.clocks import Clocks
from proxy.cutover.flip.fencing import FenceControl
from proxy.cutover.flip.participant import Participant, ProcessIdentity
from proxy.cutover.stage_table import StageTable
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.metrics.registry import Metrics
from proxy.settings import DSQL, Admin, BreakerSettings, DynamoDB, JournalSettings, Mirror, Settings, Shutdown
from proxy.shadow.journal.journal import Journal
from proxy.stores.coalescer import Batching
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.table_registry import Tables
from proxy.verdicts import Verdict
from tests.killed import end_as_killed
from tests.simulation.composition import CoalescedDsql, hearing, simulated_stores
from tests.simulation.loop import OWNER, Loop
from tests.simulation.memory import Board
from tests.simulation.stores import Dsql, Dynamo
from tests.simulation.story import DSQL_SETTLE, DYNAMODB_SETTLE, Story

EPOCH: Final = 1_800_000_000.0
LEASE_SECONDS: Final = 2.0
_METRICS: Final = Metrics()
_HOLDS: Final = "SELECT parked FROM journal WHERE tab = ? AND key = ?"

Recorded = Callable[[Operation, Verdict, str], None]


class Gone(Exception):
    """The connection to the process was refused, or cut."""


class Process:
    """`recorded` is told every verdict. Time limits are a fifth of the defaults, to keep virtual days short."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        folder: Path,
        story: Story,
        dynamo: Dynamo,
        dsql: Dsql,
        board: Board,
        recorded: Recorded,
        stage_table: StageTable | None = None,
    ) -> None:
        self._loop = loop
        self._path = folder / f"{name}.sqlite"
        self._stage_table = stage_table
        self._story = story
        self._dynamo = dynamo
        self._dsql = dsql
        self._board = board
        self._recorded = recorded
        self.name = name
        self.run: Run | None = None

    async def start(self) -> None:
        shared = (self._dynamo, self._dsql, self._board, self._recorded, self._stage_table)
        self.run = Run(self._loop, self._path, self._story, *shared)
        await self.run.started

    async def stop(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            await run.stop()

    def kill(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            run.kill()

    def lose(self) -> None:
        """It is killed, and its disk is gone: who is started in its place has another journal, and so another name."""
        self.kill()
        self.name += "'"
        self._path = self._path.with_name(f"{self.name}.sqlite")

    def parked(self, key: Key) -> bool:
        return self._row(key, from_memory=False) is not None

    def holds(self, key: Key) -> bool:
        """Whether the key is in the journal, be it of a process that is dead."""
        if self.run is not None and not self.run.closed:
            return self.run.journal.holds(key)
        return self._row(key, from_memory=True) is not None

    def _row(self, key: Key, *, from_memory: bool) -> str | None:
        if not self._path.exists():
            return None
        side = sqlite3.connect(self._path)
        try:
            row = side.execute(_HOLDS, (key.table, key.text)).fetchone()
        finally:
            side.close()
        if row is None:
            return None
        return row[0] or ("" if from_memory else None)


class Run:
    """One life of a process, from its start to its end."""

    def __init__(
        self,
        loop: Loop,
        path: Path,
        story: Story,
        dynamo: Dynamo,
        dsql: Dsql,
        board: Board,
        recorded: Recorded,
        stage_table: StageTable | None = None,
    ) -> None:
        self.alive = True
        self.asleep_until = 0.0
        self.closed = False
        self._loop = loop
        self._context = contextvars.copy_context()
        self._context.run(OWNER.set, self)
        self._answers: dict[asyncio.Future[Outcome], None] = {}
        self._handlers: dict[asyncio.Task[None], None] = {}
        self._stopping = asyncio.Event()
        self.started: asyncio.Future[None] = loop.create_future()
        settings = settings_for(story, path)
        self.limit = settings.mirror.comparisons_queue
        self.journal = Journal(path, clock=lambda: EPOCH + loop.time(), restart_after=1)
        self._context.run(self.journal.open, {"dynamodb": DYNAMODB_SETTLE, "dsql": DSQL_SETTLE})

        def enlist(fence: FenceControl) -> Participant | None:
            return take_part(stage_table, loop, path.stem, fence) if stage_table is not None else None

        self.parts = compose(settings, self.journal, dynamo, dsql, board, recorded, enlist)
        self._process = compose_process(settings, _METRICS, self.parts)
        self._ended: asyncio.Future[None] = loop.create_future()
        self._main = loop.create_task(self._live(), name=f"live {path.stem}", context=self._context)

    async def _live(self) -> None:
        await self._process.open()
        self.started.set_result(None)
        await self._stopping.wait()
        if self._handlers:
            await asyncio.wait(list(self._handlers), timeout=1.0)
        for handler in list(self._handlers):
            handler.cancel()
        if self._handlers:
            await asyncio.wait(list(self._handlers))
        await self._process.close()
        self.journal.close()
        self.closed = True
        self._ended.set_result(None)

    async def stop(self) -> None:
        self._stopping.set()
        await self._ended

    def kill(self) -> None:
        """At once: no handler of an exception runs, what was committed to the journal is there, calls are cut."""
        self.alive = False
        self.closed = True
        end_as_killed(self.journal)
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(Gone())
        for waited in (self.started, self._ended):
            if not waited.done():
                waited.set_result(None)

    def request(self, action: str, body: bytes, request_id: str) -> tuple[asyncio.Future[Outcome], asyncio.Task[None]]:
        """The answer to come, and the task to cancel where the client hangs up. Raises Gone."""
        if not self.alive or self._stopping.is_set() or not self.started.done():
            raise Gone
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        self._answers[answer] = None
        answer.add_done_callback(self._answers.pop)

        async def handle() -> None:
            try:
                outcome = await self.parts.layer.execute(action, body, request_id)
            except BaseException as error:
                if not answer.done():
                    answer.set_exception(Gone() if isinstance(error, asyncio.CancelledError) else error)
                if isinstance(error, asyncio.CancelledError):
                    raise
                return
            if not answer.done():
                answer.set_result(outcome)

        task = self._loop.create_task(handle(), name=request_id, context=self._context)
        self._handlers[task] = None
        task.add_done_callback(lambda ended: self._handlers.pop(ended, None))
        return answer, task

    def fill_disk(self) -> None:
        journal = self.journal
        if not isinstance(journal._file._database, FullDisk):
            journal._file._database = cast("sqlite3.Connection", FullDisk(journal._file._database))

    def free_disk(self) -> None:
        full: Any = self.journal._file._database
        if isinstance(full, FullDisk):
            self.journal._file._database = full.database

    def at_rest(self) -> bool:
        """Whether nothing is left to converge."""
        journal = self.journal
        if journal._active or journal._changes.entered or journal._changes.departed:
            return False
        row = journal._file._database.execute("SELECT count(*) FROM journal WHERE parked IS NULL").fetchone()
        return bool(row[0] == 0)


class FullDisk:
    """A database on a full disk: it can be read."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        if not statement.lstrip().startswith("SELECT"):
            raise sqlite3.OperationalError("database or disk is full")
        return self.database.execute(statement, *parameters)

    def executemany(self, statement: str, rows: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")


def settings_for(story: Story, path: Path) -> Settings:
    return Settings(
        stage=story.stage,
        dynamodb=DynamoDB(timeout_seconds=1.5, settle_seconds=DYNAMODB_SETTLE),
        dsql=DSQL(dsn="postgresql://nobody@127.0.0.1:1/nothing", timeout_seconds=1.0, settle_seconds=DSQL_SETTLE),
        journal=JournalSettings(path),
        mirror=Mirror(
            concurrency=4,
            comparisons_queue=8,
            rehearse_timeout_seconds=1.0,
            alone=story.alone,
            breaker=BreakerSettings(failures=4, reset_seconds=1.0),
        ),
        shutdown=Shutdown(converge_seconds=1.0),
        admin=Admin(mismatches_kept=10),
    )


def take_part(table: StageTable, loop: Loop, name: str, fence: FenceControl) -> Participant:
    """As `proxy.cutover.compose`, with leases a fifth as long, on the virtual clock. `name` is that of the journal."""
    return Participant(
        table,
        fence,
        ProcessIdentity(name=name, incarnation=f"{name}-{loop.steps}"),
        lease_seconds=LEASE_SECONDS,
        poll_seconds=LEASE_SECONDS / 8,
        clocks=Clocks(elapsed=loop.time, wall=lambda: EPOCH + loop.time()),
    )


def compose(
    settings: Settings,
    journal: Journal,
    dynamo: Dynamo,
    dsql: Dsql,
    board: Board,
    recorded: Recorded,
    enlist: Callable[[FenceControl], Participant | None] = lambda _: None,
) -> ComposedLayer:
    """The layer over these stores. The journal is open."""
    # Groups of a few keys: with more, the few keys of a story would always be asked for together.
    batching = Batching(max_keys=3, wait_seconds=0.02, timeout_seconds=1.0)
    mirror = CoalescedDsql(dsql, batching)
    authority = DynamoDBStore(cast("DynamoDBClient", dynamo), settings.dynamodb.timeout_seconds, batching=batching)
    stores = simulated_stores(
        authority,
        mirror,
        dsql,
        Tables(authority.describe, {}),
        board,
        enlist=lambda fence, _: enlist(fence),
        loops=(*authority.loops, *mirror.loops),
    )
    return compose_layer(
        settings,
        _METRICS,
        stores,
        journal,
        hearing(lambda each: recorded(each.call.operation, each.verdict, each.call.request_id)),
    )


class Silence:
    """Takes the proxy's log while simulations run: nothing is printed, and faults that it swallowed are kept.

    And what it only does to be watched (gauges, checkpoints) it does rarely: each costs more than most of a simulation.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._before: dict[str, Any] = {}
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Silence:
        self._before = structlog.get_config()
        self._patch.setattr("proxy.app.process._GAUGE_SECONDS", 7.0)
        self._patch.setattr("proxy.shadow.journal.group_commit._SYNC_SECONDS", 11.0)
        structlog.configure(
            processors=[self._take],
            wrapper_class=structlog.make_filtering_bound_logger(40),
            cache_logger_on_first_use=False,
        )
        return self

    def __exit__(self, *_: object) -> None:
        structlog.configure(**self._before)
        self._patch.undo()

    def _take(self, _: Any, __: str, event: Any) -> Any:
        if str(event["event"]).startswith("fault"):
            self.faults.append(f"{event['event']}: {traceback.format_exc()}")
        raise structlog.DropEvent
