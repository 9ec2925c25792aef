"""Anything at all on the wire: no failure of our own making, no hang, and no shadow of what the authority refused.

What is an HTTP request is judged by asking ministack the same without the proxy: a 500 that is its own is its own.
"""

import asyncio
import contextlib
import json
import os
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import equality
from tests.faults.serving import Serving
from tests.faults.under_fault import own_faults
from tests.integration.scenes import Scene, scene, wait_until
from tests.proxy_process import settings_text
from tests.standins.billio import dynamodb_client
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.standins.processes import LOOPBACK

TABLE = "fuzz"
PLANTED = "planted7Value"  # in items and in headers, and never in a log
HANG_SECONDS = 60.0
talked: Counter[str] = Counter()
QUIET_SECONDS = 0.15  # with so long a silence the server wants more of a request than it will get

AUDIT = f"""
CREATE TABLE audit (at timestamptz DEFAULT now());
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO audit DEFAULT VALUES; RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON "{TABLE}" FOR EACH ROW EXECUTE FUNCTION note();
"""

Answer = tuple[int, bytes]
MORE = int(os.environ.get("FUZZ_EXAMPLES", "0"))  # look further: so many random examples of each kind
Examples = settings(
    max_examples=MORE or 40,
    deadline=None,
    derandomize=not MORE,  # the same examples in every run of the suite
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


class World:
    """The proxy, both stores, and a count of every write that the mirror's table has ever seen."""

    def __init__(self, proxy: Serving, ministack: Ministack, dsn: str) -> None:
        self.proxy = proxy
        self.ministack = ministack
        self.dsn = dsn
        self._loop = asyncio.new_event_loop()
        self._rows = self._loop.run_until_complete(asyncpg.connect(dsn))

    def sql(self, statement: str) -> Any:
        return self._loop.run_until_complete(self._rows.fetchval(statement))

    def close(self) -> None:
        self._loop.run_until_complete(self._rows.close())
        self._loop.close()

    @property
    def at(self) -> tuple[str, int]:
        return self.proxy.data.host, self.proxy.data.port

    @property
    def direct(self) -> tuple[str, int]:
        return LOOPBACK, self.ministack.port

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.proxy.admin}/v1/status", timeout=HANG_SECONDS) as answer:
            document: dict[str, Any] = json.load(answer)
        return document

    def mirror_writes(self) -> int:
        """How many there have been, once nothing is going on behind an answer."""
        deadline = time.monotonic() + HANG_SECONDS
        while (status := self.status())["behind"] or status["journal"]["keys"]:
            assert time.monotonic() < deadline, status["journal"]
            time.sleep(0.005)
        return int(self.sql("SELECT count(*) FROM audit"))

    def authority_holds(self) -> bytes:
        """All that the authority has, past the proxy."""
        return ask(self.direct, post("Scan", b'{"TableName":"fuzz","ConsistentRead":true}'))[1]

    def begin_anew(self) -> None:
        """ministack may by now hold what it cannot give back, or what no DynamoDB takes: take it away, if it can be."""
        for number in {"3", "4", "5", *(item["r"]["N"] for item in self._items() if item["k"] == {"S": "c"})}:
            key = json.dumps({"k": {"S": "c"}, "r": {"N": number}})
            ask(self.at, post("DeleteItem", f'{{"TableName":"fuzz","Key":{key}}}'.encode()))

    def _items(self) -> list[dict[str, dict[str, Any]]]:
        status, body = ask(self.direct, post("Scan", b'{"TableName":"fuzz"}'))
        items: list[dict[str, dict[str, Any]]] = json.loads(body)["Items"] if status == 200 else []
        return items

    def lives(self) -> None:
        """It serves, has not failed by itself, and has logged nothing of what it was sent."""
        assert self.proxy.faults == []
        assert PLANTED not in str(self.proxy.events)
        assert ask(self.at, post("GetItem", GET))[0] == 200


