"""How the proxy connects to a DSQL cluster: the token, the certificate, and what is said where it cannot.

The cluster is a PostgreSQL of ours behind TLS, or a doorkeeper that asks for the password as DSQL does and keeps what
it was told. Its name leads to this machine for the test's own process only.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import hmac
import http.server
import os
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import botocore.auth
import botocore.session
import botocore.signers
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from proxy.settings import DSQL
from proxy.stores.dsql.connect import TOKEN_SECONDS, IAMTokenSource, connect_once, connecting, open_pool
from proxy.stores.dsql.connect_errors import ConnectError
from tests.faults.fault_proxy import Fault, FaultProxy
from tests.faults.test_name_and_certificate_faults import certificate
from tests.integration.scenes import wait_until
from tests.proxy_process import ProxyProcess
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.dsql import Dsql
from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK, free_port

CLUSTER = "abc123.dsql.eu-west-1.on.aws"
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MOMENT = datetime.datetime(2026, 11, 22, 20, 30, 5, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One identity, and nothing of the machine's."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's clock stands still."""
    for module in (botocore.auth, botocore.signers):
        monkeypatch.setattr(module, "get_current_datetime", lambda *_, **__: MOMENT)


@pytest.fixture
def cluster_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster's name leads to this machine."""
    resolve = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **more: Any) -> Any:
        return resolve(LOOPBACK if host == CLUSTER else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)


# --- tokens -----------------------------------------------------------------------------------------------------------


def presigned(action: str, *, key: str = KEY, secret: str = SECRET, session: str | None = None) -> str:
    """The token by botocore's own presigner: a GET of the action on the cluster, signed in its query."""
    request = AWSRequest("GET", f"https://{CLUSTER}/?Action={action}", {})
    signer = botocore.auth.SigV4QueryAuth(Credentials(key, secret, session), "dsql", "eu-west-1", TOKEN_SECONDS)
    signer.add_auth(request)
    url: str = request.url
    return url.removeprefix("https://")


def signature(action: str) -> str:
    """The same signature from the description alone ("Create a signed AWS API request", IAM user guide)."""
    stamp, day = MOMENT.strftime("%Y%m%dT%H%M%SZ"), MOMENT.strftime("%Y%m%d")
    scope = f"{day}/eu-west-1/dsql/aws4_request"
    query = {
        "Action": action,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{KEY}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
    }
    listed = urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote, safe="-_.~")
    canonical = f"GET\n/\n{listed}\nhost:{CLUSTER}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    derived = f"AWS4{SECRET}".encode()
    for part in (day, "eu-west-1", "dsql", "aws4_request"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return hmac.new(derived, to_sign.encode(), "sha256").hexdigest()


RECORDED = {
    "DbConnectAdmin": "98b9ccf0a85ef57892da9fe26d247a6c78909feb86bdbb3dcc1c7ab379a03421",
    "DbConnect": "ee5d3da0326f0783c37618c9273cb1742d22fc3b71d43f0cbd146fe28d9c677c",
}


@pytest.mark.parametrize(("user", "action"), [("admin", "DbConnectAdmin"), ("crossfade", "DbConnect")])
def test_a_token_is_what_was_recorded_and_what_botocore_signs(frozen: None, user: str, action: str) -> None:
    token = IAMTokenSource(DSQL(endpoint=CLUSTER, user=user)).make()
    assert token == presigned(action)
    assert token.startswith(f"{CLUSTER}/?Action={action}&")
    assert token.endswith(f"&X-Amz-Signature={RECORDED[action]}")
    assert signature(action) == RECORDED[action]


def test_a_token_is_signed_for_the_region_that_is_set_and_without_the_port(frozen: None) -> None:
    token = IAMTokenSource(DSQL(endpoint=f"{CLUSTER}:6543", region="eu-central-1")).make()
    assert "%2Feu-central-1%2Fdsql%2F" in token
    assert token.startswith(f"{CLUSTER}/?")


def test_a_profile_s_credentials_are_used_though_others_are_in_the_environment(frozen: None, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[other]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = another\naws_session_token = of-a-session\n"
    )
    token = IAMTokenSource(DSQL(endpoint=CLUSTER, profile="other")).make()
    assert token == presigned("DbConnectAdmin", key="AKIDOTHER", secret="another", session="of-a-session")


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, list[str]]]]:
    """An STS that lets every role be assumed; what it was asked."""
    asked: list[dict[str, list[str]]] = []

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            # "AssumeRole", AWS Security Token Service API reference.
            body = (
                b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
                b"<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>of-the-role</SecretAccessKey>"
                b"<SessionToken>session-of-the-role</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
                b"</Credentials></AssumeRoleResult></AssumeRoleResponse>"
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer((LOOPBACK, 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://{LOOPBACK}:{server.server_port}")
    yield asked
    server.shutdown()
    server.server_close()


def test_a_role_is_assumed_once_and_signs_every_token(sts: list[dict[str, list[str]]]) -> None:
    role = "arn:aws:iam::123456789012:role/crossfade"
    tokens = IAMTokenSource(DSQL(endpoint=CLUSTER, role_arn=role))
    made = [tokens.make() for _ in range(3)]
    assert [each["RoleArn"] for each in sts] == [[role]]
    for token in made:
        assert "X-Amz-Credential=ASIAROLE%2F" in token
        assert "X-Amz-Security-Token=session-of-the-role" in token


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (DSQL(endpoint=CLUSTER), "AWS_ACCESS_KEY_ID"),
        (DSQL(endpoint=CLUSTER, profile="nobody"), "profile 'nobody' (see profile in [dsql])"),
    ],
)
async def test_without_credentials_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, settings: DSQL, said: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConnectError) as raised:
        await connect_once(settings)
    assert raised.value.reason == "credentials"
    assert said in raised.value.remedy


