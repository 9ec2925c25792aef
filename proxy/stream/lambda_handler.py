"""The same work as an AWS Lambda function: `proxy.stream.lambda_handler.handler`, for an event source mapping.

Takes batches of a DynamoDB stream and of the Kinesis stream that Aurora DSQL's change data capture writes to, and
answers with `batchItemFailures` ("Configuring partial batch response with DynamoDB and Lambda", developer guide):
Lambda gives those records, and all after the first of them, again. Settings come from `CROSSFADE_…` variables and from
the file that SETTINGS_FILE names. What is opened for the first batch stays open for the next.

Which store is the authority is read anew for each batch, from the stage table if there is one, and from DSQL's own
record. While a stage is being moved, or the two disagree, nothing is converged, and the batch comes again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from proxy import logs
from proxy.cutover.authority.beliefs import WatchedTables
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.compose import types_of
from proxy.cutover.stage_table import StageTable
from proxy.cutover.stages import DSQL, StageMap, Stages
from proxy.dynamodb.schema import Key
from proxy.mapping.digest import MappingDigests
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import LoadedMapping, load_mappings
from proxy.settings import Settings, load
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.dsql.system_tables.authority_record import AuthorityTable
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.errors import StoreError, Unreachable
from proxy.stores.guarded_store import GuardedStore
from proxy.stores.table_registry import Tables
from proxy.stream.batch_receiver import BatchReceiver, DirectedStores

log = structlog.get_logger(__name__)

SETTINGS_FILE: Final = "SETTINGS_FILE"
# What is left for the answer itself, of the function's own time limit.
_RESERVED_SECONDS: Final = 1.0
_SECONDS: Final = 60.0


class LambdaContext(Protocol):
    """What of Lambda's context object is asked."""

    def get_remaining_time_in_millis(self) -> int: ...


class _Environment:
    """Both stores and the stages, for as long as the function's environment lives."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._mappings: dict[str, LoadedMapping] = load_mappings(settings)
        self._stages = Stages(settings, types_of(self._mappings))

    async def open(self) -> None:
        """Raises SettingsError and CredentialsError."""
        settings = self._settings
        upstream = await self._stack.enter_async_context(open_upstream(settings, os.environ))
        pool = open_pool(settings.dsql)
        self._stack.callback(pool.terminate)
        dynamodb = DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)
        self._tables = Tables(dynamodb.describe, self._mappings, settings.dsql.max_key_bytes)
        dsql = DSQLStore(pool, self._tables.mapping_of, schema=settings.dsql.schema)
        self._dynamodb = GuardedStore(dynamodb, settings.dynamodb.timeout_seconds)
        self._dsql = GuardedStore(dsql, settings.dsql.timeout_seconds)
        name = settings.stages.table
        self._stage_table = StageTable(dynamodb, name) if name is not None else None
        rows_of = dict.fromkeys((*self._mappings, *settings.stream.tables))
        self._receiver = BatchReceiver(self._tables.find, rows_of, self._direction_of, settings.dsql.schema)
        digests = MappingDigests(self._mapping_of)
        self._watch = AuthorityWatch(
            AuthorityTable(pool, settings.dsql.schema, seconds=settings.dsql.timeout_seconds),
            self._stage_table,
            Stages(settings, types_of(self._mappings)),
            WatchedTables(
                names=lambda: (*rows_of, *self._tables.names()), digest_of=digests.of, find=self._tables.find
            ),
            process="the stream's function",
            lease_seconds=settings.stages.lease_seconds,
        )

    def _mapping_of(self, table: str) -> TableMapping | None:
        loaded, known = self._mappings.get(table), self._tables.known(table)
        if loaded is not None:
            return loaded.mapping
        return known.mapping if known is not None else None

    async def close(self) -> None:
        await self._stack.aclose()

    async def process(self, event: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to a batch."""
        records = event.get("Records") or []
        if not records:
            return {"batchItemFailures": []}
        try:
            settled = await self._refresh_stages()
            await self._watch.look()
        except StoreError as error:
            log.warning("stages_not_read", reason=error.reason)
            settled = False
        failed = await self._receiver.converge_batch(records, seconds if settled else 0.0)
        return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}

    async def _refresh_stages(self) -> bool:
        """Learn the stages as they are now. Gives whether none is being moved."""
        if self._stage_table is None:
            return True
        state = await self._stage_table.state()
        if state.map is not None and state.epoch != self._stages.map.epoch:
            self._stages.adopt(StageMap.from_document(state.map))
        return state.flip is None

    def _direction_of(self, key: Key) -> DirectedStores | None:
        stage = self._stages.stage_of(key.table, self._tables.type_of(key))
        if not stage.mirrored:
            return None
        if not self._watch.may_mirror(key.table):
            why = self._watch.contradiction(key.table) or "; ".join(self._watch.problems())
            raise Unreachable("authority", why or "DSQL's record of the authority has not been read")
        if stage.authority == DSQL:
            return DirectedStores(self._dsql, self._dynamodb)
        return DirectedStores(self._dynamodb, self._dsql)


class Function:
    """One environment of the function: `settings` are read, and everything opened, at the first batch."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._runner = asyncio.Runner()
        self._open_environment: _Environment | None = None

    def __call__(self, event: Mapping[str, Any], context: LambdaContext | None = None) -> dict[str, Any]:
        """Raises SettingsError and CredentialsError, which make the whole batch come again."""
        seconds = context.get_remaining_time_in_millis() / 1000 if context is not None else _SECONDS
        return self._runner.run(self._process(event, max(0.0, seconds - _RESERVED_SECONDS)))

    def close(self) -> None:
        """Let go of everything; Lambda itself never asks for it."""
        if self._open_environment is not None:
            self._runner.run(self._open_environment.close())
        self._runner.close()

    async def _process(self, event: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        if self._open_environment is None:
            file = self._environ.get(SETTINGS_FILE)
            settings = load(Path(file) if file else None, self._environ)
            logs.configure(settings.log.level, settings.log.format)
            opened = _Environment(settings)
            await opened.open()
            self._open_environment = opened
        return await self._open_environment.process(event, seconds)


handler = Function(os.environ)
