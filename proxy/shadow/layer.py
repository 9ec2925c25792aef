"""The shadow layer: what happens to a client's operation between the wire and the two stores.

A read: the authority answers; where the stage compares, the mirror reads at the same time, and the two are compared
behind the answer. A write: its keys enter the journal, the authority executes it and the client is answered; behind
the answer it is rehearsed and its keys converge. Which store is the authority is the stage's to say. The layer knows
nothing of HTTP, and the mirror nothing of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from proxy.dynamodb.errors import DynamoDBError, resource_not_found
from proxy.dynamodb.operations import WRITES, parse_body, tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.shadow import ramp, split
from proxy.shadow.behind import Behind
from proxy.shadow.breaker import Breaker
from proxy.shadow.calls import Calls
from proxy.shadow.context import Call
from proxy.shadow.converger import Converger
from proxy.shadow.findings import Findings
from proxy.shadow.floor import Floor, Leased, Unleased
from proxy.shadow.follow import Follow
from proxy.shadow.journal import Journal
from proxy.shadow.lag import Lag
from proxy.shadow.peers import Peers
from proxy.shadow.shapes import ANY_TYPE
from proxy.shadow.stages import DSQL, DYNAMODB, Placed, Stage, Stages
from proxy.shadow.tables import Tables
from proxy.shadow.ways import Way, Ways
from proxy.shadow.witness import Witness
from proxy.stores.answers import as_answer
from proxy.stores.dynamodb import DynamoDBStore
from proxy.stores.failures import StoreError, UnknownOutcome, Unreachable

log = structlog.get_logger(__name__)

_GAUGE_SECONDS: Final = 1.0
_GIVE_WAY_SECONDS: Final = 0.1
_STREAMS: Final = "DynamoDBStreams_"
_LEASE_OVER: Final = "this proxy cannot tell which store is the authority: it has lost touch with the stage table"


class Layer:
    """Open it before the first operation and close it after the last, in one task."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        stages: Stages,
        tables: Tables,
        journal: Journal,
        dynamodb: DynamoDBStore,
        ways: Ways,
        converger: Converger,
        findings: Findings,
        floor: Floor,
        follow: Follow | None,
        let_go: Callable[[], Awaitable[None]],
        peers: Peers | None = None,
        lease: Leased | None = None,
        witness: Witness | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stages = stages
        self._tables = tables
        self._journal = journal
        self._dynamodb = dynamodb
        self._ways = ways
        self._converger = converger
        self._findings = findings
        self._floor = floor
        self._follow = follow
        self._let_go = let_go
        self._peers = peers
        self._lease: Leased = lease or Unleased()
        self._witness = witness
        self._calls = Calls(tables, metrics, follow)
        self._behind = Behind(settings.mirror.comparisons_queue)
        self._loops = Behind(settings.mirror.concurrency + 4)
        self._lag = Lag()

    # -- what the wire asks --------------------------------------------------------------------------------------------

    async def execute(self, action: str, body: bytes, request_id: str) -> Outcome:
        """One of the ten operations on items. Raises DynamoDBError for a body that is no request, StoreError where
        DynamoDB is the authority and gave no answer, or nobody can say which store is."""
        if not self._lease.valid:
            raise Unreachable("lease", _LEASE_OVER)
        if self._stages.all_off:
            return await self._past_the_mirror(action, body)
        request = parse_body(body)
        names = tables_of(action, request)
        if not any(self._stages.active(name) for name in names):
            return await self._past_the_mirror(action, body)
        call = await self._calls.read(action, body, request, names, request_id)
        if isinstance(call, Call):
            if self._witness is not None:
                self._witness.saw(call.operation, call.table.name, call.item_type)
            return await (self._write(call) if call.operation.writes else self._read(call))
        if any(self._stages.past_the_flip(name) for name in names):
            # Nothing that DSQL has not taken may reach a DynamoDB that is only its mirror.
            return _refused(call)
        outcome = await self._past_the_mirror(action, body)
        if outcome.ok and action in WRITES:
            await self._catch_up(action, body, request, names)
        return outcome

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Any other operation, unread. A change of tables that DynamoDB took is noticed, and followed where that is
        on."""
        outcome = await self._dynamodb.carry(target, body, headers)
        if outcome.ok and not target.startswith(_STREAMS):
            await self._notice(action, outcome)
        return outcome

    # -- reads ---------------------------------------------------------------------------------------------------------

    async def _read(self, call: Call) -> Outcome:
        operation = call.operation
        placed = {key: self._placed(call, key) for key in operation.keys}
        stages = {each.stage for each in placed.values()} or {self._page_stage(call)}
        authorities = {stage.authority for stage in stages}
        if len(authorities) > 1:
            return await self._divided(call, self._read)
        way = self._ways.of(next(iter(stages)))
        compared = all(stage.compared for stage in stages) and (bool(placed) or self._comparable_page(call))
        percent = self._percent(call, placed)
        if percent and ramp.chosen(operation, percent) and not any(self._journal.holds(key) for key in placed):
            return await self._ramped(way, call)
        if not compared or not self._has_room(way.direction.breaker):
            return await self._answer(way, call)
        answer: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._behind.start(way.reading.compare(call, answer))
        try:
            outcome = await self._answer(way, call)
        except BaseException:
            if not answer.done():
                answer.set_result(None)
            raise
        if not answer.done():
            answer.set_result(outcome)
        return outcome

    async def _ramped(self, way: Way, call: Call) -> Outcome:
        """DSQL serves, and DynamoDB where it does not: it failed, it was too slow, or (what was to be strongly
        consistent) it did not agree."""
        began = asyncio.get_running_loop().time()
        answered: Outcome | None = None
        try:
            if ramp.strongly(call.operation):
                answered, executed = await asyncio.gather(self._answer(way, call), way.asked.execute(call.operation))
            else:
                executed = await way.asked.execute(call.operation)
        except StoreError as error:
            self._metrics.ramped(error.reason)
            return await self._answer(way, call)
        served = executed.outcome
        if self._has_room(way.direction.breaker):
            self._behind.start(way.reading.compare_served(call, served, answered, began))
        if answered is not None and (answered.status, answered.document) != (served.status, served.document):
            self._metrics.ramped("differs")
            return answered
        self._metrics.ramped("served")
        return served

    async def _answer(self, way: Way, call: Call) -> Outcome:
        """The authority's. Raises StoreError where that is DynamoDB; of DSQL's failures DynamoDB's errors are made."""
        try:
            return (await way.served.execute(call.operation)).outcome
        except StoreError as error:
            if way.direction.authority.name == DYNAMODB:
                raise
            return self._failed(call, error)

    def _failed(self, call: Call, error: StoreError) -> Outcome:
        """What a client is told of a failure of DSQL's."""
        if self._witness is not None:
            self._witness.failed(call.table.name, error.reason)
        return as_answer(error)

    async def _divided(self, call: Call, carry_out: Callable[[Call], Awaitable[Outcome]]) -> Outcome:
        """The keys have different authorities."""
        refusal = split.refuse_across(call)
        if refusal is not None:
            return Outcome.failed(refusal)
        asked = split.parts(call, lambda key: self._placed(call, key).stage.authority)
        answered = await asyncio.gather(*(self._part(each, carry_out) for each in asked))
        return split.joined(asked, answered)

    async def _part(self, call: Call, carry_out: Callable[[Call], Awaitable[Outcome]]) -> Outcome:
        try:
            return await carry_out(call)
        except StoreError as error:
            return as_answer(error)

    def _percent(self, call: Call, placed: Mapping[Key, Placed]) -> float:
        """The ramp of a read: the smallest of its keys'."""
        if placed:
            return min(each.ramp if each.stage is Stage.SHADOW else 0.0 for each in placed.values())
        item_type = "" if call.item_type == ANY_TYPE else call.item_type
        where = self._stages.placed(call.table.name, item_type)
        return where.ramp if where.stage is Stage.SHADOW and self._comparable_page(call) else 0.0

    def _page_stage(self, call: Call) -> Stage:
        """The stage of a Query or Scan: its type's, or the table's where it names none."""
        return self._stages.of(call.table.name, "" if call.item_type == ANY_TYPE else call.item_type)

    def _comparable_page(self, call: Call) -> bool:
        """What names no type shows items of all: it is compared only if they all stand in one stage."""
        return call.item_type != ANY_TYPE or self._stages.together(call.table.name) is not None

    # -- writes --------------------------------------------------------------------------------------------------------

    async def _write(self, call: Call) -> Outcome:
        operation = call.operation
        writes = tuple({(key.table, self._type_of(call, key)) for key in operation.keys})
        lease = self._lease
        while True:
            if not lease.valid:
                raise Unreachable("lease", _LEASE_OVER)
            # No await between what is read here and the entry on the floor: stages may be moved at any other time.
            stages = {key: self._placed(call, key).stage for key in operation.keys}
            keys = [key for key, stage in stages.items() if stage.mirrored]
            if keys and not lease.owing:
                await lease.owe()
            elif self._floor.holds(writes):
                self._metrics.held()
                await self._floor.wait()
            else:
                break
        if len({stage.authority for stage in stages.values()}) > 1:
            return await self._divided(call, self._write)
        entry, term = self._floor.begin(writes), lease.term
        try:
            way = self._ways.of(next(iter(stages.values())))
            outcome = await (self._mirrored(way, call, keys, stages) if keys else self._answer(way, call))
            if not lease.holds(term):
                # The other store may be the authority by now, and what this one took be undone: not acknowledged.
                raise UnknownOutcome("lease", _LEASE_OVER)
            return outcome
        finally:
            self._floor.end(entry)

    async def _mirrored(self, way: Way, call: Call, keys: list[Key], stages: Mapping[Key, Stage]) -> Outcome:
        operation = call.operation
        authority = way.direction.authority.name
        ticket = await self._journal.enter(keys)
        try:
            outcome = (await way.served.execute(operation)).outcome
        except UnknownOutcome as error:
            # Sent, and no answer: it may take effect until the authority's settle time is over.
            self._converger.linger(keys, authority)
            self._journal.answered(ticket)
            if authority == DYNAMODB:
                raise
            return self._failed(call, error)
        except StoreError as error:
            self._journal.answered(ticket)
            if authority == DYNAMODB:
                raise
            return self._failed(call, error)
        except BaseException:
            self._converger.linger(keys, authority)
            self._journal.answered(ticket)
            raise
        if outcome.status >= 500:
            self._converger.linger(keys, authority)
        rehearsed = len(keys) == len(stages) and all(stage.compared for stage in stages.values())
        if rehearsed and self._has_room(way.direction.breaker) and not way.rehearsal.repeated(call):
            self._behind.start(way.rehearsal.rehearse(call, ticket, outcome))
        else:
            self._journal.answered(ticket)
        return outcome

    async def _past_the_mirror(self, action: str, body: bytes) -> Outcome:
        """DynamoDB alone: nothing here is mirrored, or nothing can be decoded."""
        if action not in WRITES:
            return await self._dynamodb.call(action, body)
        entry, term = self._floor.begin(()), self._lease.term
        try:
            outcome = await self._dynamodb.call(action, body)
            if not self._lease.holds(term):
                raise UnknownOutcome("lease", _LEASE_OVER)
            return outcome
        finally:
            self._floor.end(entry)

    async def _catch_up(self, action: str, body: bytes, request: dict[str, Any], names: tuple[str, ...]) -> None:
        """DynamoDB took a write that we held for impossible, as to a table made past us a moment ago: its keys are
        entered after the fact."""
        for name in names:
            self._tables.forget(name)
        call = await self._calls.read(action, body, request, names, "")
        if not isinstance(call, Call):
            self._metrics.undecoded(action)
            log.error("write_not_followed", operation=action, tables=names, remedy="run a sweep of these tables")
            return
        await self._floor.nominate([k for k in call.operation.keys if self._placed(call, k).stage.mirrored])

    # -- what both ask -------------------------------------------------------------------------------------------------

    def _has_room(self, breaker: Breaker) -> bool:
        """Whether one more comparison may start; counts it as shed if not."""
        if not breaker.closed and breaker.seconds_until_retry > 0.011:
            self._metrics.shed("breaker")
            return False
        if not self._behind.has_room:
            self._metrics.shed("queue")
            return False
        if self._floor.held:
            # What a comparison finds it nominates, and what is drained for a flip must stay so.
            self._metrics.shed("flip")
            return False
        if self._lag.behind():
            self._metrics.shed("lag")
            return False
        return True

    def _placed(self, call: Call, key: Key) -> Placed:
        return self._stages.placed(key.table, self._type_of(call, key))

    def _type_of(self, call: Call, key: Key) -> str:
        return call.tables[key.table].mapping.type_of(key.attributes)

    async def _notice(self, action: str, outcome: Outcome) -> None:
        """A table was created, changed or deleted: what was known of it is out of date."""
        if action not in ("CreateTable", "UpdateTable", "DeleteTable"):
            return
        description = outcome.document.get("TableDescription")
        if not isinstance(description, dict) or "TableName" not in description:
            return
        name = description["TableName"]
        self._tables.forget(name)
        if self._follow is None or not self._stages.active(name) or self._tables.mapped(name):
            return
        if action == "DeleteTable":
            self._follow.drop(name)
        else:
            self._follow.ensure([self._tables.learn(TableSchema.from_description(description))])

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up what an earlier process left in the journal, and start to work. Raises JournalLocked, OSError."""
        settle = {DYNAMODB: self._settings.dynamodb.settle_seconds, DSQL: self._settings.dsql.settle_seconds}
        left = self._journal.open(settle)
        if left:
            log.info("journal_resumed", keys=left)
        self._loops.loop(self._journal.checkpoint)
        self._loops.loop(self._gauge)
        if self._peers is not None:
            await self._peers.arrive()
            self._loops.loop(self._peers.work)
        for _ in range(self._settings.mirror.concurrency):
            self._loops.loop(self._work)

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
            await self._peers.leave()
        self._journal.close()
        if left:
            log.info("journal_kept", keys=left)
        await self._let_go()

    async def _work(self) -> None:
        if not self._lease.valid:
            # Which store is the authority, this process cannot tell.
            await asyncio.sleep(_GIVE_WAY_SECONDS)
            return
        if self._lag.behind():
            # The journal keeps its keys, and a key that is written again meanwhile converges once for both.
            await asyncio.sleep(_GIVE_WAY_SECONDS)
        await self._converger.work()

    async def _gauge(self) -> None:
        depth = await self._journal.depth()
        self._metrics.journal(depth.keys, depth.oldest_seconds, depth.parked)
        self._metrics.tasks(len(asyncio.all_tasks()))
        for table, item_type, stage in self._stages.listed(self._tables.names()):
            self._metrics.stage(table, item_type, stage)
            self._metrics.ramp(table, item_type, self._stages.placed(table, item_type).ramp)
        self._metrics.lease(self._stages.map.epoch, valid=self._lease.valid)
        await asyncio.sleep(_GAUGE_SECONDS)

    # -- what the admin port asks --------------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """Stages, journal, breaker, and counts by verdict."""
        depth = await self._journal.depth()
        return {
            "stage": self._settings.stage,
            "stages": [
                {"table": table, "type": each, "stage": stage}
                for table, each, stage in self._stages.listed(self._tables.names())
            ],
            "journal": {"keys": depth.keys, "oldest_seconds": round(depth.oldest_seconds, 3), "parked": depth.parked},
            "behind": self._behind.running,
            "epoch": self._stages.map.epoch,
            "shed": self._metrics.shed_counts(),
            "breaker": {name: str(breaker.state) for name, breaker in self._ways.mirrors().items()},
            "comparisons": [
                {"table": t, "type": each, "operation": operation, "verdict": verdict, "count": count}
                for (t, each, operation, verdict), count in sorted(self._findings.counts.items())
            ],
        }

    def mismatches(self, limit: int) -> list[dict[str, Any]]:
        return self._findings.newest(limit)

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
