"""Both stores of one table, opened for a command that works over the whole of it: backfill or verify.

Puts together what `shadow.build` puts together for traffic, without traffic: no journal, no breaker, no metrics.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from proxy.cutover.compose import participant_of
from proxy.cutover.flip.fencing import FenceControl
from proxy.cutover.flip.participant import Participant
from proxy.cutover.stages import DYNAMODB
from proxy.mapping.references import Reference
from proxy.migrate.schema.document_tables import Documents
from proxy.migrate.table_jobs import open_table as opening
from proxy.migrate.table_jobs.job_participant import JobParticipant
from proxy.migrate.table_jobs.table_authority import TableAuthority
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dsql.bulk import Bulk
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.dsql.system_tables.checkpoints import Checkpoints
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.interface import Store
from proxy.stores.table_registry import Table, Tables

# A statement over many rows takes longer than one of a client's; DSQL ends a transaction at 300 s.
_STATEMENT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class TableStores:
    """A table's two stores, and what is known of the table."""

    table: Table
    dynamodb: DynamoDBStore
    dsql: DSQLStore
    pool: Pool
    bulk: Bulk
    checkpoints: Checkpoints
    references: tuple[Reference, ...]
    items: int
    """What DescribeTable says, which may be six hours old."""
    size: int
    """Bytes, as old."""
    standing: TableAuthority
    enlist: Callable[[str, FenceControl], Participant | None]
    """A process's part in moving stages, by its name; None where they are pinned."""

    def job_participant(self, name: str, authority: str, *, left: bool) -> JobParticipant:
        """A command's part in moving stages while it writes to the other store; it keeps its name when it is started
        again. `left` as `TakingPart` has it."""
        stores: tuple[Store, Store] = (self.dynamodb, self.dsql)
        truth, mirror = stores if authority == DYNAMODB else stores[::-1]
        # Names go into paths and onto command lines (`crossfade stage forget`).
        named = name.replace("/", ":")
        return JobParticipant(
            self.table, self.standing, truth, mirror, lambda part: self.enlist(named, part), left=left
        )


@asynccontextmanager
async def open_table_stores(
    settings: Settings, name: str | None, retried: Callable[[str], None] = lambda _: None
) -> AsyncIterator[TableStores]:
    """Until the end of the block. Raises SettingsError, CredentialsError, StoreError."""
    if settings.dsql.dsn is None and settings.dsql.endpoint is None:
        raise SettingsError(["this needs DSQL: set endpoint or dsn in [dsql]"])
    chosen, mapped = opening.chosen(settings, name)
    pool = open_pool(settings.dsql)
    try:
        async with open_upstream(settings, os.environ) as upstream:
            dynamodb = DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)
            schema = await opening.described(dynamodb, chosen)
            description = await dynamodb.ask("DescribeTable", {"TableName": chosen})
            tables = Tables(dynamodb.describe, {} if mapped is None else {chosen: mapped})
            table = tables.learn(schema)
            if mapped is None and settings.follow_tables:
                await Documents(pool, settings.dsql.schema).create(table.mapping)  # type: ignore[arg-type]
            dsql = DSQLStore(pool, tables.mapping_of, schema=settings.dsql.schema, on_retry=retried)
            schema_name = settings.dsql.schema
            bulk = Bulk(pool, table.mapping, schema=schema_name, seconds=_STATEMENT_SECONDS, on_retry=retried)
            yield TableStores(
                table,
                dynamodb,
                dsql,
                pool,
                bulk,
                Checkpoints(pool, schema_name, seconds=settings.dsql.timeout_seconds),
                () if mapped is None else mapped.references,
                int(description["Table"].get("ItemCount", 0)),
                int(description["Table"].get("TableSizeBytes", 0)),
                TableAuthority(settings, dynamodb, chosen, mapped.rules if mapped is not None else ()),
                lambda named, part: participant_of(settings, upstream, part, named),
            )
    finally:
        await pool.close_or_terminate()


def collect_seldom() -> None:
    """What has been loaded stays: the garbage collector need not look at it again, nor at each 700th dict of a page."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