@pytest.fixture(scope="module")
def world(ministack: Ministack, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("fuzz")
    ministack.reset()
    dsn = postgres.create_database()
    with serving(folder, ministack, dsn) as proxy:
        make_table(f"http://{proxy.data}")
        world = World(proxy, ministack, dsn)
        try:
            put = b'{"TableName":"fuzz","Item":{"k":{"S":"a"},"r":{"N":"1"}}}'
            assert ask(world.at, post("PutItem", put))[0] == 200
            deadline = time.monotonic() + HANG_SECONDS
            while not world.sql(f"SELECT to_regclass('{TABLE}') IS NOT NULL"):
                assert time.monotonic() < deadline
            for statement in AUDIT.strip().split(";\nCREATE"):
                world.sql(statement if statement.startswith("CREATE") else f"CREATE{statement}")
            yield world
        finally:
            world.close()
            if MORE:
                print(f"\n{talked.total():,} conversations: {', '.join(f'{n:,} {kind}' for kind, n in talked.items())}")
    postgres.drop_database(dsn)


@contextlib.contextmanager
def serving(folder: Path, ministack: Ministack, dsn: str) -> Iterator[Serving]:
    file = folder / "crossfade.toml"
    journal = folder / "journal.sqlite"
    file.write_text(
        settings_text(dynamodb=ministack.endpoint, dsql=dsn, journal=journal, stage="shadow", mappings=[]), "utf-8"
    )
    environment = {
        "CROSSFADE_FOLLOW_TABLES": "true",
        "CROSSFADE_MIRROR__ALONE": "true",
        "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "0.05",
        "CROSSFADE_DSQL__SETTLE_SECONDS": "0.05",
    }
    with Serving(file, environment) as proxy:
        yield proxy


def make_table(endpoint: str) -> None:
    names = {"k": "S", "r": "N", "g": "S"}
    dynamodb_client(endpoint).create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in names.items()],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}, {"AttributeName": "r", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-g",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


# -- a client that sends what it is told -------------------------------------------------------------------------------

SIGNED = b"Authorization: AWS4-HMAC-SHA256 Credential=local/20261122/us-east-1/dynamodb/aws4_request, Signature=0\r\n"
GET = b'{"TableName":"fuzz","Key":{"k":{"S":"a"},"r":{"N":"1"}}}'


def head(action: str, extra: bytes = b"") -> bytes:
    target = b"X-Amz-Target: DynamoDB_20120810." + action.encode() + b"\r\n"
    return b"POST / HTTP/1.1\r\nHost: h\r\n" + target + SIGNED + b"Content-Type: application/x-amz-json-1.0\r\n" + extra


def post(action: str, body: bytes) -> bytes:
    return head(action, b"Content-Length: %d\r\n\r\n" % len(body)) + body


def talk(at: tuple[str, int], sent: bytes) -> bytes:
    """Send, take what is answered, hang up when nothing more comes, and insist that the other side does so too."""
    got = bytearray()
    talked["of anything at all"] += 1
    with socket.create_connection(at, timeout=HANG_SECONDS) as client:
        try:
            client.sendall(sent)
            client.settimeout(QUIET_SECONDS)
            while True:
                try:
                    piece = client.recv(1 << 16)
                except TimeoutError:
                    if client.gettimeout() != QUIET_SECONDS:
                        raise AssertionError(f"hung on {sent[:500]!r}") from None
                    if not got and b"\r\n\r\n" in sent:
                        client.settimeout(1.0)  # it may be busy
                        with contextlib.suppress(TimeoutError):
                            got += client.recv(1 << 16)
                    client.shutdown(socket.SHUT_WR)
                    client.settimeout(HANG_SECONDS)
                    continue
                if not piece:
                    break
                got += piece
                if len(answers(bytes(got))) == 1 and sent.count(b"HTTP/1.") == 1 and b"Expect" not in sent:
                    break
        except ConnectionError:
            pass  # it would not read on
    return bytes(got)


def ask(at: tuple[str, int], request: bytes) -> Answer:
    """The answer to one whole request."""
    got = bytearray()
    talked["of one whole request"] += 1
    with socket.create_connection(at, timeout=HANG_SECONDS) as client:
        client.sendall(request)
        while not (found := answers(bytes(got))):
            piece = client.recv(1 << 16)
            assert piece, f"hung up on {request[:500]!r}"
            got += piece
    return found[0]


def answers(got: bytes) -> list[Answer]:
    """The whole answers in what came, interim ones left out."""
    found: list[Answer] = []
    while b"\r\n\r\n" in got:
        start, _, rest = got.partition(b"\r\n\r\n")
        status = int(start[9:12])
        if status < 200:
            got = rest
            continue
        lengths = [int(line[15:]) for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size = lengths[0] if lengths else 0
        if len(rest) < size:
            break
        found.append((status, rest[:size]))
        got = rest[size:]
    return found


# -- bytes -------------------------------------------------------------------------------------------------------------

PUT = b'{"TableName":"fuzz","Item":{"k":{"S":"b"},"r":{"N":"2"},"v":{"L":[{"M":{"x":{"S":"planted7Value"}}}]}}}'
VALID = post("PutItem", PUT)


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A request with some of its bytes taken out, doubled, changed or put in."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        piece = draw(st.one_of(st.just(b""), st.binary(max_size=8), st.just(bytes(data[start:end]) * 2)))
        data[start:end] = piece
    return bytes(data)


def broken_requests() -> st.SearchStrategy[bytes]:
    return broken(st.sampled_from([VALID, post("GetItem", GET), VALID + VALID]))


@Examples
@given(st.one_of(st.binary(max_size=600), broken_requests()))
def test_bytes(world: World, sent: bytes) -> None:
    talk(world.at, sent)
    world.lives()


# -- HTTP --------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Content-Encoding",
        "Expect",
        "Connection",
        "Upgrade",
        "X-Amz-Target",
        "Authorization",
        "Content-Type",
        "TE",
        "Trailer",
        "X-Amz-Date",
        "Cookie",
        "X",
        "",
        "A B",
        "Ä",
        "X-Amz-Security-Token",
    ]
)
VALUES = st.sampled_from(
    [
        "",
        PLANTED,
        f"Bearer {PLANTED}",
        f"{PLANTED}\x00",
        "0",
        "-1",
        "+5",
        "5, 5",
        "5",
        "99999999999999999999",
        "0x10",
        "chunked",
        "gzip",
        "identity",
        "gzip, chunked",
        "100-continue",
        "200-ok",
        "close",
        "keep-alive",
        "upgrade",
        "websocket",
        "h2c",
        "DynamoDB_20120810.PutItem",
        "DynamoDB_20120810.",
        ".",
        "DynamoDB_20120810.PutItem.x",
        "DynamoDBStreams_20120810.ListStreams",
        "Ä\x80",
        "a\r\n b",
        "x" * 9000,
        "x" * 40000,
        "AWS4-HMAC-SHA256",
        "application/x-amz-json-1.1",
        "text/html",
        "\x00",
        "a\tb",
        "\x7f",
    ]
)
METHODS = st.sampled_from(
    ["POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "", "P T"]
)
PATHS = st.sampled_from(
    ["/", "//", "/x?y=z", "*", "http://h/", "h:80", "", "/" + "a" * 9000, "/%ff%00", "/ä", "/\x01", "/../.."]
)
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", "HTTP/1.1x", ""])
CHUNKS = st.sampled_from(
    [
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(PUT), PUT),
        b"1\r\n{\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"-1\r\n",
        b"zz\r\n",
        b"\r\n\r\n",
        b"ffffffffffffffffff\r\n{",
        b'2;ext="a\r\n"\r\n{}\r\n0\r\n\r\n',
        b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"2\n{}\n0\n\n",
        b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
        b" 2 \r\n{}\r\n0\r\n\r\n",
        b"1\r\n",
        b"2" + b";" * 9000,
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """An HTTP request by the grammar, which it often leaves."""
    usual = draw(st.integers(0, 9))
    line = [draw(METHODS) if usual < 3 else "POST", draw(PATHS) if usual in (2, 3, 4) else "/"]
    text = " ".join([*line, draw(VERSIONS) if usual in (4, 5) else "HTTP/1.1"])
    headers = [("Host", "h"), ("X-Amz-Target", draw(st.sampled_from(["GetItem", "PutItem", "ListTables", "Nope"])))]
    headers[1] = (headers[1][0], f"DynamoDB_20120810.{headers[1][1]}")
    if draw(st.integers(0, 5)):
        headers.append(("Authorization", "AWS4-HMAC-SHA256 Credential=x"))
    headers += draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))
    body = draw(st.sampled_from([GET, PUT, b"", b"{", b"{}" * 5000, b"\xff" * 10]))
    match draw(st.integers(0, 6)):
        case 0:
            headers.append(("Transfer-Encoding", "chunked"))
            body = draw(CHUNKS)
        case 1:
            headers += [("Transfer-Encoding", "chunked"), ("Content-Length", str(len(body)))]
            body = draw(CHUNKS)
        case 2:
            headers.append(
                ("Content-Length", str(draw(st.sampled_from([0, 1, len(body) + 5, 1 << 24, (1 << 24) + 1]))))
            )
        case 3:
            headers += [("Content-Length", str(len(body))), ("Expect", "100-continue")]
        case _:
            headers.append(("Content-Length", str(len(body))))
    headers = draw(st.permutations(headers))
    separator = draw(st.sampled_from([": ", ":", " : ", ":\t"])) if usual == 6 else ": "
    lines = "".join(f"{name}{separator}{value}\r\n" for name, value in headers)
    return f"{text}\r\n{lines}\r\n".encode("latin-1", "replace") + body


