"""Composes the stream followers that the settings ask for. Reads no record itself."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from proxy.dynamodb.schema import TableSchema
from proxy.settings import Settings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.dynamodb.streams import NOT_THERE, Streams
from proxy.stores.errors import Refused
from proxy.stream.follower import Follower, FollowerOptions, StreamedTable
from proxy.stream.key_enqueuer import KeyEnqueuer
from proxy.stream.metrics import StreamMetrics
from proxy.stream.positions import StreamPositions


def compose_followers(
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
    positions = StreamPositions(settings.journal.path)
    manner = FollowerOptions(chosen.start, chosen.poll_seconds, chosen.delay_seconds)
    watch = StreamMetrics(registry)
    made = [Follower(name, describe, streams, positions, nominate, watch, manner) for name in chosen.tables]
    return made, positions.close
