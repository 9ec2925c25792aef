"""The shadow layer: what happens to a client's operation between the wire and the two stores.

A read: the authority answers; in `shadow` the mirror reads at the same time, and the two are compared behind the
answer. A write: its keys enter the journal, the authority executes it and the client is answered; behind the answer it
is rehearsed (`shadow`) and its keys converge. The layer knows nothing of HTTP, and the mirror nothing of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import WRITES, decode, parse_body, tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.metrics import Metrics
from proxy.settings import Settings
from proxy.shadow.behind import Behind
from proxy.shadow.breaker import Breaker
from proxy.shadow.context import Call
from proxy.shadow.converger import Converger
from proxy.shadow.findings import Findings
from proxy.shadow.follow import Follow
from proxy.shadow.journal import Journal
from proxy.shadow.lag import Lag
from proxy.shadow.peers import Peers
from proxy.shadow.reading import Reading
from proxy.shadow.rehearsal import Rehearsal
from proxy.shadow.shapes import ANY_TYPE, type_of
from proxy.shadow.stages import Stage, Stages
from proxy.shadow.tables import Table, Tables
from proxy.stores.dynamodb import DynamoDBStore
from proxy.stores.failures import Refused, Unreachable

log = structlog.get_logger(__name__)

_GAUGE_SECONDS: Final = 1.0
_GIVE_WAY_SECONDS: Final = 0.1
_STREAMS: Final = "DynamoDBStreams_"


class Layer:
    """Open it before the first operation and close it after the last, in one task."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        stages: Stages,
        tables: Tables,
        journal: Journal,
        authority: DynamoDBStore,
        converger: Converger,
        rehearsal: Rehearsal,
        reading: Reading,
        findings: Findings,
        breaker: Breaker,
        follow: Follow | None,
        let_go: Callable[[], Awaitable[None]],
        peers: Peers | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stages = stages
        self._tables = tables
        self._journal = journal
        self._authority = authority
        self._converger = converger
        self._rehearsal = rehearsal
        self._reading = reading
        self._findings = findings
        self._breaker = breaker
        self._follow = follow
        self._let_go = let_go
        self._peers = peers
        self._behind = Behind(settings.mirror.comparisons_queue)
        self._loops = Behind(settings.mirror.concurrency + 3)
        self._lag = Lag()
        self._undecodable: set[str] = set()

    # -- what the wire asks --------------------------------------------------------------------------------------------

    async def execute(self, action: str, body: bytes, request_id: str) -> Outcome:
        """One of the ten operations on items. Raises DynamoDBError for a body that is no request, StoreError where
        the authority gave no answer."""
        if self._stages.all_off:
            return await self._authority.call(action, body)
        request = parse_body(body)
        names = tables_of(action, request)
        if not any(self._stages.active(name) for name in names):
            return await self._authority.call(action, body)
        call = await self._call(action, body, request, names, request_id)
        if call is None:
            outcome = await self._authority.call(action, body)
            if outcome.ok and action in WRITES:
                await self._catch_up(action, body, request, names)
            return outcome
        return await (self._write(call) if call.operation.writes else self._read(call))

    async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Any other operation, unread. A change of tables that DynamoDB took is noticed, and followed where that is
        on."""
        outcome = await self._authority.carry(target, body, headers)
        if outcome.ok and not target.startswith(_STREAMS):
            await self._notice(action, outcome)
        return outcome

    # -- reads and writes ----------------------------------------------------------------------------------------------

    async def _read(self, call: Call) -> Outcome:
        if not self._compares(call):
            return (await self._authority.execute(call.operation)).outcome
        answer: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._behind.start(self._reading.compare(call, answer))
        try:
            outcome = (await self._authority.execute(call.operation)).outcome
        except BaseException:
            if not answer.done():
                answer.set_result(None)
            raise
        if not answer.done():
            answer.set_result(outcome)
        return outcome

    async def _write(self, call: Call) -> Outcome:
        operation = call.operation
        stages = {key: self._stage(call, key) for key in operation.keys}
        keys = [key for key, stage in stages.items() if stage is not Stage.OFF]
        if not keys:
            return (await self._authority.execute(operation)).outcome
        ticket = await self._journal.enter(keys)
        try:
            outcome = (await self._authority.execute(operation)).outcome
        except Unreachable:
            self._journal.answered(ticket)
            raise
        except BaseException:
            # Sent, and no answer: it may take effect until the authority's settle time is over.
            self._converger.linger(keys, self._authority.name)
            self._journal.answered(ticket)
            raise
        if outcome.status >= 500:
            self._converger.linger(keys, self._authority.name)
        rehearsed = len(keys) == len(stages) and all(stage is Stage.SHADOW for stage in stages.values())
        if rehearsed and self._has_room() and not self._rehearsal.repeated(call):
            self._behind.start(self._rehearsal.rehearse(call, ticket, outcome))
        else:
            self._journal.answered(ticket)
        return outcome

    def _compares(self, call: Call) -> bool:
        operation = call.operation
        if operation.keys:
            shadowed = all(self._stage(call, key) is Stage.SHADOW for key in operation.keys)
        elif call.item_type == ANY_TYPE:
            shadowed = self._stages.together(call.table.name) is Stage.SHADOW
        else:
            shadowed = self._stages.of(call.table.name, call.item_type) is Stage.SHADOW
        return shadowed and self._has_room()

    def _has_room(self) -> bool:
        """Whether one more comparison may start; counts it as shed if not."""
        if not self._breaker.closed and self._breaker.seconds_until_retry > 0.011:
            self._metrics.shed("breaker")
            return False
        if not self._behind.has_room:
            self._metrics.shed("queue")
            return False
        if self._lag.behind():
            self._metrics.shed("lag")
            return False
        return True

    def _stage(self, call: Call, key: Key) -> Stage:
        return self._stages.of(key.table, call.tables[key.table].mapping.type_of(key.attributes))

    async def _catch_up(self, action: str, body: bytes, request: dict[str, Any], names: tuple[str, ...]) -> None:
        """DynamoDB took a write that we held for impossible, as to a table made past us a moment ago: its keys are
        entered after the fact."""
        for name in names:
            self._tables.forget(name)
        call = await self._call(action, body, request, names, "")
        if call is None:
            self._metrics.undecoded(action)
            log.error("write_not_followed", operation=action, tables=names, remedy="run a sweep of these tables")
            return
        await self._journal.nominate([k for k in call.operation.keys if self._stage(call, k) is not Stage.OFF])

    async def _call(
        self, action: str, body: bytes, request: dict[str, Any], names: tuple[str, ...], request_id: str
    ) -> Call | None:
        """The operation with its tables; None where it is for the authority alone to answer."""
        tables: dict[str, Table] = {}
        for name in names:
            try:
                table = self._tables.known(name) or await self._tables.find(name)
            except Refused as error:
                self._undecoded(action, name, str(error))
                return None
            if table is None:
                return None
            tables[name] = table
        schemas: dict[str, TableSchema] = {name: table.schema for name, table in tables.items()}
        try:
            operation = decode(action, body, request, schemas)
            item_type = type_of(operation, tables)
        except (DynamoDBError, AttributeError, KeyError, TypeError):
            # It names no proper keys or has not the form of its action, so DynamoDB will refuse it.
            return None
        if not operation.keys and action not in ("Query", "Scan"):
            return None
        if self._follow is not None:
            self._follow.ensure(tables.values())
        return Call(operation, tables, item_type, request_id)

    def _undecoded(self, action: str, table: str, why: str) -> None:
        self._metrics.undecoded(action)
        if table not in self._undecodable and len(self._undecodable) < 1000:
            self._undecodable.add(table)
            log.error("table_not_described", table=table, detail=why, remedy="allow dynamodb:DescribeTable")

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
        settle = max(self._settings.dynamodb.settle_seconds, self._settings.dsql.settle_seconds)
        left = self._journal.open(lingering=settle)
        if left:
            log.info("journal_resumed", keys=left)
        self._loops.loop(self._journal.checkpoint)
        self._loops.loop(self._gauge)
        if self._peers is not None:
            await self._peers.arrive()
            self._loops.loop(self._peers.work)
        if not self._stages.all_off:
            for _ in range(self._settings.mirror.concurrency):
                self._loops.loop(self._work)

    async def close(self) -> None:
        """Let comparisons end and keys converge within the settings' limit; the rest stays in the journal."""
        limit = self._settings.shutdown.converge_seconds
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        await self._behind.finish(limit)
        while loop.time() < until and (await self._journal.depth()).keys and self._breaker.closed:
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
            "breaker": str(self._breaker.state),
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
        if self._journal.degraded:
            problems.append("the journal cannot be written: free the disk or move journal.path")
        problems.extend(f"table {name} cannot be described: allow dynamodb:DescribeTable" for name in self._undecodable)
        return problems
