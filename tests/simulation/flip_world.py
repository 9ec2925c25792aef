"""Runs a story of moving stages with the real layer, leases, drivers and journals, and holds it against what must hold.

Each write adds a token of its own to a set, and one to a count: so it can be seen at any moment which writes a store
holds, and at the end whether one was done twice. Before each jump of the clock: every write that was acknowledged is in
the store that is the authority. At each strongly consistent read: it shows every write that was acknowledged before the
read began, and everything that an earlier read had shown. At the end: the stores are equal, no journal holds a key, no
move is under way, every process serves, and the history tells as many moves as there were.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from proxy.cutover.flip.active_move import MoveAborted, MoveCommitted, MoveProgress
from proxy.cutover.flip.clocks import Clocks
from proxy.cutover.flip.coordinator import Coordinator, GateDecision
from proxy.cutover.flip.forget_process import forget
from proxy.cutover.gate import forgotten_writes as unswept
from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.evidence import LastSweep
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import DYNAMODB, Scope, Stages
from proxy.dynamodb.values import Item
from proxy.stores.dsql.system_tables.sweep_records import EQUAL, REPAIRED
from proxy.stores.errors import StoreError
from tests.simulation.flip_story import FlipStory, Moving, Trouble
from tests.simulation.line import Fate, Line, Outage
from tests.simulation.loop import OWNER, Loop, Stuck
from tests.simulation.memory import Board, Memory
from tests.simulation.process import EPOCH, LEASE_SECONDS, Gone, Process, Silence, settings_for
from tests.simulation.stage_memory import NAME, STATE, StageMemory
from tests.simulation.stores import Dsql, Dynamo
from tests.simulation.story import DSQL_SETTLE, TABLE
from tests.simulation.world import DEFINITION, FOLDER, SCHEMA, Violated

_SHELVED = 12
_REST_SECONDS = 90.0
_PATIENCE = 4.0
_HOLD_SECONDS = 1.0


@dataclass(slots=True)
class Report:
    """How it ended; `violated` is None where all was well."""

    story: FlipStory
    violated: str | None
    trace: list[str] = field(repr=False)
    counts: Counter[str]
    held_ms: list[int]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.story.base.seed}: {self.violated}", repr(self.story), *self.trace])


class _Command:
    """Somebody's command line: it can be killed."""

    def __init__(self) -> None:
        self.alive = True
        self.asleep_until = 0.0
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, self)


