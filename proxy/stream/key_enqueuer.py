"""Carries the keys that a change stream names to the journal.

A key is enqueued if its stage has a mirror. While a flip holds the key's writes, the key waits: what the flip has
drained must stay drained, and no record may be dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from proxy.cutover.stages import Stage
from proxy.dynamodb.schema import Key
from proxy.shadow.journal.journal import Journal
from proxy.shadow.write_fence import WriteFence
from proxy.stores.table_registry import Tables

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
            now = [key for key in keys if not self._is_held(key)]
            mirrored = [key for key in now if self._key_stages.stage_of(key).mirrored]
            if mirrored:
                await self._journal.enqueue(mirrored)
            keys = [key for key in keys if key not in now]
            if keys:
                await asyncio.sleep(_WAIT_SECONDS)
        while self._journal.degraded:  # noqa: ASYNC110  # it tells nobody when it can be written again
            await asyncio.sleep(_WAIT_SECONDS)

    def _is_held(self, key: Key) -> bool:
        return self._fence.holds([(key.table, self._tables.type_of(key))])
