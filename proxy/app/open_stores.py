"""Opens both stores of a process with what it keeps in them, and closes them again.

`Stores` is all that the layer knows of the world outside: a simulation composes the same layer over stores of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from proxy.cutover.authority.beliefs import WatchedTables
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.compose import authority_watch_of, compose_participant, types_of
from proxy.cutover.flip.fencing import FenceControl, FlipRecorder
from proxy.cutover.flip.participant import Participant
from proxy.cutover.gate.latest_sweeps import SweepHistory
from proxy.cutover.stages import DSQL, DYNAMODB
from proxy.dynamodb.idempotency import IdempotencyToken
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.load import LoadedMapping, load_mappings
from proxy.metrics.registry import Metrics
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.schema.ledger import LEDGER_TABLES
from proxy.settings import Settings
from proxy.shadow.comparison.peers import PeerMessageStore
from proxy.shadow.request.follow_tables import ClientTables, TableFollower
from proxy.shadow.request.table_operations import OfflineControl
from proxy.stores.coalescer import Batching
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.offline_control_plane import ControlPlane
from proxy.stores.dsql.store import CallOptions, DSQLStore
from proxy.stores.dsql.system_tables.authority_guarantees import PROMISE_TABLES, AuthorityGuarantees
from proxy.stores.dsql.system_tables.authority_record import AUTHORITY_TABLE, AuthorityTable
from proxy.stores.dsql.system_tables.checkpoints import CHECKPOINTS_TABLE
from proxy.stores.dsql.system_tables.peer_messages import BOARD_TABLE, PeerMessages
from proxy.stores.dsql.system_tables.sweep_records import SWEEPS_TABLE, SweepRecords
from proxy.stores.dsql.system_tables.table_descriptions import CATALOGUE_TABLE, TableDescriptions
from proxy.stores.dsql.system_tables.table_properties import PROPERTIES_TABLE, TableProperties
from proxy.stores.dsql.table_statistics import TableStatistics
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import Refused, StoreError
from proxy.stores.interface import Store
from proxy.stores.table_registry import Tables
from proxy.stores.time_to_live_watch import TimeToLiveWatch

# A client waits no longer for a connection than it would for a DynamoDB that is busy.
_BUSY_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
_MAX_REMEMBERED: Final = 1000

Loop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Both stores of a process, and what it keeps in them."""

    mappings: Mapping[str, LoadedMapping]
    """The mapping files, by table."""
    tables: Tables
    """The tables that have been met, and how each maps."""
    dynamodb: DynamoDBStore
    """DynamoDB, as the authority and as the mirror."""
    dsql_mirror: Store
    """DSQL as the mirror."""
    dsql_authority: Store
    """DSQL as the authority, which gives guarantees that a mirror need not give."""
    control: OfflineControl | None
    """What answers operations on tables where there is no DynamoDB; None where there is one."""
    follow: TableFollower | None
    """What repeats the changes of tables on DSQL; None where that is off."""
    messages: PeerMessageStore
    """The messages between the processes over these stores."""
    sweeps: SweepHistory
    """The sweeps on record."""
    remembered_tables: Callable[[], Awaitable[Iterable[str]]]
    """Returns the names of tables that were met before this process started. Raises StoreError."""
    on_table_deleted: Callable[[str], None]
    """Called with the name of a table that DynamoDB has deleted."""
    on_table_described: Callable[[Mapping[str, Any]], None]
    """Called with the description of a table that DynamoDB has created or changed."""
    on_time_to_live: Callable[[str], None]
    """Called with the name of a table whose time to live DynamoDB has changed."""
    properties: TableProperties | None
    """The tables' time to live, and who expires their items; None where nobody does."""
    remember_token: Callable[[IdempotencyToken], Awaitable[None]] | None
    """Makes DSQL know a client's token that DynamoDB has seen, so that a retry after the flip finds it."""
    enlist: Callable[[FenceControl, str, FlipRecorder | None], Participant | None]
    """Gives the participant with this fence, process name and recorder in moving stages; None where stages are
    pinned."""
    watch_authority: Callable[[WatchedTables, str], AuthorityWatch | None] = lambda _, __: None
    """Gives the watch of the process of this name over DSQL's record of the authority; None where there is no DSQL."""
    loops: tuple[Loop, ...] = ()
    """What keeps the system tables in DSQL up to date, and calls the stores for groups of keys. Each runs for ever
    while this process may write to a mirror."""


