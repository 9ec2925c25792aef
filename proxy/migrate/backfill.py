"""Backfill: make the mirror hold what was in the table before dual writes began, while writers write.

It converges, it does not copy. What a source gives is inserted only where the mirror has no row, and then the table is
read again, strongly: a key that holds something else by now converges (`shadow.converge`), one key at a time. So
whoever writes last to a row of the mirror has read the authority after that, here as everywhere, and an item that is
changed or deleted between our reading and our writing is not brought back. Rows that are there and equal cost a digest;
rows that differ converge.

A kill must not lose the second reading. The keys of an insert are saved in the same transaction as their rows, those of
a convergence before it begins; whoever goes on with the part looks at them first. An insert that is still under way
then is fenced off by the claim (`checkpoints`); a convergence that is, is waited for: its keys converge once more when
DSQL's settle time is over. Nothing here knows where items come from.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.dynamodb.writes import same
from proxy.mapping.mapping import Mapping as TableMapping
from proxy.mapping.mapping import SqlValues
from proxy.migrate.checkpoints import Checkpoints, Claim
from proxy.migrate.pace import Pace
from proxy.migrate.sources import Portion, Referring, Source
from proxy.migrate.tally import EXAMPLES, Tally
from proxy.migrate.together import together
from proxy.shadow.converge import converge
from proxy.stores.batches import MAX_ROWS, SAFE_BYTES, batches
from proxy.stores.bulk import Bulk
from proxy.stores.failures import Refused, UnknownOutcome, Unreachable
from proxy.stores.store import Store, Unrepresentable

T = TypeVar("T")

_ROWS: Final = MAX_ROWS // 2
_CONVERGING: Final = 8
_PATIENCE_SECONDS: Final = 60.0
_SAVE_SECONDS: Final = 2.0
_CLAIMS: Final = 5


@dataclass(slots=True)
class _Part:
    """A part under way, and what is saved of it."""

    claim: Claim
    position: dict[str, Any] | None
    tally: Tally
    inserted: list[str] = field(default_factory=list)
    """Keys whose rows stand in the mirror and whose items have not been read again."""
    converging: list[str] = field(default_factory=list)
    lingering: dict[str, float] = field(default_factory=dict)
    """Keys a write to which may take effect yet, with the time (monotonic) from which it can no more."""
    expect_rows: bool = True
    saved: float = 0.0
    counted: dict[str, Any] = field(default_factory=dict)
    """The tally at the position: what comes after it will be counted again by whoever goes on there."""

    def passed(self, position: Mapping[str, Any] | None) -> None:
        self.position = None if position is None else dict(position)
        self.counted = self.tally.document()

    def state(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "tally": self.counted,
            "inserted": self.inserted,
            "converging": [*self.converging, *self.lingering],
        }


@dataclass(frozen=True, slots=True)
class _Row:
    key: Key
    item: Item
    values: SqlValues
    key_values: SqlValues
    lossy: bool


class Backfill:
    """One run over one table. `settle` is DSQL's settle time in seconds, `references` the attributes that refer,
    `allowed` raises StoreError where the mirror must not be written any more.

    `tally` grows while it runs, `again` hears of each call that is made once more.
    """

    def __init__(
        self,
        source: Source,
        schema: TableSchema,
        mapping: TableMapping,
        *,
        authority: Store,
        mirror: Store,
        bulk: Bulk,
        checkpoints: Checkpoints,
        pace: Pace,
        settle: float,
        allowed: Callable[[], Awaitable[None]],
        references: Sequence[str] = (),
        again: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._schema = schema
        self._mapping = mapping
        self._authority = authority
        self._mirror = mirror
        self._bulk = bulk
        self._checkpoints = checkpoints
        self._pace = pace
        self._settle = settle
        self._allowed = allowed
        self._again = again
        self.job = f"backfill/{schema.name}/{source.name}"
        self._passes: tuple[tuple[str, Referring | None], ...] = (("all", None),)
        if references:
            # What is referred to first, then what refers: a foreign key holds at every moment.
            names = tuple(references)
            self._passes = (("first", Referring(names, wanted=False)), ("then", Referring(names, wanted=True)))
        self.tally = Tally()
        self.resumed = False

    async def run(self, workers: int, *, fresh: bool = False) -> Tally:
        """Do all parts, or what an earlier run has left of them. Raises StoreError, SourceError."""
        wanted = [f"{name}:{part}" for name, _ in self._passes for part in self._source.parts()]
        mine = await self._patiently(lambda: self._checkpoints.parts(self.job, wanted))
        if mine and (fresh or (len(mine) == len(wanted) and all(each.done for each in mine.values()))):
            await self._finish_left(list(mine))
            await self._patiently(lambda: self._checkpoints.forget(self.job, list(mine)))
            mine = {}
        self.resumed = bool(mine)
        for each in mine.values():
            self.tally.add(each.state["tally"])
        for name, only in self._passes:
            waiting = [part for part in self._source.parts() if not (at := mine.get(f"{name}:{part}")) or not at.done]
            await together(waiting, lambda part, n=name, o=only: self._part(part, n, o), workers)  # type: ignore[misc]
        return self.tally

    async def _finish_left(self, parts: list[str]) -> None:
        """What an earlier run wrote and did not look at again is looked at even if all begins anew."""
        for part in parts:
            claim = await self._patiently(lambda each=part: self._checkpoints.claim(self.job, each))  # type: ignore[misc]
            work = self._taken(claim)
            await self._settle_left(work)
            await self._wait_out(work)

    async def _part(self, part: str, name: str, only: Referring | None) -> None:
        claim = await self._patiently(lambda: self._checkpoints.claim(self.job, f"{name}:{part}"))
        work = self._taken(claim)
        await self._settle_left(work)
        async with aclosing(self._source.portions(part, work.position, only)) as portions:
            while True:
                await self._pace.wait()
                portion = await anext(portions, None)
                if portion is None:
                    break
                self._pace.spent(items=len(portion.items))
                await self._portion(work, portion)
                work.passed(portion.position)
                if time.monotonic() - work.saved > _SAVE_SECONDS and portion.position is not None:
                    await self._save(work)
        await self._wait_out(work)
        await self._patiently(lambda: self._checkpoints.save(work.claim, work.state(), done=True))

    async def _wait_out(self, work: _Part) -> None:
        """Converge once more what may have been written to unseen, when nothing can linger any longer."""
        while work.lingering:
            await asyncio.sleep(max(0.0, min(work.lingering.values()) - time.monotonic()))
            due = [key for key, at in work.lingering.items() if at <= time.monotonic()]
            await self._converge(work, [Key(self._schema.name, key) for key in due], again=True)
            for key in due:
                if work.lingering[key] <= time.monotonic():
                    del work.lingering[key]

    def _taken(self, claim: Claim) -> _Part:
        if claim.saved is None:
            return _Part(claim, None, Tally(), counted=Tally().document())
        state = claim.saved.state
        tally = Tally()
        tally.add(state["tally"])
        until = time.monotonic() + max(0.0, self._settle - claim.saved.age)
        lingering = dict.fromkeys(state["converging"], until)
        left = list(state["inserted"]), list(state["converging"])
        return _Part(claim, state["position"], tally, *left, lingering, counted=state["tally"])

    async def _settle_left(self, work: _Part) -> None:
        """Look at what whoever had the part before wrote, or was about to write."""
        left = [Key(self._schema.name, text) for text in dict.fromkeys((*work.inserted, *work.converging))]
        if left:
            await self._converge(work, await self._unlike(left), again=True)

    async def _unlike(self, keys: Sequence[Key]) -> list[Key]:
        """Those of the keys that the mirror does not hold as the authority does."""
        wanted = await self._source.now(Portion({}, 0, None), keys)
        rows = {key: self._row(key, wanted[key]) for key in keys if key in wanted}
        key_values = {key: values for key in keys if (values := self._mapping.key_values(key)) is not None}
        order = list(key_values)
        found = await self._patiently(lambda: self._bulk.digests([key_values[key] for key in order]))
        held = {order[place]: digest for place, digest in found.items()}
        unlike = []
        for key in keys:
            row = rows.get(key)
            if (None if row is None else self._bulk.statements.row.digest(row.values)) != held.get(key):
                unlike.append(key)
        return unlike

    async def _portion(self, work: _Part, portion: Portion) -> None:
        work.tally.size += portion.size
        self.tally.size += portion.size
        for tally in (work.tally, self.tally):
            tally.malformed += len(portion.malformed)
            more = [f"{each.place}: {each.reason}" for each in portion.malformed]
            tally.troubles.extend(more[: EXAMPLES - len(tally.troubles)])
        unlike = list(portion.bare)
        rows = self._rows(work, portion.items)
        self._count(work, "seen", len(portion.items) + len(portion.bare))
        if work.expect_rows and rows:
            found = await self._patiently(lambda: self._bulk.digests([row.key_values for row in rows]))
            unlike += self._held_otherwise(work, rows, found)
            rows = [row for place, row in enumerate(rows) if place not in found]
            work.expect_rows = bool(found)
        # A row is hardly larger than its item: a page of a Scan is 1 MB at most, and need not be measured row by row.
        size = _size if portion.size > SAFE_BYTES // 2 else _small
        for batch in batches(rows, size, most_rows=_ROWS):
            unlike += await self._insert(work, batch, portion)
        if unlike:
            await self._converge(work, unlike)

    def _rows(self, work: _Part, items: Mapping[Key, Item]) -> list[_Row]:
        rows = []
        for key, item in items.items():
            row = self._row(key, item)
            if row is None:
                # The item may have changed since: whether it can be held now is for the convergence to say. Nothing
                # of it is in the mirror that could be wrong, so that need not be asked here.
                faults = self._faults(key, item)
                for tally in (work.tally, self.tally):
                    tally.unheld(key, faults)
            else:
                rows.append(row)
        return rows

    def _row(self, key: Key, item: Item) -> _Row | None:
        try:
            encoded = self._mapping.encode(key, item)
        except DynamoDBError:
            return None
        values = encoded.values
        if values is None or (encoded.faults and self._mapping.on_loss == "park"):
            return None
        return _Row(key, item, values, self._bulk.statements.key_of(values), bool(encoded.faults))

    def _faults(self, key: Key, item: Item) -> list[str]:
        try:
            faults = self._mapping.encode(key, item).faults
        except DynamoDBError as error:
            return [f"it is no item of DynamoDB's: {error.code}"]
        return [f"{fault.field}: {fault.reason}" for fault in faults] or ["no row can have this key"]

    def _held_otherwise(self, work: _Part, rows: Sequence[_Row], found: Mapping[int, bytes]) -> list[Key]:
        unlike = []
        for place, digest in found.items():
            if self._bulk.statements.row.digest(rows[place].values) != digest:
                unlike.append(rows[place].key)
        self._count(work, "equal", len(found) - len(unlike))
        return unlike

    async def _insert(self, work: _Part, rows: list[_Row], portion: Portion) -> list[Key]:
        """Insert where there is no row, and read the table again; gives the keys that do not agree with it."""
        await self._patiently(self._allowed)
        work.inserted = [row.key.text for row in rows]
        try:
            inserted = await self._patiently(lambda: self._inserted(work, rows))
        except Refused:
            # One of the rows breaks a rule that only the database knows: one by one, it is found.
            work.inserted = []
            return [row.key for row in rows]
        unlike: list[Key] = []
        held = rows
        if inserted < len(rows):
            # Some were there by now, put there by a writer's convergence: they are that writer's, if they agree.
            work.expect_rows = True
            found = await self._patiently(lambda: self._bulk.digests([row.key_values for row in rows]))
            digests = [self._bulk.statements.row.digest(row.values) for row in rows]
            held = [row for place, row in enumerate(rows) if found.get(place) == digests[place]]
            unlike = [row.key for place, row in enumerate(rows) if found.get(place) != digests[place]]
        now = await self._source.now(portion, [row.key for row in held])
        agreed = [row for row in held if _agrees(row.item, now.get(row.key))]
        if len(agreed) < len(held):
            kept = {row.key for row in agreed}
            unlike += [row.key for row in held if row.key not in kept]
        self._count(work, "inserted", min(inserted, len(agreed)))
        self._count(work, "equal", max(0, len(agreed) - inserted))
        self._count(work, "lossy", sum(row.lossy for row in agreed))
        if not unlike:
            work.inserted = []
        return unlike

    async def _inserted(self, work: _Part, rows: list[_Row]) -> int:
        """Insert and save in one transaction. Where nobody can tell whether it was committed, a new claim tells."""
        values = [row.values for row in rows]
        for _ in range(_CLAIMS):
            try:
                return await self._bulk.insert(values, self._checkpoints.saving(work.claim, work.state()))
            except UnknownOutcome as error:
                self._again(error.reason)
                claim = await self._patiently(lambda: self._checkpoints.claim(work.claim.job, work.claim.part))
                work.claim = claim
                if claim.saved is not None and claim.saved.state["inserted"] == work.inserted:
                    return 0  # how many were there before is not known: their digests will be looked at
        raise Unreachable("commit", "the outcome of one commit after another was unknown")

    async def _converge(self, work: _Part, keys: Sequence[Key], *, again: bool = False) -> None:
        """Each by itself, several at once. `again`: they have been counted already."""
        work.converging = [key.text for key in keys]
        if keys:
            await self._patiently(self._allowed)
            await self._save(work)
        tallies = () if again else (work.tally, self.tally)
        await together(keys, lambda key: self._converge_one(work, key, tallies), _CONVERGING)
        work.inserted, work.converging = [], []

    async def _converge_one(self, work: _Part, key: Key, tallies: Iterable[Tally]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        attempt = 0
        while True:
            try:
                repairs = await converge(key, self._authority, self._mirror)
            except Unrepresentable as error:
                for tally in tallies:
                    tally.unheld(key, [f"{fault.field}: {fault.reason}" for fault in error.faults])
                return
            except (Unreachable, UnknownOutcome) as error:
                if isinstance(error, UnknownOutcome):
                    work.lingering[key.text] = time.monotonic() + self._settle
                if time.monotonic() > deadline:
                    raise
                attempt += 1
                self._again(error.reason)
                await _pause(attempt)
            else:
                for tally in tallies:
                    tally.converged += bool(repairs)
                    tally.equal += not repairs
                return

    async def _save(self, work: _Part) -> None:
        await self._patiently(lambda: self._checkpoints.save(work.claim, work.state()))
        work.saved = time.monotonic()

    def _count(self, work: _Part, name: str, more: int) -> None:
        for tally in (work.tally, self.tally):
            setattr(tally, name, getattr(tally, name) + more)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Calls that may be made again, for as long as a minute of nothing but failures."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        attempt = 0
        while True:
            try:
                return await call()
            except Unreachable as error:
                if time.monotonic() > deadline:
                    raise
                attempt += 1
                self._again(error.reason)
                await _pause(attempt)


def _agrees(item: Item, now: Item | None) -> bool:
    return now is item or (now is not None and same(item, now))


def _small(_: _Row) -> int:
    return 0


def _size(row: _Row) -> int:
    """Roughly the bytes of a row: texts and JSON make up nearly all of it."""
    return sum(len(value) if isinstance(value, str | bytes) else 16 for value in row.values)


async def _pause(attempt: int) -> None:
    await asyncio.sleep(random.uniform(0.5, 1.0) * min(5.0, 0.05 * 2.0**attempt))  # noqa: S311
