"""Runs a story, and holds what happens against what must hold.

Looked at before every jump of the clock: two stores that differ on a key have that key in some journal, unless somebody
went past the proxy. When all is over: the stores are equal, the journals empty, nothing is left in memory, and every
corruption that was looked at was called a mismatch. At every answer: what was acknowledged is in the authority, and the
client waited for nothing but the authority. At every verdict: a mismatch had its cause.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.dynamodb.operations import WRITES, Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.shadow.journal.journal import Journal
from proxy.stores.errors import StoreError
from proxy.verdicts import Verdict
from tests.simulation.line import Fate, Line
from tests.simulation.loop import Loop, Stuck
from tests.simulation.memory import Board, Memory
from tests.simulation.process import Gone, Process, Silence
from tests.simulation.stores import Dsql, Dynamo
from tests.simulation.story import COUNTER, TABLE, Client, Event, Request, Step, Story, query, transact_get

DEFINITION: Final[dict[str, Any]] = {
    "TableName": TABLE,
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "group", "AttributeType": "S"},
        {"AttributeName": "at", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-group",
            "KeySchema": [
                {"AttributeName": "group", "KeyType": "HASH"},
                {"AttributeName": "at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}
SCHEMA: Final = TableSchema.from_description(DEFINITION)
FOLDER: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None
_REST_SECONDS: Final = 60.0


class Violated(Exception):
    """Something that must hold does not."""


@dataclass(slots=True)
class Asked:
    """A client's request under way, as its verdict will need it."""

    began: float
    keys: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """How a simulation ended. `violated` is None where all was well."""

    story: Story
    violated: str | None
    trace: list[tuple[Any, ...]] = field(repr=False)
    steps: int
    verdicts: Counter[str]

    @property
    def digest(self) -> str:
        return hashlib.blake2b(repr(self.trace).encode(), digest_size=8).hexdigest()

    def __str__(self) -> str:
        lines = [f"seed {self.story.seed}: {self.violated}", repr(self.story)]
        lines += [" ".join([f"{entry[0]:9.4f}", *map(str, entry[1:])]) for entry in self.trace]
        return "\n".join(lines)


