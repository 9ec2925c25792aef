"""The raw connection: what it sends, what it takes, and what it says may have had an effect.

The other side is a real server on a real socket that follows a script, so that every fault happens on the wire.
"""

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.stores.dynamodb import http_connection
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.connection_pool import ConnectionLimits, Endpoint
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.http_connection import HTTPResponse
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.errors import UnknownOutcome, Unreachable
from proxy.wire.signatures import Signatures
from tests.unit.peer import GET, OK, PUT, Peer, always, cut, header, never, peer, until


@contextlib.asynccontextmanager
async def opened(
    url: str,
    *,
    streams: str | None = None,
    connections: int = 4,
    waiting: int = 16,
    idle_seconds: float = 10.0,
    credential: Credential | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[DynamoDBClient]:
    client = DynamoDBClient(
        url,
        region="us-east-1",
        credentials=Credentials(credential or Credential("AKID", "secret")),
        streams_endpoint_url=streams,
        limits=ConnectionLimits(
            connections=connections, waiting=waiting, idle_seconds=idle_seconds, connect_timeout=60.0
        ),
        ssl_context=context,
    )
    try:
        yield client
    finally:
        await client.close()


async def test_it_posts_the_bytes_signed_and_gives_back_the_answer_s() -> None:
    async with peer(always(OK)) as server, opened(server.url) as client:
        answer = await client.request(GET, b'{"TableName":"t"}', timeout=60)
    assert answer == HTTPResponse(200, (("Content-Length", "2"), ("x-amzn-RequestId", "R")), b"{}")
    (request,) = server.requests
    assert request.startswith(b"POST / HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"TableName":"t"}')
    assert header(request, "host") == f"127.0.0.1:{server.port}"
    assert header(request, "x-amz-target") == GET
    assert header(request, "content-type") == "application/x-amz-json-1.0"
    assert header(request, "accept-encoding") == "identity"
    authorization = header(request, "authorization")
    assert authorization is not None
    assert "Credential=AKID/" in authorization
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-target," in authorization


@pytest.mark.parametrize("extra", [None, {"X-Amz-User-Agent": "aws-sdk-js/2"}])
async def test_a_trace_s_headers_go_along_unsigned_and_break_no_signature(extra: dict[str, str] | None) -> None:
    """«Signature Version 4»: what SignedHeaders does not name is no part of the request that is signed."""
    credential, sent = Credential("AKID", "secret"), iter(("one", "two"))
    async with peer(always(OK)) as server:
        client = DynamoDBClient(
            server.url,
            region="us-east-1",
            credentials=Credentials(credential),
            headers=lambda: f"traceparent: {next(sent)}\r\ntracestate: a=b\r\n".encode(),
        )
        for _ in range(2):
            await client.request(GET, b'{"TableName":"t"}', extra, timeout=60)
        await client.close()
    assert [header(request, "traceparent") for request in server.requests] == ["one", "two"]
    for request in server.requests:
        assert header(request, "tracestate") == "a=b"
        head, _, body = request.partition(b"\r\n\r\n")
        assert body == b'{"TableName":"t"}'
        lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
        headers = CIMultiDictProxy(CIMultiDict((name, value) for name, _, value in lines))
        assert "trace" not in headers["Authorization"]
        Signatures([credential], "us-east-1").claim("POST", "/", headers, time.time()).check(body)


async def test_headers_go_along_and_what_belongs_to_the_connection_does_not() -> None:
    credential = Credential("AKID", "secret", "token")
    async with peer(always(OK)) as server, opened(server.url, credential=credential) as client:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "an SDK",
            "X-Amz-User-Agent": "aws-sdk-js/2",
            "amz-sdk-request": "attempt=1",
            "Connection": "close",
            "Transfer-Encoding": "chunked",
            "Host": "elsewhere",
            "Content-Length": "99",
            "Authorization": "AWS4-HMAC-SHA256 Credential=CLIENT/",
            "X-Amz-Security-Token": "the client's",
            "X-Amz-Date": "20200101T000000Z",
            "Accept-Encoding": "gzip",
            "Expect": "100-continue",
        }
        await client.request(PUT, b"{}", headers, timeout=60)
    (request,) = server.requests
    assert header(request, "content-type") == "application/json"
    assert header(request, "user-agent") == "an SDK"
    assert header(request, "x-amz-user-agent") == "aws-sdk-js/2"
    assert header(request, "amz-sdk-request") == "attempt=1"
    assert header(request, "x-amz-security-token") == "token"
    assert header(request, "content-length") == "2"
    for name in ("connection", "transfer-encoding", "expect"):
        assert header(request, name) is None
    assert request.count(b"authorization") == 1
    assert b"CLIENT" not in request
    assert b"20200101" not in request
    authorization = header(request, "authorization")
    assert authorization is not None
    assert "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amz-user-agent" in authorization


async def test_a_request_without_an_operation_goes_unsigned() -> None:
    async with peer(always(OK)) as server, opened(server.url) as client:
        await client.request_raw("GET", "/favicon.ico?x=1", {"X": "y", "Host": "h"}, b"", timeout=60)
    (request,) = server.requests
    assert request.startswith(b"GET /favicon.ico?x=1 HTTP/1.1\r\n")
    assert header(request, "x") == "y"
    assert header(request, "host") == f"127.0.0.1:{server.port}"
    assert header(request, "authorization") is None


async def test_head_has_no_body_to_wait_for() -> None:
    reply = always(b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n")
    async with peer(reply) as server, opened(server.url) as client:
        answer = await client.request_raw("HEAD", "/", {}, b"", timeout=60)
    assert (answer.status, answer.body) == (200, b"")


async def test_streams_have_an_endpoint_of_their_own() -> None:
    async with (
        peer(always(OK)) as tables,
        peer(always(OK)) as streams,
        opened(tables.url, streams=streams.url) as client,
    ):
        await client.request("DynamoDBStreams_20120810.ListStreams", b"{}", timeout=60)
        await client.request(GET, b"{}", timeout=60)
    assert (len(tables.requests), len(streams.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3\r\nabc\r\n0\r\n\r\n", b"{}abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, b"x" * 100_000),
    ],
    ids=["chunked", "empty", "after 100", "large"],
)
async def test_bodies_in_every_form(sent: bytes, body: bytes) -> None:
    async with peer(always(sent)) as server, opened(server.url) as client:
        for _ in range(3):
            assert (await client.request(PUT, b"{}", timeout=60)).body == body
    assert server.connections == 1


async def test_an_answer_byte_by_byte_is_the_same_answer() -> None:
    async def dribble(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        for byte in OK:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with peer(dribble) as server, opened(server.url) as client:
        assert (await client.request(PUT, b"{}", timeout=60)).body == b"{}"


async def test_a_large_body_is_sent_whole() -> None:
    body = bytes(range(256)) * 16_384
    async with peer(always(OK)) as server, opened(server.url) as client:
        await client.request(PUT, body, timeout=60)
    assert server.requests[0].endswith(body)


async def test_connections_are_kept_and_no_more_than_allowed_are_opened() -> None:
    async def slow(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.01)
        writer.write(OK)

    async with peer(slow) as server, opened(server.url, connections=3, waiting=100) as client:
        answers = await asyncio.gather(*[client.request(PUT, b"{}", timeout=60) for _ in range(30)])
        assert {answer.status for answer in answers} == {200}
        assert server.connections == 3
        await client.request(PUT, b"{}", timeout=60)
        assert server.connections == 3


async def test_a_connection_closed_after_its_answer_is_not_used_again() -> None:
    reply = always(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    async with peer(reply) as server, opened(server.url) as client:
        for _ in range(3):
            assert (await client.request(PUT, b"{}", timeout=60)).status == 200
    assert server.connections == 3


@pytest.mark.parametrize(
    ("headers", "connections"), [(b"", 3), (b"x-amzn-RequestId: 1\r\n", 1)], ids=["on the way", "DynamoDB"]
)
async def test_a_connection_that_leads_to_a_failing_balancer_is_not_used_again(
    headers: bytes, connections: int
) -> None:
    reply = always(b"HTTP/1.1 503 Service Unavailable\r\n" + headers + b"Content-Length: 2\r\n\r\n{}")
    async with peer(reply) as server, opened(server.url) as client:
        for _ in range(3):
            assert (await client.request(PUT, b"{}", timeout=60)).status == 503
    assert server.connections == connections


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with peer(always(OK)) as server, opened(server.url, idle_seconds=0.05) as client:
        await client.request(PUT, b"{}", timeout=60)
        await asyncio.sleep(0.2)
        await client.request(PUT, b"{}", timeout=60)
    assert server.connections == 2


async def test_too_many_waiting_is_refused_at_once_and_had_no_effect() -> None:
    async with peer(never) as server, opened(server.url, connections=1, waiting=2) as client:
        under_way = [asyncio.ensure_future(client.request(PUT, b"{}", timeout=limit)) for limit in (2.0, 1.0, 1.0)]
        await until(lambda: server.requests)
        with pytest.raises(Unreachable) as caught:
            await client.request(PUT, b"{}", timeout=60)
        assert caught.value.reason == "busy"
        outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    assert isinstance(outcomes[0], UnknownOutcome)
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["timeout"] * 3
    assert [type(outcome) for outcome in outcomes[1:]] == [Unreachable, Unreachable]
    assert len(server.requests) == 1


async def test_a_place_in_the_line_that_is_given_up_goes_to_the_next() -> None:
    async def slow(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.05)
        writer.write(OK)

    async with peer(slow) as server, opened(server.url, connections=1) as client:
        first, second, third = (asyncio.ensure_future(client.request(PUT, b"{}", timeout=60)) for _ in range(3))
        await asyncio.sleep(0.01)
        second.cancel()
        assert (await first).status == 200
        assert (await third).status == 200
        assert second.cancelled()
        assert (await client.request(PUT, b"{}", timeout=60)).status == 200
    assert server.connections == 1


async def test_nobody_there_is_unreachable() -> None:
    async with opened("http://127.0.0.1:1") as client:
        with pytest.raises(Unreachable) as caught:
            await client.request(PUT, b"{}", timeout=60)
        with pytest.raises(Unreachable):
            await client.reach(timeout=60)
    assert caught.value.reason == "connect"
    # uvloop leaves the address out.
    said = str(caught.value).removesuffix(" (127.0.0.1:1)")
    assert said == "DynamoDB at 127.0.0.1:1 cannot be reached (see [dynamodb]): Connection refused"


async def test_a_name_that_is_not_there_is_unreachable() -> None:
    async with opened("http://nowhere.invalid") as client:
        with pytest.raises(Unreachable):
            await client.request(PUT, b"{}", timeout=60)


async def test_no_answer_in_time_is_unknown_and_the_connection_is_given_up() -> None:
    async def only_the_second_not(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        await (never if number == 1 else always(OK))(peer, writer, number)

    async with peer(only_the_second_not) as server, opened(server.url) as client:
        await client.request(PUT, b"{}", timeout=60)  # so that there is a connection, which takes time too
        with pytest.raises(UnknownOutcome) as caught:
            await client.request(PUT, b"{}", timeout=0.1)
        assert caught.value.reason == "timeout"
        assert server.connections == 1
        await client.request(PUT, b"{}", timeout=60)
    assert server.connections == 2


async def test_a_cut_connection_is_unknown() -> None:
    async with peer(cut) as server, opened(server.url) as client:
        with pytest.raises(UnknownOutcome) as caught:
            await client.request(PUT, b"{}", timeout=60)
    assert caught.value.reason == "reset"
    assert len(server.requests) == 1


async def test_half_an_answer_is_unknown() -> None:
    async def half(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()

    async with peer(half) as server, opened(server.url) as client:
        for target in (PUT, GET):
            with pytest.raises(UnknownOutcome) as caught:
                await client.request(target, b"{}", timeout=60)
            assert caught.value.reason == "reset"


@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 999999 X\r\n\r\n", b"\x16\x03\x01" * 10])
async def test_what_is_not_http_is_unknown(sent: bytes) -> None:
    async with peer(always(sent)) as server, opened(server.url) as client:
        with pytest.raises(UnknownOutcome) as caught:
            await client.request(PUT, b"{}", timeout=60)
    assert caught.value.reason == "protocol"


async def test_an_answer_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "MAX_ANSWER", 1000)
    reply = always(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001)
    async with peer(reply) as server, opened(server.url) as client:
        with pytest.raises(UnknownOutcome) as caught:
            await client.request(PUT, b"{}", timeout=60)
    assert caught.value.reason == "protocol"


async def test_headers_without_an_end_are_bounded() -> None:
    reply = always(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"y" * 70_000 + b"\r\n\r\n")
    async with peer(reply) as server, opened(server.url) as client:
        with pytest.raises(UnknownOutcome) as caught:
            await client.request(PUT, b"{}", timeout=60)
    assert caught.value.reason == "protocol"


async def answered_once_then_cut(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
    if number == 1:
        writer.transport.abort()
    else:
        writer.write(OK)


async def test_a_read_on_a_kept_connection_that_was_closed_is_sent_again() -> None:
    async with peer(answered_once_then_cut) as server, opened(server.url) as client:
        assert (await client.request(GET, b"{}", timeout=60)).status == 200
        assert (await client.request(GET, b"{}", timeout=60)).status == 200
    assert len(server.requests) == 3
    assert server.connections == 2


async def test_a_write_on_a_kept_connection_that_was_closed_is_not_sent_again() -> None:
    async with peer(answered_once_then_cut) as server, opened(server.url) as client:
        assert (await client.request(PUT, b"{}", timeout=60)).status == 200
        with pytest.raises(UnknownOutcome) as caught:
            await client.request(PUT, b"{}", timeout=60)
    assert caught.value.reason == "reset"
    assert len(server.requests) == 2


async def test_a_read_is_sent_again_once_only() -> None:
    async def cut_after_the_first(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        if number:
            writer.transport.abort()
        else:
            writer.write(OK)

    async with peer(cut_after_the_first) as server, opened(server.url) as client:
        await client.request(GET, b"{}", timeout=60)
        with pytest.raises(UnknownOutcome):
            await client.request(GET, b"{}", timeout=60)
    assert len(server.requests) == 3


async def test_a_kept_connection_that_the_server_has_closed_is_not_used() -> None:
    async def answer_and_close(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with peer(answer_and_close) as server, opened(server.url) as client:
        for _ in range(5):
            assert (await client.request(PUT, b"{}", timeout=60)).status == 200
            await asyncio.sleep(0.05)
    assert len(server.requests) == 5


async def test_a_request_that_is_cancelled_takes_its_connection_with_it() -> None:
    async def late(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 0:
            await never(peer, writer, number)
        writer.write(OK.replace(b"{}", str(number).zfill(2).encode()))

    async with peer(late) as server, opened(server.url, connections=1) as client:
        task = asyncio.ensure_future(client.request(PUT, b"{}", timeout=60))
        await until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.request(PUT, b"{}", timeout=60)).body == b"01"
    assert server.connections == 2


async def test_two_answers_to_one_request_are_not_taken_for_the_next() -> None:
    async with peer(always(OK + OK)) as server, opened(server.url) as client:
        for _ in range(3):
            assert (await client.request(PUT, b"{}", timeout=60)).body == b"{}"
            await asyncio.sleep(0.01)
    assert server.connections == 3


async def test_a_closed_upstream_takes_no_more_and_ends_what_is_under_way() -> None:
    async with peer(never) as server, opened(server.url) as client:
        task = asyncio.ensure_future(client.request(PUT, b"{}", timeout=60))
        await until(lambda: server.requests)
        await client.close()
        with pytest.raises(UnknownOutcome):
            await task
        with pytest.raises(Unreachable):
            await client.request(PUT, b"{}", timeout=60)


async def test_a_certificate_that_nobody_vouches_for_is_unreachable(self_signed: ssl.SSLContext) -> None:
    served = Peer(always(OK))
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=self_signed)
    port = server.sockets[0].getsockname()[1]
    async with opened(f"https://localhost:{port}") as client:
        with pytest.raises(Unreachable) as caught:
            await client.request(PUT, b"{}", timeout=60)
    server.close()
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert not served.requests


async def test_over_tls_with_a_certificate_that_holds(self_signed: ssl.SSLContext, certificate: str) -> None:
    served = Peer(always(OK))
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=self_signed)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=certificate)
    async with opened(f"https://localhost:{port}", context=trusting) as client:
        assert (await client.request(PUT, b"x" * 300_000, timeout=60)).status == 200
        assert (await client.request(PUT, b"{}", timeout=60)).status == 200
    async with opened(f"https://127.0.0.1:{port}", context=trusting) as client:
        with pytest.raises(Unreachable):  # the certificate is for another name
            await client.request(PUT, b"{}", timeout=60)
    server.close()
    assert served.connections == 1


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        (
            "https://dynamodb.eu-west-1.amazonaws.com",
            Endpoint("dynamodb.eu-west-1.amazonaws.com", 443, True, "dynamodb.eu-west-1.amazonaws.com"),
        ),
        ("http://127.0.0.1:4566/", Endpoint("127.0.0.1", 4566, False, "127.0.0.1:4566")),
        ("http://[::1]:80", Endpoint("::1", 80, False, "[::1]")),
        ("https://[::1]:8443", Endpoint("::1", 8443, True, "[::1]:8443")),
    ],
)
def test_where_a_url_leads(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.of(url) == endpoint


def test_a_url_that_leads_nowhere() -> None:
    with pytest.raises(ValueError, match="names no host"):
        Endpoint.of("not-a-url")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate for `localhost` that only itself vouches for, with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    both = folder / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return str(both)


@pytest.fixture(scope="session")
def self_signed(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_control_requests_have_connections_of_their_own() -> None:
    """However many other requests hang or wait, and none the other way round."""
    hang = asyncio.Event()

    async def answer(here: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        if header(here.requests[number], "x-amz-target") == GET:
            await hang.wait()
        writer.write(OK)

    async with peer(answer) as server, opened(server.url, connections=2, waiting=2) as client:
        hanging = [asyncio.create_task(client.request(GET, b"{}", timeout=60)) for _ in range(4)]
        await until(lambda: len(server.requests) == 2)
        with pytest.raises(Unreachable):
            await client.request(GET, b"{}", timeout=60)
        assert (await client.control().request("DynamoDB_20120810.PutItem", b"{}", timeout=60)).status == 200
        hang.set()
        assert {each.status for each in await asyncio.gather(*hanging)} == {200}
