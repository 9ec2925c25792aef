"""Runs what `crossfade stream` is: the layer with its journal and its loops, the admin port, and no data port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from structlog.typing import FilteringBoundLogger

from proxy.admin.compose import build_admin
from proxy.app.compose_layer import compose_layer
from proxy.metrics.registry import Metrics
from proxy.settings import Address, Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.version import VERSION
from proxy.web.tls import Certificates


async def follow(
    settings: Settings,
    environ: Mapping[str, str],
    log: FilteringBoundLogger,
    *,
    stop: asyncio.Event,
    announce: Callable[[Address], None],
) -> None:
    """Until `stop` is set. Raises SettingsError and CredentialsError, OSError if the admin port is taken."""
    metrics = Metrics()
    certificates = Certificates.of(settings)
    async with open_upstream(settings, environ) as upstream, certificates.kept_fresh(log):
        service = await compose_layer(settings, metrics, log, upstream)
        try:
            admin = build_admin(settings, service, upstream, metrics, certificates)
        except SettingsError:
            await service.close()
            raise
        try:
            address = await admin.start(settings.admin.listen)
            log.info("started", version=VERSION, following=settings.stream.tables, admin=str(address))
            announce(address)
            await stop.wait()
            log.info("stopping")
            await admin.stopping()
        finally:
            await service.close()
            await admin.stop()
        log.info("stopped")
