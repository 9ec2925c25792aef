"""Composes the cutover from settings: the participant of a process, the service that moves stages, and its loops.

Proxies use it, and so do the commands that move stages or work on a whole table. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry

from comparators.rules import ANY
from proxy.cutover.authority.beliefs import WatchedTables
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.auto_demotion import AutoDemotion
from proxy.cutover.flip.fencing import FenceControl, FlipRecorder
from proxy.cutover.flip.participant import Participant, ProcessIdentity
from proxy.cutover.gate.evidence_publisher import EvidencePublisher, fingerprint
from proxy.cutover.gate_metrics import GateMetrics
from proxy.cutover.process_status import ProcessStatus
from proxy.cutover.service import CutoverService
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import Stages
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.load import LoadedMapping
from proxy.settings import Settings
from proxy.stores.dsql.system_tables.authority_record import AuthorityRecords
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore

_LEASE_CALL_SECONDS: Final = 0.5


def compose_participant(
    settings: Settings,
    upstream: DynamoDBClient,
    fence: FenceControl,
    process: str,
    *,
    listen: str = "",
    recorder: FlipRecorder | None = None,
) -> Participant | None:
    """Return the participant of a process in moving stages, under the process's name; None where stages are pinned."""
    table = _lease_table(settings, upstream)
    if table is None:
        return None
    return Participant(
        table,
        fence,
        ProcessIdentity(name=process, initial_stages=_initial_stages(settings), listen=listen),
        lease_seconds=settings.stages.lease_seconds,
        poll_seconds=settings.stages.poll_seconds,
        recorder=recorder,
    )


def authority_watch_of(
    settings: Settings,
    upstream: DynamoDBClient,
    records: AuthorityRecords,
    types: Mapping[str, Iterable[str]],
    tables: WatchedTables,
    process: str,
) -> AuthorityWatch | None:
    """Return the watch of a process over DSQL's record of the authority; None where the settings name no DSQL."""
    if not settings.dsql.given:
        return None
    return AuthorityWatch(
        records,
        _lease_table(settings, upstream),
        Stages(settings, types),
        tables,
        process=process,
        lease_seconds=settings.stages.lease_seconds,
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


def _lease_table(settings: Settings, upstream: DynamoDBClient) -> StageTable | None:
    """Return the stage table for what a lease depends on; None where stages are pinned.

    A call that hangs for longer than a part of the lease has cost it anyway; and none of these are clients' calls,
    whose latencies the gate looks at.
    """
    limit = min(settings.dynamodb.timeout_seconds, max(_LEASE_CALL_SECONDS, settings.stages.lease_seconds / 5))
    return _stage_table(settings, DynamoDBStore(upstream, limit))


def _stage_table(settings: Settings, dynamodb: DynamoDBStore) -> StageTable | None:
    return StageTable(dynamodb, settings.stages.table) if settings.stages.table is not None else None


def _initial_stages(settings: Settings) -> str:
    """Return where each table and type begins: by this, proxies see whether they all have the same settings."""
    here = [f"*={settings.stage}"]
    for name, table in sorted(settings.tables.items()):
        here.append(f"{name}={settings.stage_of(name)}")
        here.extend(f"{name}/{each}={settings.stage_of(name, each)}" for each in sorted(table.types))
    return " ".join(here)
