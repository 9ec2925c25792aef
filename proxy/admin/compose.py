"""Puts the admin port together from settings: who may ask, the API, the console, and what stands behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from comparators.rules import ANY
from proxy.admin.console.backend import ProcessBackend
from proxy.admin.console.pages import Console
from proxy.admin.console.routes import routes
from proxy.admin.console.samples import Samples
from proxy.admin.server import AdminServer
from proxy.admin.stages_api import StagesApi
from proxy.cutover.auto_demotion import AutoDemotion
from proxy.cutover.gate.evidence import Evidence
from proxy.cutover.gate.evidence_publisher import EvidencePublisher, fingerprint
from proxy.cutover.gate_metrics import GateMetrics
from proxy.cutover.service import CutoverService
from proxy.cutover.stage_table import StageTable
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.load import LoadedMapping, load_mappings
from proxy.metrics.registry import Metrics
from proxy.settings import Settings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.version import VERSION
from proxy.web.access_control import Access
from proxy.web.bearer_tokens import BearerTokens
from proxy.web.tls import Certificates


class LayerStatus(Protocol):
    """What the layer tells of itself."""

    @property
    def identity(self) -> str:
        """This process's name, which it keeps with its journal."""

    async def status(self) -> Mapping[str, Any]: ...

    def mismatches(self, limit: int) -> Sequence[Mapping[str, Any]]: ...

    def problems(self) -> Sequence[str]: ...

    async def evidence(self) -> Evidence:
        """What the gate needs to know of this process."""

    def resume(self, earlier: Evidence) -> None:
        """Take up what an earlier run of this process has seen."""

    def met(self) -> Iterable[str]:
        """The tables it has met."""


def types_of(mapped: Mapping[str, LoadedMapping]) -> dict[str, tuple[str, ...]]:
    """The item types that each mapping file declares, by table."""
    return {name: tuple(each for each in table.rules if each != ANY) for name, table in mapped.items()}


def undivided(mapped: Mapping[str, LoadedMapping]) -> frozenset[str]:
    """The tables whose keys do not tell the type of an item."""
    return frozenset(
        name
        for name, table in mapped.items()
        if isinstance(table.mapping, ColumnMapping) and not table.mapping.tells_type(table.mapping.key_attributes)
    )


def cutover_of(
    settings: Settings, dynamodb: DynamoDBStore, mapped: Mapping[str, LoadedMapping], layer: LayerStatus | None = None
) -> CutoverService:
    """What answers about stages and moves them: of a process that serves, or (None) of the command."""

    async def exists(table: str) -> bool:
        return await dynamodb.describe(table) is not None

    table = StageTable(dynamodb, settings.stages.table) if settings.stages.table is not None else None
    if layer is None:
        return CutoverService(settings, table, types=types_of(mapped), whole=undivided(mapped), exists=exists)
    return CutoverService(
        settings,
        table,
        types=types_of(mapped),
        whole=undivided(mapped),
        exists=exists,
        own=layer.evidence,
        here=layer.identity,
        met=layer.met,
    )


def build_admin(
    settings: Settings,
    layer: LayerStatus,
    upstream: DynamoDBClient,
    metrics: Metrics,
    certificates: Certificates,
) -> AdminServer:
    """The admin port, not yet listening. Raises SettingsError for a token's file that holds none."""
    admin = settings.admin
    tokens = BearerTokens.of(admin)
    # Without tokens the console makes an operator of everyone: where strangers may come, it lets nobody in.
    keys = tokens or (BearerTokens(()) if admin.insecure or not admin.listen.loopback else None)
    dynamodb = DynamoDBStore(upstream, settings.dynamodb.timeout_seconds)
    cutover = cutover_of(settings, dynamodb, load_mappings(settings), layer)
    access = Access(tokens, strangers=admin.insecure)
    samples = Samples(metrics.registry)
    tls = certificates.admin.context if certificates.admin is not None else None
    desk = ProcessBackend(layer, cutover)
    console = Console(desk, samples, keys, VERSION, values=admin.values, secure=certificates.admin is not None)

    def pages(app: web.Application) -> None:
        routes(app, console)
        app.on_shutdown.append(end_moves)

    async def end_moves(_: web.Application) -> None:
        await desk.close()

    loops = [samples.keep, GateMetrics(cutover, metrics.registry).watch]
    if settings.stages.table is not None:
        table = StageTable(dynamodb, settings.stages.table)
        telling = EvidencePublisher(
            table, layer.identity, evidence=layer.evidence, resume=layer.resume, made_by=fingerprint(settings)
        )
        loops.append(telling.publish_once)
        if settings.gate.demote:
            loops.append(AutoDemotion(cutover, settings.gate).watch)
    return AdminServer(
        layer,
        upstream,
        metrics,
        version=VERSION,
        access=access,
        most=admin.mismatches_kept,
        stages=StagesApi(cutover, access),
        metrics_need_token=admin.metrics_need_token,
        tls=tls,
        pages=pages,
        loops=loops,
    )
