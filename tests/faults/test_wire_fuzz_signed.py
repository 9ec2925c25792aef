"""Anything at all on a wire that wants signatures: nothing passes that is not signed, nothing breaks, nothing hangs.

What is sent is made as in `test_wire_fuzz`, and signed, if at all, by somebody who does not know the secret: so
whatever the bytes are, no answer may be a success, and DynamoDB may hear of nothing.
"""

import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stores.dynamodb.sigv4 import Credential
from tests.faults.serving import Serving
from tests.faults.test_wire_fuzz import GET, PUT, Answer, Examples, answers, ask, broken, calls, requests, talk
from tests.proxy_process import settings_text
from tests.unit.signing import KEY, Sent, signed

GUESSED = Credential(KEY.access_key_id, "guessed")
SIGNATURE_CODES = {
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}


class DynamoDB(http.server.ThreadingHTTPServer):
    """It says yes to everything, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.heard: list[tuple[str, bytes]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def of_clients(self) -> list[tuple[str, bytes]]:
        """What came from a client: about the table of these tests, or carried unsigned."""
        return [(head, body) for head, body in self.heard if b"fuzz" in body or "authorization:" not in head.lower()]


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DynamoDB

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.heard.append((f"{self.requestline}\n{self.headers}", body))
        self.close_connection = False
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def log_message(self, *_: object) -> None:
        """It says nothing."""


@dataclass(frozen=True, slots=True)
class World:
    proxy: Serving
    dynamodb: DynamoDB

    @property
    def at(self) -> tuple[str, int]:
        return self.proxy.data.host, self.proxy.data.port

    def lives(self) -> None:
        """It serves those who sign, has told nothing on, and has not failed by itself."""
        assert self.dynamodb.of_clients() == []
        assert self.proxy.faults == []
        assert ask(self.at, wire(now_signed(GET, KEY)))[0] == 200
        assert len(self.dynamodb.of_clients()) == 1
        self.dynamodb.heard.clear()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("signed")
    dynamodb = DynamoDB()
    file = folder / "crossfade.toml"
    nowhere = "postgresql://nobody@127.0.0.1:1/none"  # nothing is mirrored in `off`
    endpoint = f"http://127.0.0.1:{dynamodb.server_port}"
    journal = folder / "journal.sqlite"
    file.write_text(settings_text(dynamodb=endpoint, dsql=nowhere, journal=journal, stage="off", mappings=[]), "utf-8")
    environment = {
        "CROSSFADE_AUTH__MODE": "sigv4",
        f"CROSSFADE_AUTH__KEYS__{KEY.access_key_id}__SECRET_ACCESS_KEY": KEY.secret_access_key,
    }
    with Serving(file, environment) as proxy:
        yield World(proxy, dynamodb)
    dynamodb.shutdown()
    dynamodb.server_close()


def now_signed(body: bytes, key: Credential, presigned: int | None = None, action: str = "GetItem") -> Sent:
    return signed(body=body, key=key, at=time.time(), presigned=presigned, action=action)


def wire(sent: Sent) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.headers if name.lower() != "content-length")
    head = f"{sent.method} {sent.target} HTTP/1.1\r\n{lines}Content-Length: {len(sent.body)}\r\n\r\n"
    return head.encode() + sent.body


def guessed() -> st.SearchStrategy[bytes]:
    """Whole requests, signed with a secret that is not the one."""
    whole = st.builds(now_signed, st.sampled_from([GET, PUT]), st.just(GUESSED), st.sampled_from([None, 60, 604_800]))
    return whole.map(wire)


def refused(told: list[Answer]) -> None:
    for status, body in told:
        assert 400 <= status < 500, (status, body[:300])


@Examples
@given(st.one_of(guessed(), broken(guessed()), st.binary(max_size=600)))
def test_a_guess_and_what_becomes_of_it(world: World, sent: bytes) -> None:
    refused(answers(talk(world.at, sent)))
    world.lives()


@Examples
@given(st.lists(st.one_of(requests(), guessed()), min_size=1, max_size=3))
def test_http(world: World, pipelined: list[bytes]) -> None:
    refused(answers(talk(world.at, b"".join(pipelined))))
    world.lives()


@Examples
@given(calls(), st.sampled_from([None, 60]))
def test_the_body_is_not_looked_at_before_the_signature(
    world: World, call: tuple[str, bytes], presigned: int | None
) -> None:
    action, body = call
    status, told = ask(world.at, wire(now_signed(body, GUESSED, presigned, action)))
    assert status == 400
    assert orjson.loads(told)["__type"].rpartition("#")[2] in SIGNATURE_CODES
    world.lives()
