"""The life of a process: it takes a lease, runs its loops, and at the end lets work finish and keys converge.

Requests are the layer's (`proxy.shadow.request.layer`). Whoever opened the stores and the journal closes them, after
the process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.app.compose_layer import ComposedLayer
from proxy.app.open_stores import Loop
from proxy.background_tasks import BackgroundTasks
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.flip.fencing import ServingLease
from proxy.cutover.flip.participant import Participant
from proxy.cutover.stages import Stages
from proxy.metrics.registry import Metrics
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.shadow.comparison.peers import Peers
from proxy.shadow.convergence.converger import Converger, DirectionLookup
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request.loop_lag import LoopLag
from proxy.stores.errors import Refused, Unreachable
from proxy.stores.table_registry import Tables

log = structlog.get_logger(__name__)

_GAUGE_SECONDS: Final = 1.0
_GIVE_WAY_SECONDS: Final = 0.1
_CONVERGED_SECONDS: Final = 0.05
# What was parked may fit by now: its item may have been written past the proxy, or its table deleted.
_PARKED_RETRY_SECONDS: Final = 300.0
_FIRST_LOOK_SECONDS: Final = 5.0
_LAST_PULSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceWorker:
    """A worker that converges the journal's keys, one after another, when the event loop has time for it."""

    converger: Converger
    """Takes keys from the journal and makes them equal in both stores."""
    lease: ServingLease
    """The lease without which this process cannot know which store is the authority."""
    lag: LoopLag
    """Says when the event loop has no time."""

    async def converge_next(self) -> None:
        """Converge the next key that is due, or wait for a moment. Run this in a loop."""
        if not self.lease.valid:
            await asyncio.sleep(_GIVE_WAY_SECONDS)
            return
        if self.lag.is_lagging():
            # The journal keeps its keys, and a key that is written again meanwhile converges once for both.
            await asyncio.sleep(_GIVE_WAY_SECONDS)
        await self.converger.converge_next()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGauges:
    """The gauges of a process: its journal, its tasks, its lease, and the stages that it goes by."""

    metrics: Metrics
    """Where the gauges are."""
    journal: Journal
    """The journal of the process."""
    stages: Stages
    """The stages of the process."""
    tables: Tables
    """The tables that it has met."""
    lease: ServingLease
    """Its lease."""

    async def update(self) -> None:
        """Set every gauge, and wait until it is time again. Run this in a loop."""
        depth = await self.journal.depth()
        self.metrics.journal.backlog(depth.keys, depth.oldest_seconds, depth.parked)
        self.metrics.tasks(len(asyncio.all_tasks()))
        for table, item_type, stage in self.stages.list_all(self.tables.names()):
            self.metrics.cutover.stage(table, item_type, stage)
            self.metrics.cutover.ramp(table, item_type, self.stages.placement(table, item_type).ramp)
        self.metrics.cutover.lease(self.stages.map.epoch, valid=self.lease.valid)
        await asyncio.sleep(_GAUGE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessParts:
    """What a process runs, and what it lets finish at its end."""

    journal: Journal
    """The journal, open."""
    background: BackgroundTasks
    """The work behind the answers."""
    directions: DirectionLookup
    """Knows the breakers of the mirrors in use."""
    gauges: ProcessGauges
    """The gauges."""
    participant: Participant | None
    """The participant in moving stages; None where they are pinned."""
    peers: Peers | None
    """The other processes over the same stores; None where none is asked."""
    loops: tuple[Loop, ...]
    """What runs until the process is closed."""
    cutover_loops: tuple[Loop, ...]
    """What runs until the process is about to stop: it acts on other processes, or reports to them."""
    authority_watch: AuthorityWatch | None = None
    """The watch over DSQL's record of the authority; None where there is no DSQL."""


class Process:
    """The life of one process. `open` it before the first request and `close` it after the last, in one task."""

    def __init__(self, parts: ProcessParts, *, converge_seconds: float) -> None:
        """`close` takes about `converge_seconds` at most."""
        self._parts = parts
        self._converge_seconds = converge_seconds
        self._loops = BackgroundTasks()
        self._cutover_loops = BackgroundTasks()

    async def open(self) -> None:
        """Take a lease, and start to work. Raises SettingsError where the stage table may not be used."""
        try:
            await self._start()
        except Refused as error:
            await self._end_loops()
            raise SettingsError([str(error)]) from error
        except BaseException:
            await self._end_loops()
            raise

    def listens(self, at: str) -> None:
        """Report to the other processes that clients reach this process at an address."""
        if self._parts.participant is not None:
            self._parts.participant.set_listen_address(at)

    async def quiesce(self) -> None:
        """End the loops that act on other processes or report to them: this process is about to stop."""
        await self._cutover_loops.close()

    async def close(self) -> None:
        """Let comparisons end and keys converge within the limit. The rest stays in the journal."""
        parts = self._parts
        loop = asyncio.get_running_loop()
        until = loop.time() + self._converge_seconds
        await parts.background.finish(self._converge_seconds)
        breakers = parts.directions.breakers()
        while loop.time() < until and (await parts.journal.depth()).keys and any(each.closed for each in breakers):
            if not parts.journal.busy:
                break
            await asyncio.sleep(_CONVERGED_SECONDS)
        await parts.background.close()
        await self._end_loops()
        left = (await parts.journal.depth()).keys
        if parts.peers is not None and not left:
            await parts.peers.withdraw()
        if parts.authority_watch is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_PULSE_SECONDS):
                    await parts.authority_watch.leave()
        if parts.participant is not None:
            await parts.participant.leave()
        if left:
            log.info("journal_kept", keys=left)

    async def _start(self) -> None:
        parts = self._parts
        if parts.participant is not None:
            try:
                await parts.participant.join()
            except Unreachable as error:
                # It serves nothing until it has a lease, and says so; but it need not be started again for that.
                log.error("no_lease", reason=error.reason, detail=str(error), remedy="let it reach the stage table")
            self._loops.loop(parts.participant.run)
        if parts.authority_watch is not None:
            await self._look_at_record(parts.authority_watch)
            self._loops.loop(parts.authority_watch.watch)
        self._loops.loop(parts.journal.maintain_wal)
        self._loops.loop(parts.gauges.update)
        self._loops.loop(self._retry_parked)
        if parts.peers is not None:
            await parts.peers.announce()
            self._loops.loop(parts.peers.poll)
        for each in parts.loops:
            self._loops.loop(each)
        for each in parts.cutover_loops:
            self._cutover_loops.loop(each)

    async def _retry_parked(self) -> None:
        await asyncio.sleep(_PARKED_RETRY_SECONDS)
        self._parts.journal.parked.retry()

    async def _look_at_record(self, watch: AuthorityWatch) -> None:
        """Read DSQL's record before the first request; a DSQL that does not answer must not keep a start waiting."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await watch.look()

    async def _end_loops(self) -> None:
        await self._cutover_loops.close()
        await self._loops.close()


def compose_process(
    settings: Settings,
    metrics: Metrics,
    composed: ComposedLayer,
    *,
    loops: Sequence[Loop] = (),
    cutover_loops: Sequence[Loop] = (),
) -> Process:
    """Return the process of a layer, not yet open. `loops` and `cutover_loops` are as `ProcessParts` has them."""
    worker = ConvergenceWorker(converger=composed.routes.converger, lease=composed.lease, lag=composed.lag)
    workers = [worker.converge_next] * settings.mirror.concurrency
    gauges = ProcessGauges(
        metrics=metrics,
        journal=composed.journal,
        stages=composed.stages,
        tables=composed.tables,
        lease=composed.lease,
    )
    parts = ProcessParts(
        journal=composed.journal,
        background=composed.background,
        directions=composed.routes.directions,
        gauges=gauges,
        participant=composed.participant,
        authority_watch=composed.authority_watch,
        peers=composed.peers,
        loops=(*workers, *loops, *composed.loops),
        cutover_loops=tuple(cutover_loops),
    )
    return Process(parts, converge_seconds=settings.shutdown.converge_seconds)