class World:
    """One simulation."""

    def __init__(self, story: Story, folder: Path, silence: Silence, *, guarded: bool) -> None:
        self.story = story
        self._folder = folder
        self._silence = silence
        self._chance = random.Random(story.seed * 2 + 1)
        self._trace: list[tuple[Any, ...]] = []
        self._violations: list[str] = []
        self._tainted: set[str] = set()
        # What changed since the last look, and what differed then.
        self._changed: dict[str, None] = {}
        self._differing: dict[str, None] = {}
        self._untainted_at: dict[str, float] = {}
        self._asked: dict[str, Asked] = {}
        self._applied: set[tuple[str, str]] = set()
        self._added = 0
        self._added_perhaps = 0
        self.verdicts: Counter[str] = Counter()
        self._by_request: dict[str, list[Verdict]] = {}
        self.loop = Loop(story.seed, self._look)
        self._keys = {name: SCHEMA.key_of({"id": {"S": name}}) for name in (*story.keys, COUNTER)}
        self._names = {key.text: name for name, key in self._keys.items()}
        self.authority = Memory(self.loop.time, self._authority_changed)
        self.mirror = Memory(self.loop.time, self._mirror_changed)
        self._lines = (
            Line(self.loop, self._chance, story.dynamodb, story.dynamodb_outages, self._failed_on("dynamodb")),
            Line(self.loop, self._chance, story.dsql, story.dsql_outages, self._failed_on("dsql")),
        )
        self._dynamo = Dynamo(self._lines[0], self.authority, SCHEMA, self._chance, story.lag)
        self._dynamo.description = orjson.dumps({"Table": DEFINITION})
        self._dsql = Dsql(self._lines[1], self.mirror, SCHEMA, guarded=guarded, undone=self._undone)
        self._board = board = Board(self._lines[1], self.loop.time)
        self._processes = [
            Process(self.loop, f"p{n}", folder, story, self._dynamo, self._dsql, board, self._recorded)
            for n in range(story.processes)
        ]

    def run(self) -> Report:
        violated = None
        random.seed(self.story.seed)
        self._silence.faults.clear()
        try:
            self.loop.run(self._main())
            if self.loop.faults:
                violated = f"fault: {self.loop.faults[0]}"
        except (Violated, Stuck) as error:
            violated = f"{type(error).__name__}: {error}"
        finally:
            self._bury()
        return Report(self.story, violated, self._trace, self.loop.steps, self.verdicts)

    def _bury(self) -> None:
        """Forget tasks that will never end, without a word and without running them."""
        for process in self._processes:
            process.kill()
        self.loop.bury()

    # -- the course of events ------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        for process in self._processes:
            await process.start()
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(self.story.clients):
                group.create_task(self._client(number, client), name=f"client {number}")
            for event in self.story.events:
                group.create_task(self._event(event), name=f"event {event.what}")
        for line in self._lines:
            line.clear_up()
        self._note("all asked")
        await self._rest()
        self._check_counter()
        if self.story.stage == "shadow":
            await self._probe()
        for process in self._processes:
            await process.stop()
        self._note("stopped")

    async def _client(self, number: int, client: Client) -> None:
        process = self._processes[client.process]
        for n, step in enumerate(client.steps):
            await asyncio.sleep(step.pause)
            for attempt in range(step.retries + 1):
                if await self._ask(process, step, f"c{number}.{n}.{attempt}"):
                    break
                await asyncio.sleep(0.2)

    async def _ask(self, process: Process, step: Step, name: str) -> bool:
        """Gives whether there was an answer."""
        loop, adds = self.loop, step.request.get("UpdateExpression") == "ADD n :one SET #t = :t"
        self._note(name, process.name, step.action, _brief(step.request))
        counts = adds and step.request["Key"]["id"]["S"] == COUNTER
        began = loop.time()
        self._asked[name] = Asked(began, self._names_in(step.request))
        try:
            if process.run is None:
                raise Gone
            answer, task = process.run.request(step.action, orjson.dumps(step.request), name)
            if step.patience is not None:
                loop.call_later(step.patience, task.cancel)
            outcome = await answer
        except (Gone, StoreError) as error:
            self._note(name, type(error).__name__, error)
            self._added_perhaps += counts
            calm = self.story.dynamodb.calm and not self.story.dynamodb_outages
            if isinstance(error, StoreError) and calm:
                self._violate(f"{name} got {error!r} from an authority that is well")
            return False
        self._note(name, outcome.status, outcome.error_code or "")
        self._check_answer(name, step, outcome, loop.time() - began)
        if outcome.ok:
            self._added += counts
        return True

    async def _event(self, event: Event) -> None:
        await asyncio.sleep(event.at)
        process = self._processes[event.process]
        if event.what in ("kill", "stop"):
            await self._restart(process, event)
        elif event.what == "disk_full":
            if process.run is not None:
                self._note(process.name, "disk full")
                run = process.run
                run.fill_disk()
                await asyncio.sleep(event.lasts)
                run.free_disk()
                self._note(process.name, "disk free")
        else:
            memory = self.mirror if event.what == "corrupt" else self.authority
            self._taint(event.key)
            self._note(event.what, event.key, event.item)
            memory.put(self._keys[event.key], event.item)

    async def _restart(self, process: Process, event: Event) -> None:
        if process.run is None:
            return
        self._note(process.name, event.what)
        if event.what == "kill":
            process.run.free_disk()
            process.kill()
        else:
            await process.stop()
        self._note(process.name, "is down")
        await asyncio.sleep(event.lasts)
        await process.start()
        self._note(process.name, "is up")

    async def _rest(self) -> None:
        """Until all has settled."""
        until = self.loop.time() + _REST_SECONDS
        while not self._at_rest():
            if self.loop.time() > until:
                raise Violated(f"not at rest after {_REST_SECONDS:g} s: {self._unrest()}")
            await asyncio.sleep(0.5)
        for name, key in self._keys.items():
            if name not in self._tainted and not self._equal(key) and not self._cannot_be_held(key):
                raise Violated(f"{name} differs at rest")

    def _at_rest(self) -> bool:
        if any(count for line in self._lines for count in line.under_way.values()):
            return False
        for process in self._processes:
            run = process.run
            assert run is not None
            if not run.at_rest() or run.parts.background.running:
                return False
        return True

    def _unrest(self) -> str:
        """What is not at rest."""
        found = []
        for process in self._processes:
            run = process.run
            assert run is not None
            journal = run.journal
            rows = journal._file._database.execute(
                "SELECT key, generation, due, unsettled, parked FROM journal"
            ).fetchall()
            found.append(
                f"{process.name}: behind={run.parts.background.running} open={journal._active} "
                f"changes={journal._changes} rows={rows}"
            )
        return "; ".join(found)

    async def _probe(self) -> None:
        """Corrupt the mirror in the quiet, look through the proxy, and find it called a mismatch and mended."""
        for n, action in enumerate(self.story.probes):
            name = self._chance.choice(self.story.keys)
            key = self._keys[name]
            item = self.authority.rows.get(key)
            if any(process.holds(key) for process in self._processes) or self._dsql.image(key, item)[1]:
                continue
            if item is None:
                action = "GetItem"
            elif action == "Query" and not SCHEMA.in_index(SCHEMA.indexes["by-group"], item):
                action = "Scan"
            await asyncio.sleep(7.0)
            if name not in self._tainted:
                self._corrupt(key, item)
            if self._equal(key):
                continue
            group = "" if item is None else item.get("group", {}).get("S", "")
            request = _probe_request(action, name, group, n)
            who = self._chance.choice(self._processes)
            asked = f"probe.{n}"
            if not await self._ask(who, Step(0.0, action, request), asked):
                raise Violated(f"{asked} got no answer")
            await self._rest()
            told = self._by_request.get(asked, [])
            if told != [Verdict.MISMATCH]:
                raise Violated(f"{asked}: {name} was corrupt, and {action} was told {[str(v) for v in told]}")
            if not self._equal(key):
                raise Violated(f"{asked}: {name} was corrupt, and was not mended")

    def _corrupt(self, key: Key, item: Item | None) -> None:
        wrong: Item | None = {**(item or key.attributes), "token": {"S": "corrupt"}}
        if item is not None and self._chance.random() < 0.3:
            wrong = None
        self._taint(self._names[key.text])
        self._note("corrupt", self._names[key.text], wrong)
        self.mirror.put(key, wrong)

    # -- what must hold ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Before each jump of the clock."""
        if self._violations:
            raise Violated(self._violations[0])
        if self._silence.faults:
            raise Violated(self._silence.faults[0])
        for name in self._changed:
            if self._equal(self._keys[name]):
                self._differing.pop(name, None)
                if name in self._tainted:
                    self._tainted.discard(name)
                    self._untainted_at[name] = self.loop.time()
            else:
                self._differing[name] = None
        self._changed.clear()
        for name in self._differing:
            key = self._keys[name]
            if name not in self._tainted and not any(process.holds(key) for process in self._processes):
                raise Violated(f"{name} differs, and is in no journal: {self._both(key)}")
        for process in self._processes:
            run = process.run
            if run is not None and not run.closed:
                self._check_memory(process.name, run.journal, run.parts.background.running, run.limit)

    def _check_memory(self, name: str, journal: Journal, running: int, limit: int) -> None:
        most = len(self._keys)
        if len(journal._active) > most or len(journal._changes.entered) > most or len(journal._changes.departed) > most:
            raise Violated(f"{name}'s journal holds more keys than there are")
        if len(journal._ready._keys) > 2 * most:
            raise Violated(f"{name}'s queue has {len(journal._ready._keys)} places for {most} keys")
        if running > limit:
            raise Violated(f"{name} compares {running} at once")

    def _check_answer(self, name: str, step: Step, outcome: Outcome, waited: float) -> None:
        if self.story.dynamodb.calm and not self.story.dynamodb_outages:
            if waited > 2 * self.story.dynamodb.delay + 1e-6:
                self._violate(f"{name} waited {waited:.3f} s")
            if outcome.status >= 500:
                self._violate(f"{name} got {outcome.status}")
        if outcome.ok and step.action in WRITES:
            for key, token in _tokens(step.action, step.request):
                if (key, token) not in self._applied:
                    self._violate(f"{name} was acknowledged, and {token} never was in {key}")

    def _check_counter(self) -> None:
        item = self.authority.rows.get(self._keys[COUNTER])
        count = 0 if item is None else int(item["n"]["N"])
        if not self._added <= count <= self._added + self._added_perhaps:
            raise Violated(f"{self._added} additions acknowledged, {self._added_perhaps} perhaps, counted {count}")

    def _recorded(self, operation: Operation, verdict: Verdict, request_id: str) -> None:
        self._note(request_id, "verdict", verdict)
        self.verdicts[verdict] += 1
        self._by_request.setdefault(request_id, []).append(verdict)
        asked = self._asked[request_id]
        if verdict is not Verdict.MISMATCH or self._unseen(asked):
            return
        if not any(n in self._tainted or self._untainted_at.get(n, -1.0) >= asked.began for n in asked.keys):
            self._violate(f"{request_id} was told mismatch, and nobody had gone past the proxy")

    # -- small things --------------------------------------------------------------------------------------------------

    def _equal(self, key: Key) -> bool:
        return self.authority.rows.get(key) == self.mirror.rows.get(key)

    def _cannot_be_held(self, key: Key) -> bool:
        _, faults = self._dsql.image(key, self.authority.rows.get(key))
        return bool(faults) and any(process.parked(key) for process in self._processes)

    def _both(self, key: Key) -> str:
        return f"{_shown(self.authority.rows.get(key))} and {_shown(self.mirror.rows.get(key))}"

    def _names_in(self, request: Request) -> tuple[str, ...]:
        if "Key" in request:
            return (request["Key"]["id"]["S"],)
        if "Item" in request:
            return (request["Item"]["id"]["S"],)
        return tuple(self._keys)

    def _taint(self, name: str) -> None:
        self._tainted.add(name)

    def _violate(self, what: str) -> None:
        self._note("VIOLATED", what)
        self._violations.append(what)

    def _note(self, *parts: Any) -> None:
        self._trace.append((self.loop.time(), *parts))

    def _authority_changed(self, key: Key, item: Item | None) -> None:
        self._changed[self._names[key.text]] = None
        self._trace.append((self.loop.time(), "  dynamodb", self._names[key.text], _shown(item)))
        if item is not None and "token" in item:
            self._applied.add((self._names[key.text], item["token"]["S"]))

    def _mirror_changed(self, key: Key, item: Item | None) -> None:
        self._changed[self._names[key.text]] = None
        self._trace.append((self.loop.time(), "  dsql", self._names[key.text], _shown(item)))

    def _unseen(self, asked: Asked) -> bool:
        """Whether a process could not yet tell the others that it is there when this was asked, because it began
        without the mirror: then they cannot know that it writes. The one case in which a verdict may be wrong."""
        return not self.story.alone and any(
            process.run is not None and not self._board.shows(process.run.journal.identity, asked.began)
            for process in self._processes
        )

    def _undone(self, key: Key) -> None:
        self._violate(f"a write that was decided before undid what the mirror held for {self._names[key.text]}")

    def _failed_on(self, store: str) -> Any:
        def failed(keys: tuple[str, ...], fate: Fate) -> None:
            self._note("  fault", store, fate, *(self._names[key] for key in keys))

        return failed


