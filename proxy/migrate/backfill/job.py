"""Backfill: brings the items from before dual writes to the mirror, while clients go on writing.

A backfill converges; it does not copy. An item is inserted only if the mirror has no row for its key. Then the table is
read again with strong consistency, and a key that holds something else by now converges (`shadow.convergence`), one key
at a time. So the last writer of a mirror row has read the authority after its write, here as everywhere, and an item
that was changed or deleted between the first reading and the insert is not brought back. A row that is already equal
costs one digest; a row that differs converges.

A kill must not lose the second reading. The keys of an insert are saved in the same transaction as their rows; the keys
of a convergence are saved before it begins. The next run of the part reads those keys first. The claim on the part
fences off an insert that is still under way (`checkpoints`). A convergence cannot be fenced off, so its keys converge
once more after DSQL's settle time. All of this happens in units that a flip waits for (`job_participant`). This module
does not know where items come from.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import asyncpg

from proxy.dynamodb.item_writes import items_equal
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.migrate.backfill.counts import EXAMPLES, BackfillCounts
from proxy.migrate.backfill.plan import BackfillAccess, BackfillPlan
from proxy.migrate.backfill.row_encoding import EncodedRow, RowEncoder
from proxy.migrate.table_jobs.concurrently import run_concurrently
from proxy.migrate.table_jobs.sources import Portion, ReferenceFilter, Source
from proxy.shadow.convergence.converge import converge
from proxy.stores.attempts import Backoff, retry
from proxy.stores.dsql.bulk import MAX_ROWS, batches
from proxy.stores.dsql.system_tables.checkpoints import Claim
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable
from proxy.stores.interface import Unrepresentable

T = TypeVar("T")

_ROWS: Final = MAX_ROWS // 2
_CONVERGING: Final = 8
_RETRY_SECONDS: Final = 60.0
_BACKOFF: Final = Backoff(0.1, 5.0, min_share=0.5)
_SAVE_SECONDS: Final = 2.0
_CLAIMS: Final = 5


@dataclass(slots=True)
class _PartState:
    """A part that this run works on, and what its checkpoint holds."""

    claim: Claim
    position: dict[str, Any] | None
    counts: BackfillCounts
    inserted: list[str] = field(default_factory=list)
    """Keys whose rows were inserted and whose items have not been read again."""
    converging: list[str] = field(default_factory=list)
    unsettled: set[str] = field(default_factory=set)
    """Keys to which a write may still take effect, or may have at some time."""
    expects_rows: bool = True
    saved_at: float = 0.0
    counts_at_position: dict[str, Any] = field(default_factory=dict)
    """The counts at `position`. Whoever resumes there counts everything after it again."""

    def advance_to(self, position: Mapping[str, Any] | None) -> None:
        """Everything before `position` is done; None means the whole part."""
        self.position = None if position is None else dict(position)
        self.counts_at_position = self.counts.document()


def job_name(table: str, source: Source) -> str:
    """The name of the backfill, in checkpoints and among the processes of the stage table."""
    return f"backfill/{table}/{source.name}"


class Backfill:
    """One run of a backfill over one table.

    `on_retry` is called with the reason of each retry. `counts` grows while the backfill runs. Once `stop` returns
    true, the work under way is finished and saved, and nothing more is begun.
    """

    def __init__(
        self,
        plan: BackfillPlan,
        access: BackfillAccess,
        *,
        on_retry: Callable[[str], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._plan = plan
        self._encoder = RowEncoder(plan.mapping)
        self._source = access.source
        self._participant = access.participant
        self._bulk = access.bulk
        self._checkpoints = access.checkpoints
        self._limiter = access.limiter
        self._on_retry = on_retry
        self._stop = stop
        self._resumed_parts: dict[str, _PartState] = {}
        self.job = job_name(plan.schema.name, access.source)
        self._passes: tuple[tuple[str, ReferenceFilter | None], ...] = (("all", None),)
        if plan.references:
            # Items that are referred to come first, so that a foreign key holds at every moment.
            names = tuple(plan.references)
            self._passes = (
                ("first", ReferenceFilter(names, referring=False)),
                ("then", ReferenceFilter(names, referring=True)),
            )
        self.counts = BackfillCounts()
        self.resumed = False
        self.restart_reason: str | None = None
        """Why an earlier run's work does not count and everything begins anew; None if it counts."""

    async def run(self, workers: int, *, fresh: bool = False) -> BackfillCounts:
        """Process all parts, or what an earlier run left of them; `fresh` begins anew.

        Raises StoreError and SourceError.
        """
        wanted = [f"{name}:{part}" for name, _ in self._passes for part in self._source.parts()]
        mine = await self._retry(lambda: self._checkpoints.parts(self.job, wanted))
        for name, each in mine.items():
            if each.state["inserted"] or each.state["converging"]:
                self._resumed_parts[name] = await self._claim_part(name)
        self._participant.mark_recovered()
        self.restart_reason = self._plan.basis.difference_reason(each.state.get("basis") for each in mine.values())
        fresh = fresh or self.restart_reason is not None
        if mine and (fresh or (len(mine) == len(wanted) and all(each.done for each in mine.values()))):
            # Even when everything begins anew, the keys that an earlier run left unread must settle first.
            await self._participant.wait_until_settled(self._stop)
            if self._stop():
                return self.counts
            await self._retry(lambda: self._checkpoints.forget(self.job, list(mine)))
            mine, self._resumed_parts = {}, {}
        self.resumed = bool(mine)
        for each in mine.values():
            self.counts.add(each.state["tally"])
        for name, only in self._passes:
            waiting = [part for part in self._source.parts() if not (at := mine.get(f"{name}:{part}")) or not at.done]
            await run_concurrently(waiting, lambda part, n=name, o=only: self._run_part(part, n, o), workers)  # type: ignore[misc]
        if not self._stop():
            await self._bulk.analyze()
        return self.counts

    async def _run_part(self, part: str, name: str, only: ReferenceFilter | None) -> None:
        if self._stop():
            return
        work = self._resumed_parts.pop(f"{name}:{part}", None) or await self._claim_part(f"{name}:{part}")
        finished = False
        async with aclosing(self._source.portions(part, work.position, only)) as portions:
            while not finished:
                await self._limiter.wait(self._stop)
                if self._stop():
                    await self._save(work)
                    return
                portion = await anext(portions, None)
                if portion is None:
                    break
                self._limiter.charge(items=len(portion.items))
                async with self._participant.write_unit(len(portion.items) + len(portion.keys_without_item)):
                    await self._process_portion(work, portion)
                finished = portion.position is None
                if not finished:
                    work.advance_to(portion.position)
                    if time.monotonic() - work.saved_at > _SAVE_SECONDS:
                        await self._save(work)
        await self._participant.wait_until_settled(self._stop)
        done = not self._stop()
        if done:
            work.advance_to(None)
        await self._save(work, done=done)

    async def _claim_part(self, part: str) -> _PartState:
        """Claim a part, and recheck the keys that its previous owner wrote or was about to write."""
        claim = await self._retry(lambda: self._checkpoints.claim(self.job, part))
        if claim.saved is None:
            return _PartState(claim, None, BackfillCounts(), counts_at_position=BackfillCounts().document())
        state = claim.saved.state
        counts = BackfillCounts()
        counts.add(state["tally"])
        work = _PartState(
            claim, state["position"], counts, state["inserted"], state["converging"], counts_at_position=state["tally"]
        )
        for key in work.converging:
            self._unsettle(work, key, max(0.0, self._plan.settle_seconds - claim.saved.age))
        left = [Key(self._plan.schema.name, text) for text in dict.fromkeys((*work.inserted, *work.converging))]
        if left:
            async with self._participant.write_unit(len(left), last=True):
                await self._converge(work, await self._differing_keys(left), again=True)
        return work

    def _unsettle(self, work: _PartState, key: str, seconds: float) -> None:
        self._participant.unsettle(key, seconds)
        work.unsettled.add(key)

    def _checkpoint_state(self, work: _PartState) -> dict[str, Any]:
        work.unsettled = {key for key in work.unsettled if self._participant.is_unsettled(key)}
        return {
            "position": work.position,
            "tally": work.counts_at_position,
            "inserted": work.inserted,
            "converging": [*work.converging, *work.unsettled],
            "basis": self._plan.basis.document(),
        }

    async def _differing_keys(self, keys: Sequence[Key]) -> list[Key]:
        """Return the keys for which the mirror does not hold what the authority holds."""
        wanted = await self._source.read_current(Portion({}, 0, None), keys)
        rows = {key: self._encoder.encode(key, wanted[key]) for key in keys if key in wanted}
        key_values = {key: values for key in keys if (values := self._plan.mapping.key_values(key)) is not None}
        order = list(key_values)
        found = await self._retry(lambda: self._bulk.digests([key_values[key] for key in order]))
        held = {order[place]: digest for place, digest in found.items()}
        unlike = []
        for key in keys:
            row = rows.get(key)
            if (None if row is None else self._bulk.statements.row.digest(row.values)) != held.get(key):
                unlike.append(key)
        return unlike

    async def _process_portion(self, work: _PartState, portion: Portion) -> None:
        work.counts.size += portion.size
        self.counts.size += portion.size
        for counts in (work.counts, self.counts):
            counts.malformed += len(portion.malformed)
            more = [f"{each.place}: {each.reason}" for each in portion.malformed]
            counts.troubles.extend(more[: EXAMPLES - len(counts.troubles)])
        unlike = list(portion.keys_without_item)
        rows = self._encode(work, portion.items)
        self._count(work, "seen", len(portion.items) + len(portion.keys_without_item))
        if work.expects_rows and rows:
            found = await self._held_digests(rows)
            unlike += self._differing_held_keys(work, rows, found)
            rows = [row for place, row in enumerate(rows) if place not in found]
            work.expects_rows = bool(found)
        for batch in batches(rows, lambda row: self._bulk.row_bytes(row.values), max_rows=_ROWS):
            unlike += await self._insert(work, batch, portion)
        if unlike:
            await self._converge(work, unlike)

    def _encode(self, work: _PartState, items: Mapping[Key, Item]) -> list[EncodedRow]:
        rows = []
        for key, item in items.items():
            row = self._encoder.encode(key, item)
            if row is None:
                # The mirror holds no row that could be wrong, so there is nothing to converge here. If the item changes
                # to one that a row can hold, its writer's convergence brings it.
                faults = self._encoder.loss_reasons(key, item)
                for counts in (work.counts, self.counts):
                    counts.count_unrepresentable(key, faults)
            else:
                rows.append(row)
        return rows

    async def _held_digests(self, rows: Sequence[EncodedRow]) -> dict[int, bytes]:
        """Return the digests of the mirror's rows with these rows' keys, by the index of the row."""
        keys = [self._bulk.statements.key_of(row.values) for row in rows]
        return await self._retry(lambda: self._bulk.digests(keys))

    def _differing_held_keys(
        self, work: _PartState, rows: Sequence[EncodedRow], found: Mapping[int, bytes]
    ) -> list[Key]:
        unlike = []
        for place, digest in found.items():
            if self._bulk.statements.row.digest(rows[place].values) != digest:
                unlike.append(rows[place].key)
        self._count(work, "equal", len(found) - len(unlike))
        return unlike

    async def _insert(self, work: _PartState, rows: list[EncodedRow], portion: Portion) -> list[Key]:
        """Insert the rows whose keys have none, read the table again, and return the keys that do not agree with it."""
        work.inserted = [row.key.text for row in rows]
        try:
            inserted = await self._retry(lambda: self._insert_with_checkpoint(work, rows))
        except Refused:
            # A row breaks a constraint that only the database knows. Converging the keys one by one finds it.
            work.inserted = []
            return [row.key for row in rows]
        unlike: list[Key] = []
        held = rows
        if inserted < len(rows):
            # A writer's convergence inserted some rows meanwhile. Those that agree are that writer's work.
            work.expects_rows = True
            found = await self._held_digests(rows)
            digests = [self._bulk.statements.row.digest(row.values) for row in rows]
            held = [row for place, row in enumerate(rows) if found.get(place) == digests[place]]
            unlike = [row.key for place, row in enumerate(rows) if found.get(place) != digests[place]]
        now = await self._source.read_current(portion, [row.key for row in held])
        agreed = held
        if now is not portion.items:  # otherwise the response was the same, byte by byte
            agreed = [row for row in held if _is_current(row.item, now.get(row.key))]
        if len(agreed) < len(held):
            kept = {row.key for row in agreed}
            unlike += [row.key for row in held if row.key not in kept]
        self._count(work, "inserted", min(inserted, len(agreed)))
        self._count(work, "equal", max(0, len(agreed) - inserted))
        self._count(work, "lossy", sum(row.lossy for row in agreed))
        if not unlike:
            work.inserted = []
        return unlike

    async def _insert_with_checkpoint(self, work: _PartState, rows: list[EncodedRow]) -> int:
        """Insert and save the checkpoint in one transaction. If its outcome is unknown, a new claim finds it out."""
        values = [row.values for row in rows]
        for _ in range(_CLAIMS):
            try:
                return await self._bulk.insert(values, self._checkpoint_hook(work))
            except UnknownOutcome as error:
                self._on_retry(error.reason)
                claim = await self._retry(lambda: self._checkpoints.claim(work.claim.job, work.claim.part))
                work.claim = claim
                if claim.saved is not None and claim.saved.state["inserted"] == work.inserted:
                    return 0  # how many rows existed before is unknown, so the caller compares digests
        raise Unreachable("commit", "the outcome of one commit after another was unknown")

    def _checkpoint_hook(self, work: _PartState) -> Callable[[asyncpg.Connection], Awaitable[None]]:
        save = self._checkpoints.saving(work.claim, self._checkpoint_state(work))

        async def first(connection: asyncpg.Connection) -> None:
            self._participant.check()
            await save(connection)

        return first

    async def _converge(self, work: _PartState, keys: Sequence[Key], *, again: bool = False) -> None:
        """Converge the keys one by one, several at a time. `again`: they have been counted already."""
        work.converging = [key.text for key in keys]
        if keys:
            await self._save(work)
        targets = () if again else (work.counts, self.counts)
        await run_concurrently(keys, lambda key: self._converge_one(work, key, targets), _CONVERGING)
        work.inserted, work.converging = [], []

    async def _converge_one(self, work: _PartState, key: Key, targets: Iterable[BackfillCounts]) -> None:
        async def attempt() -> bool:
            try:
                return bool(await converge(key, self._participant.authority, self._participant.mirror))
            except UnknownOutcome:
                self._unsettle(work, key.text, self._plan.settle_seconds)
                raise

        try:
            repaired = await self._retry(attempt, retryable=(Unreachable, UnknownOutcome))
        except Unrepresentable as error:
            for counts in targets:
                counts.count_unrepresentable(key, [f"{fault.field}: {fault.reason}" for fault in error.faults])
            return
        for counts in targets:
            counts.converged += repaired
            counts.equal += not repaired

    async def _save(self, work: _PartState, *, done: bool = False) -> None:
        await self._retry(lambda: self._checkpoints.save(work.claim, self._checkpoint_state(work), done=done))
        work.saved_at = time.monotonic()

    def _count(self, work: _PartState, name: str, more: int) -> None:
        for counts in (work.counts, self.counts):
            setattr(counts, name, getattr(counts, name) + more)

    async def _retry(
        self,
        call: Callable[[], Awaitable[T]],
        retryable: type[StoreError] | tuple[type[StoreError], ...] = Unreachable,
    ) -> T:
        """The result of a call that may be repeated. Raises StoreError after a minute of nothing but failures."""
        return await retry(call, _BACKOFF, seconds=_RETRY_SECONDS, on_retry=self._on_retry, retryable=retryable)


def _is_current(item: Item, now: Item | None) -> bool:
    return now is item or (now is not None and items_equal(item, now))
