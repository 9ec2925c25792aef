"""Puts the followers of the settings' streams together, and carries what they find to the journal.

A key is nominated when its stage has two stores to hold equal. While its writes are held for a flip it waits: what is
drained must stay drained, and a record must not be dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from proxy.cutover.stages import Stage
from proxy.dynamodb.schema import Key, TableSchema
from proxy.settings import Settings
from proxy.shadow.journal.journal import Journal
from proxy.shadow.write_fence import WriteFence
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.dynamodb.streams import NOT_THERE, Streams
from proxy.stores.errors import Refused
from proxy.stores.table_registry import Tables
from proxy.stream.follower import Follower, FollowerOptions, StreamedTable
from proxy.stream.metrics import StreamMetrics
from proxy.stream.positions import Positions

_WAIT_SECONDS: Final = 0.1


class StageLookup(Protocol):
    """The lookup of the stage of a key (`proxy.shadow.request.routing.KeyStages`)."""

    def stage_of(self, key: Key) -> Stage:
        """Return the stage of a key now."""


class KeyEnqueuer:
    """The way of keys from a stream into the journal. A call returns when its keys are in the journal's file."""

    def __init__(self, journal: Journal, fence: WriteFence, tables: Tables, key_stages: StageLookup) -> None:
        self._journal = journal
        self._fence = fence
        self._tables = tables
        self._key_stages = key_stages

    async def __call__(self, keys: Sequence[Key]) -> None:
        for name in {key.table for key in keys}:
            await self._tables.find(name)
        while keys:
            now = [key for key in keys if not self._held(key)]
            mirrored = [key for key in now if self._key_stages.stage_of(key).mirrored]
            if mirrored:
                await self._journal.enqueue(mirrored)
            keys = [key for key in keys if key not in now]
            if keys:
                await asyncio.sleep(_WAIT_SECONDS)
        while self._journal.degraded:  # noqa: ASYNC110  # it tells nobody when it can be written again
            await asyncio.sleep(_WAIT_SECONDS)

    def _held(self, key: Key) -> bool:
        return self._fence.holds([(key.table, self._tables.type_of(key))])


def followers(
    settings: Settings,
    upstream: DynamoDBClient,
    dynamodb: DynamoDBStore,
    nominate: KeyEnqueuer,
    registry: CollectorRegistry,
) -> tuple[list[Follower], Callable[[], None]]:
    """One for each table of `[stream]`, and what lets go of their positions."""
    chosen = settings.stream
    if not chosen.tables:
        return [], lambda: None

    async def describe(name: str) -> StreamedTable | None:
        try:
            described = (await dynamodb.ask("DescribeTable", {"TableName": name}))["Table"]
        except Refused as error:
            if error.reason == NOT_THERE:
                return None
            raise
        enabled = (described.get("StreamSpecification") or {}).get("StreamEnabled", False)
        try:
            schema = TableSchema.from_description(described)
        except ValueError as error:
            raise Refused("description", f"the description of {name} is not understood: {error}") from error
        return StreamedTable(schema, described.get("LatestStreamArn") if enabled else None)

    streams = Streams(upstream, settings.dynamodb.timeout_seconds)
    positions = Positions(settings.journal.path)
    manner = FollowerOptions(chosen.start, chosen.poll_seconds, chosen.delay_seconds)
    watch = StreamMetrics(registry)
    made = [Follower(name, describe, streams, positions, nominate, watch, manner) for name in chosen.tables]
    return made, positions.close