async def test_the_loop_goes_on_while_a_token_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gone_on = threading.Event(), threading.Event()

    def make(_: IAMTokenSource) -> str:
        begun.set()
        return "token" if gone_on.wait(60) else "the loop stood still"

    monkeypatch.setattr(IAMTokenSource, "make", make)
    making = asyncio.create_task(IAMTokenSource(DSQL(endpoint=CLUSTER)).token())
    await asyncio.to_thread(wait_until, begun.is_set, 120, "it to begin")
    gone_on.set()
    assert await making == "token"


# --- the door ---------------------------------------------------------------------------------------------------------


DENIED: Final = ("08006", "unable to accept connection, access denied")


class Doorkeeper:
    """As much of a PostgreSQL's beginning as shows what a client says: TLS, its server name, user and password.

    "Message Formats", PostgreSQL's manual. It answers an error where it is given one, and else lets everybody in.
    """

    def __init__(self, tls: ssl.SSLContext, error: tuple[str, ...] | None = None) -> None:
        self.names: list[str | None] = []
        self.startups: list[dict[str, str]] = []
        self.passwords: list[str] = []
        self.port = 0
        self._tls = tls
        self._error = error
        tls.sni_callback = lambda _, name, __: self.names.append(name)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Doorkeeper]:
        server = await asyncio.start_server(self._meet, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"S")
            await writer.start_tls(self._tls)
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            words = (await reader.readexactly(length - 4))[4:].decode().split("\0")
            self.startups.append(dict(zip(words[::2], words[1::2], strict=False)))
            writer.write(_message(b"R", struct.pack("!I", 3)))  # AuthenticationCleartextPassword
            _, length = struct.unpack("!cI", await reader.readexactly(5))
            self.passwords.append((await reader.readexactly(length - 4)).rstrip(b"\0").decode())
            if self._error is not None:
                state, text, *hint = self._error
                hints = "".join(f"H{each}\0" for each in hint)
                writer.write(_message(b"E", f"SFATAL\0VFATAL\0C{state}\0M{text}\0{hints}\0".encode()))
            else:
                version = _message(b"S", b"server_version\x0016.9\0")
                writer.write(_message(b"R", struct.pack("!I", 0)) + version + _message(b"Z", b"I"))
            await writer.drain()
            await reader.read(1)
        except (OSError, asyncio.IncompleteReadError):
            pass  # who does not like the certificate goes away
        finally:
            writer.close()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


async def test_each_connection_has_a_token_of_its_own_as_password(
    cluster_is_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = certificate(tmp_path / "good", CLUSTER)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(shown.file))
    took: list[float] = []
    async with Doorkeeper(shown.context).open() as door:
        connect = connecting(DSQL(endpoint=f"{CLUSTER}:{door.port}", user="crossfade", timeout_seconds=60), took.append)
        (await connect()).terminate()
        await asyncio.sleep(1.01)  # tokens say the second they were made in
        (await connect()).terminate()
        assert door.names == [CLUSTER, CLUSTER]
        assert [each["user"] for each in door.startups] == ["crossfade", "crossfade"]
        assert [each["database"] for each in door.startups] == ["postgres", "postgres"]
        assert door.startups[0]["application_name"].startswith("crossfade:aurora-dsql-python-asyncpg/")
        first, second = door.passwords
        assert first.startswith(f"{CLUSTER}/?Action=DbConnect&")
        assert first != second
        assert len(took) == 2


