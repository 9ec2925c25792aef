"""The data port, byte by byte: a raw socket on one side, a layer that passes through on the other."""

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator, Mapping
from zlib import crc32

import orjson
import pytest

from proxy.dynamodb.errors import conditional_check_failed
from proxy.dynamodb.outcome import Outcome
from proxy.metrics.registry import Metrics
from proxy.settings import Address
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.web import http_connection
from proxy.web.http_connection import ConnectionOptions
from proxy.web.http_site import HTTPSite
from proxy.web.request_ids import request_ids
from proxy.wire import server as module
from proxy.wire.server import WireServer
from proxy.wire.signatures import Signatures
from tests.unit.peer import OK, Peer, Reply, always, cut, header, never, peer, until
from tests.unit.plain_layer import PlainLayer
from tests.unit.signing import KEY, REGION, Sent, signed

PUT_ITEM = "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: DynamoDB_20120810.PutItem\r\n"
SIGNED = "Authorization: AWS4-HMAC-SHA256 Credential=CLIENT/x\r\n"
CHUNKED = f"{PUT_ITEM}{SIGNED}Transfer-Encoding: chunked\r\n\r\n"


class Client:
    """A socket, and answers read from it whole."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)
        first, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body

    async def closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), 60) == b""
        except ConnectionError:
            return True


class Wire:
    """A server with all that is behind it."""

    def __init__(self, peer: Peer, layer: PlainLayer, metrics: Metrics, server: WireServer, at: Address) -> None:
        self.peer = peer
        self.layer = layer
        self.metrics = metrics
        self.server = server
        self.at = at

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection(self.at.host, self.at.port))

    async def ask(self, request: bytes | str) -> tuple[int, dict[str, str], bytes]:
        client = await self.connect()
        client.send(request)
        answer = await client.answer()
        client.writer.close()
        return answer


@contextlib.asynccontextmanager
async def wire(
    reply: Reply,
    *,
    seconds: float = 60.0,
    finish: float = 5.0,
    layer: PlainLayer | None = None,
    signatures: Signatures | None = None,
) -> AsyncIterator[Wire]:
    async with peer(reply) as other:
        upstream = DynamoDBClient(other.url, region="us-east-1", credentials=Credentials(Credential("AKID", "secret")))
        layer = layer or PlainLayer(upstream, seconds)
        layer.upstream = upstream
        metrics = Metrics()
        server = WireServer(
            layer,
            upstream,
            metrics,
            timeout_seconds=seconds,
            finish_seconds=finish,
            site=HTTPSite(ConnectionOptions(port="data", decompress=False), metrics.connections),
            signatures=signatures,
        )
        at = await server.start(Address("127.0.0.1", 0))
        try:
            yield Wire(other, layer, metrics, server, at)
        finally:
            await server.stop()
            await upstream.close()


def post(target: str, body: bytes = b"{}", extra: str = SIGNED) -> bytes:
    return (
        f"POST / HTTP/1.1\r\nHost: here\r\nX-Amz-Target: {target}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def get_item(body: bytes = b"{}", extra: str = SIGNED) -> bytes:
    return post("DynamoDB_20120810.GetItem", body, extra)


def refused(answer: tuple[int, dict[str, str], bytes]) -> str:
    """The code of an error that was made here, after a look at all that DynamoDB gives with one."""
    status, headers, body = answer
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert headers["x-amz-crc32"] == str(crc32(body))
    assert len(headers["x-amzn-requestid"]) == 52
    assert status >= 400
    return str(orjson.loads(body)["__type"]).rpartition("#")[2]


async def test_the_answer_is_the_authority_s_own() -> None:
    body = b'{"Item": {"n": {"N": "1"}},\n "x":1 }'
    sent = (
        b"HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Sun, 01 Nov 2026 00:00:00 GMT\r\nx-amz-crc32: 42\r\n"
        b"Content-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: THEIRS\r\nConnection: keep-alive\r\n"
        b"Keep-Alive: timeout=5\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )
    async with wire(always(sent)) as here:
        status, headers, got = await here.ask(get_item(b'{"TableName": "t"}'))
        assert here.peer.requests[0].endswith(b'\r\n\r\n{"TableName": "t"}')
        assert here.layer.executed == ["GetItem"]
    assert (status, got) == (200, body)
    assert headers == {
        "server": "Server",
        "date": "Sun, 01 Nov 2026 00:00:00 GMT",
        "x-amz-crc32": "42",
        "content-type": "application/x-amz-json-1.0",
        "x-amzn-requestid": "THEIRS",
        "content-length": str(len(body)),
    }


async def test_an_error_of_the_authority_passes_too() -> None:
    sent = b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\nx-amz-crc32: 1\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    async with wire(always(sent)) as here:
        status, headers, body = await here.ask(get_item())
    assert (status, body, headers["x-amz-crc32"]) == (400, b"{}", "1")
    assert "transfer-encoding" not in headers


@pytest.mark.parametrize(
    "target", ["DynamoDB_20120810.CreateTable", "DynamoDBStreams_20120810.GetRecords", "DynamoDB_20111205.GetItem", "x"]
)
async def test_every_other_operation_passes_through_unread(target: str) -> None:
    async with wire(always(OK)) as here:
        extra = f"{SIGNED}Content-Type: application/json\r\nX-Amz-Date: 20200101T000000Z\r\nCookie: c\r\n"
        status, _, _ = await here.ask(post(target, b"\xff\x00", extra))
        (request,) = here.peer.requests
        assert here.layer.executed == []
        assert here.layer.passed == [target.rpartition(".")[2] if "." in target else ""]
    assert status == 200
    assert request.endswith(b"\r\n\r\n\xff\x00")
    assert header(request, "x-amz-target") == target
    assert header(request, "content-type") == "application/json"
    assert header(request, "cookie") is None
    assert "Credential=AKID/" in (header(request, "authorization") or "")


@pytest.mark.parametrize(
    "first", ["GET / HTTP/1.1", "GET /some/path?x=%20 HTTP/1.1", "PUT / HTTP/1.1", "OPTIONS / HTTP/1.1"]
)
async def test_what_names_no_operation_is_answered_by_dynamodb_itself_and_unsigned(first: str) -> None:
    async with wire(always(OK)) as here:
        status, _, body = await here.ask(f"{first}\r\nHost: h\r\nOrigin: https://x\r\n{SIGNED}\r\n")
        (request,) = here.peer.requests
    assert (status, body) == (200, b"{}")
    assert request.startswith(first.encode())
    assert header(request, "authorization") is None
    assert header(request, "origin") == "https://x"


async def test_a_refusal_by_the_layer_is_dynamodb_s() -> None:
    class Refusing(PlainLayer):
        async def execute(self, action: str, body: bytes, request_id: str, client: str = "") -> Outcome:
            raise conditional_check_failed({"id": {"S": "1"}})

    async with wire(always(OK), layer=Refusing(None)) as here:  # type: ignore[arg-type]  # wire() sets it
        answer = await here.ask(get_item())
    assert refused(answer) == "ConditionalCheckFailedException"
    assert answer[0] == 400
    assert orjson.loads(answer[2])["Item"] == {"id": {"S": "1"}}


async def test_a_fault_of_ours_is_a_retryable_error_and_the_server_lives() -> None:
    class Faulty(PlainLayer):
        async def execute(self, action: str, body: bytes, request_id: str, client: str = "") -> Outcome:
            raise ZeroDivisionError

    async with wire(always(OK), layer=Faulty(None)) as here:  # type: ignore[arg-type]  # wire() sets it
        for _ in range(2):
            answer = await here.ask(get_item())
            assert (answer[0], refused(answer)) == (500, "InternalServerError")


async def test_no_answer_in_time_is_a_500_in_time() -> None:
    async with wire(never, seconds=2.0) as here:
        answer = await here.ask(get_item())
        assert (answer[0], refused(answer)) == (500, "InternalServerError")
        text = here.metrics.text().decode()
    assert 'crossfade_upstream_failures_total{outcome="unknown",reason="timeout"} 1.0' in text
    assert 'crossfade_proxy_seconds_count{operation="GetItem",status="500"} 1.0' in text


async def test_a_cut_upstream_is_a_500() -> None:
    async with wire(cut) as here:
        answer = await here.ask(post("DynamoDB_20120810.PutItem"))
        assert (answer[0], refused(answer)) == (500, "InternalServerError")


async def test_an_upstream_that_is_not_there_is_a_503() -> None:
    async with wire(always(OK)) as here:
        await here.layer.upstream.close()
        answer = await here.ask(get_item())
        assert (answer[0], refused(answer)) == (503, "ServiceUnavailableException")
        answer = await here.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answer[0] == 503


@pytest.mark.parametrize("limit", [0, 1])
async def test_a_body_over_16_mb_is_a_bare_413(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "LINGER_SECONDS", 0.2)
    async with wire(always(OK)) as here:
        client = await here.connect()
        size = module.MAX_BODY + 1
        if limit:  # its length is told
            client.send(f"{PUT_ITEM}Content-Length: {size}\r\n\r\n")
        else:
            client.send(f"{PUT_ITEM}Transfer-Encoding: chunked\r\n\r\n")
            client.send(f"{size:x}\r\n".encode() + b"x" * size)
        status, _, body = await client.answer()
        client.writer.close()
        assert (status, body) == (413, b"")
        counted = 'crossfade_proxy_seconds_count{operation="PutItem",status="413"} 1.0'
        assert counted in here.metrics.text().decode()
        assert here.peer.requests == []


async def test_a_body_of_16_mb_is_taken() -> None:
    async with wire(always(OK)) as here:
        body = b"x" * module.MAX_BODY
        status, _, _ = await here.ask(get_item(body))
        assert status == 200
        assert here.peer.requests[0].endswith(body)


async def test_a_chunked_body_is_put_together() -> None:
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send(CHUNKED)
        for part in (b"2\r\n{}\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"):
            await asyncio.sleep(0.02)
            client.send(part)
        assert (await client.answer())[0] == 200
        assert here.peer.requests[0].endswith(b"\r\n\r\n{}abc")
        client.writer.close()


async def test_expect_100_continue() -> None:
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send(f"{PUT_ITEM}{SIGNED}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send("{}")
        assert (await client.answer())[::2] == (200, b"{}")
        client.writer.close()


@pytest.mark.parametrize("target", ["DynamoDB_20120810.GetItem", "DynamoDB_20120810.CreateTable"])
async def test_a_gzip_is_decoded(target: str) -> None:
    async with wire(always(OK)) as here:
        await here.ask(post(target, gzip.compress(b'{"TableName":"t"}'), f"{SIGNED}Content-Encoding: gzip\r\n"))
        assert here.peer.requests[0].endswith(b'\r\n\r\n{"TableName":"t"}')
        assert header(here.peer.requests[0], "content-encoding") is None


async def test_what_is_no_gzip_or_too_large_a_one_goes_nowhere() -> None:
    async with wire(always(OK)) as here:
        coded = f"{SIGNED}Content-Encoding: gzip\r\n"
        assert refused(await here.ask(get_item(b"{}", coded))) == "SerializationException"
        status, _, body = await here.ask(get_item(gzip.compress(b"x" * (module.MAX_BODY + 1)), coded))
        assert (status, body) == (413, b"")
        assert here.peer.requests == []


async def test_requests_come_one_after_another_on_one_connection() -> None:
    async def numbered(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(OK.replace(b"{}", f"{number:02}".encode()))

    async with wire(numbered) as here:
        client = await here.connect()
        client.send(get_item() * 3)  # and all at once
        assert [(await client.answer())[2] for _ in range(3)] == [b"00", b"01", b"02"]
        client.send(get_item())
        assert (await client.answer())[2] == b"03"
        client.writer.close()
        assert here.peer.connections == 1


async def test_connection_close_is_honoured() -> None:
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send(get_item(extra=f"{SIGNED}Connection: close\r\n"))
        assert (await client.answer())[0] == 200
        assert await client.closed()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
    ],
    ids=["tls", "no version", "negative length", "two lengths", "a long header", "many headers"],
)
async def test_garbage_is_refused_in_one_line_and_the_server_lives(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send(garbage)
        head = await asyncio.wait_for(client.reader.read(12), 60)
        assert head == b"HTTP/1.1 400" or head.startswith(b"HTTP/1.0 400")
        client.writer.close()
        assert here.peer.requests == []
        assert (await here.ask(get_item()))[0] == 200
    records = [record for record in caplog.records if record.name == "proxy.wire.http"]
    assert len(records) <= 1  # aiohttp passes over some in silence
    assert all((record.levelname, record.exc_info) == ("WARNING", None) for record in records)


async def test_a_broken_chunk_is_not_waited_for_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(http_connection, "LINGER_SECONDS", 0.1)
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send(CHUNKED)
        await asyncio.sleep(0.02)
        client.send("zz\r\n")
        assert (await client.answer())[0] in {400, 408}
        assert await client.closed()
        assert here.peer.requests == []


async def test_a_client_that_goes_away_does_not_stop_its_write() -> None:
    async def slow(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.2)
        writer.write(OK)

    async with wire(slow) as here:
        client = await here.connect()
        client.send(post("DynamoDB_20120810.PutItem"))
        await until(lambda: here.peer.requests)
        client.writer.transport.abort()
        await until(lambda: here.layer.finished == 1)


async def test_a_client_that_goes_away_within_its_body_has_asked_for_nothing() -> None:
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send(post("DynamoDB_20120810.PutItem", b"{}" * 100)[:-10])
        await asyncio.sleep(0.05)
        client.writer.transport.abort()
        await asyncio.sleep(0.1)
        assert here.layer.executed == []
        assert (await here.ask(get_item()))[0] == 200


async def test_an_unsigned_request_is_refused_as_dynamodb_does() -> None:
    async with wire(always(OK)) as here:
        assert refused(await here.ask(get_item(extra=""))) == "MissingAuthenticationTokenException"
        assert here.peer.requests == []


async def test_a_web_page_is_refused() -> None:
    async with wire(always(OK)) as here:
        answer = await here.ask(get_item(extra=f"{SIGNED}Origin: https://anywhere.example\r\n"))
        assert refused(answer) == "AccessDeniedException"
        assert here.peer.requests == []


async def test_a_client_slow_with_its_headers_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.2)
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send("POST / HTTP/1.1\r\nX-Amz-Tar")
        assert await client.closed()


async def test_a_client_slow_with_its_body_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(http_connection, "LINGER_SECONDS", 0.1)
    async with wire(always(OK)) as here:
        client = await here.connect()
        client.send(get_item(b"x" * 100)[:-50])
        assert (await client.answer())[0] == 408
        assert await client.closed()


async def test_a_stop_finishes_what_is_under_way_and_takes_no_more() -> None:
    async def slow(peer: Peer, writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.3)
        writer.write(OK)

    async with wire(slow, finish=60) as here:
        client, idle = await here.connect(), await here.connect()
        client.send(get_item())
        await until(lambda: here.peer.requests)
        stopping = asyncio.ensure_future(here.server.stop())
        assert (await client.answer())[0] == 200
        await stopping
        assert await idle.closed()
        with pytest.raises(ConnectionError):
            await here.connect()


async def test_a_stop_does_not_wait_for_ever() -> None:
    async with wire(never, finish=0.2) as here:
        client = await here.connect()
        client.send(get_item())
        await until(lambda: here.peer.requests)
        await asyncio.wait_for(here.server.stop(), 30)
        assert await client.closed()
        assert here.layer.finished == 0


async def test_the_layer_is_told_the_headers_that_matter() -> None:
    seen: list[Mapping[str, str]] = []

    class Listening(PlainLayer):
        async def pass_through(self, action: str, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
            seen.append(headers)
            return Outcome.of({})

    async with wire(always(OK), layer=Listening(None)) as here:  # type: ignore[arg-type]  # wire() sets it
        extra = f"{SIGNED}User-Agent: Boto3\r\nX-Amz-Odd: \xe9\r\nContent-Type: text/plain\r\n"
        status, headers, body = await here.ask(post("DynamoDB_20120810.ListTables", b"{}", extra))
    assert (status, body) == (200, b"{}")
    assert headers["x-amz-crc32"] == str(crc32(b"{}"))
    assert {name.lower() for name in seen[0]} == {"host", "user-agent", "content-type", "x-amz-target"}


def test_request_ids_are_dynamodb_s_in_form_and_never_the_same() -> None:
    here, there = request_ids(), request_ids()
    ids = [next(run) for run in (here, there) for _ in range(1000)]
    assert len(set(ids)) == 2000
    assert all(len(name) == 52 and name.isalnum() and name == name.upper() for name in ids)


# -- with signatures ---------------------------------------------------------------------------------------------------


def keys() -> Signatures:
    return Signatures([KEY], REGION)


def sent(request: Sent) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers if name.lower() != "content-length")
    head = f"{request.method} {request.target} HTTP/1.1\r\n{lines}Content-Length: {len(request.body)}\r\n\r\n"
    return head.encode() + request.body


async def test_a_signed_request_passes_and_is_signed_anew() -> None:
    async with wire(always(OK), signatures=keys()) as here:
        for request in (signed(at=time.time()), signed(at=time.time(), presigned=60)):
            status, headers, _ = await here.ask(sent(request))
            assert status == 200
            assert "access-control-allow-origin" not in headers
        assert here.layer.executed == ["GetItem", "GetItem"]
        assert all("Credential=AKID/" in (header(request, "authorization") or "") for request in here.peer.requests)
        status, _, _ = await here.ask(sent(signed(at=time.time(), action="ListTables")))
        assert status == 200
        assert here.layer.passed == ["ListTables"]


async def test_what_is_signed_is_the_body_as_it_came() -> None:
    coded = gzip.compress(b"{}")
    headers = {"content-encoding": "gzip"}
    async with wire(always(OK), signatures=keys()) as here:
        assert (await here.ask(sent(signed(body=coded, headers=headers, at=time.time()))))[0] == 200
        assert here.peer.requests[0].endswith(b"\r\n\r\n{}")


async def test_what_is_not_signed_well_goes_nowhere_and_is_counted() -> None:
    now = time.time()
    forged = signed(at=now).changed("X-Amz-Target", "DynamoDB_20120810.DeleteTable")
    unnamed = Sent("PUT", "/bucket", (("Host", "h"),), b"")
    async with wire(always(OK), signatures=keys()) as here:
        for request, code in (
            (signed(at=now - 1000), "InvalidSignatureException"),
            (forged, "InvalidSignatureException"),
            (signed(at=now).without("Authorization"), "MissingAuthenticationTokenException"),
            (signed(at=now).changed("Authorization", "AWS4-HMAC-SHA256 \xff"), "IncompleteSignatureException"),
            (signed(at=now, key=Credential("WHO", "secret")), "UnrecognizedClientException"),
            (unnamed, "MissingAuthenticationTokenException"),
            (Sent("GET", "/", (("Host", "h"),), b""), "MissingAuthenticationTokenException"),
        ):
            answer = await here.ask(sent(request))
            assert (answer[0], refused(answer)) == (400, code)
        assert here.peer.requests == []
        assert here.layer.executed == here.layer.passed == []
        text = here.metrics.text().decode()
    assert 'crossfade_refused_requests_total{code="InvalidSignatureException"} 2.0' in text
    assert 'crossfade_refused_requests_total{code="MissingAuthenticationTokenException"} 3.0' in text


async def test_what_names_no_operation_passes_if_it_is_signed() -> None:
    request = signed(at=time.time(), method="GET", body=b"").without("X-Amz-Target")
    async with wire(always(OK), signatures=keys()) as here:
        answer = await here.ask(sent(request))
        assert refused(answer) == "InvalidSignatureException"  # the target was signed and has gone
        given = {"X-Amz-Target": "DynamoDB_20120810.GetItem"}
        request = signed(at=time.time(), method="GET", body=b"", headers=given)
        status, _, _ = await here.ask(sent(request))
        assert status == 200
        assert header(here.peer.requests[0], "authorization") is None


async def test_a_page_asks_first_and_is_then_answered_if_it_signs() -> None:
    async with wire(always(OK), signatures=keys()) as here:
        status, headers, body = await here.ask(
            "OPTIONS / HTTP/1.1\r\nHost: h\r\nOrigin: https://app.example\r\n"
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-amz-date\r\n\r\n"
        )
        assert (status, body) == (200, b"")
        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-allow-methods"] == "POST"
        assert headers["access-control-allow-headers"] == "authorization,x-amz-date"
        assert here.peer.requests == []
        for request, expected in ((signed(at=time.time()), 200), (signed(at=0), 400)):
            status, headers, _ = await here.ask(sent(request.plus("Origin", "https://app.example")))
            assert (status, headers["access-control-allow-origin"]) == (expected, "*")
            assert "x-amzn-RequestId" in headers["access-control-expose-headers"]


async def test_a_preflight_of_no_page_must_be_signed() -> None:
    async with wire(always(OK), signatures=keys()) as here:
        answer = await here.ask("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert refused(answer) == "MissingAuthenticationTokenException"
        status, headers, _ = await here.ask(
            b"OPTIONS / HTTP/1.1\r\nHost: h\r\nOrigin: x\r\nAccess-Control-Request-Headers: \xff\r\n\r\n"
        )
        assert status == 200
        assert "access-control-allow-headers" not in headers


async def test_a_stranger_is_refused_before_the_body_has_come() -> None:
    """Nobody who has no key makes the proxy keep 16 MB."""
    request = signed(at=time.time(), key=Credential("WHO", "secret"), body=b"x" * module.MAX_BODY)
    head, _, _ = sent(request).partition(b"\r\n\r\n")
    async with wire(always(OK), signatures=keys()) as here:
        client = await here.connect()
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        answer = await client.answer()
        assert (answer[0], refused(answer)) == (400, "UnrecognizedClientException")
        client.writer.close()
        for _ in range(2):  # and its connection lives if it then sends what it said that it would
            client = await here.connect()
            small = sent(signed(at=time.time(), key=Credential("WHO", "secret")))
            client.send(small[:-5])
            answer = await client.answer()
            assert refused(answer) == "UnrecognizedClientException"
            client.send(small[-5:] + sent(signed(at=time.time())))
            assert (await client.answer())[0] == 200
            client.writer.close()
