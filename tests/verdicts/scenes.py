"""Scenes whose truth is known: each makes a world from a seed, lets clients do things in it, and labels what was said.

In `heavy` the truth of a comparison is worked out from what happened beside it; in the others it is made on purpose.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proxy.dynamodb.operations import WRITES, decode
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.shadow.journal.key_activity import any_key_of
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable
from tests.simulation.line import Weather
from tests.verdicts import traffic
from tests.verdicts.matrix import PLANTED, Label, Matrix
from tests.verdicts.stores import Met
from tests.verdicts.tables import BILLIO, DECLARED, PAGES, SCHEMAS, book, book_key, page
from tests.verdicts.world import CALM, DSQL_SETTLE, Process, Told, World

STORMY: Final = Weather(0.004, DSQL_SETTLE, refused=0.01, lost=0.005, cut=0.01, lingering=0.003, conflict=0.01)


@dataclass(slots=True)
class _Watched:
    """A request on its way. `keys` are those it names; none for a page, which may be about any of the table."""

    table: str
    keys: frozenset[Key]
    started: float
    met: Met
    busy: bool

    def about(self, keys: frozenset[Key]) -> bool:
        return bool(self.keys & keys) if self.keys else any(key.table == self.table for key in keys)


@dataclass(slots=True)
class _Watch:
    """Labels what is said in a world with many writers."""

    world: World
    matrix: Matrix = field(default_factory=Matrix)
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _writes: list[tuple[float, str, frozenset[Key]]] = field(default_factory=list)

    def call(self, process: Process, action: str, request: dict[str, Any]) -> asyncio.Task[Any]:
        met, world = Met(), self.world
        operation = decode(action, b"", request, SCHEMAS)
        table = request.get("TableName") or operation.keys[0].table
        keys = frozenset(operation.keys)
        busy = any(self._held(process, table, keys) for process in world.processes if process.alive)
        task, name = process.call(action, request, met)
        self._watched[name] = _Watched(table, keys, world.loop.time(), met, busy)
        if action in WRITES:
            self._writes.append((world.loop.time(), name, keys))
        return task

    def _held(self, process: Process, table: str, keys: frozenset[Key]) -> bool:
        journal = process.journal
        return any(map(journal.holds, keys)) if keys else journal.active_since(any_key_of(table), journal.sequence)

    def hear(self, told: Told) -> None:
        watched = self._watched.pop(told.request)
        self.matrix.add(self._label(told, watched), told.verdict, f"{told} {watched}")

    def _label(self, told: Told, watched: _Watched) -> Label:
        if watched.met.failed:
            return Label.FAILED
        meanwhile = (
            name != told.request and at >= watched.started and watched.about(keys) for at, name, keys in self._writes
        )
        if watched.busy or any(meanwhile):
            return Label.RACE
        if watched.met.stale:
            return Label.STALE
        answers = watched.met.answers
        return Label.TIE if answers["authority"] != answers.get("mirror", answers["authority"]) else Label.SAME


def heavy_unasked(seed: int, folder: Path, calls: int = 250) -> Matrix:
    """The same, where each process holds itself to be alone."""
    return heavy(seed, folder, calls, alone=True)


def heavy(seed: int, folder: Path, calls: int = 250, *, alone: bool = False) -> Matrix:
    """Two or three processes, few keys, clients that write as fast as they can, and a DynamoDB that answers old."""
    chance = random.Random(seed)
    weather = STORMY if chance.random() < 0.2 else CALM
    world = World(seed, folder, processes=chance.choice((2, 2, 3)), weather=weather, alone=alone)
    world.authority.eventual = chance.choice((0.0, 0.02, 0.5))
    world.authority.index = chance.choice((0.0, 0.05, 4.0))
    schema, gap = chance.choice((BILLIO, PAGES)), chance.choice((0.004, 0.02, 0.1, 0.6))
    names = [str(n) for n in range(chance.choice((1, 2, 4, 12)))]
    writes = chance.uniform(0.2, 0.8)
    watch = _Watch(world)
    world.hears = watch.hear
    world.fill((schema.name, traffic.item(chance, schema, name)) for name in names)

    async def story() -> None:
        for _ in range(calls):
            asked = traffic.write if world.chance.random() < writes else traffic.read
            watch.call(world.chance.choice(world.processes), *asked(world.chance, schema, names))
            await asyncio.sleep(gap * world.chance.random() ** 2)
        await world.settle()

    world.run(story())
    assert not world.unequal(), world.unequal()
    return watch.matrix


# -- corruptions on purpose --------------------------------------------------------------------------------------------

Corrupt = Callable[[Item], Item | None]


def _changed(name: str, value: dict[str, Any]) -> Corrupt:
    return lambda item: {**item, name: value}


CORRUPTIONS: Final[dict[Label, Corrupt]] = {
    Label.MISSING_ROW: lambda _: None,
    Label.SCALAR: _changed("title", {"S": "another"}),
    Label.DIGIT: _changed("words", {"N": "7." + "0" * 29 + "1"}),
    Label.NESTED: _changed("deep", {"M": {"list": {"L": [{"N": "1"}, {"S": "y"}]}}}),
    Label.MEMBER: _changed("tags", {"SS": ["a", "c"]}),
    Label.TYPE: _changed("words", {"S": "7"}),
    Label.ORDER_KEY: _changed("at", {"N": "9"}),
}


def planted(seed: int, folder: Path, plants: int = 25) -> Matrix:
    """Rows of the mirror are changed behind everybody's back, while other rows of the table are written. Each is to be
    found by the one read that shows it, and mended by it."""
    chance = random.Random(seed)
    world = World(seed, folder, processes=2)
    matrix = Matrix()
    busy, quiet = ["100", "101", "102"], [str(n) for n in range(8)]
    world.fill((PAGES.name, page("b", int(n), words={"N": "7"}, title={"S": "a"})) for n in quiet)

    async def write_on(stop: asyncio.Event) -> None:
        while not stop.is_set():
            world.chance.choice(world.processes).call(*traffic.write(world.chance, PAGES, busy))
            await asyncio.sleep(0.2 * world.chance.random())

    async def story() -> None:
        stop = asyncio.Event()
        writing = asyncio.create_task(write_on(stop))
        for _ in range(plants):
            label = chance.choice(PLANTED)
            name = "50" if label is Label.EXTRA_ROW else chance.choice(quiet)
            key = PAGES.key_of(traffic.key(PAGES, name))
            row = world.mirror.memory.rows.get(key)
            world.mirror.plant(key, page("b", 50) if row is None else CORRUPTIONS[label](row))
            told = await world.said(chance.choice(world.processes), *_shows(chance, label, name))
            matrix.add(label, told.verdict, str(told))
            await asyncio.sleep(0.5)
            assert key not in world.unequal(), f"{label}: found, and not mended"
        stop.set()
        await writing
        await world.settle()

    world.run(story())
    assert not world.unequal()
    return matrix


def _shows(chance: random.Random, label: Label, name: str) -> traffic.Asked:
    """A read whose answers differ for a corruption."""
    key, table = traffic.key(PAGES, name), {"TableName": PAGES.name}
    kinds = ["GetItem", "BatchGetItem", "TransactGetItems", "Query", "Query by index", "Scan"]
    kind = chance.choice([*kinds, "Query COUNT"] if label in (Label.MISSING_ROW, Label.EXTRA_ROW) else kinds)
    if kind == "GetItem":
        return kind, {**table, "Key": key}
    if kind == "BatchGetItem":
        return kind, {"RequestItems": {PAGES.name: {"Keys": [key, traffic.key(PAGES, "100")]}}}
    if kind == "TransactGetItems":
        return kind, {"TransactItems": [{"Get": {**table, "Key": key}}]}
    if kind == "Scan":
        return kind, dict(table)
    request = traffic.query(PAGES, index=kind == "Query by index")
    return "Query", request | ({"Select": "COUNT"} if kind == "Query COUNT" else {})


# -- at rest -----------------------------------------------------------------------------------------------------------


def at_rest(seed: int, folder: Path) -> Matrix:
    """Quiet worlds: ties, pages that end by size, old answers, failures, declared differences, what cannot be held."""
    quiet = _Quiet(World(seed, folder, processes=2), random.Random(seed))
    big = [page("big", n, at={"N": str(n // 4)}, group={"S": "big"}, text={"S": "x" * 90_000}) for n in range(30)]
    quiet.world.fill((PAGES.name, each) for each in big)
    quiet.world.fill((BILLIO.name, book(str(n))) for n in range(6))

    async def story() -> None:
        await quiet.pages()
        await quiet.old_answers()
        await quiet.failures()
        await quiet.declared()
        await quiet.unrepresentable()
        await quiet.unfit_by_corruption()

    quiet.world.run(story())
    return quiet.matrix


@dataclass(frozen=True, slots=True)
class _Quiet:
    """One request at a time. Its label is worked out from what it met, unless it is given."""

    world: World
    chance: random.Random
    matrix: Matrix = field(default_factory=Matrix)

    async def ask(self, action: str, request: dict[str, Any], *, label: Label | None = None) -> None:
        met = Met()
        told = await self.world.said(self.chance.choice(self.world.processes), action, request, met)
        self.matrix.add(label or self._label(met), told.verdict, f"{told} {request}")

    def _label(self, met: Met) -> Label:
        if met.failed:
            return Label.FAILED
        if met.stale:
            return Label.STALE
        answers = met.answers
        return Label.TIE if answers["authority"] != answers.get("mirror", answers["authority"]) else Label.SAME

    async def pages(self) -> None:
        """All books have one sort key, and big pages each four: most boundaries lie in a tie, by Limit or by size."""
        chance, books = self.chance, traffic.query(BILLIO, index=True)
        big = {"ExpressionAttributeValues": {":h": {"S": "big"}}}
        own, by_group = traffic.query(PAGES, index=False) | big, traffic.query(PAGES, index=True) | big
        for _ in range(6):
            options: dict[str, Any] = {"ScanIndexForward": chance.random() < 0.5}
            if chance.random() < 0.6:
                options["Limit"] = chance.randint(1, 9)
            await self.ask("Query", books | options)
            await self.ask("Query", by_group | options)
            await self.ask("Query", by_group | options | {"ExclusiveStartKey": _inside_a_tie(chance)})
            await self.ask("Query", by_group | options | {"Select": "COUNT"})
            await self.ask("Query", own | options)
        await self.ask("Scan", {"TableName": PAGES.name})

    async def old_answers(self) -> None:
        authority, table = self.world.authority, {"TableName": BILLIO.name}
        by_shelf = traffic.query(BILLIO, index=True)
        for n, (name, seconds) in enumerate((("eventual", 0.2), ("eventual", 1.0), ("index", 0.3), ("index", 30.0))):
            changes = {"title": {"S": f"{n}"}, "movedAt": {"N": str(1_700_000_000_000 + self.chance.randint(-3, 3))}}
            for asked in (
                ("GetItem", {**table, "Key": book_key("0")}),
                ("Query", by_shelf),
                ("Query", by_shelf | {"Limit": 3}),
                ("Query", by_shelf | {"Limit": 1, "ScanIndexForward": False}),
                ("Query", by_shelf | {"ProjectionExpression": "title"}),
                ("Scan", dict(table)),
            ):
                changes["notes"] = {"S": f"{asked}"}
                await self.ask("PutItem", {**table, "Item": book("0", **changes)})
                setattr(authority, name, seconds)
                await self.ask(*asked)
                authority.eventual = authority.index = 0.0
                await asyncio.sleep(31)
            await self.ask("DeleteItem", {**table, "Key": book_key("0")})
            setattr(authority, name, seconds)
            await self.ask("Query", by_shelf | {"Limit": 2})
            await self.ask("Query", by_shelf | {"Select": "COUNT"})
            authority.eventual = authority.index = 0.0
            await asyncio.sleep(31)

    async def failures(self) -> None:
        mirror = self.world.mirror
        kinds: Sequence[StoreError] = (Unreachable("connect"), UnknownOutcome("timeout"), Refused("42P01"))
        for failure in kinds:
            for asked in (
                traffic.read(self.chance, BILLIO, ["1", "2"]),
                ("PutItem", {"TableName": BILLIO.name, "Item": book("1", title={"S": str(failure)})}),
            ):
                mirror.failing = functools.partial(_fail, failure)
                await self.ask(*asked)
                mirror.failing = _works
                await self.world.settle()

    async def declared(self) -> None:
        key = BILLIO.key_of(book("2"))
        self.world.mirror.plant(key, book("2", **{DECLARED: {"S": "the mirror's own"}}))
        for asked in (
            ("GetItem", {"TableName": BILLIO.name, "Key": book_key("2")}),
            ("Query", traffic.query(BILLIO, index=True)),
            ("Scan", {"TableName": BILLIO.name}),
        ):
            await self.ask(*asked, label=Label.DECLARED)

    async def unrepresentable(self) -> None:
        """A column of text cannot hold a NUL, and the title is one. What the mirror held before, it holds still."""
        table = {"TableName": BILLIO.name}
        bad = {"title": {"S": "a\x00b"}}
        await self.ask("PutItem", {**table, "Item": book("new", **bad)}, label=Label.UNREPRESENTABLE)
        await self.ask("PutItem", {**table, "Item": book("3", **bad)}, label=Label.UNREPRESENTABLE)
        await self.world.settle()
        for name in ("new", "3"):
            await self.ask("GetItem", {**table, "Key": book_key(name)}, label=Label.UNREPRESENTABLE)
        await self.ask("Scan", dict(table), label=Label.UNREPRESENTABLE)
        await self.ask("Query", traffic.query(BILLIO, index=True), label=Label.UNREPRESENTABLE)

    async def unfit_by_corruption(self) -> None:
        """The row is gone, so that an update makes an item there that has no type: it is the row that differs."""
        key = BILLIO.key_of(book("4"))
        for _ in range(2):
            self.world.mirror.plant(key, None)
            request = {
                "TableName": BILLIO.name,
                "Key": book_key("4"),
                "UpdateExpression": "SET author = :a",
                "ExpressionAttributeValues": {":a": {"S": f"{self.chance.random()}"}},
            }
            await self.ask("UpdateItem", request, label=Label.MISSING_ROW)
            await self.world.settle()
            assert key not in self.world.unequal()
            await asyncio.sleep(1)


def _inside_a_tie(chance: random.Random) -> Item:
    """A cursor among items of `pages` that have one sort key."""
    at = chance.randrange(1, 6)
    number = at * 4 + chance.randrange(4)
    return {"book": {"S": "big"}, "n": {"N": str(number)}, "group": {"S": "big"}, "at": {"N": str(at)}}


def _fail(failure: StoreError, _: str) -> StoreError:
    return failure


def _works(_: str) -> None:
    return None
