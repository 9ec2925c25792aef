"""Puts the layer together from settings: stores, journal, mappings, and what works between them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog
from structlog.typing import FilteringBoundLogger

from comparators.rules import ANY
from proxy.cutover.compose import participant_of
from proxy.cutover.flip.fencing import NoLease, ServingLease
from proxy.cutover.gate.basis import Basis
from proxy.cutover.gate.evidence_collector import EvidenceCollector
from proxy.cutover.gate.latest_sweeps import LatestSweeps
from proxy.cutover.stages import DSQL, DYNAMODB, Stages
from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.schema import Key
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.digest import mapping_digest
from proxy.mapping.load import load_mappings
from proxy.metrics.registry import Metrics
from proxy.migrate.schema.document_tables import Documents
from proxy.migrate.schema.ledger import LEDGER_TABLES
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.shadow.comparison.peers import NoPeers, PeerActivity, Peers
from proxy.shadow.comparison.read_comparison import ReadComparison
from proxy.shadow.comparison.verdict_recorder import VerdictRecorder
from proxy.shadow.comparison.write_rehearsal import WriteRehearsal
from proxy.shadow.convergence.converge import converge
from proxy.shadow.convergence.converger import Converger, Direction
from proxy.shadow.instrumentation import (
    NO_INSTRUMENTATION,
    Instrument,
    Instrumentation,
    VerdictSink,
    no_instrumentation,
)
from proxy.shadow.journal.backlog import backlog_by_table
from proxy.shadow.journal.file_version import JournalFormatError
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.storage import JournalLocked
from proxy.shadow.request.follow_tables import TableFollower
from proxy.shadow.request.layer import Layer
from proxy.shadow.request.routing import Route, Routes
from proxy.shadow.write_fence import WriteFence
from proxy.stores.circuit_breaker import BreakerState, CircuitBreaker
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.offline_control_plane import ControlPlane
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.dsql.system_tables.authority_guarantees import PROMISE_TABLES, AuthorityGuarantees
from proxy.stores.dsql.system_tables.checkpoints import CHECKPOINTS_TABLE
from proxy.stores.dsql.system_tables.peer_messages import BOARD_TABLE, PeerMessages
from proxy.stores.dsql.system_tables.sweep_records import SWEEPS_TABLE, SweepRecords
from proxy.stores.dsql.system_tables.table_descriptions import CATALOGUE_TABLE, TableDescriptions
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import Refused, StoreError
from proxy.stores.guarded_store import ConclusiveStore, GuardedStore
from proxy.stores.interface import Store
from proxy.stores.table_registry import Tables
from proxy.stream.compose import KeyEnqueuer, followers

log = structlog.get_logger(__name__)

# A client waits no longer for a connection than it would for a DynamoDB that is busy.
_BUSY_SECONDS = 1.0
_AGAIN_SECONDS = 5.0
_REMEMBERED = 1000


async def compose_layer(
    settings: Settings,
    metrics: Metrics,
    _: FilteringBoundLogger,
    upstream: DynamoDBClient,
    instrument: Instrument = no_instrumentation,
) -> Layer:
    """An open layer, wrapped by `instrument`. Raises SettingsError for what an operator has to mend."""
    mapped = load_mappings(settings)
    # With every table off there need be no DSQL; the pool then has nowhere to go, and is never asked.
    pool = open_pool(settings.dsql, metrics.stores)
    metrics.stores.dsql_pool(lambda: pool.state)
    catalogue = TableDescriptions(pool, settings.dsql.schema)
    dynamodb = DynamoDBStore(
        upstream,
        settings.dynamodb.timeout_seconds,
        lambda action, s: metrics.stores.store_seconds(DYNAMODB, action, s),
        described=catalogue.keep,
        undecided=metrics.stores.dynamodb_undecided,
    )
    columns = {n: t.mapping for n, t in mapped.items() if isinstance(t.mapping, ColumnMapping)}
    control = None if settings.needs_dynamodb else ControlPlane(catalogue, columns)
    tables = Tables(dynamodb.describe if control is None else control.schema, mapped)
    stages = Stages(settings, {name: (each for each in table.rules if each != ANY) for name, table in mapped.items()})
    instrumentation = instrument(stages, tables, upstream)
    reserved = frozenset(
        {
            BOARD_TABLE,
            CATALOGUE_TABLE,
            CHECKPOINTS_TABLE,
            SWEEPS_TABLE,
            *LEDGER_TABLES,
            *PROMISE_TABLES,
            *(table.mapping.sql_table for table in mapped.values()),
        }
    )
    documents = Documents(pool, settings.dsql.schema, reserved)
    follow = TableFollower(documents.create, documents.drop) if settings.follow_tables else None

    def dsql(guarantees: AuthorityGuarantees | None) -> DSQLStore:
        return DSQLStore(
            pool,
            tables.mapping_of,
            followed=follow,
            schema=settings.dsql.schema,
            on_retry=metrics.stores.mirror_retried,
            observe=lambda action, s: metrics.stores.store_seconds(DSQL, action, s),
            guarantees=guarantees,
            acquire_seconds=_BUSY_SECONDS if guarantees is not None else None,
        )

    guarantees = AuthorityGuarantees(pool, settings.dsql.schema)

    async def keep_promises() -> None:
        try:
            # Now, and not at the first write past a flip.
            await guarantees.ensure_tables()
            await guarantees.tidy()
        except StoreError:
            await asyncio.sleep(_AGAIN_SECONDS)

    def failed(table: str, reason: str) -> None:
        metrics.stores.gave_up(table, reason)
        witness.count_failure(table, reason)

    async def let_go() -> None:
        stop_following()
        await pool.close_or_terminate()

    journal = open_journal(settings)
    sweeps = SweepRecords(pool, settings.dsql.schema, seconds=settings.dsql.timeout_seconds)
    last_swept = LatestSweeps(
        sweeps,
        lambda: (name for name, _, _ in stages.list_all(tables.names())),
        lambda: catalogue.names("", _REMEMBERED),
    )
    witness = EvidenceCollector(
        lambda: journal.identity,
        timings=metrics.stores.store_timings,
        standing=lambda: backlog_by_table(journal, tables),
        troubles=lambda: layer.troubles(),
        swept=last_swept.last,
        basis=lambda table: _basis(stages, tables, table),
    )
    findings = VerdictRecorder(
        metrics, kept=settings.admin.mismatches_kept, values=settings.admin.values, evidence=witness
    )
    # What no process writes to the mirror, none needs to be asked about.
    mirrors = settings.stages.table is not None or settings.beginnings() != {"off"}
    peers = None
    if mirrors and not settings.mirror.alone:
        peers = Peers(PeerMessages(pool, settings.dsql.schema), journal, settings.dsql.timeout_seconds)
    floor = WriteFence(
        stages, journal, tables, hold_seconds=settings.stages.hold_seconds, can_mirror=settings.dsql.given
    )
    participant = participant_of(settings, upstream, floor, journal.identity, listen=str(settings.listen))
    lease: ServingLease = participant.lease if participant is not None else NoLease()
    ways, converger = compose_routes(
        settings,
        stages,
        tables,
        journal,
        findings,
        metrics,
        dynamodb=dynamodb,
        dsql=dsql(None),
        serving=dsql(guarantees),
        others=peers,
        floor=floor,
        lease=lease,
        failed=failed,
        note=guarantees.note,
        instrumentation=instrumentation,
    )
    nominate = KeyEnqueuer(journal, floor, tables, ways)
    following, stop_following = followers(settings, upstream, dynamodb, nominate, metrics.registry)
    layer = Layer(
        settings=settings,
        metrics=metrics,
        stages=stages,
        tables=tables,
        journal=journal,
        dynamodb=dynamodb,
        ways=ways,
        converger=converger,
        findings=findings,
        floor=floor,
        follow=follow,
        let_go=let_go,
        peers=peers,
        witness=witness,
        also=[
            *(each.turn for each in following),
            *([last_swept.watch, catalogue.work, keep_promises] if mirrors else []),
        ],
        control=control,
        dropped=catalogue.drop,
        lease=lease,
        participant=participant,
        instrumentation=instrumentation,
    )
    try:
        await layer.open()
    except Refused as error:
        raise SettingsError([str(error)]) from error
    if settings.dsql.given:
        pool.start()
    log.debug("layer_open", mappings=sorted(mapped))
    return layer


def _basis(stages: Stages, tables: Tables, table: str) -> Basis:
    """What this process's findings about a table are of, now."""
    known = tables.known(table)
    return Basis.of(stages, table, mapping_digest(known.mapping) if known is not None else "")


