"""Runs a proxy: puts its ports before the service behind them, and stops all in order.

A stop accepts no more, finishes what is under way, lets the process converge, and only then closes the admin port, the
journal and the stores. Nothing here knows what any part does.
"""

import asyncio
import errno
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger

from proxy.admin.compose import compose_admin
from proxy.app.service import Service
from proxy.metrics.registry import Metrics
from proxy.settings import Address, Settings
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.tracing.setup import OFF, Tracing
from proxy.version import VERSION
from proxy.web.http_site import HTTPSite
from proxy.web.tls import Certificates
from proxy.wire.client_keys import client_keys
from proxy.wire.server import WireServer
from proxy.wire.signatures import Signatures

OpenService = Callable[[Settings, Metrics, DynamoDBClient], AbstractAsyncContextManager[Service]]
Announce = Callable[[Address, Address, Address | None], None]


async def serve(
    settings: Settings,
    open_service: OpenService,
    log: FilteringBoundLogger,
    *,
    stop: asyncio.Event,
    announce: Announce,
    certificates: Certificates | None = None,
    tracing: Tracing = OFF,
) -> None:
    """Run the proxy until `stop` is set. Once all ports listen, `announce` is called with the address of the data, the
    admin and the items port (None: there is none).

    `certificates` are the settings', if they have been read; they are kept fresh while the proxy runs. `tracing` is
    what `open_service` traces the layer with, too.

    Raises SettingsError and CredentialsError for what an operator has to mend, OSError if an address is taken.
    """
    asyncio.get_running_loop().set_exception_handler(partial(_report_loop_fault, log))
    metrics = Metrics()
    keys = client_keys(settings.auth)
    certificates = certificates or Certificates.of(settings)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(open_upstream(settings, os.environ, tracing.headers))
        await stack.enter_async_context(certificates.kept_fresh(log))
        tracing.start(metrics.registry)
        stack.push_async_callback(tracing.close)
        service = await stack.enter_async_context(open_service(settings, metrics, upstream))
        layer = tracing.layer(service.layer)
        wire = WireServer(
            layer,
            upstream,
            metrics,
            timeout_seconds=settings.dynamodb.timeout_seconds,
            finish_seconds=settings.shutdown.finish_seconds,
            signatures=Signatures(keys, upstream.region) if keys else None,
            site=HTTPSite.of(settings, "data", metrics.connections, certificates.data),
            traced=tracing.handler,
        )
        admin = compose_admin(settings, service.status, service.cutover, upstream, metrics, certificates)
        items = None
        if settings.items.listen is not None:
            from proxy.items.compose import build_items  # a seventh of all that a start loads, and few want it

            items = build_items(settings, layer, metrics, certificates, tracing.around)
        await service.process.open()
        # The admin port answers until the keys have converged.
        stack.push_async_callback(admin.stop)
        stack.push_async_callback(service.process.close)
        admin_address = await _listening("admin.listen", settings.admin.listen, admin.start)
        stack.push_async_callback(wire.stop)
        data_address = await _listening("listen", settings.listen, wire.start)
        service.process.listens(str(data_address))
        items_address = None
        if items is not None and settings.items.listen is not None:
            stack.push_async_callback(items.stop)
            items_address = await _listening("items.listen", settings.items.listen, items.start)
        _warn(settings, log)
        others = {} if items_address is None else {"items": str(items_address)}
        log.info("started", version=VERSION, data=str(data_address), admin=str(admin_address), **others)
        announce(data_address, admin_address, items_address)
        await stop.wait()
        log.info("stopping")
        await admin.stopping()
        await service.process.quiesce()
    log.info("stopped")


async def _listening(setting: str, address: Address, start: Callable[[Address], Awaitable[Address]]) -> Address:
    """Listen. Raises OSError, with the setting whose address cannot be used."""
    try:
        return await start(address)
    except OSError as error:
        remedy = "choose another, or stop what uses it" if error.errno == errno.EADDRINUSE else "choose another"
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"{setting} = {str(address)!r}: {why}: {remedy}") from error


def renew_on_hangup(certificates: Certificates) -> None:
    """Read the certificates again at SIGHUP. Without any, SIGHUP keeps its meaning: the terminal has gone."""
    if certificates.data is not None or certificates.admin is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, certificates.ask)


def _report_loop_fault(log: FilteringBoundLogger, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody awaited. asyncio's own report shows callbacks with their arguments, and those hold items."""
    error = context.get("exception")
    log.error("loop_fault", error=type(error).__name__, exc_info=error)


def _warn(settings: Settings, log: FilteringBoundLogger) -> None:
    if not settings.admin.listen.loopback:
        if not settings.admin.guarded:
            log.warning("admin_port_is_not_loopback", listen=str(settings.admin.listen), why="admin.insecure is true")
        elif settings.admin.tls_cert is None:
            why = "tokens travel in the clear: set admin.tls_cert and admin.tls_key, or keep it on a private network"
            log.warning("admin_port_has_no_tls", listen=str(settings.admin.listen), why=why)
    if not settings.listen.loopback and settings.auth.mode == "none":
        log.warning(
            "data_port_takes_anyone",
            listen=str(settings.listen),
            why="auth.insecure is true: every client that reaches it acts with the proxy's AWS credentials",
        )
