"""Watches DSQL's record of the authority: before the first write to a mirror, and as often as leases are renewed.

What it finds is kept in memory for whoever writes a mirror, serves clients or votes on a flip. What this process has to
write to the record is written first (`proxy.cutover.authority.keeper`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from proxy.cutover.authority.beliefs import Beliefs, WatchedTables
from proxy.cutover.authority.guard import report_of, scope_documents
from proxy.cutover.authority.judgement import Judgement, judge
from proxy.cutover.authority.keeper import Moment, RecordKeeper, alike
from proxy.cutover.authority.pair import NewId, new_id
from proxy.cutover.flip.clocks import boottime
from proxy.cutover.flip.protocol import Flip, Phase
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import DSQL, Scope, StageMap, Stages
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecord, AuthorityRecords
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)

_ROUNDS_A_LEASE: Final = 4
_STEPS: Final = 12
_RETRY_SECONDS: Final = 0.25
_LEAST_SECONDS: Final = 0.02
_UNREAD: Final = (
    "DSQL's record of the authority (crossfade_authority) has not been read yet: see endpoint or dsn in [dsql], "
    "whether DSQL runs, and whether the role may read the table"
)


class AuthorityWatch:
    """`AuthorityGuard` and `FlipRecorder` of one process. `look` before the first operation, then run `watch`."""

    def __init__(
        self,
        records: AuthorityRecords,
        table: StageTable | None,
        stages: Stages,
        tables: WatchedTables,
        *,
        process: str,
        lease_seconds: float,
        clock: Callable[[], float] = boottime,
        identify: NewId = new_id,
    ) -> None:
        """`table` is None where the stages are pinned; `stages` are for this watch alone."""
        self.refuses = True
        self._keeper = RecordKeeper(
            records,
            table,
            stages,
            tables,
            process=process,
            lease_seconds=lease_seconds,
            clock=clock,
            identify=identify,
        )
        self._records = records
        self._table = table
        self._stages = stages
        self._tables = tables
        self._process = process
        self._seconds = lease_seconds
        self._clock = clock
        self._judgement: Judgement | None = None
        self._record = AuthorityRecord()
        self._until = float("-inf")
        self._unread: str | None = _UNREAD
        self._flip: Flip | None = None
        self._wake = asyncio.Event()

    # -- from memory --------------------------------------------------------------------------------------------------

    def refusal(self, table: str) -> str | None:
        judgement = self._judgement
        if judgement is not None:
            return judgement.unserved.get(table)
        return self._unread if self._stages.past_the_flip(table) else None

    def may_mirror(self, table: str) -> bool:
        judgement = self._judgement
        if judgement is None or judgement.whole or table in judgement.unmirrored or self._clock() >= self._until:
            return False
        if table not in self._record.scopes:
            # A table that has just been met: nothing is recorded that could contradict it, and it is declared at once.
            self._wake.set()
            return self._record.installation is not None
        return True

    def contradiction(self, table: str) -> str | None:
        """Return why no mirror of the table may be written, however long one waits; None if that is not known."""
        judgement = self._judgement
        return (judgement.whole or judgement.unmirrored.get(table)) or None if judgement is not None else None

    def problems(self) -> list[str]:
        judgement = self._judgement
        if judgement is not None:
            return judgement.sentences()
        return [self._unread] if self._unread is not None and DSQL in self._stages.authorities else []

    def notices(self) -> list[str]:
        return list(self._judgement.odd.values()) if self._judgement is not None else []

    def document(self) -> dict[str, Any]:
        record = self._record
        return {
            "agrees": self._judgement is not None and self._judgement.agrees,
            "installation": record.installation,
            "database": record.database or None,
            "stage_table": record.stage_table or None,
            "problems": self.problems(),
            "notices": self.notices(),
            "scopes": scope_documents(record),
        }

    # -- for a flip ---------------------------------------------------------------------------------------------------

    def notice(self, flip: Flip | None) -> None:
        before, self._flip = self._flip, flip
        was = (before.id, before.phase) if before is not None else None
        now = (flip.id, flip.phase) if flip is not None else None
        if now != was:
            self._wake.set()

    def has_recorded(self, flip: Flip) -> bool:
        return self._keeper.recorded_flip == flip.id

    def may_vote(self, flip: Flip) -> bool:
        # Who serves nothing and writes no mirror must not hold up the way back.
        apart = self.contradiction(flip.scope.table) is not None and flip.to.authority != DSQL
        return apart or not flip.recorded or self.has_recorded(flip)

    def problem(self, flip: Flip) -> str | None:
        known, why = self._keeper.flip_problem
        return why if known == flip.id else None

    def report(self) -> dict[str, Any]:
        return report_of(
            self._record,
            {table: self._tables.digest_of(table) for table in self._tables.mapped},
            [*self.problems(), *self.notices()],
        )

    # -- reading and writing ------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Wait until it is time, and look. Run this in a loop."""
        try:
            async with asyncio.timeout(self._pause()):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
        await self.look()
        await asyncio.sleep(_LEAST_SECONDS)

    async def look(self) -> None:
        """Read the stage table and the record, and keep what follows. A failure is kept, too."""
        try:
            await self._look()
        except StoreError as error:
            self._failed(error)

    async def leave(self) -> None:
        """Raise the pulse for the last time: a backup of before this moment can then be told."""
        try:
            if self._keeper.attends:
                await self._records.depart(self._process)
            if self._judgement is None or not self._judgement.agrees:
                return
            moment = await self._keeper.now()
            if moment is not None:
                await self._keeper.beat(moment)
        except StoreError as error:
            log.info("authority_pulse_not_raised", reason=error.reason)

    def _pause(self) -> float:
        flip = self._flip
        waits = flip is not None and flip.recorded and flip.phase is not Phase.SWITCHED and not self.has_recorded(flip)
        return _RETRY_SECONDS if waits or self._judgement is None else self._seconds / _ROUNDS_A_LEASE

    async def _look(self) -> None:
        for _ in range(_STEPS):
            asked = self._clock()
            moment = await self._keeper.now()
            self._stages.adopt(moment.known.map if moment is not None else StageMap())
            if self._keeper.attends:
                refused = self._judgement is not None and not self._judgement.agrees
                await self._records.attend(self._process, at_work=not refused)
            record = await self._records.read()
            beliefs = self._beliefs(moment, record)
            judgement = judge(beliefs, record)
            # A table that is contradicted by itself keeps no other from its moves.
            if not judgement.whole and await self._keeper.step(moment, beliefs, record):
                continue
            if await self._keeper.repin(beliefs, record):
                continue
            # The stage table was read before the record: what has changed since is no contradiction.
            if judgement.agrees or alike(await self._keeper.now(), moment):
                self._take(record, judgement, asked)
                return

    # -- what is known ------------------------------------------------------------------------------------------------

    def _beliefs(self, moment: Moment | None, record: AuthorityRecord) -> Beliefs:
        named = dict.fromkeys((*self._tables.names(), *(Scope.parse(name).table for name in record.scopes)))
        tables = {table for table, _, _ in self._stages.list_all(named)}
        return Beliefs.of(
            self._stages,
            named,
            stage_table=self._table.name if self._table is not None else None,
            pulse=moment.pulse if moment is not None else 0,
            mappings={table: self._tables.digest_of(table) for table in tables},
            written=self._tables.written,
        )

    def _take(self, record: AuthorityRecord, judgement: Judgement, asked: float) -> None:
        before = self._judgement
        self._record, self._judgement, self._unread = record, judgement, None
        self._until = asked + self._seconds
        self.refuses = bool(judgement.unserved)
        flip = self._flip
        if flip is not None and flip.recorded and flip.to.authority == DSQL:
            against = judgement.whole or judgement.unmirrored.get(flip.scope.table)
            if against:
                self._keeper.flip_problem = (flip.id, against)
        for sentence in judgement.sentences():
            if before is None or sentence not in before.sentences():
                log.error("authority_contradicted", detail=sentence)
        for sentence in judgement.odd.values():
            if before is None or sentence not in before.odd.values():
                log.warning("mapping_differs", detail=sentence)
        if judgement.agrees and before is not None and not before.agrees:
            log.info("authority_agreed")

    def _failed(self, error: StoreError) -> None:
        if self._judgement is None:
            self.refuses = DSQL in self._stages.authorities
            if self._unread is not None and str(error) not in self._unread:
                self._unread = f"{_UNREAD}: {error}"
                log.warning("authority_not_read", reason=error.reason, detail=str(error))
