"""The items port over a layer of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from proxy.items.catalogue import Executes
from proxy.items.metrics import ItemsMetrics
from proxy.items.server import ItemsServer
from proxy.metrics.connections import ConnectionMetrics
from proxy.settings import Address
from proxy.web.access_control import Access
from proxy.web.bearer_tokens import BearerTokens
from proxy.web.http_connection import ConnectionOptions
from proxy.web.http_site import HTTPSite
from tests.items.catalogues import catalogue_of


@asynccontextmanager
async def port(
    layer: Executes, tokens: BearerTokens | None = None, registry: CollectorRegistry | None = None
) -> AsyncIterator[str]:
    """The URL of an items port over the layer."""
    registry = registry or CollectorRegistry()
    server = ItemsServer(
        catalogue_of(layer),
        Access(tokens, strangers=False),
        ItemsMetrics(registry),
        "0.0.0",
        finish_seconds=1.0,
        site=HTTPSite(ConnectionOptions(port="items"), ConnectionMetrics(registry)),
    )
    address = await server.start(Address("127.0.0.1", 0))
    try:
        yield f"http://{address}"
    finally:
        await server.stop()