@asynccontextmanager
async def open_stores(settings: Settings, metrics: Metrics, upstream: DynamoDBClient) -> AsyncIterator[Stores]:
    """Open both stores until the end of the block. Raises SettingsError.

    Where every table is `off`, there need be no DSQL: the pool is then never asked.
    """
    mappings = load_mappings(settings)
    async with AsyncExitStack() as stack:
        pool = open_pool(settings.dsql, metrics.stores)
        stack.push_async_callback(pool.close_or_terminate)
        metrics.stores.dsql_pool(lambda: pool.state)
        schema = settings.dsql.schema
        descriptions = TableDescriptions(pool, schema)
        properties = TableProperties(pool, schema)
        store = partial(
            DynamoDBStore,
            timeout=settings.dynamodb.timeout_seconds,
            observe=partial(metrics.stores.store_seconds, DYNAMODB),
            described=lambda description: remember(description),
            undecided=metrics.stores.dynamodb_undecided,
        )
        # Neither descriptions of tables nor the lease may wait behind comparisons.
        dynamodb = store(upstream, batching=_batching(settings, settings.dynamodb.timeout_seconds))
        control_plane = store(upstream.control())
        time_to_live = TimeToLiveWatch(control_plane.call, properties)

        def remember(description: Mapping[str, Any]) -> None:
            descriptions.keep(description)
            time_to_live.note(description["TableName"])

        def forget(table: str) -> None:
            descriptions.drop(table)
            time_to_live.note(table, deleted=True)

        control: ControlPlane | None = None

        async def describe(name: str) -> TableSchema | None:
            return await (control_plane.describe(name) if control is None else control.schema(name))

        async def create(mapping: DocumentMapping) -> None:
            if control is not None and await control.schema(mapping.schema.name) is None:
                # Another process has deleted it: nothing must make it again.
                tables.forget(mapping.schema.name)
                raise Refused("table_deleted", f"the table {mapping.schema.name} was deleted")
            await documents.create(mapping)

        tables = Tables(describe, mappings, settings.dsql.max_key_bytes)
        follow = None
        documents = DocumentTables(pool, schema, _reserved(mappings))
        if settings.follow_tables or settings.control_plane == "dsql":
            follow = TableFollower(create, documents.drop)
            stack.push_async_callback(follow.close)
        if not settings.needs_dynamodb:
            columns = {n: each.mapping for n, each in mappings.items() if isinstance(each.mapping, ColumnMapping)}
            control = ControlPlane(
                catalogue=descriptions,
                properties=properties,
                mapped=columns,
                count=TableStatistics(pool, schema).count,
                maker=ClientTables(follow, tables) if follow is not None and settings.control_plane == "dsql" else None,
                arn_prefix=f"arn:aws:dynamodb:{settings.dynamodb.region or 'us-east-1'}:000000000000",
            )
        guarantees = AuthorityGuarantees(pool, schema)
        records = AuthorityTable(pool, schema, seconds=settings.dsql.timeout_seconds)
        dsql = partial(
            DSQLStore,
            pool,
            tables.mapping_of,
            followed=follow,
            schema=schema,
            on_retry=metrics.stores.mirror_retried,
            observe=partial(metrics.stores.store_seconds, DSQL),
        )
        mirror = dsql(calls=CallOptions(batching=_batching(settings, settings.dsql.timeout_seconds)))
        if settings.dsql.given:
            pool.start()
        yield Stores(
            mappings=mappings,
            tables=tables,
            dynamodb=dynamodb,
            dsql_mirror=mirror,
            dsql_authority=dsql(guarantees=guarantees, calls=CallOptions(acquire_seconds=_BUSY_SECONDS)),
            control=control,
            follow=follow,
            messages=PeerMessages(pool, schema),
            sweeps=SweepRecords(pool, schema, seconds=settings.dsql.timeout_seconds),
            remembered_tables=partial(descriptions.names, "", _MAX_REMEMBERED),
            on_table_deleted=forget,
            on_table_described=descriptions.keep,
            on_time_to_live=time_to_live.note,
            properties=properties,
            remember_token=guarantees.note,
            enlist=partial(_enlist, settings, upstream.control()),
            watch_authority=partial(authority_watch_of, settings, upstream.control(), records, types_of(mappings)),
            loops=(
                descriptions.work,
                time_to_live.work,
                partial(_keep_guarantees, guarantees),
                *dynamodb.loops,
                *mirror.loops,
            ),
        )


def _batching(settings: Settings, timeout_seconds: float) -> Batching:
    mirror = settings.mirror
    return Batching(max_keys=mirror.group_keys, wait_seconds=mirror.group_wait_seconds, timeout_seconds=timeout_seconds)


def _enlist(
    settings: Settings, upstream: DynamoDBClient, fence: FenceControl, process: str, recorder: FlipRecorder | None
) -> Participant | None:
    return compose_participant(settings, upstream, fence, process, listen=str(settings.listen), recorder=recorder)


def _reserved(mappings: Mapping[str, LoadedMapping]) -> frozenset[str]:
    """Return the SQL tables that no followed table may have the name of."""
    system = (
        AUTHORITY_TABLE,
        BOARD_TABLE,
        CATALOGUE_TABLE,
        PROPERTIES_TABLE,
        CHECKPOINTS_TABLE,
        SWEEPS_TABLE,
        *LEDGER_TABLES,
        *PROMISE_TABLES,
    )
    return frozenset((*system, *(each.mapping.sql_table for each in mappings.values())))


async def _keep_guarantees(guarantees: AuthorityGuarantees) -> None:
    """Create the tables that DSQL needs as the authority now, and not at the first write after a flip; then tidy
    them."""
    try:
        await guarantees.ensure_tables()
        await guarantees.tidy()
    except StoreError:
        await asyncio.sleep(_RETRY_SECONDS)