@pytest.mark.parametrize(
    ("user", "answer", "reason", "said"),
    [
        ("admin", ("28000", "unable to accept connection, access denied"), "access", "dsql:DbConnectAdmin on this"),
        ("app", ("28P01", "IAM authentication failed for user"), "access", "an AWS IAM GRANT app TO its ARN"),
        ("admin", ("3D000", 'database "x" does not exist'), "database", "DSQL's is called postgres"),
        ("admin", ("53300", "too many connections"), "full", "lower pool_max"),
        ("admin", ("53400", "Unable to accept connection, rate exceeded."), "rate", "lower connect_rate"),
        ("admin", ("57P03", "the database system is starting up"), "starting", "wait"),
        ("admin", ("08006", "unable to accept connection"), "refused", "its port"),
        ("admin", (*DENIED, "User: arn:aws:iam::1:user/a is not authorized"), "access", "needs dsql:DbConnectAdmin on"),
        ("app", (*DENIED, "a is not authorized to perform: dsql:DbConnect"), "access", "an AWS IAM GRANT app TO"),
        ("app", DENIED, "access", "an AWS IAM GRANT app TO"),
        ("admin", (*DENIED, "Signature expired: 20261130T000000Z is now earlier"), "access", "clock (NTP)"),
        ("admin", (*DENIED, "Signature not yet current: 20991130T000000Z"), "access", "of the future"),
        ("admin", (*DENIED, "The security token included in the request is invalid."), "access", "renew them"),
        ("app", (*DENIED, "Wrong user to action mapping. user: app, action: DbConnect"), "access", "app connects with"),
    ],
)
async def test_what_the_cluster_answers_is_told_with_a_remedy(
    cluster_is_here: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    answer: tuple[str, ...],
    reason: str,
    said: str,
) -> None:
    shown = certificate(tmp_path / "good", CLUSTER)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(shown.file))
    async with Doorkeeper(shown.context, answer).open() as door:
        with pytest.raises(ConnectError) as raised:
            await connect_once(DSQL(endpoint=f"{CLUSTER}:{door.port}", user=user, timeout_seconds=60))
    assert (raised.value.reason, raised.value.said.replace("HINT: ", "")) == (reason, " ".join(answer))
    assert said in raised.value.remedy
    assert SECRET not in str(raised.value)
    assert "X-Amz" not in str(raised.value)


async def test_a_cluster_that_is_waking_up_is_waited_for(postgres: Postgres) -> None:
    with Dsql(postgres, waking=3) as gate:
        settings = DSQL(dsn=gate.dsn(), timeout_seconds=60)
        connection = await connect_once(settings)
        await connection.close()
        gate.change(waking=2)
        pool = open_pool(settings)
        async with pool.connection() as connection:  # whoever waits in line goes on waiting
            assert await connection.fetchval("SELECT 1") == 1
        await pool.close()


