"""The three ports of a proxy with nothing behind them, and a raw client for them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

from proxy.admin.server import AdminOptions, AdminServer
from proxy.dynamodb.outcome import Outcome
from proxy.items.metrics import ItemsMetrics
from proxy.items.server import ItemsServer
from proxy.metrics.registry import Metrics
from proxy.settings import Address
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.errors import Unreachable
from proxy.web.access_control import Access
from proxy.web.bearer_tokens import BearerTokens, Role
from proxy.web.http_connection import ConnectionOptions
from proxy.web.http_site import HTTPSite
from proxy.wire.server import WireServer
from tests.items.catalogues import catalogue_of
from tests.unit.peer import OK, always, peer
from tests.unit.plain_layer import PlainLayer, PlainProcess

PortName = Literal["data", "admin", "items"]
PORTS: tuple[PortName, ...] = get_args(PortName)
TOKEN = "operate-0123456789abcdef"


class NoLayer:
    """A layer that answers nothing."""

    async def execute(self, action: str, body: bytes, request_id: str) -> Outcome:
        raise Unreachable("none", "there is no store")


@dataclass
class RunningPort:
    """A port that listens, and the metrics of its process."""

    at: Address
    metrics: Metrics
    site: HTTPSite
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.at.host, self.at.port, ssl=tls)
        self.clients.append(writer)
        return reader, writer

    async def ask(self, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send bytes, and return all that comes until the port closes the connection."""
        reader, writer = await self.connect(tls)
        writer.write(data)
        return await read_all(reader)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def read_all(reader: asyncio.StreamReader, seconds: float = 60.0) -> bytes:
    """What is left to read; what a reset connection gave before it."""
    found = b""
    try:
        async with asyncio.timeout(seconds):
            while part := await reader.read(65536):
                found += part
    except ConnectionError:
        pass
    return found


@asynccontextmanager
async def port(
    name: PortName,
    *,
    max_connections: int = 1000,
    reserved_descriptors: int = 64,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[RunningPort]:
    """One of the three ports; the admin and the items port ask for `TOKEN`."""
    tokens = BearerTokens([(Role.OPERATOR, TOKEN)])
    metrics = Metrics()
    site = HTTPSite(
        ConnectionOptions(port=name, decompress=name != "data"),
        metrics.connections,
        max_connections=max_connections,
        reserved_descriptors=reserved_descriptors,
        tls=tls,
    )
    async with peer(always(OK)) as other:
        upstream = DynamoDBClient(other.url, region="us-east-1", credentials=Credentials(Credential("A", "B")))
        server: WireServer | AdminServer | ItemsServer
        if name == "data":
            layer = PlainLayer(upstream)
            server = WireServer(layer, upstream, metrics, timeout_seconds=60, finish_seconds=1, site=site)
        elif name == "admin":
            options = AdminOptions(version="1.2.3", max_mismatches=10, site=site)
            access = Access(tokens, strangers=False)
            server = AdminServer(PlainProcess(), upstream, metrics, access, options)
        else:
            access = Access(tokens, strangers=False)
            items_metrics = ItemsMetrics(metrics.registry)
            server = ItemsServer(catalogue_of(NoLayer()), access, items_metrics, "1.2.3", finish_seconds=1, site=site)
        running = RunningPort(await server.start(Address("127.0.0.1", 0)), metrics, site)
        try:
            yield running
        finally:
            for writer in running.clients:
                writer.close()
            await server.stop()
            await upstream.close()
