"""The console in a browser, in situations that are played: what it shows, to whom, and that it asks first."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from proxy.cutover.model import StagesView
from proxy.cutover.stages import Scope, Stage
from tests.browser import stage_set
from tests.browser.conftest import Watch
from tests.browser.stage_set import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js"
SITUATIONS = {
    "calm": stage_set.calm,
    "mixed": stage_set.mixed,
    "alarm": stage_set.alarm,
    "flipping": stage_set.flipping,
    "empty": stage_set.empty,
}


async def open_dialog(page: Page, name: str = "Move Book of billio…") -> None:
    await page.get_by_role("link", name=name, exact=True).click()
    await expect(page.get_by_role("dialog")).to_be_visible()


async def sign_in(page: Page, url: str, token: str) -> None:
    await page.goto(url)
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


# -- what it shows -----------------------------------------------------------------------------------------------------


async def test_without_javascript_everything_is_there(watch: Watch) -> None:
    async with serving(stage_set.alarm()) as url:
        page = await watch.page(script=False)
        await page.goto(url)
        said = await page.locator("main").inner_text()
        for each in ("The stores disagree on Book and TvSeason of billio", "shadow", "21 of 23 access patterns",
                     "Solaris (Polish edition)", "image.width", "12,874", "TransactWriteItems", "51e80c77d4e2",
                     "backfill is done", "Whole table", "mirror error"):  # fmt: skip
            assert each in said, each


async def test_without_javascript_a_stage_is_moved_by_forms(watch: Watch) -> None:
    stage = stage_set.mixed()
    async with serving(stage) as url:
        page = await watch.page(script=False)
        await page.goto(url)
        await page.get_by_role("link", name="Move TvSeason of billio…", exact=True).click()
        await page.get_by_role("link", name="off").click()
        await page.get_by_label("Why").fill("wrong mapping")
        await page.get_by_role("button", name="Move to off").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("agree")
    (request,) = stage.requests
    assert (request.scope, request.to, request.because) == (Scope("billio", "TvSeason"), Stage.OFF, "wrong mapping")


async def test_a_mismatch_appears_while_one_looks_and_nothing_that_was_opened_closes(watch: Watch) -> None:
    stage = stage_set.calm()
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await expect(page.get_by_role("status").first).to_have_text("The two stores agree.")
        summary = page.get_by_text("The drawings as a table")
        await summary.click()
        stage.differences = stage_set.findings(values=True)
        await expect(page.get_by_role("status").first).to_contain_text("The stores disagree")
        await expect(page.get_by_text("Solaris (Polish edition)")).to_be_visible()
        await expect(page.get_by_role("table", name="Agreement and journal over time")).to_be_visible()
        assert await summary.evaluate("each => each === document.activeElement")


async def test_hidden_values_stay_hidden(watch: Watch) -> None:
    async with serving(stage_set.alarm(values=False)) as url:
        page = await watch.page()
        await page.goto(url)
        said = await page.content()
        assert "Solaris" not in said
        assert "0c6e1f1e" not in said
        await expect(page.get_by_text("text, up to 8 characters")).to_be_visible()


async def test_a_value_is_text_whatever_it_holds(watch: Watch) -> None:
    stage = stage_set.alarm()
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    first = stage.differences[0]
    stage.differences = [{**first, "path": evil, "authority": {"S": evil}, "mirror": {"M": {evil: {"S": evil}}}}]
    stage.troubles = [evil]
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        assert await page.locator("img, script:not([src])").count() == 0
        await expect(page.get_by_role("rowheader", name=evil)).to_be_visible()


async def test_a_flip_is_seen_going_on_and_its_end(watch: Watch) -> None:
    stage = stage_set.flipping("announced")
    before = stage_set.calm().overview
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        moving = page.locator("#moving")
        await expect(moving).to_contain_text("no writes are held yet. Answers: 1 of 3.")
        stage.overview = stage_set.flipping("holding").overview
        await expect(moving).to_contain_text("New writes wait while each process finishes its own. Answers: 2 of 3.")
        await expect(page.get_by_text("2 writes in flight, 14 keys to converge")).to_be_visible()
        stage.overview = StagesView(4, before.scopes, stage_set.processes(4))
        moved = stage_set.mixed().entries[0]
        stage.entries = [moved, *stage.entries]
        await expect(moving).to_have_text(
            "Book of billio went from shadow to live, epoch 7. Writes were held for 84 ms."
        )
        assert await moving.get_attribute("aria-live") == "polite"


async def test_a_proxy_that_is_gone_is_told(watch: Watch) -> None:
    async with serving(stage_set.flipping()) as url:
        page = await watch.page()
        await page.goto(url)
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await expect(page.get_by_text("what is shown is old")).to_be_visible()


async def test_it_can_be_paused(watch: Watch) -> None:
    stage = stage_set.flipping()
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await page.get_by_role("button", name="Pause").click()
        await page.wait_for_timeout(400)
        stage.overview = stage_set.calm().overview
        await page.wait_for_timeout(700)
        await expect(page.locator("#moving h2")).to_be_visible()
        await page.get_by_role("button", name="Go on").click()
        await expect(page.locator("#moving h2")).to_have_count(0)


# -- moving a stage ----------------------------------------------------------------------------------------------------


async def test_a_stage_is_moved_by_keyboard_alone(watch: Watch) -> None:
    stage = stage_set.mixed()
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        wanted = page.get_by_role("link", name="Move Feature of billio…", exact=True)
        for _ in range(12):
            await page.keyboard.press("Tab")
            if await wanted.evaluate("each => each === document.activeElement"):
                break
        await expect(wanted).to_be_focused()
        outline = await wanted.evaluate(
            "each => getComputedStyle(each).outlineStyle + getComputedStyle(each).outlineWidth"
        )
        assert outline == "solid3px"
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Move Feature of billio from shadow to live")).to_be_focused()
        # Between the last and the first of its elements the focus may be with the browser itself, which is `body`.
        inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        for _ in range(14):
            await page.keyboard.press("Tab")
            assert await page.evaluate(inside), "the dialog keeps the focus"
        await page.get_by_label("Who you are").focus()
        await page.keyboard.type("ann")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(wanted).to_be_focused()
    (request,) = stage.requests
    assert (request.scope, request.to, request.by, request.epoch) == (Scope("billio", "Feature"), Stage.LIVE, "ann", 7)


async def test_it_says_what_will_happen_and_lets_go_with_escape(watch: Watch) -> None:
    stage = stage_set.mixed()
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await open_dialog(page, "Move billio…")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("DSQL becomes the authority")
        await expect(dialog).to_contain_text("New writes wait until all 3 processes")
        await expect(dialog).to_contain_text("Open: all 6 criteria hold.")
        await expect(dialog).to_contain_text("Move it back to shadow")
        await dialog.get_by_role("link", name="dualwrite").click()
        await expect(dialog).to_contain_text("No write waits, and no read.")
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(page.get_by_role("link", name="Move billio…", exact=True)).to_be_focused()
    assert stage.requests == []


async def test_a_closed_gate_wants_a_reason_and_a_second_thought(watch: Watch) -> None:
    stage = stage_set.calm()
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await open_dialog(page)
        force = page.get_by_role("button", name="Force it to live")
        await expect(page.get_by_role("dialog")).to_contain_text("Closed: 2 of 8 criteria do not hold.")
        await force.click()
        assert stage.requests == []
        await page.get_by_label("Why").fill("the old\nstore goes tonight")
        await page.get_by_label("Move although the gate is closed").check()
        await force.click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
    (request,) = stage.requests
    assert (request.force, request.because) == (True, "the old store goes tonight")


async def test_what_cannot_be_done_is_not_offered(watch: Watch) -> None:
    stage = stage_set.calm()
    stage.overview = StagesView(3, stage_set.places(Stage.OFF))
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(f"{url}move?table=billio&to=live")
        await expect(page.locator("#move")).to_contain_text(
            "This cannot be done, forced or not. DSQL has not been kept"
        )
        assert await page.get_by_role("button").count() == 0


async def test_a_refusal_is_said_where_it_was_asked(watch: Watch) -> None:
    watch.allowed = "status of 409"
    stage = stage_set.mixed()
    stage.refuse = "another move is under way: wait until it has ended"
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await open_dialog(page)
        await page.get_by_label("Who you are").fill("ann")
        await page.get_by_role("button", name="Move to rampdown").click()
        await expect(page.get_by_role("alert")).to_have_text("Another move is under way: wait until it has ended.")
        await expect(page.get_by_label("Who you are")).to_have_value("ann")


async def test_what_was_typed_stays_when_another_stage_is_chosen(watch: Watch) -> None:
    stage = stage_set.mixed()
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await open_dialog(page, "Move billio…")
        dialog, asked, let_go = page.get_by_role("dialog"), asyncio.Event(), asyncio.Event()

        async def slowly(route: Route) -> None:
            asked.set()
            await let_go.wait()
            await route.continue_()

        await page.route("**/move?*to=dualwrite*", slowly)
        await dialog.get_by_role("link", name="dualwrite").click()
        await asked.wait()
        await dialog.get_by_label("Who you are").fill("ann")
        await dialog.get_by_label("Why").press_sequentially("too ")
        let_go.set()
        await expect(dialog.get_by_role("button", name="Move to dualwrite")).to_be_visible()
        await page.keyboard.type("slow")
        await dialog.get_by_role("button", name="Move to dualwrite").click()
        await expect(dialog).to_have_count(0)
    assert [(request.to, request.by, request.because) for request in stage.requests] == [
        (Stage.DUALWRITE, "ann", "too slow")
    ]


async def test_the_ramp_is_set_in_percent(watch: Watch) -> None:
    stage = stage_set.calm()
    async with serving(stage) as url:
        page = await watch.page()
        await page.goto(url)
        await open_dialog(page, "Move billio…")
        await page.get_by_role("dialog").get_by_role("link", name="shadow").click()
        await page.get_by_label("Reads served by DSQL, in percent").fill("12.5")
        await page.get_by_role("button", name="Set the ramp").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
    assert [(request.to, request.ramp) for request in stage.requests] == [(Stage.SHADOW, 12.5)]


# -- who may -----------------------------------------------------------------------------------------------------------


async def test_without_a_token_nothing_is_shown(watch: Watch) -> None:
    watch.allowed = "status of 403"
    async with serving(stage_set.mixed(), tokens=True) as url:
        page = await watch.page()
        for path in ("", "move?table=billio"):
            await page.goto(url + path)
            assert page.url == f"{url}sign-in"
            assert "billio" not in await page.content()
        await sign_in(page, url, "a-guess")
        await expect(page.get_by_role("alert")).to_have_text("This token is not known.")


async def test_an_operator_signs_in_moves_and_signs_out(watch: Watch) -> None:
    stage = stage_set.mixed()
    async with serving(stage, tokens=True) as url:
        page = await watch.page()
        await sign_in(page, url, "operator-token")
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert "operator-token" not in json.dumps(cookie)
        assert await page.evaluate("document.cookie") == ""
        await open_dialog(page)
        await page.get_by_label("Who you are").fill("ann")
        await page.get_by_role("button", name="Move to rampdown").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await page.goto(url)
        assert page.url == f"{url}sign-in"
    assert [request.by for request in stage.requests] == ["lisa: ann"]


async def test_a_reader_sees_everything_and_no_buttons(watch: Watch) -> None:
    watch.allowed = "status of 403"
    async with serving(stage_set.mixed(), tokens=True) as url:
        page = await watch.page()
        await sign_in(page, url, "reader-token")
        await expect(page.get_by_role("heading", name="billio", exact=True)).to_be_visible()
        assert await page.get_by_text("Move…").count() == 0
        await page.goto(f"{url}move?table=billio&to=live")
        await expect(page.get_by_role("heading", name="This needs an operator's token")).to_be_visible()


# -- for everyone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_it_is_accessible_as_far_as_axe_can_tell(watch: Watch, situation: str) -> None:
    assert AXE.exists(), "axe-core is missing: run `make node`"
    axe = AXE.read_text(encoding="utf-8")
    async with serving(SITUATIONS[situation]()) as url:
        page = await watch.page(still=True)
        await page.goto(url)
        await page.get_by_role("button", name="Pause").click()
        for dark in (False, True) if situation == "alarm" else (False,):
            await page.emulate_media(color_scheme="dark" if dark else "light")
            assert await violations(page, axe) == []
        if situation == "calm":
            await page.emulate_media(color_scheme="dark")
            await open_dialog(page)
            assert await violations(page, axe) == []


async def test_the_small_pages_are_accessible_too(watch: Watch) -> None:
    watch.allowed = "status of 40[34]"
    axe = AXE.read_text(encoding="utf-8")
    async with serving(stage_set.calm(), tokens=True) as url:
        page = await watch.page()
        await sign_in(page, url, "a-guess")
        await expect(page.get_by_role("alert")).to_be_visible()
        assert await violations(page, axe) == []
        await sign_in(page, url, "operator-token")
        await expect(page.locator("#page")).to_be_visible()
        for path in ("move?table=billio&to=shadow", "move?table=elsewhere"):
            await page.goto(url + path)
            assert await violations(page, axe) == []


async def violations(page: Page, axe: str) -> list[Any]:
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(axe)
    differences: list[Any] = await page.evaluate(
        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
        ".then((all) => all.violations.map((each) => [each.id, each.nodes.map((node) => node.html.slice(0, 200))]))"
    )
    return differences


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_it_fits_a_phone(watch: Watch, situation: str) -> None:
    async with serving(SITUATIONS[situation]()) as url:
        page = await watch.page(width=360, height=740)
        await page.goto(url)
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        if situation in ("calm", "mixed"):
            await open_dialog(page)
            assert await page.evaluate("document.querySelector('dialog').scrollWidth <= 358")


async def test_dark_is_dark_from_the_first_paint_and_still_is_still(watch: Watch) -> None:
    async with serving(stage_set.calm()) as url:
        page = await watch.page(dark=True, still=True, script=False)
        await page.goto(url)
        styles = "[document.documentElement, document.querySelector('.pulse')].map((each) => getComputedStyle(each))"
        seen = await page.evaluate(f"(([page, pulse]) => [page.backgroundColor, pulse.animationName])({styles})")
        assert seen == ["rgb(14, 16, 20)", "none"]
