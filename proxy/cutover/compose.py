"""Composes a process's part in moving stages, for proxies and for the commands that work on a whole table."""

from __future__ import annotations

from typing import Final

from proxy.cutover.flip.fencing import FenceControl
from proxy.cutover.flip.participant import Participant
from proxy.cutover.stage_table import StageTable
from proxy.settings import Settings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore

_LEASE_CALL_SECONDS: Final = 0.5


def participant_of(
    settings: Settings, upstream: DynamoDBClient, fence: FenceControl, process: str, *, listen: str = ""
) -> Participant | None:
    """This process's part in moving stages, under its name; None where they are pinned."""
    if settings.stages.table is None:
        return None
    # A call that hangs for longer than a part of the lease has cost it anyway; and none of these are clients' calls,
    # whose latencies the gate looks at.
    limit = min(settings.dynamodb.timeout_seconds, max(_LEASE_CALL_SECONDS, settings.stages.lease_seconds / 5))
    return Participant(
        StageTable(DynamoDBStore(upstream, limit), settings.stages.table),
        fence,
        process=process,
        begins=_beginnings(settings),
        listen=listen,
        lease_seconds=settings.stages.lease_seconds,
        poll_seconds=settings.stages.poll_seconds,
    )


def _beginnings(settings: Settings) -> str:
    """Where each table and type begins, for proxies to see that they all have the same settings."""
    here = [f"*={settings.stage}"]
    for name, table in sorted(settings.tables.items()):
        here.append(f"{name}={settings.stage_of(name)}")
        here.extend(f"{name}/{each}={settings.stage_of(name, each)}" for each in sorted(table.types))
    return " ".join(here)
