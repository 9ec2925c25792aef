"""The certificate of a port: shown, renewed, refused if it is no good; and never exchanged for a bad one."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from proxy.metrics.registry import Metrics
from proxy.settings import Address, load
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.web.http_connection import ConnectionOptions
from proxy.web.http_site import HTTPSite
from proxy.web.tls import Certificate, Certificates
from proxy.wire.server import WireServer
from tests.certificates import Authority, lock
from tests.unit.peer import OK, always, peer, until
from tests.unit.plain_layer import PlainLayer


class Files:
    """A certificate and its key, from an authority that clients trust."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.renew()

    def renew(self) -> None:
        self.authority.issue(self.cert, self.key)

    def trusting(self, at_most: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.file)
        context.maximum_version = at_most
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextlib.asynccontextmanager
async def listening(certificate: Certificate) -> AsyncIterator[Address]:
    async with peer(always(OK)) as other:
        upstream = DynamoDBClient(other.url, region="us-east-1", credentials=Credentials(Credential("AKID", "secret")))
        metrics = Metrics()
        server = WireServer(
            PlainLayer(upstream),
            upstream,
            metrics,
            timeout_seconds=5,
            finish_seconds=5,
            site=HTTPSite(
                ConnectionOptions(port="data", decompress=False), metrics.connections, tls=certificate.context
            ),
        )
        try:
            yield await server.start(Address("127.0.0.1", 0))
        finally:
            await server.stop()
            await upstream.close()


class Client:
    """A kept connection; `serial` is the number of the certificate that it was shown."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.serial = int(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"], 16)
        self.version = writer.get_extra_info("ssl_object").version()

    @classmethod
    async def to(cls, at: Address, context: ssl.SSLContext, name: str = "127.0.0.1") -> "Client":
        opening = asyncio.open_connection(at.host, at.port, ssl=context, server_hostname=name)
        return cls(*await asyncio.wait_for(opening, 60))

    async def status(self) -> bytes:
        self._writer.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\n"
            b"Authorization: AWS4-x\r\nContent-Length: 2\r\n\r\n{}"
        )
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 60)
        await self._reader.readexactly(2)
        return head[9:12]

    def close(self) -> None:
        self._writer.close()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_client_that_trusts_the_authority_is_served(files: Files, name: str) -> None:
    """With a server's name in its greeting, and with an address, of which none is sent."""
    async with listening(Certificate(files.cert, files.key)) as at:
        client = await Client.to(at, files.trusting(), name)
        assert await client.status() == b"200"
        assert await client.status() == b"200"
        assert client.version == "TLSv1.3"
        client.close()
        client = await Client.to(at, files.trusting(at_most=ssl.TLSVersion.TLSv1_2), name)
        assert client.version == "TLSv1.2"
        client.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_older_versions_strangers_and_plain_text_are_not(files: Files) -> None:
    certificate = Certificate(files.cert, files.key)
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2
    async with listening(certificate) as at:
        old = files.trusting(at_most=ssl.TLSVersion.TLSv1_1)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await Client.to(at, old)
        with pytest.raises(ssl.SSLCertVerificationError):
            await Client.to(at, ssl.create_default_context())
        reader, writer = await asyncio.open_connection(at.host, at.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP")
        writer.close()
        client = await Client.to(at, files.trusting())
        assert await client.status() == b"200"
        client.close()


@pytest.mark.parametrize("asked", [False, True])
async def test_a_renewed_certificate_is_shown_to_new_connections(files: Files, asked: bool) -> None:
    certificate = Certificate(files.cert, files.key)
    with capture_logs() as told:
        async with listening(certificate) as at:
            looking = asyncio.create_task(certificate.keep_fresh(structlog.get_logger(), 30 if asked else 0.02))
            before = await Client.to(at, files.trusting())
            files.renew()
            if asked:
                certificate.ask()
            await until(lambda: any(event["event"] == "certificate_renewed" for event in told))
            after = await Client.to(at, files.trusting())
            assert (before.serial, after.serial) == (1, 2)
            assert (await before.status(), await after.status()) == (b"200", b"200")
            before.close()
            after.close()
            looking.cancel()


async def test_a_bad_renewal_is_told_and_changes_nothing(files: Files, tmp_path: Path) -> None:
    certificate = Certificate(files.cert, files.key, "admin.")
    with capture_logs() as told:
        async with listening(certificate) as at:
            looking = asyncio.create_task(certificate.keep_fresh(structlog.get_logger(), 0.02))
            files.authority.issue(files.cert, tmp_path / "another.key")  # the key will follow, some day
            await until(lambda: bool(told))
            files.key.unlink()
            await until(lambda: len(told) == 2)
            client = await Client.to(at, files.trusting())
            assert client.serial == 1
            client.close()
            files.renew()
            await until(lambda: told[-1]["event"] == "certificate_renewed")
            client = await Client.to(at, files.trusting())
            assert client.serial == 3
            client.close()
            looking.cancel()
    first, second = told[:2]
    assert (first["event"], first["setting"], first["log_level"]) == (
        "certificate_not_renewed",
        "admin.tls_cert",
        "error",
    )
    assert "does not belong to" in first["why"]
    assert f"admin.tls_key: {files.key}: No such file" in second["why"]


def problem(cert: Path, key: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        Certificate(cert, key)
    (told,) = caught.value.problems
    return told


def test_files_that_are_no_good_are_named_with_what_is_wrong(files: Files, tmp_path: Path) -> None:
    nowhere, other = tmp_path / "nowhere.pem", tmp_path / "other.key"
    files.authority.issue(tmp_path / "other.pem", other)
    assert problem(nowhere, files.key).startswith(f"tls_cert: {nowhere}: No such file")
    assert problem(files.cert, nowhere).startswith(f"tls_key: {nowhere}: No such file")
    assert problem(tmp_path, files.key).startswith(f"tls_cert: {tmp_path}: Is a directory")
    assert problem(files.key, files.cert).startswith(f"tls_cert: {files.key}: there is not a certificate in it")
    assert problem(files.cert, files.cert).startswith(f"tls_key: {files.cert}: there is not a private key in it")
    assert problem(files.cert, other) == f"tls_key: {other}: this key does not belong to {files.cert}"
    lock(other)
    assert "openssl pkey -in" in problem(tmp_path / "other.pem", other)
    spoilt = tmp_path / "spoilt.pem"
    spoilt.write_text(files.cert.read_text().replace("M", "N"))
    assert problem(spoilt, files.key).startswith(f"tls_cert: {spoilt}: not to be used with {files.key}: ")


def test_what_the_settings_name_is_read(files: Files, tmp_path: Path) -> None:
    paths = {"TLS_CERT": str(files.cert), "TLS_KEY": str(files.key)}
    data = load(None, {f"CROSSFADE_{name}": path for name, path in paths.items()})
    admin = load(None, {f"CROSSFADE_ADMIN__{name}": path for name, path in paths.items()})
    neither = Certificates.of(load(None, {}))
    assert (neither.data, neither.admin) == (None, None)
    assert Certificates.of(data).data is not None
    assert Certificates.of(data).admin is None
    assert Certificates.of(admin).admin is not None
    files.key.unlink()
    with pytest.raises(SettingsError, match=r"admin\.tls_key"):
        Certificates.of(admin)