def open_journal(settings: Settings) -> Journal:
    """The journal, open, with what an earlier process left. Raises SettingsError."""
    synchronous: Literal["normal", "full"] = "full" if settings.journal.synchronous == "full" else "normal"
    journal = Journal(settings.journal.path, synchronous, queue_limit=settings.mirror.queue)
    try:
        left = journal.open({DYNAMODB: settings.dynamodb.settle_seconds, DSQL: settings.dsql.settle_seconds})
    except (JournalLocked, JournalFormatError) as error:
        raise SettingsError([str(error)]) from error
    except (OSError, sqlite3.Error) as error:
        what = error.strerror if isinstance(error, OSError) else error
        remedy = (
            "set journal.path to a file that can be written; if this one is broken, move it away and sweep each table "
            "(crossfade verify --repair): which keys it held is not known"
        )
        raise SettingsError([f"{settings.journal.path}: {what}: {remedy}"]) from error
    if left:
        log.info("journal_resumed", keys=left)
    return journal


def compose_routes(
    settings: Settings,
    stages: Stages,
    tables: Tables,
    journal: Journal,
    findings: VerdictSink,
    metrics: Metrics,
    *,
    dynamodb: Store,
    dsql: Store,
    serving: Store,
    others: PeerActivity | None,
    floor: WriteFence,
    lease: ServingLease,
    failed: Callable[[str, str], None] = lambda _, __: None,
    note: Callable[[IdempotencyToken], Awaitable[None]] | None = None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> tuple[Routes, Converger]:
    """What stands between the two stores, for either of them as the authority, and what converges keys both ways.

    DynamoDB's own calls have a time limit already, as the authority; whatever is the mirror stands behind a breaker.
    `serving` is DSQL as the authority, which keeps promises that a mirror need not; `note` tells it of a client's token
    that DynamoDB has seen, so that a retry after the flip finds it.
    """
    by_authority: dict[str, Route] = {}
    ways = Routes(by_authority, stages, tables)
    settle = {DYNAMODB: settings.dynamodb.settle_seconds, DSQL: settings.dsql.settle_seconds}
    converger = Converger(journal, ways, metrics, settle, tables.find, failed, instrumentation.converge(converge))
    findings = instrumentation.verdict_sink(findings)
    alone = settings.mirror.alone
    asking = settings.mirror.rehearse_timeout_seconds
    to_dsql, to_dynamodb = (_breaker(settings, metrics, name) for name in (DSQL, DYNAMODB))
    for authority, served, mirror, seconds, breaker in (
        (dynamodb, dynamodb, dsql, settings.dsql.timeout_seconds, to_dsql),
        (
            serving,
            GuardedStore(serving, settings.dsql.timeout_seconds),
            dynamodb,
            settings.dynamodb.timeout_seconds,
            to_dynamodb,
        ),
    ):

        def stands(key: Key, authority: str = authority.name) -> bool:
            return lease.valid and ways.stage_of(key).authority == authority

        served = instrumentation.store(served, "authority")
        asked = instrumentation.store(GuardedStore(ConclusiveStore(mirror), asking, breaker, stands), "mirror")
        rehearsal = WriteRehearsal(
            journal,
            served,
            asked,
            converger,
            findings,
            alone=alone,
            peers=others,
            remember_token=note if mirror is dsql else None,
        )
        reading = ReadComparison(
            journal,
            served,
            asked,
            findings,
            others or NoPeers(alone=True),
            nominate=instrumentation.nominate(floor.nominate),
        )
        by_authority[authority.name] = Route(
            Direction(served, instrumentation.store(GuardedStore(mirror, seconds, breaker, stands), "mirror"), breaker),
            asked,
            instrumentation.write_rehearser(rehearsal, authority.name),
            instrumentation.read_comparer(reading, authority.name),
            failed,
        )
    return ways, converger


def _breaker(settings: Settings, metrics: Metrics, store: str) -> CircuitBreaker:
    limits = settings.mirror.breaker
    metrics.stores.breaker(store, is_open=False)
    return CircuitBreaker(
        limits.failures,
        limits.reset_seconds,
        lambda state: metrics.stores.breaker(store, state is not BreakerState.CLOSED),
    )
