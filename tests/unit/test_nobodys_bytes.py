"""What a client sends, however malformed, is neither in the log nor in an answer; nor is a secret of the settings."""

import asyncio
import io
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy.app.serve import _report_loop_fault
from proxy.logs import configure
from proxy.settings.file import load
from proxy.settings.validation import SettingsError
from proxy.web import http_connection
from tests.unit.ports import PORTS, TOKEN, PortName, port

PLANTED = "planted7Secret"
FORMS = ("json", "console")


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What is logged, by us and by libraries, at the lowest level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("debug", "json", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def unthrottled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Always:
        def allows(self, _: object) -> bool:
            return True

    monkeypatch.setattr(http_connection, "_throttle", Always())
    monkeypatch.setattr(http_connection, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.5)


P = PLANTED.encode()
HEAD = b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n"
AUTH = f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n".encode()
MALFORMED = {
    "a blank before the colon": HEAD + b"Authorization : Bearer " + P + b"\r\n\r\n",
    "a control character in a token": HEAD + b"Authorization: Bearer " + P + b"\x01\r\n\r\n",
    "a null in a session token": HEAD + b"X-Amz-Security-Token: " + P + b"\x00\r\n\r\n",
    "a header without a colon": HEAD + P + b"\r\n\r\n",
    "a method that is none": P + b"(\r\n\r\n",
    "a method that nobody knows": P + b" / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a target that is none": b"GET " + P + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a version that is none": b"GET / " + P + b"\r\n\r\n",
    "a header that is too long": HEAD + b"X-A: " + P * 10_000 + b"\r\n\r\n",
    "a line that is too long": b"GET /" + P * 10_000 + b" HTTP/1.1\r\n\r\n",
    "too many headers": HEAD + b"".join(b"X-%d: " % n + P + b"\r\n" for n in range(2000)) + b"\r\n",
    "a length that is none": HEAD + b"Content-Length: " + P + b"\r\n\r\n" + P,
    "a coding that is none": HEAD + b"Transfer-Encoding: " + P + b"\r\n\r\n" + P,
    "a body said to be gzip in transfer": HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + b'{"a":"' + P + b'"}',
    "a body said to be gzip": HEAD + AUTH + b"Content-Encoding: gzip\r\nContent-Length: 14\r\n\r\n" + P,
    "a body said to be br": HEAD + AUTH + b"Content-Encoding: br\r\nContent-Length: 14\r\n\r\n" + P,
    "a chunk without a size": HEAD + AUTH + b"Transfer-Encoding: chunked\r\n\r\n" + P + b"\r\n",
    "a second chunk without a size": HEAD + AUTH + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n" + P + b"\r\n\r\n",
    "a trailer without a colon": HEAD + AUTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + P + b"\r\n\r\n",
    "a body that is no JSON": HEAD + AUTH + b"Content-Length: 15\r\n\r\n{" + P,
    "a second request that is none": HEAD + AUTH + b"Content-Length: 2\r\n\r\n{}" + P + b" " + P + b"\r\n\r\n",
    "an answer that nobody waits for": HEAD + AUTH + b"Expect: " + P + b"\r\nContent-Length: 14\r\n\r\n" + P,
    "an upgrade": HEAD + b"Connection: upgrade\r\nUpgrade: " + P + b"\r\n\r\n" + P + b"\r\n\r\n",
    "a host that is none": b"GET / HTTP/1.1\r\nHost: " + P + b"[\r\n\r\n",
    "bytes that are no text": HEAD + b"Authorization: \xff" + P + b"\xfe\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + P * 40,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + P,
}
# What the port says of a request that it could read is its own affair: a path, a code, a name.
ECHOED = {"a method that nobody knows", "a target that is none", "a body said to be br"}


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("what", MALFORMED)
async def test_what_cannot_be_parsed_is_neither_logged_nor_echoed(name: PortName, what: str, said: io.StringIO) -> None:
    async with port(name) as here:
        path = b"/v1/stages/t" if name == "admin" else b"/graphql"
        answer = await here.ask(MALFORMED[what].replace(b"/graphql", path))
        assert P not in here.metrics.text()
    assert PLANTED not in said.getvalue()
    assert "Traceback" not in said.getvalue()
    assert what in ECHOED or P not in answer, answer


async def test_a_parse_error_is_logged_by_class_and_place(said: io.StringIO) -> None:
    async with port("admin") as here:
        answer = await here.ask(MALFORMED["a header without a colon"])
    assert answer.partition(b"\r\n")[0] == b"HTTP/1.0 400 Bad Request"
    assert answer.endswith(b"400 Bad Request\n")
    assert '"event":"request_not_http"' in said.getvalue()
    assert '"port":"admin"' in said.getvalue()


HEADERS = "Content-Length|Transfer-Encoding|Content-Encoding|Authorization: Bearer|X-Amz-Security-Token|Expect|Upgrade"
MARKS = (b"\r\n", b"\n", b":", b" : ", b"\x00", b"\x01", b"\x7f", b"\xff", b" ", b"\t", b"0", b"5", b"-1", b"{", b'"')
WORDS = (b"gzip", b"chunked", b"100-continue", b"HTTP/1.1", b"GET /", b"Connection: upgrade")
PIECES = st.sampled_from([*MARKS, *WORDS, *(f"{each}: ".encode() for each in HEADERS.split("|")), *[P] * 5])


@pytest.mark.parametrize("name", PORTS)
@given(pieces=st.lists(PIECES, min_size=1, max_size=12))
@example(pieces=[b"Transfer-Encoding: chunked", b"\r\n", b"\r\n", P, b"\r\n"])
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_nothing_that_is_sent_is_logged(name: PortName, pieces: list[bytes], said: io.StringIO) -> None:
    async def send() -> None:
        async with port(name) as here:
            await here.ask(HEAD + b"".join(pieces) + b"\r\n\r\n")

    asyncio.run(send())
    assert PLANTED not in said.getvalue()


# --- faults of our own ------------------------------------------------------------------------------------------------


def _fail() -> None:
    item = {"secret": PLANTED}
    try:
        raise KeyError(item["secret"])
    except KeyError as error:
        error.add_note(PLANTED)
        raise ExceptionGroup(PLANTED, [ValueError(PLANTED), OSError(PLANTED)]) from error


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["structlog", "logging"])
def test_a_traceback_shows_neither_texts_nor_locals(form: str, by: str, said: io.StringIO) -> None:
    stream = io.StringIO()
    log: Any = configure("info", form, stream)
    if by == "logging":
        log = logging.getLogger("a.library")
    try:
        _fail()
    except Exception:  # it is to be logged
        log.exception("failed")
    shown = stream.getvalue()
    assert PLANTED not in shown
    for word in ("ExceptionGroup(ValueError, OSError)", "KeyError", "_fail", "test_nobodys_bytes.py"):
        assert word in shown
    assert not said.getvalue()


