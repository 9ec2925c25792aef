"""Composes all that a proxy runs behind its ports, and owns what it opens for that: the stores and the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from proxy.app.compose_layer import compose_layer
from proxy.app.open_stores import open_stores
from proxy.app.process import compose_process
from proxy.cutover.compose import compose_cutover, cutover_loops
from proxy.cutover.process_status import ProcessStatus
from proxy.cutover.service import CutoverService
from proxy.cutover.stages import DSQL, DYNAMODB
from proxy.metrics.registry import Metrics
from proxy.settings import Settings
from proxy.settings.validation import SettingsError
from proxy.shadow.instrumentation import Instrument, no_instrumentation
from proxy.shadow.journal.file_version import JournalFormatError
from proxy.shadow.journal.journal import Journal
from proxy.shadow.journal.storage import JournalLocked
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stream.compose import compose_followers
from proxy.stream.key_enqueuer import KeyEnqueuer
from proxy.wire.server import OperationHandler

log = structlog.get_logger(__name__)


class Lifecycle(Protocol):
    """The life of a process, as its ports see it (`proxy.app.process`)."""

    async def open(self) -> None:
        """Start to work. Raises SettingsError."""

    def listens(self, at: str) -> None:
        """Report to the other processes that clients reach this process at an address."""

    async def quiesce(self) -> None:
        """End what acts on other processes: this process is about to stop."""

    async def close(self) -> None:
        """End the work within the settings' limit. What has not converged stays in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is behind the ports of a proxy."""

    layer: OperationHandler
    """Answers requests."""
    status: ProcessStatus
    """Reports on the process."""
    cutover: CutoverService
    """Answers questions about stages, and moves them."""
    process: Lifecycle
    """The life of the process: it is not open yet."""


@asynccontextmanager
async def open_service(
    settings: Settings, metrics: Metrics, upstream: DynamoDBClient, instrument: Instrument = no_instrumentation
) -> AsyncIterator[Service]:
    """Open the stores and the journal until the end of the block, and give what is composed over them.

    The caller opens the process, and closes it before the end of the block. Raises SettingsError.
    """
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings, metrics, upstream))
        journal = stack.enter_context(open_journal(settings))
        composed = compose_layer(
            settings, metrics, stores, journal, lambda stages, tables: instrument(stages, tables, upstream)
        )
        nominate = KeyEnqueuer(journal, composed.fence, composed.tables, composed.routes.key_stages)
        following, stop_following = compose_followers(settings, upstream, stores.dynamodb, nominate, metrics.registry)
        stack.callback(stop_following)
        # Comparisons must not hold it up. Its calls are not clients' calls, whose latencies the gate looks at.
        dynamodb = DynamoDBStore(upstream.control(), settings.dynamodb.timeout_seconds)
        status = composed.status
        cutover = compose_cutover(settings, dynamodb, stores.mappings, status)
        process = compose_process(
            settings,
            metrics,
            composed,
            loops=[each.poll for each in following],
            cutover_loops=[
                *cutover_loops(settings, dynamodb, cutover, status, metrics.registry),
                *([composed.expirer.run] if composed.expirer is not None else ()),
            ],
        )
        log.debug("layer_open", mappings=sorted(stores.mappings))
        yield Service(layer=composed.layer, status=status, cutover=cutover, process=process)


@contextmanager
def open_journal(settings: Settings) -> Iterator[Journal]:
    """Open the journal until the end of the block, with what an earlier process left. Raises SettingsError."""
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
    try:
        if left:
            log.info("journal_resumed", keys=left)
        yield journal
    finally:
        journal.close()
