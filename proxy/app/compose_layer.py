"""Composes the layer over two stores: the fence, evidence, comparisons, convergence, and the paths of requests.

Production composes it over the stores that `open_stores` opens, simulations over stores of their own. It opens nothing,
and starts nothing: the layer's life is `proxy.app.process`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from proxy.app.compose_routes import ComposedRoutes, RouteParts, compose_breakers, compose_routes
from proxy.app.open_stores import Loop, Stores
from proxy.background_tasks import BackgroundTasks
from proxy.cutover.authority.beliefs import WatchedTables
from proxy.cutover.authority.guard import AuthorityGuard, NoRecord
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.compose import types_of
from proxy.cutover.flip.fencing import NoLease, ServingLease
from proxy.cutover.flip.participant import Participant
from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.evidence_collector import EvidenceCollector
from proxy.cutover.gate.latest_sweeps import LatestSweeps
from proxy.cutover.stages import Stages
from proxy.mapping.digest import MappingDigests
from proxy.mapping.interface import TableMapping
from proxy.metrics.registry import Metrics
from proxy.settings import Settings
from proxy.shadow.comparison.peers import Peers
from proxy.shadow.comparison.verdict_recorder import VerdictRecorder
from proxy.shadow.cursors.issuers import CURSOR, CursorIssuers
from proxy.shadow.cursors.memory import CursorMemory
from proxy.shadow.expiry.attributes import ExpiryAttributes
from proxy.shadow.expiry.expirer import Expirer
from proxy.shadow.instrumentation import NO_INSTRUMENTATION, Instrumentation
from proxy.shadow.journal.backlog import backlog_by_table
from proxy.shadow.journal.journal import Journal
from proxy.shadow.parked_control import ParkedControl
from proxy.shadow.request.admission import AdmissionControl
from proxy.shadow.request.bypass import Bypass
from proxy.shadow.request.decoder import RequestDecoder
from proxy.shadow.request.layer import Layer
from proxy.shadow.request.loop_lag import LoopLag
from proxy.shadow.request.partiql_statements import PartiQLStatements
from proxy.shadow.request.reads import Reads
from proxy.shadow.request.table_operations import TableOperations
from proxy.shadow.request.writes import Writes
from proxy.shadow.status import Health, ShadowStatus
from proxy.shadow.write_fence import WriteFence
from proxy.stores.dsql.system_tables.table_properties import TIME_TO_LIVE
from proxy.stores.table_registry import Tables

InstrumentLayer: TypeAlias = Callable[[Stages, Tables], Instrumentation]
"""Gives the instrumentation of a layer over these stages and tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedLayer:
    """The layer, and the parts of it that its process works with."""

    layer: Layer
    """Answers requests."""
    status: ShadowStatus
    """Reports on the layer's process."""
    stages: Stages
    """The stages of this process."""
    tables: Tables
    """The tables that have been met."""
    journal: Journal
    """The journal of this process."""
    fence: WriteFence
    """Holds writes while a stage is moved."""
    routes: ComposedRoutes
    """What is between the stores."""
    background: BackgroundTasks
    """The work behind the answers."""
    lag: LoopLag
    """Says when the event loop has no time for it."""
    lease: ServingLease
    """The lease without which nothing is served or converged."""
    participant: Participant | None
    """The participant in moving stages; None where they are pinned."""
    authority_watch: AuthorityWatch | None
    """The watch over DSQL's record of the authority; None where there is no DSQL."""
    peers: Peers | None
    """The other processes over the same stores; None where none is asked."""
    expirer: Expirer | None
    """What expires items where DSQL is the authority; None where nothing does."""
    loops: tuple[Loop, ...]
    """What must run for ever beside the layer."""