def test_a_person_s_traceback_is_plain_where_rich_is_installed(tmp_path: Path) -> None:
    """structlog's ConsoleRenderer takes rich where it can be imported, and rich shows local variables."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("")
    (tmp_path / "rich" / "console.py").write_text(
        "class Console:\n    def __init__(self, file=None, **_): self.file = file\n"
        "    def print(self, shown): self.file.write(str(shown))\n"
    )
    (tmp_path / "rich" / "traceback.py").write_text(
        "class Traceback:\n    @classmethod\n    def from_exception(cls, kind, error, tb, **_):\n"
        "        return [dict(frame.f_locals) for frame, _ in __import__('traceback').walk_tb(tb)]\n"
    )
    program = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from proxy.logs import configure
        import structlog.dev
        assert structlog.dev.rich is not None
        log = configure("info", "console", sys.stdout)
        def fail():
            item = "{PLANTED[:7]}" + "{PLANTED[7:]}"
            raise ValueError(item)
        try:
            fail()
        except ValueError:
            log.exception("failed")
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert "ValueError" in ran.stdout
    assert PLANTED not in ran.stdout + ran.stderr


@pytest.mark.parametrize("form", FORMS)
async def test_what_the_loop_reports_has_no_texts(form: str) -> None:
    stream = io.StringIO()
    log = configure("info", form, stream)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(partial(_report_loop_fault, log))

    def callback(item: str) -> None:
        raise ValueError(item)

    loop.call_soon(callback, PLANTED)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert "loop_fault" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert PLANTED not in stream.getvalue()


# --- settings ---------------------------------------------------------------------------------------------------------

DSNS = [
    f"postgresql://user:{PLANTED[:7]}/{PLANTED[7:]}@host:5432/db",
    f"postgresql://user:12/{PLANTED}@host/db",
    f"postgresql://user:{PLANTED}?x@host/db",
    f"postgresql://user:12?{PLANTED}@host/db",
    f"postgresql://user:{PLANTED}#x@host/db",
    f"postgresql://user:12#{PLANTED}@host/db",
    f"postgresql://user:{PLANTED}[@host/db",
    f"postgresql://user:{PLANTED}]x@host/db",
    f"postgresql://user:a/{PLANTED}/b@host/db",
    f"postgresql://host:{PLANTED}/db",
]


@pytest.mark.parametrize("dsn", DSNS)
@pytest.mark.parametrize("by", ["file", "variable"])
def test_an_address_that_cannot_be_divided_is_refused_without_its_text(dsn: str, by: str, tmp_path: Path) -> None:
    file = tmp_path / "crossfade.toml"
    file.write_text(f'[dsql]\ndsn = "{dsn}"\n' if by == "file" else "")
    with pytest.raises(SettingsError) as raised:
        load(file, {"CROSSFADE_DSQL__DSN": dsn} if by == "variable" else {})
    assert "%2F" in str(raised.value)
    for part in (PLANTED, PLANTED[:7], PLANTED[7:]):
        assert part not in str(raised.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:pa%2Fss%40w@host:5432/db",
        "postgres://host/db",
        "postgresql://u:p@[::1]:5432/db?sslmode=require&password=x",
        "postgresql://u:p@one:1,two:2/db",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://u:p@host",
    ],
)
def test_an_address_in_order_is_taken(dsn: str) -> None:
    assert load(None, {"CROSSFADE_DSQL__DSN": dsn}).dsql.dsn == dsn


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CROSSFADE_DSQL__ENDPOINT", f"postgresql://user:{PLANTED}@host/db"),
        ("CROSSFADE_DYNAMODB__ENDPOINT_URL", f"http://user:{PLANTED}@host:8000"),
        ("CROSSFADE_DYNAMODB__ENDPOINT_URL", f"http://user:{PLANTED}@[host"),
        ("CROSSFADE_DYNAMODB__STREAMS_ENDPOINT_URL", f"ftp://user:{PLANTED}@host"),
        ("CROSSFADE_ADMIN__OPERATOR_TOKEN", f"{PLANTED} é"),
        ("CROSSFADE_ADMIN__READ_TOKEN", f"{PLANTED}\n"),
        ("CROSSFADE_ITEMS__CURSOR_SECRET", f"{PLANTED}\u202e"),
    ],
)
def test_a_wrong_secret_is_refused_without_its_text(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(None, {variable: value})
    assert PLANTED not in str(raised.value)
