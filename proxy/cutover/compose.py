"""Composes the cutover from settings: the participant of a process, the service that moves stages, and its loops.

Proxies use it, and so do the commands that move stages or work on a whole table. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry

from comparators.rules import ANY
from proxy.cutover.auto_demotion import AutoDemotion
from proxy.cutover.flip.fencing import FenceControl
from proxy.cutover.flip.participant import Participant, ProcessIdentity
from proxy.cutover.gate.evidence_publisher import EvidencePublisher, fingerprint
from proxy.cutover.gate_metrics import GateMetrics
from proxy.cutover.process_status import ProcessStatus
from proxy.cutover.service import CutoverService
from proxy.cutover.stage_table import StageTable
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.load import LoadedMapping
from proxy.settings import Settings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore

_LEASE_CALL_SECONDS: Final = 0.5


def compose_participant(
    settings: Settings, upstream: DynamoDBClient, fence: FenceControl, process: str, *, listen: str = ""
) -> Participant | None:
    """Return the participant of a process in moving stages, under the process's name; None where stages are pinned."""
    if settings.stages.table is None:
        return None
    # A call that takes longer than a part of the lease has cost the lease anyway. These are not clients' calls, whose
    # latencies the gate evaluates.
    limit = min(settings.dynamodb.timeout_seconds, max(_LEASE_CALL_SECONDS, settings.stages.lease_seconds / 5))
    return Participant(
        StageTable(DynamoDBStore(upstream, limit), settings.stages.table),
        fence,
        ProcessIdentity(name=process, initial_stages=_initial_stages(settings), listen=listen),
        lease_seconds=settings.stages.lease_seconds,
        poll_seconds=settings.stages.poll_seconds,
    )


def types_of(mapped: Mapping[str, LoadedMapping]) -> dict[str, tuple[str, ...]]:
    """Return the item types that each mapping file declares, by table."""
    return {name: tuple(each for each in table.rules if each != ANY) for name, table in mapped.items()}


def indivisible_tables(mapped: Mapping[str, LoadedMapping]) -> frozenset[str]:
    """Return the tables whose keys do not say the type of an item."""
    return frozenset(
        name
        for name, table in mapped.items()
        if isinstance(table.mapping, ColumnMapping) and not table.mapping.tells_type(table.mapping.key_attributes)
    )


def compose_cutover(
    settings: Settings,
    dynamodb: DynamoDBStore,
    mapped: Mapping[str, LoadedMapping],
    process: ProcessStatus | None = None,
) -> CutoverService:
    """Return the service that answers questions about stages and moves them.

    It acts for `process`, or, with None, for a command that serves no clients.
    """

    async def exists(table: str) -> bool:
        return await dynamodb.describe(table) is not None

    table = _stage_table(settings, dynamodb)
    if process is None:
        return CutoverService(
            settings, table, types=types_of(mapped), indivisible=indivisible_tables(mapped), exists=exists
        )
    return CutoverService(
        settings,
        table,
        types=types_of(mapped),
        indivisible=indivisible_tables(mapped),
        exists=exists,
        own_evidence=process.evidence,
        process=process.identity,
        known_tables=process.met,
    )


def cutover_loops(
    settings: Settings,
    dynamodb: DynamoDBStore,
    cutover: CutoverService,
    process: ProcessStatus,
    registry: CollectorRegistry,
) -> tuple[Callable[[], Awaitable[None]], ...]:
    """Return the loops of a process that serves clients: the gate's metrics and, where stages can be moved, the
    publication of evidence and the demotion of the ramp."""
    loops: list[Callable[[], Awaitable[None]]] = [GateMetrics(cutover, registry).watch]
    table = _stage_table(settings, dynamodb)
    if table is not None:
        publisher = EvidencePublisher(
            table, process.identity, evidence=process.evidence, resume=process.resume, made_by=fingerprint(settings)
        )
        loops.append(publisher.publish_once)
        if settings.gate.demote:
            loops.append(AutoDemotion(cutover, settings.gate).watch)
    return tuple(loops)


def _stage_table(settings: Settings, dynamodb: DynamoDBStore) -> StageTable | None:
    return StageTable(dynamodb, settings.stages.table) if settings.stages.table is not None else None


def _initial_stages(settings: Settings) -> str:
    """Return where each table and type begins: by this, proxies see whether they all have the same settings."""
    here = [f"*={settings.stage}"]
    for name, table in sorted(settings.tables.items()):
        here.append(f"{name}={settings.stage_of(name)}")
        here.extend(f"{name}/{each}={settings.stage_of(name, each)}" for each in sorted(table.types))
    return " ".join(here)
