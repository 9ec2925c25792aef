"""Stages moved for real while clients are halfway through their pages: each item once, and in order."""

import asyncio
from typing import Any

import aiohttp

from proxy.items.client import ItemsClient
from tests.integration.scenes import swept
from tests.items.stores import CONFIG
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE

SETTINGS = """\
[items]
listen = "127.0.0.1:0"
cursor_secret = "0123456789abcdef"

[stages]
table = "crossfade_stages"
lease_seconds = 30.0
poll_seconds = 0.1
hold_seconds = 30.0
"""
SETTLED = {"CROSSFADE_DSQL__SETTLE_SECONDS": "0.1", "CROSSFADE_DYNAMODB__SETTLE_SECONDS": "0.1"}
DAYS = ("2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z")
WALKS: dict[str, dict[str, Any]] = {
    "latest first": {"item_type": "Book"},
    "watching, by title": {"item_type": "watching", "sort_by": "TITLE"},
    "watching, best first": {"item_type": "watching", "sort_by": "RATING", "search": "STRASSE"},
    "a shelf, latest added": {"item_type": "Book", "shelf": "Read", "sort_by": "ADDED_AT", "min_rating": 1},
}
# One type, all of the table, back again, and on.
MOVES = ((f"{TABLE}/Feature", "live"), (TABLE, "live"), (TABLE, "shadow"), (TABLE, "live"))


async def move(admin: str, scope: str, stage: str) -> None:
    body = {"stage": stage, "force": True, "because": "a test"}
    async with aiohttp.ClientSession() as session, session.put(f"{admin}/v1/stages/{scope}", json=body) as answer:
        told = await answer.json()
        assert (answer.status, told.get("outcome")) == (200, "moved"), told


async def test_pages_go_on_across_flips(stores: tuple[str, str]) -> None:
    endpoint, dsn = stores
    await asyncio.to_thread(swept, dsn)
    settings = {"mappings": [CONFIG / "billio.toml"], "environment": SETTLED, "extra": SETTINGS}
    with ProxyProcess(dynamodb=endpoint, dsql=dsn, stage="shadow", **settings) as proxy:  # type: ignore[arg-type]
        async with ItemsClient(proxy.items) as items:
            for n in range(45):
                kind = ("Book", "Feature", "TvSeries")[n % 3]
                draft = {"type": kind, "shelf": "Read", "title": f"Straße {n % 4}", "movedAt": DAYS[n % 2]}
                # Few dates, titles and ratings: most pages end among equal ones.
                await items.create({**draft, "addedAt": DAYS[0], **({"rating": n % 3 + 1} if n % 5 else {})})
            whole = {name: (await items.page(**walk, first=100)).items for name, walk in WALKS.items()}
            assert {name: len(found) for name, found in whole.items()} == {
                "latest first": 15,
                "watching, by title": 30,
                "watching, best first": 30,
                "a shelf, latest added": 12,
            }
            shown: dict[str, list[Any]] = {name: [] for name in WALKS}
            after: dict[str, str | None] = {}

            async def go_on() -> None:
                for name, walk in WALKS.items():
                    if after.get(name, "") is not None:
                        page = await items.page(**walk, first=4, after=after.get(name))
                        shown[name] += page.items
                        after[name] = page.next_page_cursor

            for n, (scope, stage) in enumerate(MOVES):
                await go_on()
                await move(proxy.admin, scope, stage)
                # What is made meanwhile stands before every place, or on another shelf: nobody meets it.
                late = {"type": "Book", "shelf": "Other", "title": "A", "addedAt": DAYS[1], "movedAt": DAYS[1]}
                await items.create({**late, "id": f"ffffffff-0000-0000-0000-00000000000{n}"})
            while any(after.values()):
                await go_on()
            assert shown == whole
        proxy.settle()
        assert proxy.mismatches() == []
        assert {each["stage"] for each in proxy.status()["stages"] if each["table"] == TABLE} == {"live"}
