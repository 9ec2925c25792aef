"""Composes the admin port from settings: who may call it, the API, and the console."""

from __future__ import annotations

from aiohttp import web

from proxy.admin.console.backend import ProcessBackend
from proxy.admin.console.pages import Console
from proxy.admin.console.routes import routes
from proxy.admin.console.samples import Samples
from proxy.admin.server import AdminOptions, AdminServer
from proxy.admin.stages_api import StagesApi
from proxy.cutover.process_status import ProcessStatus
from proxy.cutover.service import CutoverService
from proxy.metrics.registry import Metrics
from proxy.settings import Settings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.version import VERSION
from proxy.web.access_control import Access
from proxy.web.bearer_tokens import BearerTokens
from proxy.web.http_site import HTTPSite
from proxy.web.tls import Certificates


def compose_admin(
    settings: Settings,
    process: ProcessStatus,
    cutover: CutoverService,
    upstream: DynamoDBClient,
    metrics: Metrics,
    certificates: Certificates,
) -> AdminServer:
    """Return the admin port, not yet listening. Raises SettingsError for a token file that holds no token."""
    admin = settings.admin
    tokens = BearerTokens.of(admin)
    # Without tokens the console makes everyone an operator: where strangers may come, it lets nobody in.
    console_tokens = tokens or (BearerTokens(()) if admin.insecure or not admin.listen.loopback else None)
    access = Access(tokens, strangers=admin.insecure)
    samples = Samples(metrics.registry)
    backend = ProcessBackend(process, cutover)
    console = Console(
        backend, samples, console_tokens, VERSION, values=admin.values, secure=certificates.admin is not None
    )

    def add_console(app: web.Application) -> None:
        routes(app, console)
        app.on_shutdown.append(end_moves)

    async def end_moves(_: web.Application) -> None:
        await backend.close()

    return AdminServer(
        process,
        upstream,
        metrics,
        access,
        AdminOptions(
            version=VERSION,
            max_mismatches=admin.mismatches_kept,
            site=HTTPSite.of(settings, "admin", metrics.connections, certificates.admin),
            metrics_need_token=admin.metrics_need_token,
        ),
        stages=StagesApi(cutover, access),
        add_pages=add_console,
        loops=(samples.keep,),
    )
