"""A sweep: are both stores of a table equal, all of it, in both directions, while writers write?

Forwards, DynamoDB is scanned, and of each page DSQL is asked one digest of the rows with that page's keys; only where
it is not what the items make do the rows' own digests come, and only what then differs is read. Backwards, DSQL sums
the hashes of its keys by buckets, and only the rows of buckets come whose sums are not those of the keys scanned. So
equal stores cost DSQL an aggregate and no transfer, whoever the authority is. What seems to differ goes to `looking`,
which has the last word. Goes on where it was when it is killed (`checkpoints`).
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from comparators.redact import Redactor
from proxy.cutover.gate.basis import Basis
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.foreign_rows import UnreadableRow
from proxy.mapping.interface import SqlValues
from proxy.mapping.references import Reference
from proxy.migrate.table_jobs.cancellation import StopRequestedError
from proxy.migrate.table_jobs.concurrently import run_concurrently
from proxy.migrate.table_jobs.rate_limiter import RateLimiter
from proxy.migrate.table_jobs.sources import ScanSource
from proxy.migrate.table_jobs.table_reader import TableReader
from proxy.migrate.verify.key_checksums import KeyChecksums, buckets_for
from proxy.migrate.verify.recheck import KeyResult, Rechecker, SweepFinding
from proxy.migrate.verify.sweep_result import UNREADABLE, ReferenceCheck, SweepCounts, SweepResult
from proxy.stores.dsql.bulk import BucketSum, Bulk, Slice
from proxy.stores.dsql.sql import checksums
from proxy.stores.dsql.system_tables.checkpoints import Checkpoints
from proxy.stores.table_registry import Table

_SAVE_SECONDS: Final = 5.0
_ROWS: Final = 16_384
_SUSPECTS: Final = 5000
MOST_KEPT: Final = 1000


@dataclass(slots=True)
class _PartState:
    began: float
    basis: Basis
    position: dict[str, Any] | None = None
    counts: SweepCounts = field(default_factory=SweepCounts)
    key_checksums: KeyChecksums = field(default_factory=KeyChecksums)
    findings: list[dict[str, Any]] = field(default_factory=list)
    saved_at: float = 0.0

    def state(self) -> dict[str, Any]:
        return {
            "began": self.began,
            "basis": self.basis.document(),
            "position": self.position,
            "counts": self.counts.document(),
            "sums": self.key_checksums.to_text(),
            "findings": self.findings,
        }


def job_name(table: str, authority: str, source: ScanSource) -> str:
    """What the work is known by, in checkpoints and among the processes."""
    return f"verify/{table}/{authority}/{source.name}"


class SweepJob:
    """One sweep. `counts` grows while it runs. `spots` is how many keys to pick at random for a look by eye.
    `basis` is the mapping and the eras that it is of: what an earlier run looked at in another era, or with another
    mapping, is looked at again. Once `stop` says so, it raises Stopped when what is begun is done."""

    def __init__(
        self,
        table: Table,
        source: ScanSource,
        reader: TableReader,
        bulk: Bulk,
        looking: Rechecker,
        checkpoints: Checkpoints,
        pace: RateLimiter,
        *,
        authority: str,
        references: Sequence[Reference] = (),
        values: bool = False,
        spots: int = 0,
        basis: Basis = Basis(),  # noqa: B008  (frozen)
        stop: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._mapping = table.mapping
        self._source = source
        self._reader = reader
        self._bulk = bulk
        self._rechecker = looking
        self._checkpoints = checkpoints
        self._limiter = pace
        self._authority = authority
        self._references = references
        self._values = values
        self._redactor = Redactor(secrets.token_bytes(32))
        self._wanted_spots = spots
        self._spots: list[Key] = []
        self._basis = basis
        self._stop = stop
        self._now = now
        self.job = job_name(table.name, authority, source)
        self.counts = SweepCounts()

    async def run(self, workers: int, *, fresh: bool = False) -> SweepResult:
        """Raises StoreError, Stopped."""
        mine = list(self._source.parts())
        everyone = self._source.parts_of_all_shares()
        done = await self._checkpoints.done(self.job)
        begun = [part for part in mine if part in done]
        if fresh or all(done.get(part) for part in mine):
            await self._checkpoints.forget(self.job, begun)
            begun = []
        works = {
            part: _part_from_checkpoint(each.state)
            for part, each in (await self._checkpoints.parts(self.job, begun)).items()
        }
        early = [part for part, work in works.items() if work.basis != self._basis]
        if early:
            await self._checkpoints.forget(self.job, early)
            begun = [part for part in begun if part not in early]
            works = {part: works[part] for part in begun}
        for work in works.values():
            self.counts.add(work.counts.document())
        waiting = [part for part in mine if part not in begun or not done[part]]

        async def one(part: str) -> None:
            works[part] = await self._run_part(part)

        await run_concurrently(waiting, one, workers)
        if self._stop():
            raise StopRequestedError
        done = await self._checkpoints.done(self.job)
        if all(done.get(part) for part in everyone):
            # What others have done is read; what was done here is still at hand.
            others = await self._checkpoints.parts(self.job, [part for part in everyone if part not in works])
            works |= {part: _part_from_checkpoint(each.state) for part, each in others.items()}
            return await self._finish(works, resumed=bool(begun))
        return self._result(
            works,
            whole=False,
            resumed=bool(begun),
            counts=self.counts,
            findings=[each for work in works.values() for each in work.findings],
            references=[],
        )

    async def _finish(self, works: dict[str, _PartState], *, resumed: bool) -> SweepResult:
        """All parts are done, whoever did them: the way back, and the sum of it all."""
        counts, sums = SweepCounts(), KeyChecksums()
        findings: list[dict[str, Any]] = []
        for work in works.values():
            counts.add(work.counts.document())
            sums.merge(work.key_checksums)
            findings += work.findings[: MOST_KEPT - len(findings)]
        self.counts = counts
        slices = [each async for each in self._bulk.slices()]
        for finding in await self._find_extra_rows(sums, slices):
            self._count_finding(counts, findings, finding)
        if counts.repaired:
            counts.rows = Counter(await self._bulk.counts(self._type_column()))
        references = [await self._check_reference(each, slices) for each in self._references]
        await self._checkpoints.forget(self.job, list(works))
        return self._result(
            works,
            whole=True,
            resumed=resumed,
            counts=counts,
            findings=findings,
            references=[each for each in references if each is not None],
        )

    def _result(self, works: Mapping[str, _PartState], **rest: Any) -> SweepResult:
        began = min(work.began for work in works.values())
        ended = self._now()
        return SweepResult(
            self._table.name, self._authority, began, ended, spots=self._spots, basis=self._basis, **rest
        )

    async def _run_part(self, part: str) -> _PartState:
        claim = await self._checkpoints.claim(self.job, part)
        work = _PartState(self._now(), self._basis) if claim.saved is None else _part_from_checkpoint(claim.saved.state)
        work.saved_at = time.monotonic()
        looks: list[asyncio.Task[None]] = []
        suspected = 0
        try:
            async with aclosing(self._source.portions(part, work.position, None)) as portions:
                async for portion in portions:
                    self._limiter.charge(items=len(portion.items))
                    suspects = await self._compare_page(work, portion.items, portion.size)
                    if suspects:
                        # Looking takes patience: the sweep goes on meanwhile.
                        looks.append(asyncio.create_task(self._recheck(work, suspects)))
                        suspected += len(suspects)
                    work.position = None if portion.position is None else dict(portion.position)
                    due = time.monotonic() - work.saved_at > _SAVE_SECONDS
                    if due or suspected > _SUSPECTS or self._stop():
                        await _wait_for_all(looks)
                        looks, suspected = [], 0
                    if self._stop():
                        return work
                    if due and portion.position is not None:
                        await self._checkpoints.save(claim, work.state())
                        work.saved_at = time.monotonic()
                    await self._limiter.wait(self._stop)
            await _wait_for_all(looks)
        finally:
            for look in looks:
                look.cancel()
            if looks:
                await asyncio.wait(looks)
        if not self._stop():
            await self._checkpoints.save(claim, work.state(), done=True)
        return work

    async def _recheck(self, work: _PartState, suspects: Sequence[Key]) -> None:
        for finding in await self._rechecker.recheck(suspects):
            self._count_finding(work.counts, work.findings, finding)
            self._count_finding(self.counts, None, finding)

    async def _compare_page(self, work: _PartState, items: Mapping[Key, Item], size: int) -> list[Key]:
        """The keys of a page that seem to differ."""
        keys: list[Key] = []
        key_values: list[SqlValues] = []
        digests: list[bytes] = []
        suspects: list[Key] = []
        statements = self._bulk.statements
        row, key_text, key_of = statements.row, statements.key, statements.key_of
        kinds: Counter[str] = Counter()
        for key, item in items.items():
            kinds[self._mapping.type_of(item)] += 1
            self._sample_spot(key)
            values = self._encode(key, item)
            if values is None:
                suspects.append(key)
                continue
            found = key_of(values)
            work.key_checksums.add(key_text.whole(found))
            keys.append(key)
            key_values.append(found)
            digests.append(row.digest(values))
        for counts in (work.counts, self.counts):
            counts.items.update(kinds)
            counts.pages += 1
            counts.size += size
        if keys:
            held, digest = await self._bulk.digest_of_all(key_values)
            if held != len(keys) or digest != checksums.of_all(digests):
                work.counts.pages_unequal += 1
                self.counts.pages_unequal += 1
                rows = await self._bulk.digests(key_values)
                suspects += [key for place, key in enumerate(keys) if rows.get(place) != digests[place]]
        return suspects

    async def _find_extra_rows(self, sums: KeyChecksums, slices: Sequence[Slice]) -> list[SweepFinding]:
        """Keys of rows that no item was seen for."""
        self.counts.rows.update(await self._bulk.counts(self._type_column()))
        buckets = buckets_for(self.counts.rows.total())
        by_slice = [(each, await self._bulk.sums(each, buckets)) for each in slices]
        unlike = sums.differing_buckets(buckets, (total for _, found in by_slice for total in found))
        findings: list[SweepFinding] = []
        for each, found in by_slice:
            for some in _group_by_rows([total for total in found if total.bucket in unlike]):
                rows = await self._bulk.in_buckets(each, buckets, [total.bucket for total in some])
                findings += await self._rechecker.recheck(await self._keys_without_item(rows))
        return findings

    async def _keys_without_item(self, rows: Sequence[SqlValues]) -> list[Key]:
        """The keys of rows that DynamoDB has no item for now. Whether an item is equal, the way forwards has looked."""
        held: list[Key] = []
        for values in rows:
            try:
                held.append(self._table.schema.key_of(self._mapping.decode(values)))
            except (DynamoDBError, UnreadableRow):
                # A row that reads as no item of this table: somebody's SQL made it. It has no key to be told by.
                self.counts.results[UNREADABLE] += 1
        there = await self._reader.get_many(held)
        return [key for key in held if key not in there]

    async def _check_reference(self, reference: Reference, slices: Sequence[Slice]) -> ReferenceCheck | None:
        """None where the reference stands in no column that SQL could follow."""
        columns = self._columns()
        attribute, to = columns.get(reference.attribute), columns.get(reference.to)
        if attribute is None or to is None:
            return None
        kind = self._type_column() if reference.item_type else None
        refer = dangling = 0
        for each in slices:
            more, lost = await self._bulk.dangling(each, attribute, to, kind, reference.item_type)
            refer, dangling = refer + more, dangling + lost
        return ReferenceCheck(reference.attribute, refer, dangling)

    def _encode(self, key: Key, item: Item) -> SqlValues | None:
        try:
            encoded = self._mapping.encode(key, item)
        except DynamoDBError:
            return None
        return None if encoded.faults and self._mapping.on_loss == "park" else encoded.values

    def _count_finding(self, counts: SweepCounts, findings: list[dict[str, Any]] | None, finding: SweepFinding) -> None:
        if finding.result is KeyResult.AGREED:
            return
        counts.results[str(finding.result)] += 1
        if finding.repaired is not None:
            counts.repaired += finding.repaired
            counts.unrepaired += not finding.repaired
        if findings is not None and len(findings) < MOST_KEPT:
            findings.append(finding.document(self._redactor, values=self._values))

    def _sample_spot(self, key: Key) -> None:
        """Algorithm R: each key seen is as likely to stay (Vitter, "Random sampling with a reservoir", 1985)."""
        if len(self._spots) < self._wanted_spots:
            self._spots.append(key)
        elif self._wanted_spots:
            place = random.randrange(self.counts.seen + 1)  # noqa: S311
            if place < self._wanted_spots:
                self._spots[place] = key

    def _columns(self) -> dict[str, str]:
        if not isinstance(self._mapping, ColumnMapping):
            return {}
        return {column.path[0]: column.name for column in self._mapping.attribute_columns if len(column.path) == 1}

    def _type_column(self) -> str | None:
        return self._columns().get(self._mapping.type_attribute) if isinstance(self._mapping, ColumnMapping) else None


async def _wait_for_all(looks: Sequence[asyncio.Task[None]]) -> None:
    """Until each has ended, and not only until one of them has failed. One that was stopped leaves nothing behind."""
    for result in await asyncio.gather(*looks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, StopRequestedError):
            raise result


def _part_from_checkpoint(state: dict[str, Any]) -> _PartState:
    work = _PartState(
        state["began"], Basis.from_document(state["basis"]), state["position"], findings=state["findings"]
    )
    work.counts.add(state["counts"])
    work.key_checksums = KeyChecksums.from_text(state["sums"])
    return work


def _group_by_rows(sums: Sequence[BucketSum]) -> list[list[BucketSum]]:
    """Buckets, together no more rows at a time than fit in memory."""
    portions: list[list[BucketSum]] = []
    rows = _ROWS
    for each in sums:
        if rows + each.rows > _ROWS:
            portions.append([])
            rows = 0
        portions[-1].append(each)
        rows += each.rows
    return portions
