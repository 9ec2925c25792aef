"""Put the parts together and run them until told to stop.

The order of a stop is what matters here: accept no more, finish what is under way, let the layer converge, and only
then let go of the stores. Nothing here knows what any part does.
"""

import asyncio
import errno
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from proxy.admin.compose import LayerStatus, build_admin
from proxy.metrics.registry import Metrics
from proxy.settings import Address, Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.open_client import open_upstream
from proxy.tracing.setup import OFF, Tracing
from proxy.version import VERSION
from proxy.web.tls import Certificates
from proxy.wire.client_keys import client_keys
from proxy.wire.server import OperationHandler, WireServer
from proxy.wire.signatures import Signatures


class Service(OperationHandler, LayerStatus, Protocol):
    """The layer, as the wire and the admin port see it, and as it is ended."""

    def listens(self, at: str) -> None:
        """Clients reach this process there."""

    async def close(self) -> None:
        """Converge within the settings' limit, keep the rest in the journal, and let go of everything."""


Build = Callable[[Settings, Metrics, FilteringBoundLogger, DynamoDBClient], Awaitable[Service]]
Announce = Callable[[Address, Address, Address | None], None]


async def serve(
    settings: Settings,
    build: Build,
    log: FilteringBoundLogger,
    *,
    stop: asyncio.Event,
    announce: Announce,
    certificates: Certificates | None = None,
    tracing: Tracing = OFF,
) -> None:
    """Run the proxy until `stop` is set. `announce` is told the data, the admin and the items address (None: there is
    none) once all listen.

    `certificates` are the settings', if they have been read; they are kept fresh while the proxy runs. `tracing` is
    what `build` traces the layer with, too.

    Raises SettingsError and CredentialsError for what an operator has to mend, OSError if an address is taken.
    """
    metrics = Metrics()
    keys = client_keys(settings.auth)
    certificates = certificates or Certificates.of(settings)
    async with open_upstream(settings, os.environ, tracing.headers) as upstream, certificates.kept_fresh(log):
        tracing.start(metrics.registry)
        service = await build(settings, metrics, log, upstream)
        wire = WireServer(
            tracing.layer(service),
            upstream,
            metrics,
            timeout_seconds=settings.dynamodb.timeout_seconds,
            finish_seconds=settings.shutdown.finish_seconds,
            signatures=Signatures(keys, upstream.region) if keys else None,
            tls=certificates.data.context if certificates.data is not None else None,
            traced=tracing.handler,
        )
        try:
            admin = build_admin(settings, service, upstream, metrics, certificates)
            items = None
            if settings.items.listen is not None:
                from proxy.items.compose import build_items  # a seventh of all that a start loads, and few want it

                items = build_items(settings, tracing.layer(service), metrics, certificates, tracing.around)
        except SettingsError:
            await service.close()
            raise
        try:
            admin_address = await _listening("admin.listen", settings.admin.listen, admin.start)
            data_address = await _listening("listen", settings.listen, wire.start)
            service.listens(str(data_address))
            items_address = None
            if items is not None and settings.items.listen is not None:
                items_address = await _listening("items.listen", settings.items.listen, items.start)
            _warn(settings, log)
            others = {} if items_address is None else {"items": str(items_address)}
            log.info("started", version=VERSION, data=str(data_address), admin=str(admin_address), **others)
            announce(data_address, admin_address, items_address)
            await stop.wait()
            log.info("stopping")
            await admin.stopping()
        finally:
            if items is not None:
                await items.stop()
            await wire.stop()
            await service.close()
            await admin.stop()
            await tracing.close()
        log.info("stopped")


async def _listening(setting: str, address: Address, start: Callable[[Address], Awaitable[Address]]) -> Address:
    """Listen, naming the setting whose address cannot be had."""
    try:
        return await start(address)
    except OSError as error:
        remedy = "choose another, or stop what uses it" if error.errno == errno.EADDRINUSE else "choose another"
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"{setting} = {str(address)!r}: {why}: {remedy}") from error


def renew_on_hangup(certificates: Certificates) -> None:
    """Read the certificates again at SIGHUP; without any, SIGHUP stays what it was: the terminal has gone."""
    if certificates.data is not None or certificates.admin is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, certificates.ask)


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
            why="auth.insecure is true: whoever reaches it acts with the proxy's AWS credentials",
        )
