"""The console's pages as programs see them: what keeps other pages out, what is cached, who is let in."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy.admin.console import sessions
from proxy.admin.console.sessions import COOKIE, Sessions
from proxy.stores.errors import Unreachable
from tests.browser import stage_set
from tests.browser.stage_set import StageSet, serving

CSS = Path(__file__).parents[2] / "proxy" / "admin" / "console" / "static" / "console.css"
FORM = {"table": "billio", "type": "Book", "to": "rampdown", "epoch": "7"}


class Visitor:
    """A client with a jar of its own, which follows no redirection."""

    def __init__(self, url: str, session: aiohttp.ClientSession, stage: StageSet) -> None:
        self.url, self.session, self.stage = url, session, stage

    async def get(self, path: str = "", **headers: str) -> aiohttp.ClientResponse:
        async with self.session.get(self.url + path, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer

    async def post(self, path: str, form: dict[str, str], **headers: str) -> aiohttp.ClientResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url + path, data=form, headers=sent, allow_redirects=False) as answer:
            await answer.read()
            return answer

    @property
    def origin(self) -> str:
        return self.url.rstrip("/")


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    stage = stage_set.mixed()
    jar = aiohttp.CookieJar(unsafe=True)
    async with serving(stage) as url, aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Visitor(url, session, stage)


@pytest.fixture
async def stranger() -> AsyncIterator[Visitor]:
    stage = stage_set.mixed()
    jar = aiohttp.CookieJar(unsafe=True)
    async with serving(stage, tokens=True) as url, aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Visitor(url, session, stage)


# -- other pages -------------------------------------------------------------------------------------------------------


async def test_a_form_of_its_own_is_taken(visitor: Visitor) -> None:
    answer = await visitor.post("move", FORM, Origin=visitor.origin, Sec_Fetch_Site="same-origin")
    assert (answer.status, answer.headers["Location"], len(visitor.stage.requests)) == (303, "./", 1)
    await visitor.post("move", FORM, Origin=visitor.origin)
    assert len(visitor.stage.requests) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ],
)
@pytest.mark.parametrize("path", ["move", "sign-in", "sign-out"])
async def test_a_form_of_another_page_is_not(visitor: Visitor, path: str, headers: dict[str, str]) -> None:
    answer = await visitor.post(path, FORM, **headers)
    assert (answer.status, visitor.stage.requests) == (403, [])


async def test_its_own_name_with_another_s_origin_is_refused(visitor: Visitor) -> None:
    answer = await visitor.post("move", FORM, Origin=visitor.origin, Sec_Fetch_Site="cross-site")
    assert (answer.status, visitor.stage.requests) == (403, [])


@pytest.mark.parametrize("path", ["", "move?table=billio", "move?table=none", "sign-in"])
async def test_every_page_keeps_others_out(visitor: Visitor, path: str) -> None:
    answer = await visitor.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_no_page_has_style_or_script_within_it(visitor: Visitor) -> None:
    for path in ("", "move?table=billio&to=live"):
        async with visitor.session.get(visitor.url + path) as answer:
            text = await answer.text()
        assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son\w+=|javascript:|https?://(?!www\.w3\.org)", text)


async def test_a_form_that_is_none_of_ours_is_refused_and_not_a_fault(visitor: Visitor) -> None:
    own = {"Origin": visitor.origin}
    assert (await visitor.post("move", {**FORM, "to": "elsewhere"}, **own)).status == 400
    assert (await visitor.post("move", {**FORM, "to": "shadow", "ramp": "101"}, **own)).status == 409
    assert (await visitor.post("move", {**FORM, "because": "x" * 20_000}, **own)).status == 413
    headers = {**own, "Content-Type": "text/plain"}
    async with visitor.session.post(f"{visitor.url}move", data=b"to=off", headers=headers) as answer:
        assert answer.status == 415
    assert visitor.stage.requests == []


# -- files -------------------------------------------------------------------------------------------------------------


async def test_files_are_kept_for_ever_under_a_name_that_changes(visitor: Visitor) -> None:
    async with visitor.session.get(visitor.url) as answer:
        names = re.findall(r'(?:href|src)="(console/[0-9a-f]{16}/[^"]+)"', await answer.text())
    assert sorted(name.rpartition("/")[2] for name in names) == ["console.css", "console.js", "icon.svg"]
    for name in names:
        answer = await visitor.get(name)
        assert (answer.status, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        again = await visitor.get(name, **{"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
        assert (await visitor.get(name.replace(name.split("/")[1], "0" * 16))).status == 404
    assert (await visitor.get("console/0000000000000000/..%2Fpages.py")).status == 404


# -- who ---------------------------------------------------------------------------------------------------------------


async def test_without_a_session_every_page_leads_to_the_sign_in(stranger: Visitor) -> None:
    for answer in (
        await stranger.get(),
        await stranger.get("move?table=billio"),
        await stranger.post("move", FORM, Origin=stranger.origin),
        await stranger.get("", Cookie=f"{COOKIE}=guessed"),
    ):
        assert (answer.status, answer.headers["Location"]) == (303, "sign-in")
    assert stranger.stage.requests == []


async def test_a_reader_moves_nothing(stranger: Visitor) -> None:
    answer = await stranger.post("sign-in", {"token": "reader-token"}, Origin=stranger.origin)
    assert answer.status == 303
    said = answer.headers["Set-Cookie"]
    assert "HttpOnly" in said
    assert "SameSite=Strict" in said
    assert "reader-token" not in said
    assert (await stranger.get()).status == 200
    for answer in (await stranger.get("move?table=billio"), await stranger.post("move", FORM, Origin=stranger.origin)):
        assert answer.status == 403
    assert stranger.stage.requests == []


async def test_a_session_ends_with_the_sign_out(stranger: Visitor) -> None:
    await stranger.post("sign-in", {"token": "operator-token"}, Origin=stranger.origin)
    (cookie,) = (each.value for each in stranger.session.cookie_jar)
    await stranger.post("sign-out", {}, Origin=stranger.origin)
    assert (await stranger.get("", Cookie=f"{COOKIE}={cookie}")).headers["Location"] == "sign-in"


def test_sessions_are_few_and_short() -> None:
    now = [0.0]
    kept = Sessions(lambda: now[0])

    def begin() -> str:
        response = web.Response()
        kept.begin(response, "operator", "ann", secure=True)
        assert response.cookies[COOKIE]["secure"]
        return response.cookies[COOKIE].value

    def known(cookie: str) -> bool:
        return kept.of(make_mocked_request("GET", "/", headers={"Cookie": f"{COOKIE}={cookie}"})) is not None

    first = begin()
    assert known(first)
    others = [begin() for _ in range(sessions.KEPT)]
    assert not known(first)
    now[0] = sessions.IDLE_SECONDS - 1
    assert known(others[0])
    now[0] = sessions.IDLE_SECONDS + 1
    assert known(others[0])
    assert not known(others[1])
    while now[0] < sessions.LASTS_SECONDS - 100:
        now[0] += 100
        assert known(others[0])
    now[0] = sessions.LASTS_SECONDS
    assert not known(others[0])


async def test_who_watches_together_asks_once(visitor: Visitor) -> None:
    looks = 0
    plain = visitor.stage.snapshot

    async def counted() -> object:
        nonlocal looks
        looks += 1
        return await plain()

    visitor.stage.snapshot = counted  # type: ignore[method-assign, assignment]
    await asyncio.gather(*(visitor.get() for _ in range(5)))
    assert looks == 1


@pytest.mark.parametrize("failure", [Unreachable("timeout", "DynamoDB does not answer"), TimeoutError()])
async def test_where_the_stage_table_cannot_be_read_the_rest_is_shown(visitor: Visitor, failure: Exception) -> None:
    visitor.stage.unread = failure
    async with visitor.session.get(visitor.url) as answer:
        text = await answer.text()
    assert answer.status == 200
    assert "The stage table cannot be read, so what is said of stages is old" in text
    assert ("DynamoDB does not answer" in text) == isinstance(failure, Unreachable)
    assert "dualwrite" in text
    assert "Move…" not in text
    assert (await visitor.get("move?table=billio")).status == 503


# -- colours -----------------------------------------------------------------------------------------------------------

TEXT = [
    ("ink", "paper"), ("ink", "card"), ("soft", "paper"), ("soft", "card"), ("accent", "paper"), ("accent", "card"),
    ("on-accent", "accent"), ("calm", "card"), ("unsure", "card"), ("alarm", "card"), ("unsure", "paper"),
    ("ink", "alarm-wash"), ("ink", "unsure-wash"), ("ink", "calm-wash"), ("ink", "wash"), ("soft", "wash"),
    ("card", "alarm"), ("paper", "ink"),
]  # fmt: skip
SHAPES = [("calm-fill", "card"), ("quiet", "card"), ("unsure", "card"), ("alarm", "card"), ("field", "card"),
          ("accent", "paper"), ("accent", "wash"), ("calm", "paper"), ("alarm", "paper")]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out_as_wcag_asks(scheme: str) -> None:
    """Success criteria 1.4.3 (4.5 to 1 for text) and 1.4.11 (3 to 1 for shapes) of WCAG 2.2, level AA."""
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block(scheme)))
    poor = [
        (one, other, round(contrast(colours[one], colours[other]), 2))
        for pairs, least in ((TEXT, 4.5), (SHAPES, 3.0))
        for one, other in pairs
        if contrast(colours[one], colours[other]) < least
    ]
    assert poor == []


def block(scheme: str) -> str:
    light, dark = re.findall(r":root \{(.*?)\n *\}", CSS.read_text(encoding="utf-8"), flags=re.DOTALL)[:2]
    return str(light if scheme == "light" else dark)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio ("relative luminance")."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
