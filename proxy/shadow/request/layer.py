"""The shadow layer: what happens to a client's operation between the wire and the two stores.

It names the tables and the item type, sees to it that this process may serve at all, and hands reads to `reads` and
writes to `writes`. Which store is the authority is the stage's to say. The layer knows nothing of HTTP, and the mirror
nothing of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from proxy.background_tasks import BackgroundTasks
from proxy.cutover.flip.fencing import NoLease, ServingLease
from proxy.cutover.flip.participant import Participant
from proxy.cutover.gate.evidence import Evidence
from proxy.cutover.gate.evidence_collector import EvidenceCollector
from proxy.cutover.stages import Stages
from proxy.dynamodb.errors import DynamoDBError, resource_not_found
from proxy.dynamodb.operations import LISTING, WRITES, parse_body, tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.metrics.registry import Metrics
from proxy.settings import Settings
from proxy.shadow.call import Call
from proxy.shadow.comparison.peers import Peers
from proxy.shadow.comparison.verdict_recorder import VerdictRecorder
from proxy.shadow.convergence.converger import Converger
from proxy.shadow.instrumentation import NO_INSTRUMENTATION, Instrumentation, Passthrough
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request.admission import AdmissionControl
from proxy.shadow.request.decoder import RequestDecoder
from proxy.shadow.request.follow_tables import TableFollower
from proxy.shadow.request.loop_lag import LoopLag
from proxy.shadow.request.placement import placement_of
from proxy.shadow.request.reads import Reads
from proxy.shadow.request.routing import Routes
from proxy.shadow.request.writes import LEASE_EXPIRED, Writes
from proxy.shadow.write_fence import WriteFence
from proxy.stores.errors import Unreachable
from proxy.stores.table_registry import Tables

log = structlog.get_logger(__name__)

_GAUGE_SECONDS: Final = 1.0
_GIVE_WAY_SECONDS: Final = 0.1
_STREAMS: Final = "DynamoDBStreams_"


class Control(Protocol):
    """What answers operations on tables where there is no DynamoDB (`proxy.stores.dsql.offline_control_plane`)."""

    async def answer(self, action: str, body: bytes) -> Outcome: ...


class Layer:
    """Open it before the first operation and close it after the last, in one task."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        stages: Stages,
        tables: Tables,
        journal: Journal,
        dynamodb: Passthrough,
        ways: Routes,
        converger: Converger,
        findings: VerdictRecorder,
        floor: WriteFence,
        follow: TableFollower | None,
        let_go: Callable[[], Awaitable[None]],
        peers: Peers | None = None,
        lease: ServingLease | None = None,
        participant: Participant | None = None,
        witness: EvidenceCollector | None = None,
        also: Sequence[Callable[[], Awaitable[None]]] = (),
        control: Control | None = None,
        dropped: Callable[[str], None] = lambda _: None,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stages = stages
        self._tables = tables
        self._journal = journal
        self._dynamodb = instrumentation.passthrough(dynamodb)
        self._ways = ways
        self._converger = converger
        self._findings = findings
        self._floor = floor
        self._follow = follow
        self._let_go = let_go
        self._peers = peers
        self._lease: ServingLease = lease or NoLease()
        self._witness = witness
        self._participant = participant
        self._also = tuple(also)
        self._control = control
        self._dropped = dropped
        self._calls = RequestDecoder(tables, metrics, follow)
        self._behind = BackgroundTasks(settings.mirror.comparisons_queue)
        self._loops = BackgroundTasks(settings.mirror.concurrency + 5)
        self._lag = LoopLag(settings.mirror.max_turn_seconds)
        room = AdmissionControl(self._behind, floor, self._lag, metrics)
        self._read = instrumentation.execute(Reads(stages, ways, journal, self._behind, room, metrics).read)
        self._writes = Writes(
            stages, ways, journal, floor, self._lease, converger, self._dynamodb, self._behind, room, metrics
        )
        self._write = instrumentation.execute(self._writes.write)

    # -- what the wire asks --------------------------------------------------------------------------------------------

    async def execute(self, action: str, body: bytes, request_id: str) -> Outcome:
        """One of the ten operations on items. Raises DynamoDBError for a body that is no request, StoreError where
        DynamoDB is the authority and gave no answer, or nobody can say which store is."""
        if not self._lease.valid:
            raise Unreachable("lease", LEASE_EXPIRED)
        if self._stages.all_off and action != LISTING:
            return await self._writes.bypass_mirror(action, body)
        request = parse_body(body)
        names = tables_of(action, request)
        if action != LISTING and not any(self._stages.active(name) for name in names):
            return await self._writes.bypass_mirror(action, body, names)
        call = await self._calls.decode(action, body, request, names, request_id)
        if isinstance(call, Call):
            if self._witness is not None:
                self._witness.count_seen(call.operation, call.table.name, call.item_type)
            return await (self._write(call) if call.operation.writes else self._read(call))
        if any(self._stages.past_the_flip(name) for name in names):
            # Nothing that DSQL has not taken may reach a DynamoDB that is only its mirror.
            return _refused(call)
        outcome = await self._writes.bypass_mirror(action, body)
        if outcome.ok and action in WRITES:
            await self._catch_up(action, body, request, names)
        return outcome

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Any other operation, unread. A change of tables that DynamoDB took is noticed, and followed where that is
        on."""
        if self._control is not None:
            return await self._control.answer(action, body)
        outcome = await self._dynamodb.carry(target, body, headers)
        if outcome.ok and not target.startswith(_STREAMS):
            await self._notice(action, outcome)
        return outcome

    async def _catch_up(self, action: str, body: bytes, request: dict[str, Any], names: tuple[str, ...]) -> None:
        """DynamoDB took a write that we held for impossible, as to a table made past us a moment ago: its keys are
        entered after the fact."""
        for name in names:
            self._tables.forget(name)
        call = await self._calls.decode(action, body, request, names, "")
        if not isinstance(call, Call):
            self._metrics.comparison.undecoded(action)
            log.error("write_not_followed", operation=action, tables=names, remedy="run a sweep of these tables")
            return
        await self._floor.nominate(placement_of(self._stages, call).mirrored_keys)

    async def _notice(self, action: str, outcome: Outcome) -> None:
        """A table was created, changed or deleted: what was known of it is out of date."""
        if action not in ("CreateTable", "UpdateTable", "DeleteTable"):
            return
        description = outcome.document.get("TableDescription")
        if not isinstance(description, dict) or "TableName" not in description:
            return
        name = description["TableName"]
        self._tables.forget(name)
        if action == "DeleteTable":
            self._dropped(name)
        if self._follow is None or not self._stages.active(name) or self._tables.mapped(name):
            return
        if action == "DeleteTable":
            self._follow.drop(name)
        else:
            try:
                schema = TableSchema.from_description(description)
            except ValueError as error:
                log.error("table_not_described", table=name, detail=str(error), remedy="none: it is passed through")
                return
            self._follow.ensure([self._tables.learn(schema)])

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take a lease, and start to work. The journal is open already. Raises Refused where the stage table may not be
        used."""
        if self._participant is not None:
            try:
                await self._participant.arrive()
            except Unreachable as error:
                # It serves nothing until it can, and says so; but it need not be started again for that.
                log.error("no_lease", reason=error.reason, detail=str(error), remedy="let it reach the stage table")
            self._loops.loop(self._participant.run)
        self._loops.loop(self._journal.maintain_wal)
        self._loops.loop(self._gauge)
        if self._peers is not None:
            await self._peers.announce()
            self._loops.loop(self._peers.poll)
        for _ in range(self._settings.mirror.concurrency):
            self._loops.loop(self._work)
        for each in self._also:
            self._loops.loop(each)

    def listens(self, at: str) -> None:
        """Clients reach this process there."""
        if self._participant is not None:
            self._participant.listens(at)

    async def close(self) -> None:
        """Let comparisons end and keys converge within the settings' limit; the rest stays in the journal."""
        limit = self._settings.shutdown.converge_seconds
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        await self._behind.finish(limit)
        breakers = self._ways.breakers()
        while loop.time() < until and (await self._journal.depth()).keys and any(b.closed for b in breakers):
            if not self._journal.busy:
                break
            await asyncio.sleep(0.05)
        await self._behind.close()
        await self._loops.close()
        if self._follow is not None:
            await self._follow.close()
        left = (await self._journal.depth()).keys
        if self._peers is not None and not left:
            await self._peers.withdraw()
        if self._participant is not None:
            await self._participant.leave()
        self._journal.close()
        if left:
            log.info("journal_kept", keys=left)
        await self._let_go()

    async def _work(self) -> None:
        if not self._lease.valid:
            # Which store is the authority, this process cannot tell.
            await asyncio.sleep(_GIVE_WAY_SECONDS)
            return
        if self._lag.is_lagging():
            # The journal keeps its keys, and a key that is written again meanwhile converges once for both.
            await asyncio.sleep(_GIVE_WAY_SECONDS)
        await self._converger.converge_next()

    async def _gauge(self) -> None:
        depth = await self._journal.depth()
        self._metrics.journal.backlog(depth.keys, depth.oldest_seconds, depth.parked)
        self._metrics.tasks(len(asyncio.all_tasks()))
        for table, item_type, stage in self._stages.list_all(self._tables.names()):
            self._metrics.cutover.stage(table, item_type, stage)
            self._metrics.cutover.ramp(table, item_type, self._stages.placed(table, item_type).ramp)
        self._metrics.cutover.lease(self._stages.map.epoch, valid=self._lease.valid)
        await asyncio.sleep(_GAUGE_SECONDS)

    # -- what the admin port asks --------------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """Stages, journal, breaker, and counts by verdict."""
        depth = await self._journal.depth()
        return {
            "stage": self._settings.stage,
            "stages": [
                {"table": table, "type": each, "stage": stage}
                for table, each, stage in self._stages.list_all(self._tables.names())
            ],
            "journal": {"keys": depth.keys, "oldest_seconds": round(depth.oldest_seconds, 3), "parked": depth.parked},
            "behind": self._behind.running,
            "epoch": self._stages.map.epoch,
            "shed": self._metrics.comparison.shed_counts(),
            "breaker": {name: str(breaker.state) for name, breaker in self._ways.mirrors().items()},
            "comparisons": [
                {"table": t, "type": each, "operation": operation, "verdict": verdict, "count": count}
                for (t, each, operation, verdict), count in sorted(self._findings.counts.items())
            ],
        }

    def mismatches(self, limit: int) -> list[dict[str, Any]]:
        return self._findings.newest(limit)

    @property
    def identity(self) -> str:
        """This process's name, which it keeps with its journal."""
        return self._journal.identity

    async def evidence(self) -> Evidence:
        """What the gate needs to know of this process."""
        return await self._witness.evidence() if self._witness is not None else Evidence()

    def resume(self, earlier: Evidence) -> None:
        """Take up what an earlier run of this process has seen."""
        if self._witness is not None:
            self._witness.resume(earlier)

    def met(self) -> tuple[str, ...]:
        """The tables it has met."""
        return self._tables.names()

    def problems(self) -> list[str]:
        """Why this proxy should get no traffic. A mirror that is down is no reason: the client does not notice it."""
        problems = []
        if not self._lease.valid:
            problems.append("the stage table has not been reached for too long: see stages.table")
        if self._journal.degraded:
            problems.append("the journal cannot be written: free the disk or move journal.path")
        problems.extend(
            f"table {name} cannot be described: allow dynamodb:DescribeTable" for name in self._calls.undescribed
        )
        return problems

    def troubles(self) -> list[str]:
        """What an operator should mend before a stage is moved: the mirror counts here."""
        left_alone = [
            f"{name} is left alone as the mirror: it failed too often"
            for name, breaker in self._ways.mirrors().items()
            if not breaker.closed
        ]
        return self.problems() + left_alone


def _refused(why: DynamoDBError | None) -> Outcome:
    """What is no operation on tables that are there, as DynamoDB answers it."""
    return Outcome.failed(why or resource_not_found())
