"""Opens both stores of one table, for a command that works on the whole of it: backfill or verify.

Opens what `proxy.app.open_stores` opens for traffic, without traffic: no journal, no breaker, no metrics.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from proxy.cutover.authority.beliefs import WatchedTables
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.compose import authority_watch_of, compose_participant
from proxy.cutover.flip.fencing import FenceControl, FlipRecorder
from proxy.cutover.flip.participant import Participant
from proxy.cutover.stages import DYNAMODB
from proxy.mapping.digest import MappingDigests
from proxy.mapping.references import Reference
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.table_jobs import open_table as opening
from proxy.migrate.table_jobs.job_participant import JobParticipant
from proxy.migrate.table_jobs.table_authority import TableAuthority
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dsql.bulk import Bulk
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.dsql.system_tables.authority_record import AuthorityTable
from proxy.stores.dsql.system_tables.checkpoints import Checkpoints
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.interface import Store
from proxy.stores.table_registry import Table, Tables

# A statement over many rows takes longer than a client's statement; DSQL ends a transaction at 300 s.
_STATEMENT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStores:
    """Both stores of a table, and what is known about the table."""

    table: Table
    """The table, and how it maps."""
    dynamodb: DynamoDBStore
    """DynamoDB."""
    dsql: DSQLStore
    """DSQL."""
    pool: Pool
    """The connections to DSQL."""
    bulk: Bulk
    """Statements over many rows of the table."""
    checkpoints: Checkpoints
    """How far earlier runs came."""
    references: tuple[Reference, ...]
    """The references to other tables that the mapping declares."""
    items: int
    """The item count of DescribeTable, which may be six hours old."""
    size: int
    """The table's size in bytes, equally old."""
    authority: TableAuthority
    """Knows which store is the table's authority."""
    enlist: Callable[[str, FenceControl, FlipRecorder | None], Participant | None]
    """Gives the participant of a process name in moving stages; None where stages are pinned."""
    watch_authority: Callable[[str], AuthorityWatch | None]
    """Gives the watch of a process name over DSQL's record of the authority."""

    def job_participant(self, name: str, authority: str, *, unrecovered: bool) -> JobParticipant:
        """Return the command's participant in moving stages while it writes to the mirror of `authority`.

        It keeps its name when the command is started again. `unrecovered` is as `JobParticipant` has it.
        """
        stores: tuple[Store, Store] = (self.dynamodb, self.dsql)
        truth, mirror = stores if authority == DYNAMODB else stores[::-1]
        # Names go into paths and onto command lines (`crossfade stage forget`).
        process = name.replace("/", ":")
        watch = self.watch_authority(process)
        return JobParticipant(
            self.table,
            self.authority,
            truth,
            mirror,
            lambda part: self.enlist(process, part, watch),
            unrecovered=unrecovered,
            watch=watch,
        )


@asynccontextmanager
async def open_table_stores(
    settings: Settings, name: str | None, retried: Callable[[str], None] = lambda _: None
) -> AsyncIterator[TableStores]:
    """Open a table's stores until the end of the block. Raises SettingsError, CredentialsError, StoreError."""
    if settings.dsql.dsn is None and settings.dsql.endpoint is None:
        raise SettingsError(["this needs DSQL: set endpoint or dsn in [dsql]"])
    chosen, mapped = opening.choose_table(settings, name)
    async with AsyncExitStack() as stack:
        pool = open_pool(settings.dsql)
        stack.push_async_callback(pool.close_or_terminate)
        upstream = await stack.enter_async_context(open_upstream(settings, os.environ))
        dynamodb = DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)
        table_schema = await opening.describe_table(dynamodb, chosen)
        description = await dynamodb.ask("DescribeTable", {"TableName": chosen})
        tables = Tables(dynamodb.describe, {} if mapped is None else {chosen: mapped}, settings.dsql.max_key_bytes)
        table = tables.learn(table_schema)
        schema = settings.dsql.schema
        types = {chosen: tuple(mapped.rules) if mapped is not None else ()}
        if mapped is None and settings.follow_tables:
            await DocumentTables(pool, schema).create(table.mapping)  # type: ignore[arg-type]
        yield TableStores(
            table=table,
            dynamodb=dynamodb,
            dsql=DSQLStore(pool, tables.mapping_of, schema=schema, on_retry=retried),
            pool=pool,
            bulk=Bulk(pool, table.mapping, schema=schema, seconds=_STATEMENT_SECONDS, on_retry=retried),
            checkpoints=Checkpoints(pool, schema, seconds=settings.dsql.timeout_seconds),
            references=() if mapped is None else mapped.references,
            items=int(description["Table"].get("ItemCount", 0)),
            size=int(description["Table"].get("TableSizeBytes", 0)),
            authority=TableAuthority(settings, dynamodb, chosen, types[chosen]),
            enlist=lambda process, fence, recorder: compose_participant(
                settings, upstream, fence, process, recorder=recorder
            ),
            watch_authority=partial(
                authority_watch_of,
                settings,
                upstream,
                AuthorityTable(pool, schema, seconds=settings.dsql.timeout_seconds),
                types,
                WatchedTables(
                    names=lambda: (chosen,),
                    digest_of=MappingDigests({chosen: table.mapping}.get).of,
                    find=tables.find,
                    written=frozenset({chosen}),
                    mapped=(chosen,) if mapped is not None else (),
                ),
            ),
        )


def tune_garbage_collector() -> None:
    """Make the garbage collector skip what is loaded by now, and run far less often than at every 700th new dict."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
