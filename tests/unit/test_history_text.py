"""Who did what, as the history says it: no text turns a name around, ends a line, or puts a role in another's place."""

from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin import request_parsing as parsing
from proxy.admin.console.sessions import COOKIE, KEPT, Sessions
from proxy.cutover.history_text import check_history_text, printable, printable_entry
from proxy.problems import Problem
from proxy.web.access_control import Caller, is_own_origin
from proxy.web.bearer_tokens import Role

OPERATOR = Caller(Role.OPERATOR, "operator")
INVISIBLE = [
    "\x00",
    "\n",
    "\x1b[2K",
    "\x7f",
    "\x85",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u200f",
    "\ufeff",
    "\ue000",
    "\ud800",
]
VISIBLE = ["lisa", "Łukasz Öz", "李雷", "עברית", "a–b 🎉", ""]


@pytest.mark.parametrize("text", INVISIBLE)
@pytest.mark.parametrize("name", ["by", "because"])
def test_an_invisible_character_is_refused_and_replaced(text: str, name: str) -> None:
    with pytest.raises(Problem) as raised:
        check_history_text(**{name: f"lisa{text}"})
    assert raised.value.status == 400
    assert raised.value.detail.startswith(f"{name}: the character U+")
    assert raised.value.detail.isprintable()
    shown = printable_entry({name: f"lisa{text}", "epoch": 3})
    assert shown["epoch"] == 3
    assert str(shown[name]).isprintable()


@pytest.mark.parametrize("text", VISIBLE)
def test_what_can_be_seen_is_taken(text: str) -> None:
    check_history_text(by=text, because=text)
    assert printable(text) == text


@given(st.text())
def test_what_is_shown_has_nothing_invisible(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    check_history_text(by=shown)


@pytest.mark.parametrize("name", ["lisa", "lisa (reader)", "root: lisa", "reader"])
def test_the_role_comes_first_and_is_the_token_s(name: str) -> None:
    assert parsing.requester(f" {name} ", OPERATOR) == f"operator: {name}"
    assert parsing.requester(" ", OPERATOR) == "operator"


@pytest.mark.parametrize("text", INVISIBLE)
def test_who_forgets_or_drops_says_why_in_plain_text(text: str) -> None:
    for because in ("", " ", "x" * 501, f"why{text}not"):
        request: Any = Mock(query={"because": because})
        with pytest.raises(Problem, match="because: "):
            parsing.reason(request, "its keys are not missed")
    with pytest.raises(Problem, match="by: "):
        parsing.requester(f"li{text}sa", OPERATOR)


def cookie_of(response: web.Response) -> str:
    return response.cookies[COOKIE].value


def test_readers_push_out_no_operator() -> None:
    sessions = Sessions()
    opened: dict[str, list[str]] = {"operator": [], "reader": []}
    for number in range(KEPT * 3):
        for role in ("operator", "reader") if number < 2 else ("reader",):
            response = web.Response()
            sessions.begin(response, role, role, secure=False)
            opened[role].append(cookie_of(response))
    kept = [c for c in opened["reader"] if sessions.of(make_mocked_request("GET", "/", {"Cookie": f"{COOKIE}={c}"}))]
    assert kept == opened["reader"][-KEPT:]
    for cookie in opened["operator"]:
        session = sessions.of(make_mocked_request("GET", "/", {"Cookie": f"{COOKIE}={cookie}"}))
        assert session is not None
        assert session.role == "operator"


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "own"),
    [
        ("http", "127.0.0.1:8001", "http://127.0.0.1:8001", True),
        ("http", "127.0.0.1:8001", "https://127.0.0.1:8001", False),
        ("http", "127.0.0.1:8001", "http://127.0.0.1:8002", False),
        ("http", "127.0.0.1:8001", "http://127.0.0.1", False),
        ("http", "127.0.0.1:8001", "http://localhost:8001", False),
        ("http", "LOCALHOST:8001", "http://localhost:8001", True),
        ("http", "admin", "http://admin:80", True),
        ("https", "admin:443", "https://admin", True),
        ("https", "admin", "http://admin", False),
        ("http", "[::1]:8001", "http://[::1]:8001", True),
        ("http", "admin", "null", False),
        ("http", "admin", "http://admin@evil", False),
        ("http", "admin", "http://x@admin", False),
        ("http", "admin", "http://admin/", False),
        ("http", "admin", "http://admin:99999", False),
        ("http", "admin", "http://[", False),
        ("http", "admin[", "http://admin[", False),
        ("http", "", "http://", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(scheme: str, host: str, origin: str, own: bool) -> None:
    request: Any = Mock(scheme=scheme, host=host)
    assert is_own_origin(origin, request) is own