class FlipWorld:
    """One simulation."""

    def __init__(self, story: FlipStory, folder: Path, silence: Silence) -> None:
        base = story.base
        self._story = story
        self._silence = silence
        self._chance = random.Random(f"world {base.seed}")
        self._trace: list[str] = []
        self._counts: Counter[str] = Counter()
        self._held_ms: list[int] = []
        self._violations: list[str] = []
        self._dirty = True
        self._forgets = any(each.what == "forget" for each in story.troubles)
        self.loop = Loop(base.seed, self._look)
        changed = self._changed
        self._stores = {"dynamodb": Memory(self.loop.time, changed), "dsql": Memory(self.loop.time, changed)}
        self._keys = {name: SCHEMA.key_of({"id": {"S": name}}) for name in base.keys}
        self._acknowledged: dict[str, set[str]] = {name: set() for name in base.keys}
        self._shown: dict[str, set[str]] = {name: set() for name in base.keys}
        self._perhaps: dict[str, set[str]] = {name: set() for name in base.keys}
        self._lines = [
            Line(self.loop, self._chance, base.dynamodb, base.dynamodb_outages, self._failed),
            Line(self.loop, self._chance, base.dsql, base.dsql_outages, self._failed),
        ]
        dynamo = Dynamo(self._lines[0], self._stores["dynamodb"], SCHEMA, self._chance, base.lag)
        dynamo.description = orjson.dumps({"Table": DEFINITION})
        dsql = Dsql(self._lines[1], self._stores["dsql"], SCHEMA, guarded=True, undone=lambda _: None)
        board = Board(self._lines[1], self.loop.time)
        self._stages = StageMemory(self.loop.time, changed=changed)
        self._agreed = Stages(settings_for(base, Path("/nowhere")))
        # Both stores begin empty, and so equal: as a sweep of the era that lasts since the stage table was made says.
        self._swept = LastSweep(EPOCH, EQUAL, DYNAMODB, Basis())
        self._read_at = 0
        self._ways = [Line(self.loop, self._chance, story.stages, (), self._failed) for _ in range(base.processes)]
        self._ways.append(Line(self.loop, self._chance, story.driver or story.stages, (), self._failed))
        self._lines += self._ways
        self._processes = [
            Process(self.loop, f"p{n}", folder, base, dynamo, dsql, board, lambda *_: None, self._table(n))
            for n in range(base.processes)
        ]

    def run(self) -> Report:
        violated = None
        random.seed(self._story.base.seed)
        self._silence.faults.clear()
        try:
            self.loop.run(self._main())
            if self.loop.faults:
                violated = f"fault: {self.loop.faults[0]}"
        except (Violated, Stuck) as error:
            violated = f"{type(error).__name__}: {error}"
        finally:
            for process in self._processes:
                process.kill()
            self.loop.bury()
        return Report(self._story, violated, self._trace, self._counts, self._held_ms)

    def _table(self, n: int) -> StageTable:
        return StageTable(self._stages.by(self._ways[n]), NAME)

    # -- the course of events -----------------------------------------------------------------------------------------

    async def _main(self) -> None:
        story = self._story
        for process in self._processes:
            await process.start()
        async with asyncio.TaskGroup() as group:
            for n in range(story.writers):
                group.create_task(self._writer(n), name=f"writer {n}")
            for n in range(story.pagers):
                group.create_task(self._pager(), name=f"pager {n}")
            for n in range(story.readers):
                group.create_task(self._reader(), name=f"reader {n}")
            for trouble in story.troubles:
                group.create_task(self._trouble(trouble), name=trouble.what)
            if story.swept_at is not None:
                group.create_task(self._sweep_later(story.swept_at), name="sweep")
            group.create_task(self._operator(), name="operator")
        self._note("all asked")
        for line in self._lines:
            line.clear_up()
        await self._rest()
        self._check_end()
        for process in self._processes:
            await process.stop()
        left = await StageTable(self._stages.by(None), NAME).leases()
        if left:
            raise Violated(f"processes that have ended still stand in the stage table: {left}")

    async def _writer(self, number: int) -> None:
        count = 0
        await asyncio.sleep(self._story.begins)
        while self.loop.time() < self._story.ends:
            await self._pause()
            count += 1
            name, token = self._chance.choice(self._story.base.keys), f"w{number}.{count}"
            request = {
                "TableName": TABLE,
                "Key": {"id": {"S": name}},
                "UpdateExpression": "ADD tokens :t, n :one",
                "ExpressionAttributeValues": {":t": {"SS": [token]}, ":one": {"N": "1"}},
            }
            document = await self._ask("UpdateItem", request, token, name)
            if document is None:
                self._perhaps[name].add(token)
                continue
            self._acknowledged[name].add(token)
            self._counts["acknowledged"] += 1
            self._dirty = True
            self._check_acknowledged()

    async def _reader(self) -> None:
        count = 0
        await asyncio.sleep(self._story.begins)
        while self.loop.time() < self._story.ends:
            await self._pause()
            count += 1
            name = self._chance.choice(self._story.base.keys)
            expected = self._acknowledged[name] | self._shown[name]
            request = {"TableName": TABLE, "Key": {"id": {"S": name}}, "ConsistentRead": True}
            document = await self._ask("GetItem", request, f"r{count}", name)
            if document is None:
                continue
            found = _tokens(document.get("Item"))
            self._counts["read"] += 1
            if expected - found:
                self._violate(f"a read of {name} does not show {sorted(expected - found)}, which was there before")
            # Where an operator has forgotten a process that lives, what it had not acknowledged may come and go.
            if not self._forgets:
                self._shown[name] |= found

    async def _pager(self) -> None:
        """Sees each item once, whichever store a page comes from; others are written meanwhile."""
        names = [f"shelved {number:02}" for number in range(_SHELVED)]
        for item in ({"id": {"S": name}} for name in names):
            for store in self._stores.values():
                store.put(SCHEMA.key_of(item), item)
        await asyncio.sleep(self._story.begins)
        while self.loop.time() < self._story.ends:
            request: dict[str, Any] = {"TableName": TABLE, "Limit": self._chance.choice((1, 2, 5))}
            seen: list[str] = []
            more = True
            while more:
                await self._pause()
                page = await self._ask("Scan", request, "pager", "")
                if page is None:
                    continue
                found = [item["id"]["S"] for item in page["Items"]]
                seen += [name for name in found if name in names]
                more = "LastEvaluatedKey" in page
                if more:
                    # Some keep the cursor, and some make it from the last item.
                    kept = self._chance.random() < 0.5
                    request["ExclusiveStartKey"] = page["LastEvaluatedKey"] if kept else {"id": {"S": found[-1]}}
            self._counts["paged"] += 1
            if sorted(seen) != names:
                self._violate(f"pages showed {seen}")

    async def _pause(self) -> None:
        long = self._story.rests and self._chance.random() < 0.1
        seconds = self._story.rests if long else self._story.hurry
        await asyncio.sleep(2 * seconds * self._chance.random())

    async def _ask(self, action: str, request: dict[str, Any], name: str, key: str) -> dict[str, Any] | None:
        """The answer's document, None where there was none or it was an error."""
        process = self._chance.choice(self._processes)
        self._note(f"{name} asks {process.name} {action} {key}")
        try:
            if process.run is None:
                raise Gone
            answer, _ = process.run.request(action, orjson.dumps(request), name)
            # One who has given up does not look at it any more.
            answer.add_done_callback(lambda given: given.cancelled() or given.exception())
            async with asyncio.timeout(_PATIENCE):
                outcome = await asyncio.shield(answer)
        except (Gone, StoreError, TimeoutError) as error:
            self._note(f"{name} {error!r}")
            return None
        self._note(f"{name} {outcome.status} {outcome.error_code or ''}")
        return outcome.document if outcome.ok else None

    async def _trouble(self, trouble: Trouble) -> None:
        await asyncio.sleep(trouble.at)
        process = self._processes[trouble.process]
        run = process.run
        if run is None:
            return
        self._note(f"{process.name} {trouble.what} for {trouble.lasts:g} s")
        if trouble.what in ("kill", "stop"):
            if trouble.what == "kill":
                process.kill()
            else:
                await process.stop()
            await asyncio.sleep(trouble.lasts)
            await process.start()
            self._note(f"{process.name} is up")
        elif trouble.what == "lose":
            await self._lose(process, trouble.lasts)
        elif trouble.what == "cut":
            now = self.loop.time()
            self._ways[trouble.process]._outages = (Outage(now, now + trouble.lasts, self._chance.random() < 0.5),)
        else:
            run.asleep_until = self.loop.time() + trouble.lasts
            if trouble.what == "forget":
                await self._forget(process.name)

    async def _lose(self, process: Process, seconds: float) -> None:
        lost = process.name
        process.lose()
        await asyncio.sleep(seconds)
        await process.start()
        self._note(f"{process.name} is up in the place of {lost}")
        await self._forget(lost)

    async def _forget(self, name: str) -> None:
        """An operator takes a process for lost, forgets it, and sweeps after that. (One that only sleeps may write when
        it wakes up; what it had not acknowledged may then come and go.)"""
        table = StageTable(self._stages.by(None), NAME)
        clock = self.loop.time

        def wall() -> float:
            return EPOCH + clock()

        while True:
            end: MoveCommitted | MoveAborted | None = None
            async for each in forget(
                table,
                name,
                by="operator",
                because="lost",
                settle_seconds=DSQL_SETTLE,
                clocks=Clocks(elapsed=clock, wall=wall),
            ):
                end = None if isinstance(each, MoveProgress) else each
            self._note(f"forget {name}: {end}")
            if not isinstance(end, MoveAborted) or "is being moved" not in end.reason:
                break
            await asyncio.sleep(0.5)
        if not isinstance(end, MoveCommitted):
            return
        self._counts["forgotten"] += 1
        lost = self._stages.state.map.forgotten
        await asyncio.sleep(unswept.wait_seconds(lost, wall(), DSQL_SETTLE) + self._chance.random())
        self._sweep()

    async def _sweep_later(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self.loop.time()))
        self._sweep()

    def _sweep(self) -> None:
        authority = self._authority()
        truth, other = self._stores[authority], self._stores["dsql" if authority == DYNAMODB else "dynamodb"]
        for key in self._keys.values():
            if other.rows.get(key) != truth.rows.get(key):
                other.put(key, truth.rows.get(key))
        self._swept = LastSweep(EPOCH + self.loop.time(), REPAIRED, authority, Basis.of(self._agreed, TABLE, ""))
        self._note(f"swept by {authority}, era {self._agreed.era(TABLE).number}")

    async def _judge(self, move: MoveRequest) -> GateDecision:
        """Of the gate, what no force passes and a story can have."""
        stages = self._stages.state.map
        self._agreed.adopt(stages)
        at = self._agreed.stage_of(TABLE)
        why = unswept.missing_sweep_reason(TABLE, self._swept, {"": stages.era(TABLE)}, (), at, move.to)
        if why is not None:
            self._counts["not swept yet"] += 1
        return GateDecision((why,) if why is not None else (), stage_map=stages)

    async def _operator(self) -> None:
        for number, moving in enumerate(self._story.moves):
            await asyncio.sleep(max(0.0, moving.at - self.loop.time()))
            command = _Command()
            task = self.loop.create_task(self._move(number, moving), name=f"move {number}", context=command.context)
            limit = moving.killed_after or moving.interrupted_after
            _, waiting = await asyncio.wait([task], timeout=limit if limit is not None else 60.0)
            if not waiting:
                continue
            if moving.killed_after is not None:
                self._note(f"move {number} is killed")
                command.alive = False
                self._counts["driver killed"] += 1
            else:
                self._note(f"move {number} is interrupted")
                task.cancel()
                await asyncio.wait([task])

    async def _move(self, number: int, moving: Moving) -> None:
        settings = settings_for(self._story.base, Path("/nowhere"))
        driver = Coordinator(
            self._table(len(self._processes)),
            Stages(settings),
            lease_seconds=LEASE_SECONDS,
            hold_seconds=_HOLD_SECONDS,
            gate_check=self._judge,
            name="operator",
            clocks=Clocks(elapsed=self.loop.time, wall=lambda: EPOCH + self.loop.time()),
            new_id=lambda: f"f{number}",
        )
        try:
            async for each in driver.move(MoveRequest(Scope(TABLE), moving.to, "operator")):
                if isinstance(each, MoveProgress):
                    self._note(
                        f"move {number} {each.phase} {[(p.process, p.phase) for p in each.processes]} {each.text}"
                    )
                    continue
                self._note(f"move {number} to {moving.to}: {each}")
                self._counts["moved" if isinstance(each, MoveCommitted) else "kept"] += 1
                if isinstance(each, MoveCommitted) and each.held_ms:
                    self._held_ms.append(each.held_ms)
                self._check_end_of_move(each)
        except StoreError as error:
            self._note(f"move {number}: {error!r}")
            self._counts["unknown"] += 1

    async def _rest(self) -> None:
        until = self.loop.time() + _REST_SECONDS
        while not self._at_rest():
            if self.loop.time() > until:
                raise Violated(f"not at rest after {_REST_SECONDS:g} s: {self._unrest()}")
            await asyncio.sleep(0.5)

    def _at_rest(self) -> bool:
        if self._stages.state.flip is not None:
            return False
        return all(
            process.run is not None
            and process.run.at_rest()
            and not process.run.parts.background.running
            and process.run.parts.participant is not None
            and process.run.parts.participant.lease.valid
            and not process.run.parts.fence.held
            for process in self._processes
        )

    def _unrest(self) -> str:
        flip = self._stages.state.flip
        found = [f"flip {flip}"]
        for process in self._processes:
            run = process.run
            if run is None or run.parts.participant is None:
                found.append(f"{process.name} is down")
                continue
            found.append(
                f"{process.name}: lease {run.parts.participant.lease.valid} {run.parts.participant.problem}, "
                f"held {run.parts.fence.held}, behind {run.parts.background.running}, open {run.journal._active}"
            )
        return "; ".join(found)

    # -- what must hold -----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Before each jump of the clock."""
        if self._violations:
            raise Violated(self._violations[0])
        if self._silence.faults:
            raise Violated(self._silence.faults[0])
        if self._dirty:
            self._dirty = False
            self._check_acknowledged()

    def _violate(self, text: str) -> None:
        """Said before the next jump of the clock, and not in the task that saw it."""
        self._note(text)
        self._violations.append(text)

    def _authority(self) -> str:
        version = self._stages.memory.versions.get(STATE, 0)
        if version != self._read_at:
            self._read_at = version
            self._agreed.adopt(self._stages.state.map)
        return self._agreed.stage_of(TABLE).authority

    def _check_acknowledged(self) -> None:
        store = self._stores[self._authority()]
        for name, tokens in self._acknowledged.items():
            lost = tokens - _tokens(store.rows.get(self._keys[name]))
            if lost:
                self._violate(f"{name}: {sorted(lost)} were acknowledged, and are not in {self._authority()}")

    def _check_end_of_move(self, end: MoveCommitted | MoveAborted) -> None:
        if isinstance(end, MoveCommitted) and self._stages.state.map.epoch < end.epoch:
            self._violate(f"{end} was said, and the epoch is {self._stages.state.map.epoch}")

    def _check_end(self) -> None:
        self._look()
        dynamodb, dsql = self._stores["dynamodb"].rows, self._stores["dsql"].rows
        for name, key in self._keys.items():
            if dynamodb.get(key) != dsql.get(key) and self._agreed.stage_of(TABLE).mirrored:
                raise Violated(f"{name} differs at rest: {dynamodb.get(key)} and {dsql.get(key)}")
            item = self._stores[self._authority()].rows.get(key)
            tokens = _tokens(item)
            if tokens - self._acknowledged[name] - self._perhaps[name]:
                raise Violated(f"{name} holds what nobody wrote: {item}")
            if item is not None and int(item["n"]["N"]) != len(tokens):
                raise Violated(f"{name} was counted {item['n']['N']} times for {len(tokens)} writes")
        epoch = self._stages.state.map.epoch
        for process in self._processes:
            assert process.run is not None
            stages = process.run.parts.stages
            if stages.map.epoch != epoch:
                raise Violated(f"{process.name} goes by epoch {stages.map.epoch}, and it is {epoch}")
        moved = [row for key, row in self._stages.memory.rows.items() if row["scope"]["S"] == "history"]
        told = [orjson.loads(row["text"]["S"])["outcome"] for row in moved]
        if told.count("moved") != epoch:
            raise Violated(f"the history tells {told}, and the epoch is {epoch}")

    def _changed(self, _: object, __: Item | None) -> None:
        self._dirty = True

    def _failed(self, _: tuple[str, ...], fate: Fate) -> None:
        self._counts[fate] += 1

    def _note(self, text: str) -> None:
        self._trace.append(f"{self.loop.time():9.4f} {text}")


def _tokens(item: Item | None) -> set[str]:
    return set(item["tokens"]["SS"]) if item is not None and "tokens" in item else set()


def simulate(story: FlipStory, silence: Silence) -> Report:
    """Run a story to its end, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        return FlipWorld(story, Path(folder), silence).run()
