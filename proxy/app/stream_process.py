"""Runs what `crossfade stream` is: the journal and the loops of a process, the admin port, and no data port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from structlog.typing import FilteringBoundLogger

from proxy.admin.compose import compose_admin
from proxy.app.service import open_service
from proxy.metrics.registry import Metrics
from proxy.settings import Address, Settings
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
    """Run until `stop` is set. Once the admin port listens, `announce` is called with its address.

    Raises SettingsError and CredentialsError, and OSError if the admin port is taken.
    """
    metrics = Metrics()
    certificates = Certificates.of(settings)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(open_upstream(settings, environ))
        await stack.enter_async_context(certificates.kept_fresh(log))
        service = await stack.enter_async_context(open_service(settings, metrics, upstream))
        admin = compose_admin(settings, service.status, service.cutover, upstream, metrics, certificates)
        await service.process.open()
        stack.push_async_callback(admin.stop)
        stack.push_async_callback(service.process.close)
        address = await admin.start(settings.admin.listen)
        log.info("started", version=VERSION, following=settings.stream.tables, admin=str(address))
        announce(address)
        await stop.wait()
        log.info("stopping")
        await admin.stopping()
        await service.process.quiesce()
    log.info("stopped")
