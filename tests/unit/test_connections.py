"""The limits of each port: how many connections, how long they may be silent, and what they leave to others."""

import asyncio
import contextlib
import resource
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from proxy.web import http_connection, http_site
from proxy.web.http_connection import ConnectionOptions
from proxy.web.http_site import HTTPSite
from tests.certificates import Authority
from tests.unit.ports import PORTS, PortName, RunningPort, port, read_all

ALIVE = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
DRIPS = [b"", b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"\r\n"]


async def until_open(here: RunningPort, name: PortName, count: int) -> None:
    async with asyncio.timeout(60):
        while here.value("crossfade_connections", port=name) != count:  # noqa: ASYNC110  # a metric is not awaited
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", PORTS)
async def test_what_is_beyond_the_limit_is_closed_and_counted(name: PortName) -> None:
    async with port(name, max_connections=3) as here:
        kept = [await here.connect() for _ in range(3)]
        await until_open(here, name, 3)
        for _ in range(5):
            reader, _writer = await here.connect()
            assert await read_all(reader) == b""
        assert here.value("crossfade_refused_connections_total", port=name, reason="limit") == 5
        assert here.value("crossfade_connections_limit", port=name) == 3
        kept[0][1].close()
        await until_open(here, name, 2)
        assert (await here.ask(ALIVE)).startswith(b"HTTP/1.1 ")
        await until_open(here, name, 2)


@pytest.mark.parametrize("name", PORTS)
async def test_descriptors_are_kept_back(name: PortName, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given out from the lowest on, so a connection with a high one finds few left."""
    limit = 1024
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    async with port(name, reserved_descriptors=limit) as here:
        reader, _ = await here.connect()
        assert await read_all(reader) == b""
        assert here.value("crossfade_refused_connections_total", port=name, reason="descriptors") == 1
        assert here.value("crossfade_reserved_descriptors") == limit
        monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert (await here.ask(ALIVE)).startswith(b"HTTP/1.1 ")


async def test_without_descriptors_a_port_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_site, "_PAUSE_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, 3

    async def failing(listening: socket.socket) -> tuple[socket.socket, object]:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(24, "Too many open files")
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", failing)
    async with port("admin") as here:
        assert (await here.ask(ALIVE)).startswith(b"HTTP/1.1 200")
        assert here.value("crossfade_refused_connections_total", port="admin", reason="descriptors") == 3


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("sent", DRIPS)
async def test_a_silent_client_is_closed(name: PortName, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.2)
    async with port(name) as here:
        reader, writer = await here.connect()
        writer.write(sent)
        await read_all(reader)  # to its end: the port closes it
        await until_open(here, name, 0)


@pytest.mark.parametrize("name", PORTS)
async def test_a_client_that_drips_its_headers_is_closed(name: PortName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.3)
    async with port(name) as here:
        reader, writer = await here.connect()

        async def drip() -> None:
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b"x")
                    await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        await read_all(reader)
        dripping.cancel()
        await until_open(here, name, 0)


@pytest.mark.parametrize("name", PORTS)
async def test_a_kept_connection_is_closed_when_it_is_idle(name: PortName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.3)
    async with port(name) as here:
        reader, writer = await here.connect()
        writer.write(ALIVE.replace(b"Connection: close\r\n", b""))
        assert (await read_all(reader)).startswith(b"HTTP/1.1 ")
        await until_open(here, name, 0)


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with port("admin") as here:
        other = HTTPSite(ConnectionOptions(port="admin"), here.metrics.connections)
        runner = web.AppRunner(web.Application())
        with pytest.raises(OSError, match="in use"):
            await other.start(runner, here.at)


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and a client's that trusts it."""
    authority, cert, key = Authority(tmp_path / "ca"), tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.issue(cert, key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_2
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(authority.file))


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", ALIVE])
async def test_a_client_that_stalls_in_the_handshake_is_closed(
    name: PortName, sent: bytes, contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_site, "HANDSHAKE_SECONDS", 0.3)
    server, trusting = contexts
    async with port(name, max_connections=1, tls=server) as here:
        reader, writer = await here.connect()
        writer.write(sent)
        await read_all(reader)
        await until_open(here, name, 0)
        assert here.value("crossfade_refused_connections_total", port=name, reason="handshake") == 1
        assert (await here.ask(ALIVE, trusting)).startswith(b"HTTP/1.1 ")


async def test_those_in_the_handshake_count(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, _ = contexts
    async with port("data", max_connections=2, tls=server) as here:
        for _ in range(2):
            await here.connect()
        await until_open(here, "data", 2)
        reader, _ = await here.connect()
        assert await read_all(reader) == b""


def _old() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("client", [ssl.create_default_context, _old], ids=["does not trust it", "speaks TLS 1.1"])
async def test_a_handshake_that_fails_leaves_nothing(
    client: object, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, trusting = contexts
    assert callable(client)
    async with port("data", max_connections=1, tls=server) as here:
        for _ in range(3):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await here.connect(client())
            await until_open(here, "data", 0)
        assert (await here.ask(ALIVE, trusting)).startswith(b"HTTP/1.1 ")
