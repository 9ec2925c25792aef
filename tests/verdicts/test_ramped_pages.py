"""The ramp: no page comes from DSQL that may show an item whose key is parked, or still in the journal."""

from pathlib import Path
from typing import Any

import pytest

from proxy.cutover.stages import Stage, StagePlacement
from proxy.shadow.journal.journal import Journal
from tests.verdicts import traffic
from tests.verdicts.tables import BILLIO, PAGES, book, page
from tests.verdicts.world import World

BAD = {"title": {"S": "a\x00b"}}
OTHER_TYPE = traffic.query(BILLIO, index=True) | {"ExpressionAttributeValues": {":h": {"S": "VideoGame:Read"}}}


def pages_of(book_name: str) -> dict[str, Any]:
    return traffic.query(PAGES, index=False) | {"ExpressionAttributeValues": {":h": {"S": book_name}}}


async def ramped(world: World, table: str) -> None:
    """Have DSQL serve all reads of a table."""
    stages = world.processes[0].parts.stages
    for item_type in ("", *stages.types(table)):
        placed = stages.placement(table, item_type)
        assert placed.stage is Stage.SHADOW
    stages.placement = lambda *_: StagePlacement(Stage.SHADOW, ramp=100.0)  # type: ignore[method-assign]


def served(world: World) -> dict[str, float]:
    """How many reads DSQL was to serve, by what became of them."""
    text = world.processes[0].metrics.text(["crossfade_ramped_reads_total"]).decode()
    lines = [line for line in text.splitlines() if line.startswith("crossfade_ramped_reads_total{")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


async def query(world: World, request: dict[str, Any]) -> list[Any]:
    task, _ = world.processes[0].call("Query", request)
    outcome = await task
    assert outcome is not None
    items: list[Any] = outcome.document["Items"]
    return items


def world_of(folder: Path) -> World:
    world = World(3, folder, processes=1)
    world.fill([(BILLIO.name, book("1")), (PAGES.name, page("a", 1)), (PAGES.name, page("b", 1))])
    return world


def test_a_page_that_may_show_a_parked_item_comes_from_the_authority(tmp_path: Path) -> None:
    world = world_of(tmp_path)

    async def story() -> None:
        await world.said(world.processes[0], "PutItem", {"TableName": BILLIO.name, "Item": book("2", **BAD)})
        await world.settle()
        assert len(world.processes[0].journal.parked.list()) == 1
        await ramped(world, BILLIO.name)
        assert len(await query(world, traffic.query(BILLIO, index=True))) == 2
        assert served(world) == {"unsettled": 1.0}
        await query(world, OTHER_TYPE)
        assert served(world) == {"unsettled": 1.0, "served": 1.0}, "a page of another type shows no book"
        await world.said(world.processes[0], "PutItem", {"TableName": BILLIO.name, "Item": book("2")})
        await world.settle()
        assert len(await query(world, traffic.query(BILLIO, index=True))) == 2
        assert served(world) == {"unsettled": 1.0, "served": 2.0}, "it is parked no longer"

    world.run(story())


@pytest.mark.parametrize(("partition", "outcome"), [("a", "unsettled"), ("b", "served")])
def test_a_key_in_the_journal_holds_back_the_pages_of_its_partition(
    tmp_path: Path, partition: str, outcome: str
) -> None:
    world = world_of(tmp_path)

    async def story() -> None:
        await ramped(world, PAGES.name)
        journal: Journal = world.processes[0].journal
        entry = await journal.enter([PAGES.key_of(page("a", 7))])
        try:
            await query(world, pages_of(partition))
            assert served(world) == {outcome: 1.0}
            await query(world, traffic.query(PAGES, index=True))
            assert served(world)["unsettled"] == (2.0 if outcome == "unsettled" else 1.0), "an index may show any key"
        finally:
            journal.withdraw(entry)

    world.run(story())