def compose_layer(
    settings: Settings,
    metrics: Metrics,
    stores: Stores,
    journal: Journal,
    instrument: InstrumentLayer = lambda _, __: NO_INSTRUMENTATION,
) -> ComposedLayer:
    """Return a layer over these stores, with its parts wrapped by what `instrument` gives. The journal is open."""
    tables = stores.tables
    stages = Stages(settings, types_of(stores.mappings))
    instrumentation = instrument(stages, tables)
    fence = WriteFence(
        stages, journal, tables, hold_seconds=settings.stages.hold_seconds, can_mirror=settings.dsql.given
    )
    digests = MappingDigests(partial(_mapping_of, stores))
    watch = stores.watch_authority(
        WatchedTables(names=tables.names, digest_of=digests.of, find=tables.find, mapped=tuple(stores.mappings)),
        journal.identity,
    )
    authority: AuthorityGuard = watch or NoRecord()
    participant = stores.enlist(fence, journal.identity, watch)
    lease: ServingLease = participant.lease if participant is not None else NoLease()
    # What no process writes to the mirror, none needs to be asked about.
    may_mirror = settings.stages.table is not None or settings.beginnings() != {"off"}
    peers = None
    if may_mirror and not settings.mirror.alone:
        peers = Peers(stores.messages, journal, settings.dsql.timeout_seconds)
    cursors = CursorIssuers(stages, CursorMemory(), peers)
    if peers is not None:
        peers.answers(CURSOR, cursors.answer)
    decoder = RequestDecoder(tables, metrics, stores.follow)
    breakers = compose_breakers(settings, metrics)
    health = Health(lease=lease, journal=journal, decoder=decoder, breakers=breakers, authority=authority)
    latest_sweeps = LatestSweeps(stores.sweeps, lambda: _named(stages, tables), stores.remembered_tables)
    collector = EvidenceCollector(
        lambda: journal.identity,
        timings=metrics.stores.store_timings,
        backlogs=lambda: backlog_by_table(journal, tables),
        troubles=health.troubles,
        sweeps=latest_sweeps.by_table,
        basis=lambda table: Basis.of(stages, table, digests.of(table)),
    )
    verdicts = VerdictRecorder(
        metrics, kept=settings.admin.mismatches_kept, values=settings.admin.values, evidence=collector
    )

    def count_failure(table: str, reason: str) -> None:
        metrics.stores.gave_up(table, reason)
        collector.count_failure(table, reason)

    def forget_table(table: str) -> None:
        """Forget a table that DynamoDB has deleted. Its parked keys have nothing to converge with, and go."""
        stores.on_table_deleted(table)
        metrics.forget_table(table)
        verdicts.forget_table(table)
        collector.forget_table(table)
        journal.parked.retry(table=table)

    expiry = ExpiryAttributes(partial(stores.properties.all, TIME_TO_LIVE) if stores.properties else _no_properties)
    routes = compose_routes(
        settings,
        metrics,
        RouteParts(
            stores=stores,
            stages=stages,
            journal=journal,
            fence=fence,
            lease=lease,
            authority=authority,
            breakers=breakers,
            peers=peers,
            verdicts=verdicts,
            expiry_attribute=expiry.of,
            on_failure=count_failure,
        ),
        instrumentation,
    )
    background = BackgroundTasks(settings.mirror.comparisons_queue)
    lag = LoopLag(settings.mirror.max_turn_seconds)
    admission = AdmissionControl(background, fence, lag, metrics)
    reads = Reads(stages, routes.by_authority, journal, admission, cursors, metrics)
    writes = Writes(stages, routes.by_authority, journal, fence, lease, routes.converger, admission, metrics)
    dynamodb = instrumentation.passthrough(stores.dynamodb)
    bypass = Bypass(dynamodb=dynamodb, fence=fence, lease=lease, metrics=metrics)
    layer = Layer(
        stages=stages,
        lease=lease,
        authority=authority,
        decoder=decoder,
        read=instrumentation.execute(reads.read),
        write=instrumentation.execute(writes.write),
        bypass=bypass,
        statements=PartiQLStatements(stages=stages, tables=tables, bypass=bypass),
        table_operations=TableOperations(
            stages=stages,
            tables=tables,
            authority=authority,
            dynamodb=dynamodb,
            control=stores.control,
            follow=stores.follow,
            on_table_deleted=forget_table,
            on_table_described=stores.on_table_described,
            on_time_to_live=stores.on_time_to_live,
        ),
        nominate=fence.nominate,
        count_seen=collector.count_seen,
    )
    expirer = None
    if stores.properties is not None and may_mirror and settings.expiry.enabled:
        expirer = Expirer(
            attributes=expiry,
            leases=stores.properties,
            process=journal.identity,
            stages=stages,
            key_stages=routes.key_stages,
            lease=lease,
            find_table=tables.find,
            dsql=stores.dsql_mirror,
            write=writes.write,
            count_expired=metrics.cutover.expired,
            every_seconds=settings.expiry.every_seconds,
            rate=settings.expiry.rate,
        )
    status = ShadowStatus(
        initial_stage=settings.stage,
        stages=stages,
        tables=tables,
        journal=journal,
        background=background,
        metrics=metrics,
        verdicts=verdicts,
        collector=collector,
        health=health,
        parked=ParkedControl(journal=journal, tables=tables, show_key=verdicts.show_key),
    )
    return ComposedLayer(
        layer=layer,
        status=status,
        stages=stages,
        tables=tables,
        journal=journal,
        fence=fence,
        routes=routes,
        background=background,
        lag=lag,
        lease=lease,
        participant=participant,
        authority_watch=watch,
        peers=peers,
        expirer=expirer,
        loops=(latest_sweeps.watch, *stores.loops) if may_mirror else (),
    )


async def _no_properties() -> Mapping[str, Mapping[str, Any]]:
    return {}


def _mapping_of(stores: Stores, table: str) -> TableMapping | None:
    """Return the mapping of a table: its file's, or else, once it has been met, that of its description."""
    loaded, known = stores.mappings.get(table), stores.tables.known(table)
    if loaded is not None:
        return loaded.mapping
    return known.mapping if known is not None else None


def _named(stages: Stages, tables: Tables) -> Iterable[str]:
    """Return the tables that stages, settings, mappings or clients have named."""
    return (name for name, _, _ in stages.list_all(tables.names()))
