"""A sweep: compares both stores of a whole table, in both directions, while clients go on writing.

Forwards, DynamoDB is scanned, and for each page DSQL computes one digest of the rows with the page's keys. Only if that
digest differs from the items' do the rows' own digests follow, and only keys that differ then are read. Backwards, DSQL
sums the hashes of its keys by bucket, and only rows of buckets whose sums differ from those of the scanned keys are
transferred. So equal stores cost DSQL an aggregate and no transfer, whichever store is the authority. Keys that seem to
differ go to the rechecker, which decides. A sweep that is killed resumes from its checkpoints.
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

import structlog

from comparators.redact import Redactor
from comparators.rules import declared_entries
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
from proxy.migrate.table_jobs.sources import ScanSource
from proxy.migrate.verify.key_checksums import KeyChecksums, buckets_for
from proxy.migrate.verify.recheck import KeyResult, SweepFinding
from proxy.migrate.verify.sweep_plan import SweepAccess, SweepPlan
from proxy.migrate.verify.sweep_result import UNREADABLE, ReferenceCheck, SweepCounts, SweepResult
from proxy.stores.dsql.bulk import BucketSum, Slice
from proxy.stores.dsql.sql import checksums

log = structlog.get_logger(__name__)

_SAVE_SECONDS: Final = 5.0
_ROWS: Final = 16_384
_SUSPECTS: Final = 5000
MOST_KEPT: Final = 1000


@dataclass(slots=True)
class _PartState:
    """A part of the sweep, and what its checkpoint holds."""

    began: float
    basis: Basis
    position: dict[str, Any] | None = None
    counts: SweepCounts = field(default_factory=SweepCounts)
    key_checksums: KeyChecksums = field(default_factory=KeyChecksums)
    findings: list[dict[str, Any]] = field(default_factory=list)
    saved_at: float = 0.0

    def document(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "began": self.began,
            "basis": self.basis.document(),
            "position": self.position,
            "counts": self.counts.document(),
            "sums": self.key_checksums.to_text(),
            "findings": self.findings,
        }


def job_name(table: str, authority: str, source: ScanSource) -> str:
    """The name of the sweep, in checkpoints and among the processes of the stage table."""
    return f"verify/{table}/{authority}/{source.name}"


class SweepJob:
    """One sweep of one table.

    `counts` grows while the sweep runs. Once `stop` returns true, StopRequestedError is raised when the step under way
    is done. `now` returns seconds since 1970.
    """

    def __init__(
        self,
        plan: SweepPlan,
        access: SweepAccess,
        *,
        stop: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table = plan.table
        self._mapping = plan.table.mapping
        self._plan = plan
        self._source = access.source
        self._reader = access.reader
        self._bulk = access.bulk
        self._rechecker = access.rechecker
        self._checkpoints = access.checkpoints
        self._limiter = access.limiter
        self._redactor = Redactor(secrets.token_bytes(32))
        self._declared = frozenset[str]().union(*map(declared_entries, plan.table.rules.values()))
        self._spots: list[Key] = []
        self._stop = stop
        self._now = now
        self.job = job_name(plan.table.name, plan.authority, access.source)
        self.counts = SweepCounts()

    async def run(self, workers: int, *, fresh: bool = False) -> SweepResult:
        """Sweep, resuming what an earlier run left unless `fresh`. Raises StoreError and StopRequestedError."""
        mine = list(self._source.parts())
        everyone = self._source.parts_of_all_shares()
        done = await self._checkpoints.done(self.job)
        begun = [part for part in mine if part in done]
        if fresh or all(done.get(part) for part in mine):
            await self._checkpoints.forget(self.job, begun)
            begun = []
        parts = {
            part: _part_from_checkpoint(each.state)
            for part, each in (await self._checkpoints.parts(self.job, begun)).items()
        }
        early = [part for part, state in parts.items() if state.basis != self._plan.basis]
        if early:
            await self._checkpoints.forget(self.job, early)
            begun = [part for part in begun if part not in early]
            parts = {part: parts[part] for part in begun}
        for state in parts.values():
            self.counts.add(state.counts.document())
        waiting = [part for part in mine if part not in begun or not done[part]]

        async def one(part: str) -> None:
            parts[part] = await self._run_part(part)

        await run_concurrently(waiting, one, workers)
        if self._stop():
            raise StopRequestedError
        done = await self._checkpoints.done(self.job)
        if all(done.get(part) for part in everyone):
            # Parts done by other processes are read from their checkpoints; this run still has its own.
            others = await self._checkpoints.parts(self.job, [part for part in everyone if part not in parts])
            parts |= {part: _part_from_checkpoint(each.state) for part, each in others.items()}
            return await self._finish(parts, resumed=bool(begun))
        return self._result(
            parts,
            whole=False,
            resumed=bool(begun),
            counts=self.counts,
            findings=[each for state in parts.values() for each in state.findings],
            references=[],
        )

    async def _finish(self, parts: dict[str, _PartState], *, resumed: bool) -> SweepResult:
        """Compare backwards and add everything up: all parts are done, by this process or by others."""
        counts, sums = SweepCounts(), KeyChecksums()
        findings: list[dict[str, Any]] = []
        for state in parts.values():
            counts.add(state.counts.document())
            sums.merge(state.key_checksums)
            findings += state.findings[: MOST_KEPT - len(findings)]
        self.counts = counts
        slices = [each async for each in self._bulk.slices()]
        for finding in await self._find_extra_rows(sums, slices):
            self._count_finding(counts, findings, finding)
        if counts.repaired:
            counts.rows = await self._count_rows(slices)
        references = [await self._check_reference(each, slices) for each in self._plan.references]
        await self._checkpoints.forget(self.job, list(parts))
        return self._result(
            parts,
            whole=True,
            resumed=resumed,
            counts=counts,
            findings=findings,
            references=[each for each in references if each is not None],
        )

    def _result(self, parts: Mapping[str, _PartState], **rest: Any) -> SweepResult:
        began = min(state.began for state in parts.values())
        ended = self._now()
        return SweepResult(
            self._table.name, self._plan.authority, began, ended, spots=self._spots, basis=self._plan.basis, **rest
        )

    async def _run_part(self, part: str) -> _PartState:
        claim = await self._checkpoints.claim(self.job, part)
        state = (
            _PartState(self._now(), self._plan.basis)
            if claim.saved is None
            else _part_from_checkpoint(claim.saved.state)
        )
        state.saved_at = time.monotonic()
        rechecks: list[asyncio.Task[None]] = []
        suspected = 0
        try:
            async with aclosing(self._source.portions(part, state.position, None)) as portions:
                async for portion in portions:
                    self._limiter.charge(items=len(portion.items))
                    suspects = await self._compare_page(state, portion.items, portion.size)
                    if suspects:
                        # A recheck may take as long as its patience; the sweep goes on meanwhile.
                        rechecks.append(asyncio.create_task(self._recheck(state, suspects)))
                        suspected += len(suspects)
                    state.position = None if portion.position is None else dict(portion.position)
                    due = time.monotonic() - state.saved_at > _SAVE_SECONDS
                    if due or suspected > _SUSPECTS or self._stop():
                        await _wait_for_all(rechecks)
                        rechecks, suspected = [], 0
                    if self._stop():
                        return state
                    if due and portion.position is not None:
                        await self._checkpoints.save(claim, state.document())
                        state.saved_at = time.monotonic()
                    await self._limiter.wait(self._stop)
            await _wait_for_all(rechecks)
        finally:
            for recheck in rechecks:
                recheck.cancel()
            if rechecks:
                await asyncio.wait(rechecks)
        if not self._stop():
            await self._checkpoints.save(claim, state.document(), done=True)
        return state

    async def _recheck(self, state: _PartState, suspects: Sequence[Key]) -> None:
        for finding in await self._rechecker.recheck(suspects):
            self._count_finding(state.counts, state.findings, finding)
            self._count_finding(self.counts, None, finding)

    async def _compare_page(self, state: _PartState, items: Mapping[Key, Item], size: int) -> list[Key]:
        """Return the keys of a page that seem to differ."""
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
            state.key_checksums.add(key_text.whole(found))
            keys.append(key)
            key_values.append(found)
            digests.append(row.digest(values))
        for counts in (state.counts, self.counts):
            counts.items.update(kinds)
            counts.pages += 1
            counts.size += size
        if keys:
            held, digest = await self._bulk.digest_of_all(key_values)
            if held != len(keys) or digest != checksums.of_all(digests):
                state.counts.pages_unequal += 1
                self.counts.pages_unequal += 1
                rows = await self._bulk.digests(key_values)
                suspects += [key for place, key in enumerate(keys) if rows.get(place) != digests[place]]
        return suspects

    async def _find_extra_rows(self, sums: KeyChecksums, slices: Sequence[Slice]) -> list[SweepFinding]:
        """Return findings for rows whose key no scanned item had."""
        self.counts.rows.update(await self._count_rows(slices))
        buckets = buckets_for(self.counts.rows.total())
        by_slice = [(each, await self._bulk.sums(each, buckets)) for each in slices]
        unlike = sums.differing_buckets(buckets, (total for _, found in by_slice for total in found))
        findings: list[SweepFinding] = []
        for each, found in by_slice:
            for some in _group_by_rows([total for total in found if total.bucket in unlike]):
                rows = await self._bulk.in_buckets(each, buckets, [total.bucket for total in some])
                findings += await self._rechecker.recheck(await self._keys_without_item(rows))
        return findings

    async def _count_rows(self, slices: Sequence[Slice]) -> Counter[str]:
        """Count the table's rows by item type. One statement over the whole table may take longer than DSQL allows."""
        rows: Counter[str] = Counter()
        for each in slices:
            rows.update(await self._bulk.counts(each, self._type_column()))
        return rows

    async def _keys_without_item(self, rows: Sequence[SqlValues]) -> list[Key]:
        """Return the keys of rows for which DynamoDB has no item now. The scan has compared all rows that have one."""
        held: list[Key] = []
        for values in rows:
            try:
                held.append(self._table.schema.key_of(self._mapping.decode(values)))
            except (DynamoDBError, UnreadableRow):
                # The row was written by other SQL than Crossfade's. It has no key to report it by.
                self.counts.results[UNREADABLE] += 1
        there = await self._reader.get_many(held)
        return [key for key in held if key not in there]

    async def _check_reference(self, reference: Reference, slices: Sequence[Slice]) -> ReferenceCheck | None:
        """Check a reference in SQL. Return None if its attributes are not columns."""
        columns = self._columns()
        attribute, to = columns.get(reference.attribute), columns.get(reference.to)
        if attribute is None or to is None:
            return None
        kind = self._type_column() if reference.item_type else None
        if not self._bulk.statements.looks_up({to} if kind is None else {to, kind}, to):
            log.warning(
                "reference_not_checked",
                table=self._table.name,
                attribute=reference.attribute,
                remedy=f"make an index that begins with {to}: without one each look-up reads the whole table",
            )
            return None
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
            findings.append(finding.document(self._redactor, values=self._plan.values, declared=self._declared))

    def _sample_spot(self, key: Key) -> None:
        """Keep a random sample: algorithm R (Vitter, "Random sampling with a reservoir", 1985)."""
        if len(self._spots) < self._plan.spots:
            self._spots.append(key)
        elif self._plan.spots:
            place = random.randrange(self.counts.seen + 1)  # noqa: S311
            if place < self._plan.spots:
                self._spots[place] = key

    def _columns(self) -> dict[str, str]:
        if not isinstance(self._mapping, ColumnMapping):
            return {}
        return {column.path[0]: column.name for column in self._mapping.attribute_columns if len(column.path) == 1}

    def _type_column(self) -> str | None:
        return self._columns().get(self._mapping.type_attribute) if isinstance(self._mapping, ColumnMapping) else None


async def _wait_for_all(rechecks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until every recheck has ended, even if one fails. A stopped recheck leaves nothing behind."""
    for result in await asyncio.gather(*rechecks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, StopRequestedError):
            raise result


def _part_from_checkpoint(saved: dict[str, Any]) -> _PartState:
    state = _PartState(
        saved["began"], Basis.from_document(saved["basis"]), saved["position"], findings=saved["findings"]
    )
    state.counts.add(saved["counts"])
    state.key_checksums = KeyChecksums.from_text(saved["sums"])
    return state


def _group_by_rows(sums: Sequence[BucketSum]) -> list[list[BucketSum]]:
    """Group buckets so that the rows of a group fit in memory."""
    portions: list[list[BucketSum]] = []
    rows = _ROWS
    for each in sums:
        if rows + each.rows > _ROWS:
            portions.append([])
            rows = 0
        portions[-1].append(each)
        rows += each.rows
    return portions
