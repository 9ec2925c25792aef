"""Publishes this process's evidence in the stage table, every five seconds, for the gates of all processes.

After a restart it resumes the evidence of the earlier run, if that was of the same release, mappings and DSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final

import structlog

from proxy.cutover.gate.evidence import Evidence
from proxy.cutover.stage_table import StageTable
from proxy.logs import LogThrottle
from proxy.settings import Settings
from proxy.stores.errors import StoreError
from proxy.version import VERSION

log = structlog.get_logger(__name__)

PUBLISH_SECONDS: Final = 5.0


class EvidencePublisher:
    """Publishes in a loop of `publish_once`. `evidence` gives this process's evidence, `resume` takes that of an
    earlier run, and `made_by` is the fingerprint that both must have."""

    def __init__(
        self,
        table: StageTable,
        process: str,
        *,
        evidence: Callable[[], Awaitable[Evidence]],
        resume: Callable[[Evidence], None],
        made_by: str,
        every: float = PUBLISH_SECONDS,
    ) -> None:
        self._table = table
        self._process = process
        self._evidence = evidence
        self._resume = resume
        self._made_by = made_by
        self._every = every
        self._resumed = False
        self._throttle = LogThrottle(clock=lambda: asyncio.get_running_loop().time())

    async def publish_once(self) -> None:
        """Publish once, and wait until the next time is due."""
        try:
            if not self._resumed:
                await self._resume_earlier()
            document = (await self._evidence()).document()
            await self._table.put_evidence(self._process, {"made_by": self._made_by, **document})
        except StoreError as error:
            self._complain(error)
        await asyncio.sleep(self._every)

    async def _resume_earlier(self) -> None:
        earlier: dict[str, Any] = dict((await self._table.evidence()).get(self._process) or {})
        self._resumed = True
        if earlier.get("made_by") != self._made_by:
            return
        try:
            evidence = Evidence.from_document(earlier)
        except (KeyError, TypeError, ValueError):
            return
        self._resume(evidence)
        log.info("evidence_resumed", counts=len(evidence.counts))

    def _complain(self, error: StoreError) -> None:
        if self._throttle.allows():
            log.warning("evidence_not_told", why=str(error), remedy="the gate stays shut until the stage table answers")


def fingerprint(settings: Settings) -> str:
    """A digest of what evidence depends on: the release, the mapping files, and the DSQL database."""
    seen = sha256(VERSION.encode())
    for path in settings.mappings or ():
        seen.update(path.read_bytes())
    dsql = settings.dsql
    seen.update(repr((dsql.endpoint, dsql.dsn, dsql.database, dsql.schema)).encode())
    return seen.hexdigest()[:32]
