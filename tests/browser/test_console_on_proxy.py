"""The console of a running proxy with real stores behind it: a mismatch is seen, stages are moved, and a flip is."""

import asyncio
import contextlib
import re
from collections.abc import Iterator

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Watch
from tests.integration.scenes import Scene, run_sql, scene, swept
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATOR, READER = "an-operator-of-this-console", "a-reader-of-this-console-only"
ID = "11111111-2222-4333-8444-555555555555"
KEY = {HASH_KEY: {"S": f"Book:{ID}"}}
BOOK = {
    **KEY, "type": {"S": "Book"}, "id": {"S": ID}, "shelf": {"S": "Read"}, "type:shelf": {"S": "Book:Read"},
    "title": {"S": "Solaris"}, "movedAt": {"N": "1700000000000"}, "addedAt": {"N": "1600000000000"},
}  # fmt: skip
STAGES = """
[stages]
table = "crossfade_stages"
lease_seconds = 20
poll_seconds = 0.2
hold_seconds = 20
"""


@pytest.fixture(scope="module")
def here(postgres: Postgres, dsql_gate: Dsql, ministack: Ministack) -> Iterator[Scene]:
    ministack.reset()
    billio_table(ministack.endpoint)
    dsn = postgres.create_database()
    tokens = {"CROSSFADE_ADMIN__OPERATOR_TOKEN": OPERATOR, "CROSSFADE_ADMIN__READ_TOKEN": READER}
    with contextlib.ExitStack() as stack:
        stack.callback(postgres.drop_database, dsn)
        gate = dsql_gate.dsn(dsn.rsplit("/", 1)[1])
        swept(gate, TABLE)
        yield stack.enter_context(
            scene(ministack.endpoint, gate, rows=dsn, stage="shadow", environment=tokens, extra=STAGES)
        )


async def signed_in(watch: Watch, here: Scene, token: str) -> Page:
    page = await watch.page()
    await page.goto(here.proxy.admin)
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Stages")).to_be_visible()
    return page


async def stages(here: Scene) -> dict[str | None, str]:
    """Type (None: the table) → stage, as the API says."""
    headers = {"Authorization": f"Bearer {READER}"}
    async with aiohttp.request("GET", f"{here.proxy.admin}/v1/stages", headers=headers) as answer:
        return {each["type"]: each["stage"] for each in (await answer.json())["stages"]}


async def test_a_mismatch_appears_with_both_sides(watch: Watch, here: Scene) -> None:
    client = here.client(attempts=10)
    page = await signed_in(watch, here, READER)
    assert await page.get_by_text("Move…").count() == 0
    await asyncio.to_thread(client.put_item, TableName=TABLE, Item=BOOK)
    await asyncio.to_thread(here.assert_equal)
    await run_sql(here.dsn, "UPDATE items SET title = 'Stalker'")
    await asyncio.to_thread(client.get_item, TableName=TABLE, Key=KEY)
    await expect(page.get_by_role("heading", name="The stores disagree on Book of billio.")).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="title"))
    await expect(row.get_by_role("cell").nth(0)).to_contain_text("Solaris")
    await expect(row.get_by_role("cell").nth(1)).to_contain_text("Stalker")


async def test_a_stage_is_moved_and_the_history_says_so(watch: Watch, here: Scene) -> None:
    page = await signed_in(watch, here, OPERATOR)
    await page.get_by_role("link", name="Move VideoGame of billio…", exact=True).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("link", name="dualwrite").click()
    await dialog.get_by_label("Who you are").fill("ann")
    await dialog.get_by_label("Why").fill("not mapped yet")
    await dialog.get_by_role("button", name="Move to dualwrite").click()
    await expect(dialog).to_have_count(0)
    said = "VideoGame of billio went from shadow to dualwrite"
    await expect(page.locator("#moving")).to_contain_text(said)
    await expect(page.get_by_text("“not mapped yet”")).to_be_visible()
    found = await stages(here)
    assert (found["VideoGame"], found["Book"]) == ("dualwrite", "shadow")


async def ask(page: Page, here: Scene, begin: str, end: str, *, forced: bool) -> None:
    """Have Book moved."""
    await page.get_by_role("link", name="Move Book of billio…", exact=True).click()
    dialog = page.get_by_role("dialog")
    if begin == "live":  # whose next step is another
        await dialog.get_by_role("link", name=end).click()
    await expect(dialog).to_contain_text(f"from {begin} to {end}")
    await expect(dialog).to_contain_text("New writes wait until the process has finished")
    button = dialog.get_by_role("button", name=f"{'Force it' if forced else 'Move'} to {end}")
    if forced:
        await expect(dialog).to_contain_text("criteria do not hold")
        await button.click()
        assert (await stages(here))["Book"] == begin
        await dialog.get_by_label("Why").fill("a rehearsal")
        await dialog.get_by_label("Move although the gate is closed").check()
    await button.click()
    await expect(dialog).to_have_count(0)


async def test_a_closed_gate_holds_a_flip_back_unless_it_is_forced_and_the_way_back_is_open(
    watch: Watch, here: Scene
) -> None:
    page = await signed_in(watch, here, OPERATOR)
    for begin, end, forced in (("shadow", "live", True), ("live", "shadow", False)):
        moving, went = page.locator("#moving"), f"Book of billio went from {begin} to {end}"
        for _ in range(5):  # it is given up where the proxy stands still for a second, and an operator asks again
            await ask(page, here, begin, end, forced=forced)
            await expect(moving).to_contain_text(re.compile(f"{went}|Book of billio stays in {begin}"))
            if went in await moving.inner_text():
                break
        await expect(moving).to_contain_text(went)
        assert (await stages(here))["Book"] == end
        got = await asyncio.to_thread(here.client(attempts=10).get_item, TableName=TABLE, Key=KEY)
        assert got["Item"]["title"] == {"S": "Solaris"}