@Examples
@given(st.lists(requests(), min_size=1, max_size=3))
def test_http(world: World, pipelined: list[bytes]) -> None:
    sent = b"".join(pipelined)
    for status, body in answers(talk(world.at, sent)):
        assert status < 500 or from_ministack(body), (status, body[:300])
    world.lives()


def from_ministack(body: bytes) -> bool:
    return b'"InternalError"' in body or b"ministack" in body.lower()


# -- JSON --------------------------------------------------------------------------------------------------------------


class Raw:
    """Text that goes into the JSON as it is."""

    def __init__(self, text: str) -> None:
        self.text = text


def nested(kind: str, depth: int) -> Raw:
    inside = '{"M":{"a":' if kind == "M" else '{"L":['
    return Raw(inside * depth + '{"S":"x"}' + ("}}" if kind == "M" else "]}") * depth)


ODD_NUMBERS = [
    "",
    "-",
    "1e",
    "NaN",
    "Infinity",
    "0x1",
    "1_0",
    " 1",
    "1 ",
    "+1",
    "-0",
    "01",
    ".5",
    "5.",
    "1E400",
    "1E-400",
]
EDGE_NUMBERS = ["9" * 38, "9" * 39, "1E125", "9.9E125", "1E126", "1E-130", "1E-131", "-1E125", "0." + "0" * 129 + "1"]
ODD_TEXTS = [
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'"\u0000"',
    '"\x01"',
    '"' + "x" * 70000 + '"',
    '""',
    r'"\ud83d\ude00"',
    '"\ud800"',
]
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        [],
        {},
        [[]],
        [None],
        {"": {}},
        "",
        "x",
        "fuzz",
        ["fuzz"],
        {"S": "x"},
        {"S": 1},
        {"N": 1},
    ),
    *(
        {"S": None},
        {"NULL": False},
        {"BOOL": "true"},
        {"SS": []},
        {"SS": ["a", "a"]},
        {"NS": ["1", "1.0"]},
        {"BS": ["!"]},
    ),
    *(
        {"B": "!"},
        {"B": "YQ"},
        {"S": "a", "N": "1"},
        {},
        {"X": 1},
        {"L": {}},
        {"M": []},
        {"SS": "a"},
        {"L": [1]},
        {"M": {"a": 1}},
    ),
    *({"N": number} for number in ODD_NUMBERS + EDGE_NUMBERS),
    *(Raw(text) for text in ODD_TEXTS),
    *(Raw('{"S":' + text + "}") for text in ODD_TEXTS),
    *(Raw(text) for text in ("NaN", "Infinity", "1e999", "9" * 50, "9" * 5000, "-", "01", '{"a":1,"a":2}', "[" * 2000)),
    *(nested("M", 31), nested("L", 31), nested("M", 33), nested("L", 40), nested("M", 400), nested("L", 3000)),
]
WRITES = {"PutItem", "DeleteItem", "UpdateItem", "BatchWriteItem", "TransactWriteItems"}
KEY = {"k": {"S": "c"}, "r": {"N": "3"}}
ITEM = KEY | {"g": {"S": "g"}, "v": {"L": [{"M": {"x": {"N": "1"}}}]}, "s": {"SS": ["a", PLANTED]}}
NEVER = {"ConditionExpression": "attribute_exists(nothing)"}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("GetItem", {"TableName": TABLE, "Key": KEY, "ConsistentRead": True, "ProjectionExpression": "k, v[0].x"}),
    ("PutItem", {"TableName": TABLE, "Item": ITEM, "ReturnValues": "ALL_OLD"}),
    ("PutItem", {"TableName": TABLE, "Item": ITEM, **NEVER}),
    ("DeleteItem", {"TableName": TABLE, "Key": KEY, "ReturnValues": "ALL_OLD"}),
    (
        "UpdateItem",
        {
            "TableName": TABLE,
            "Key": KEY,
            "UpdateExpression": "SET #v = :v, n = if_not_exists(n, :n) + :n ADD s2 :s",
            "ExpressionAttributeNames": {"#v": "v"},
            "ExpressionAttributeValues": {":v": {"S": "x"}, ":n": {"N": "1"}, ":s": {"SS": ["q"]}},
            "ReturnValues": "ALL_NEW",
        },
    ),
    ("UpdateItem", {"TableName": TABLE, "Key": KEY, "AttributeUpdates": {"n": {"Action": "ADD", "Value": {"N": "1"}}}}),
    (
        "Query",
        {
            "TableName": TABLE,
            "KeyConditionExpression": "k = :k AND r BETWEEN :a AND :b",
            "FilterExpression": "size(g) > :a",
            "ExpressionAttributeValues": {":k": {"S": "c"}, ":a": {"N": "0"}, ":b": {"N": "9"}},
            "Limit": 5,
            "ScanIndexForward": False,
            "ExclusiveStartKey": KEY,
        },
    ),
    (
        "Query",
        {
            "TableName": TABLE,
            "IndexName": "by-g",
            "KeyConditionExpression": "#g = :g",
            "ExpressionAttributeNames": {"#g": "g"},
            "ExpressionAttributeValues": {":g": {"S": "g"}},
            "Select": "COUNT",
        },
    ),
    (
        "Query",
        {"TableName": TABLE, "KeyConditions": {"k": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "c"}]}}},
    ),
    ("Scan", {"TableName": TABLE, "Limit": 3, "Segment": 0, "TotalSegments": 2, "Select": "ALL_ATTRIBUTES"}),
    ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [KEY], "ProjectionExpression": "k"}}}),
    (
        "BatchWriteItem",
        {
            "RequestItems": {
                TABLE: [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": KEY | {"r": {"N": "4"}}}}]
            }
        },
    ),
    ("TransactGetItems", {"TransactItems": [{"Get": {"TableName": TABLE, "Key": KEY}}]}),
    (
        "TransactWriteItems",
        {
            "TransactItems": [
                {"Put": {"TableName": TABLE, "Item": ITEM}},
                {"ConditionCheck": {"TableName": TABLE, "Key": KEY | {"r": {"N": "5"}}, **NEVER}},
            ],
        },
    ),
    ("ListTables", {"Limit": 5}),
    ("DescribeTable", {"TableName": TABLE}),
]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON document where something else could stand."""
    if isinstance(document, dict | list):
        inside = document.items() if isinstance(document, dict) else enumerate(document)
        for name, value in inside:
            yield (*path, name)
            yield from places(value, (*path, name))


def replaced(document: Any, path: tuple[Any, ...], value: Any, doubled: bool = False) -> Any:
    if not path:
        return value
    first, *rest = path
    if isinstance(document, dict):
        changed = {n: replaced(v, tuple(rest), value, doubled) if n == first else v for n, v in document.items()}
        return Doubled(changed, document) if doubled and not rest else changed
    return [replaced(v, tuple(rest), value, doubled) if n == first else v for n, v in enumerate(document)]


class Doubled(dict[str, Any]):
    """An object whose JSON has each name twice: the last is what counts."""

    def __init__(self, last: dict[str, Any], first: dict[str, Any]) -> None:
        super().__init__(last)
        self.first = first


def written(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        pairs = [*(value.first.items() if isinstance(value, Doubled) else ()), *value.items()]
        return "{" + ",".join(f"{json.dumps(name)}:{written(inner)}" for name, inner in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """A request that DynamoDB would take, with one or two odd things in it."""
    action, document = draw(st.sampled_from(REQUESTS))
    changed: Any = document
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(sorted(places(document), key=repr)))
        with contextlib.suppress(KeyError, TypeError, AttributeError):
            changed = replaced(changed, path, draw(st.sampled_from(ODD)), doubled=draw(st.integers(0, 7)) == 0)
    return action, written(changed).encode("utf-8", "surrogatepass")


@settings(Examples, max_examples=MORE or 80)
@given(calls())
def test_json(world: World, call: tuple[str, bytes]) -> None:
    before, held = world.mirror_writes(), world.authority_holds()
    world.proxy.events.clear()
    request = post(*call)
    status, body = ask(world.at, request)
    assert status < 500 or from_ministack(body), (status, body[:300])
    after = world.mirror_writes()
    assert world.proxy.faults == []
    assert PLANTED not in str(world.proxy.events)
    # ministack refuses some batches after their first part, and what ends with 500 it may have done.
    if 400 <= status < 500 and world.authority_holds() == held:
        assert after == before, ("a shadow of what was refused", body[:300])
    if status != 200 or call[0] not in WRITES:  # doing a write twice would go past the proxy
        direct, _ = ask(world.direct, request)
        assert status == direct or (direct >= 500 and status == 400), (status, direct)
    # Writes that only ministack takes have no keys, and the proxy says that it could not follow them.
    unfollowed = any(event["event"] == "write_not_followed" for event in world.proxy.events)
    if status >= 500 or unfollowed or world.status()["journal"]["parked"]:
        world.begin_anew()
    world.mirror_writes()


def test_all_is_equal_in_the_end(world: World) -> None:
    assert equality.disagreements(world.ministack.endpoint, world.dsn, TABLE) == []


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def command(ministack: Ministack, postgres: Postgres) -> Iterator[Scene]:
    ministack.reset()
    make_table(ministack.endpoint)
    rows = postgres.create_database()
    environment = {
        "CROSSFADE_FOLLOW_TABLES": "true",
        # So that connections to the stores come and go by themselves, and what else is left open shows.
        "CROSSFADE_DYNAMODB__IDLE_SECONDS": "1",
        "CROSSFADE_DSQL__POOL_MAX": "1",
    }
    with scene(ministack.endpoint, rows, billio=False, environment=environment) as here:
        pid = here.proxy.child.pid
        process = psutil.Process(pid)
        here.proxy.settle()
        before = process.num_fds()
        yield here
        assert here.proxy.child.running
        assert here.proxy.child.pid == pid
        assert own_faults(here) == []
        assert PLANTED not in here.proxy.log_file.read_text("utf-8")
        here.proxy.settle()
        wait_until(lambda: process.num_fds() <= before, 120, "the descriptors to be given back")
        here.assert_equal(TABLE)
    postgres.drop_database(rows)


@settings(Examples, max_examples=MORE or 25)
@given(st.one_of(st.binary(max_size=600), broken_requests(), requests(), calls().map(lambda call: post(*call))))
def test_a_process_of_its_own(command: Scene, sent: bytes) -> None:
    at = urlsplit(command.proxy.data)
    assert at.hostname is not None
    assert at.port is not None
    for status, body in answers(talk((at.hostname, at.port), sent)):
        assert status < 500 or from_ministack(body), (status, body[:300])
    assert ask((at.hostname, at.port), post("GetItem", GET))[0] == 200
