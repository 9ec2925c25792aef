"""The status of the layer's process: whether it can work, what it has compared, and what the gate needs to know of it.

Asks no store, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.background_tasks import BackgroundTasks
from proxy.cutover.authority.guard import AuthorityGuard
from proxy.cutover.flip.fencing import ServingLease
from proxy.cutover.gate.evidence import Evidence
from proxy.cutover.gate.evidence_collector import EvidenceCollector
from proxy.cutover.stages import Stages
from proxy.metrics.registry import Metrics
from proxy.shadow.comparison.verdict_recorder import VerdictRecorder
from proxy.shadow.journal.journal import Journal
from proxy.shadow.parked_control import ParkedControl
from proxy.shadow.request.decoder import RequestDecoder
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.table_registry import Tables

_PARKED_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What keeps a process, or its mirror, from working."""

    lease: ServingLease
    """The lease without which nothing is served."""
    journal: Journal
    """The journal, which may not be writable."""
    decoder: RequestDecoder
    """The decoder, which knows the tables that DynamoDB refuses to describe."""
    breakers: Mapping[str, CircuitBreaker]
    """The breaker in front of each store as the mirror, by the store's name."""
    authority: AuthorityGuard
    """DSQL's record of the authority, which may contradict this process."""

    def problems(self) -> list[str]:
        """Return why this process should get no traffic. A mirror that is down is no reason: clients do not notice."""
        problems = []
        if not self.lease.valid:
            problems.append("the stage table has not been reached for too long: see stages.table")
        if self.journal.degraded:
            problems.append("the journal cannot be written: free the disk or move journal.path")
        problems.extend(
            f"table {name} cannot be described: allow dynamodb:DescribeTable" for name in self.decoder.undescribed
        )
        return problems + self.authority.problems()

    def troubles(self) -> list[str]:
        """Return what an operator should mend before a stage is moved: the problems, and a mirror that fails."""
        left_alone = [
            f"{name} is left alone as the mirror: it failed too often"
            for name, breaker in self.breakers.items()
            if not breaker.closed
        ]
        return self.problems() + self.authority.notices() + left_alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowStatus:
    """`ProcessStatus` (`proxy.cutover.process_status`) of a process with a layer."""

    initial_stage: str
    """The stage that the settings give to tables with no stage of their own."""
    stages: Stages
    """The stages of this process."""
    tables: Tables
    """The tables that have been met."""
    journal: Journal
    """The journal of this process, which also gives it its name."""
    background: BackgroundTasks
    """The comparisons that are running."""
    metrics: Metrics
    """Knows how many comparisons were shed."""
    verdicts: VerdictRecorder
    """The verdicts, and the latest mismatches."""
    collector: EvidenceCollector
    """What was asked and how it compared."""
    health: Health
    """What keeps the process from working."""
    parked: ParkedControl
    """The keys that cannot converge."""

    @property
    def identity(self) -> str:
        """The name of this process, which it keeps with its journal."""
        return self.journal.identity

    async def status(self) -> dict[str, Any]:
        """Return stages, journal, breakers, and counts by verdict."""
        depth = await self.journal.depth()
        return {
            "stage": self.initial_stage,
            "stages": [
                {"table": table, "type": each, "stage": stage}
                for table, each, stage in self.stages.list_all(self.tables.names())
            ],
            "journal": {"keys": depth.keys, "oldest_seconds": round(depth.oldest_seconds, 3), "parked": depth.parked},
            "parked": self.parked.list(_PARKED_SHOWN),
            "behind": self.background.running,
            "epoch": self.stages.map.epoch,
            "authority": self.health.authority.document(),
            "shed": self.metrics.comparison.shed_counts(),
            "breaker": {name: str(breaker.state) for name, breaker in self.health.breakers.items()},
            "comparisons": [
                {"table": table, "type": each, "operation": operation, "verdict": verdict, "count": count}
                for (table, each, operation, verdict), count in sorted(self.verdicts.counts.items())
            ],
        }

    def mismatches(self, limit: int) -> list[dict[str, Any]]:
        """Return at most `limit` disagreements, newest first."""
        return self.verdicts.newest(limit)

    def problems(self) -> list[str]:
        """Return why this process should get no traffic."""
        return self.health.problems()

    def notices(self) -> list[str]:
        """Return what sets this process apart from the others without keeping it from its work."""
        return self.health.authority.notices()

    async def evidence(self) -> Evidence:
        """Return what the gate needs to know of this process."""
        return await self.collector.evidence()

    def resume(self, earlier: Evidence) -> None:
        """Take up what an earlier run of this process counted."""
        self.collector.resume(earlier)

    def met(self) -> tuple[str, ...]:
        """Return the names of the tables that this process has met."""
        return self.tables.names()