def simulate(story: Story, silence: Silence, *, guarded: bool = True) -> Report:
    """Run a story to its end, in a folder that is gone afterwards; with a mirror that guards its rows, or does not."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        return World(story, Path(folder), silence, guarded=guarded).run()


def _probe_request(action: str, name: str, group: str, number: int) -> Request:
    if action == "GetItem":
        return {"TableName": TABLE, "Key": {"id": {"S": name}}}
    if action == "Query":
        return query(group)
    if action == "Scan":
        return {"TableName": TABLE}
    if action == "TransactGetItems":
        return transact_get((name,))
    return {
        "TableName": TABLE,
        "Key": {"id": {"S": name}},
        "UpdateExpression": "SET extra = :t",
        "ExpressionAttributeValues": {":t": {"S": f"probe.{number}"}},
    }


def _tokens(action: str, request: Request) -> list[tuple[str, str]]:
    """(key, token) of each item that a write leaves its token in."""
    if action == "PutItem":
        return [(request["Item"]["id"]["S"], request["Item"]["token"]["S"])]
    if action == "UpdateItem" and ":t" in request["ExpressionAttributeValues"] and "#t" in request["UpdateExpression"]:
        return [(request["Key"]["id"]["S"], request["ExpressionAttributeValues"][":t"]["S"])]
    if action == "BatchWriteItem":
        items = [entry["PutRequest"]["Item"] for entry in request["RequestItems"][TABLE]]
        return [(item["id"]["S"], item["token"]["S"]) for item in items]
    if action == "TransactWriteItems":
        parts = [part["Update"] for part in request["TransactItems"]]
        return [(part["Key"]["id"]["S"], part["ExpressionAttributeValues"][":t"]["S"]) for part in parts]
    return []


def _shown(item: Item | None) -> str:
    if item is None:
        return "nothing"
    return " ".join(f"{name}={next(iter(value.values()))!r}" for name, value in item.items() if name != "id")


def _brief(request: Request) -> str:
    kept = {name: value for name, value in request.items() if name not in ("TableName", "ExpressionAttributeNames")}
    return orjson.dumps(kept).decode()