async def test_a_cluster_that_never_wakes_up_is_given_up(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.stores.dsql.connect.WAKE_SECONDS", 0.0)
    with Dsql(postgres, waking=1000) as gate:
        with pytest.raises(ConnectError, match="waking up cluster") as raised:
            await connect_once(DSQL(dsn=gate.dsn(), timeout_seconds=60))
        assert raised.value.reason == "waking"


# --- TLS to a real PostgreSQL -----------------------------------------------------------------------------------------


async def test_tls_is_verified_in_full(
    cluster_is_here: None, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, stranger = certificate(tmp_path / "good", CLUSTER), certificate(tmp_path / "stranger", CLUSTER)
    other = certificate(tmp_path / "other", "def456.dsql.eu-west-1.on.aws")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(good.file.read_bytes() + other.file.read_bytes())
    monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
    with FaultProxy(postgres.port, tls=good.context, sql=True) as between:
        settings = DSQL(endpoint=f"{CLUSTER}:{between.port}", user="postgres", pool_min=2, timeout_seconds=60)
        pool = open_pool(settings)
        async with pool.connection() as connection:
            assert await connection.fetchval("SELECT current_user") == "postgres"
            assert connection._transport.get_extra_info("ssl_object").server_hostname == CLUSTER
        await pool.close()
        for shown, reason, said in (
            (stranger.context, "certificate", "AWS_CA_BUNDLE"),
            (other.context, "certificate", "the certificate is another host's"),
            (None, "tls", "no TLS could be agreed on"),
        ):
            between.show(shown)
            with pytest.raises(ConnectError) as raised:
                await connect_once(settings)
            assert raised.value.reason == reason
            assert said in raised.value.remedy


async def test_without_our_authority_nothing_is_sent(
    cluster_is_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own authorities do not vouch for it, and the token stays here."""
    async with Doorkeeper(certificate(tmp_path / "good", CLUSTER).context).open() as door:
        with pytest.raises(ConnectError) as raised:
            await connect_once(DSQL(endpoint=f"{CLUSTER}:{door.port}", timeout_seconds=60))
        await asyncio.sleep(0.1)
        assert (door.startups, door.passwords) == ([], [])
    assert raised.value.reason == "certificate"


# --- an address with a password ---------------------------------------------------------------------------------------


def silent_port() -> Iterator[int]:
    """Somebody who takes connections and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


silent = pytest.fixture(silent_port)


@pytest.mark.parametrize(
    ("dsn", "reason", "said"),
    [
        (lambda good, _: good.replace(LOOPBACK, "nowhere.invalid"), "name", "no such host name: see dsn in [dsql]"),
        (lambda _, __: f"postgresql://a:hunter2@{LOOPBACK}:{free_port()}/x", "refused", "nothing listens there"),
        (lambda _, port: f"postgresql://a:hunter2@{LOOPBACK}:{port}/x", "timeout", "nothing answers"),
        (lambda good, _: good.rpartition("/")[0] + "/nothing", "database", "there is no such database"),
        (lambda good, _: good + "?sslmode=require", "tls", "no TLS could be agreed on"),
        (lambda good, _: good.replace("postgres@", "stranger:hunter2@"), "access", "user and password in dsn"),
    ],
    ids=["name", "refused", "timeout", "database", "tls", "access"],
)
async def test_why_an_address_leads_nowhere(
    database: str, silent: int, dsn: Callable[[str, int], str], reason: str, said: str
) -> None:
    with pytest.raises(ConnectError) as raised:
        await connect_once(DSQL(dsn=dsn(database, silent), timeout_seconds=0.5 if reason == "timeout" else 60))
    assert raised.value.reason == reason
    assert said in raised.value.remedy
    assert "hunter2" not in str(raised.value)


async def test_a_connection_that_was_cut_while_it_lay_idle_is_not_handed_out(postgres: Postgres, database: str) -> None:
    with FaultProxy(postgres.port) as between:
        pool = open_pool(DSQL(dsn=database.replace(str(postgres.port), str(between.port)), pool_max=3))
        taken = [await pool.acquire() for _ in range(3)]
        for each in taken:
            pool.release(each)
        between.refuse()
        between.clear()
        closed = [each.is_closed for each in taken]
        await asyncio.to_thread(wait_until, lambda: all(each() for each in closed), 120, "the ends to be seen")
        for _ in range(3):
            async with pool.connection() as connection:
                assert connection not in taken
                assert await connection.fetchval("SELECT 1") == 1
        await pool.close()


async def test_one_that_was_forgotten_on_the_way_is_not_handed_out(
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway forgets it and tells nobody: what is sent goes nowhere, and neither end sees an end."""
    monkeypatch.setattr("proxy.stores.dsql.pool.DOUBTFUL_SECONDS", 0.05)
    with FaultProxy(postgres.port) as between:
        pool = open_pool(DSQL(dsn=database.replace(str(postgres.port), str(between.port)), pool_max=3))
        taken = [await pool.acquire() for _ in range(3)]
        for each in taken:
            pool.release(each)
        between.fault(up=Fault(end="swallow"))
        await asyncio.sleep(0.1)
        asking = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0.5)
        assert not asking.done()
        between.clear()
        connection = await asyncio.wait_for(asking, 60)
        assert connection not in taken
        assert await connection.fetchval("SELECT 1") == 1
        assert pool.state.open == 1
        pool.release(connection)
        await pool.close()


def test_a_proxy_converges_to_a_cluster_that_it_is_given_by_its_endpoint(
    dynamodb: str, postgres: Postgres, tmp_path: Path
) -> None:
    """All of it, in a process of its own: token, TLS, the warm pool, a write that arrives, and the numbers."""
    shown = certificate(tmp_path / "good", "localhost")
    database = postgres.create_database()
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_CA_BUNDLE": str(shown.file),
        "CROSSFADE_DSQL__REGION": "eu-west-1",
        "CROSSFADE_DSQL__USER": "postgres",
        "CROSSFADE_DSQL__DATABASE": database.rpartition("/")[2],
        "CROSSFADE_DSQL__POOL_MIN": "3",
        "CROSSFADE_FOLLOW_TABLES": "true",
        "CROSSFADE_MIRROR__ALONE": "true",
    }
    with (
        FaultProxy(postgres.port, tls=shown.context, sql=True) as between,
        ProxyProcess(
            dynamodb=dynamodb, dsql=f"localhost:{between.port}", mappings=(), environment=environment
        ) as proxy,
    ):
        client = billio_table(proxy.data)
        client.put_item(TableName=TABLE, Item={HASH_KEY: {"S": "Book:1"}, "title": {"S": "Solaris"}})
        wait_until(lambda: proxy.status()["journal"]["keys"] == 0, 120, "the key to converge")
        assert postgres.execute(f"SELECT count(*) FROM {TABLE}", database.rpartition("/")[2]) == "1"
        numbers = proxy.metrics()
        ((_, tokens),) = numbers["crossfade_dsql_token_seconds_count"]
        ((_, connects),) = numbers["crossfade_dsql_connect_seconds_count"]
        (open_now,) = [v for labels, v in numbers["crossfade_dsql_connections"] if labels == {"state": "open"}]
        assert tokens >= connects >= open_now >= 1
        assert SECRET not in proxy.log_file.read_text()
    postgres.drop_database(database)


@pytest.mark.parametrize(
    ("changed", "reason", "said"),
    [
        (lambda _: f"postgresql://admin:hunter2@{LOOPBACK}:{free_port()}/postgres", "refused", "nothing listens there"),
        (lambda good: good.replace("postgres@", "stranger:hunter2@"), "access", "see user and password in dsn"),
    ],
    ids=["refused", "access"],
)
def test_a_proxy_that_cannot_connect_says_so_at_once_and_goes_on(
    dynamodb: str, database: str, changed: Callable[[str], str], reason: str, said: str
) -> None:
    with ProxyProcess(dynamodb=dynamodb, dsql=changed(database), mappings=()) as proxy:
        wait_until(lambda: "dsql_not_connected" in proxy.log_file.read_text(), 120, "the fault to be told")
        (line,) = [each for each in proxy.log_file.read_text().splitlines() if "dsql_not_connected" in each]
        assert f'"reason":"{reason}"' in line.replace(": ", ":")
        assert said in line
        assert proxy.ready()
        wait_until(
            lambda: any(
                labels == {"reason": reason} and value >= 2
                for labels, value in proxy.metrics().get("crossfade_dsql_connect_failures_total", ())
            ),
            120,
            "it to be tried again",
        )
        log = proxy.log_file.read_text()
        assert log.count("dsql_not_connected") == 1  # once, however often it is tried
        assert "peers_not_asked" not in log  # its remedy, to let a table be made, would mislead
        assert "hunter2" not in log


# -- another session's DDL ---------------------------------------------------------------------------------------------


async def _change_the_catalog(dsn: str) -> None:
    other = await asyncpg.connect(dsn)
    try:
        await other.execute(f"CREATE TABLE changed_{time.monotonic_ns()} (id text PRIMARY KEY)")
    finally:
        await other.close()


async def test_ddl_between_the_login_and_the_first_statement_is_no_failed_connect(
    dsql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = asyncpg.connect

    async def slow_login(*arguments: Any, **options: Any) -> asyncpg.Connection:
        connection = await login(*arguments, **options)
        monkeypatch.setattr(asyncpg, "connect", login)
        await _change_the_catalog(dsql_database)
        return connection

    monkeypatch.setattr(asyncpg, "connect", slow_login)
    pool = open_pool(DSQL(dsn=dsql_database))
    try:
        async with pool.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        assert pool.failure is None
    finally:
        await pool.close_or_terminate()


async def test_ddl_while_a_connection_lies_idle_does_not_make_it_a_dead_one(
    dsql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = open_pool(DSQL(dsn=dsql_database, pool_min=0, pool_max=1))
    try:
        async with pool.connection() as before:
            await before.fetchval("SELECT 1")
        await _change_the_catalog(dsql_database)
        monkeypatch.setattr("proxy.stores.dsql.pool.DOUBTFUL_SECONDS", 0.0)
        async with pool.connection() as after:
            assert after is before
    finally:
        await pool.close_or_terminate()
