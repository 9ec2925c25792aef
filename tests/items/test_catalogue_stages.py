"""Every query, filter and change at every stage, against a plain Python model of the catalogue."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.items.catalogue import Catalogue
from proxy.items.checked import shown_item
from proxy.items.kinds import KINDS, WATCHING
from proxy.items.questions import asked
from proxy.items.refusals import Code, Refusal
from proxy.settings import Stage
from tests.items.catalogues import catalogue_of, layer_at, verdicts

TITLES = ("Straße", "STRASSE", "Ὀδυσσεύς", "İzmir", "Dune", "dune 2", "100%", "a_b")
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
STAGES: tuple[Stage, ...] = ("off", "dualwrite", "shadow", "live", "rampdown", "complete")


@dataclass
class Model:
    """The catalogue told as plainly as can be: items as the API shows them."""

    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def page(self, kinds: tuple[str, ...], given: dict[str, Any]) -> list[dict[str, Any]]:
        found = [item for item in self.items.values() if item["type"] in kinds]
        search = given.get("search", "").casefold()
        found = [item for item in found if search in item["title"].casefold()]
        if "shelf" in given:
            found = [item for item in found if item["shelf"] == given["shelf"]]
        for name, attribute, sign in (
            ("startDate", "movedAt", 1),
            ("endDate", "movedAt", -1),
            ("minRating", "rating", 1),
            ("maxRating", "rating", -1),
        ):
            if name in given:
                bound = Decimal(given[name]) if attribute == "rating" else given[name]
                found = [
                    i for i in found if attribute in i and (i[attribute] >= bound, i[attribute] <= bound)[sign < 0]
                ]
        sort = given.get("sortBy", "MOVED_AT")
        attribute = {"MOVED_AT": "movedAt", "ADDED_AT": "addedAt", "TITLE": "title", "RATING": "rating"}[sort]
        there = [item for item in found if attribute in item]
        nowhere = [item for item in found if attribute not in item]
        for part, key in (
            (there, lambda i: (i[attribute], f"{i['type']}:{i['id']}")),
            (nowhere, lambda i: f"{i['type']}:{i['id']}"),
        ):
            part.sort(key=key, reverse=sort != "TITLE")
        return there + nowhere


def drafts(seed: int, count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    for n in range(count):
        kind = chance.choice(tuple(KINDS))
        moved = (BEGIN + timedelta(days=chance.randrange(4))).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        draft: dict[str, Any] = {
            "type": kind,
            "shelf": chance.choice("AB"),
            "title": chance.choice(TITLES),
            "movedAt": moved,
        }
        draft["addedAt"] = "2020-01-01T00:00:00.000Z" if n % 2 else moved
        if chance.random() < 0.7:
            draft["rating"] = Decimal(chance.choice(("3", "8.5", "10")))
        yield draft


def _questions() -> Iterator[dict[str, Any]]:
    """Every order with every combination of filters."""
    for order, shelf, search, since, until, least, most in product(
        ("MOVED_AT", "ADDED_AT", "TITLE", "RATING"),
        ({}, {"shelf": "A"}),
        ({}, {"search": "STRASSE"}, {"search": "σ"}),
        ({}, {"startDate": "2024-01-02T00:00:00.000Z"}),
        ({}, {"endDate": "2024-01-03T00:00:00.000Z"}),
        ({}, {"minRating": "8.5"}),
        ({}, {"maxRating": "9.5"}),
    ):
        yield {"sortBy": order, **shelf, **search, **since, **until, **least, **most}


QUESTIONS = list(_questions())


async def made(catalogue: Catalogue, seed: int, count: int) -> Model:
    model = Model()
    for draft in drafts(seed, count):
        item = shown_item(await catalogue.create(draft))
        model.items[item["type"], item["id"]] = item
    return model


async def all_pages(catalogue: Catalogue, question: Any, first: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    after: str | None = None
    for _ in range(200):
        page = await catalogue.page(question, first, after)
        shown += [shown_item(item) for item in page.items]
        after = page.cursor
        if after is None:
            return shown
        assert len(page.items) == first
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("stage", STAGES)
async def test_every_filter_is_answered_as_the_model_says(
    stage: Stage, stores: tuple[str, str], tmp_path: Path
) -> None:
    async with layer_at(stage, *stores, tmp_path) as layer:
        catalogue = catalogue_of(layer)
        model = await made(catalogue, 7, 40)
        chance = random.Random(stage)
        # Each stage asks a part of the filters; together they ask all.
        mine = QUESTIONS[STAGES.index(stage) :: len(STAGES)]
        for given in mine:
            kinds = WATCHING if chance.random() < 0.4 else (chance.choice(tuple(KINDS)),)
            question = asked(given, kinds)
            wanted = model.page(kinds, given)
            assert await all_pages(catalogue, question, 100) == wanted, given
            if len(wanted) > 1:
                assert await all_pages(catalogue, question, chance.randint(1, len(wanted))) == wanted, given
            assert await catalogue.total(question) == len(wanted), given
        if stage in ("shadow", "live"):
            told = await _settled(layer)
            assert {verdict for _, verdict in told} <= {"agreed", "lagging", "racing"}, told
            assert told["Items.Query", "agreed"] >= len(mine)


async def _settled(layer: Any) -> dict[tuple[str, str], int]:
    for _ in range(100):
        status = await layer.status()
        if not status["behind"] and not status["journal"]["keys"]:
            break
        await asyncio.sleep(0.1)
    return await verdicts(layer)


async def refused(call: Any) -> Code:
    with pytest.raises(Refusal) as told:
        await call
    return told.value.code


@pytest.mark.parametrize("stage", ["off", "shadow", "live"])
async def test_changes_do_what_they_say(stage: Stage, stores: tuple[str, str], tmp_path: Path) -> None:
    async with layer_at(stage, *stores, tmp_path) as layer:
        catalogue = catalogue_of(layer)
        image = {"url": "https://images.example/1.jpg", "width": 10}
        draft = {
            "type": "TvSeries",
            "id": "0000000A-0000-0000-0000-000000000001",
            "shelf": "Watching",
            "title": "The Wire",
            "movedAt": "2001-01-01T00:00:00Z",
            "image": image,
            "externalId": "tmdb:1",
            "more": {"a": {"b": 1}, "c": 2},
        }
        item = await catalogue.create(draft)
        series = item["id"]["S"]
        assert await catalogue.with_id("TvSeries", series) == item
        assert await refused(catalogue.create(draft)) is Code.EXISTS
        assert (await catalogue.create({**draft, "title": "Wire"}, overwrite=True))["title"] == {"S": "Wire"}

        changed = shown_item(
            await catalogue.update("TvSeries", series, {"image": {"width": 20}, "more": {"a": {"b": None, "d": 3}}})
        )
        assert changed["image"] == {"url": image["url"], "width": 20}
        assert changed["more"] == {"a": {"d": 3}, "c": 2}
        assert changed["movedAt"] == "2001-01-01T00:00:00.000Z"
        moved = shown_item(await catalogue.update("TvSeries", series, {"shelf": "Watched", "notes": "good"}))
        assert moved["movedAt"] > changed["movedAt"]
        assert moved["shelf"] == "Watched"
        assert "notes" not in await catalogue.update("TvSeries", series, {"notes": None})
        assert await refused(catalogue.update("TvSeries", series, {"image": {"url": None}})) is Code.INVALID
        assert await catalogue.update("TvSeries", series, {}) == await catalogue.with_id("TvSeries", series)

        for number in (10, 2, 1):
            season = {"type": "TvSeason", "shelf": "Watched", "title": "The Wire", "seriesId": series}
            await catalogue.create({**season, "seasonNumber": number, "externalId": "tmdb:1"})
        one = await catalogue.with_series_id(series, 2)
        two = await catalogue.with_series_id(series, 2, one.cursor)
        assert [i["seasonNumber"]["N"] for i in (*one.items, *two.items)] == ["1", "2", "10"]
        assert two.cursor is None
        assert await catalogue.total_of_series(series) == 3
        found = await catalogue.with_external_id("tmdb:1")
        assert {i["type"]["S"] for i in found} == {"TvSeries", "TvSeason"}
        assert len(found) == 4

        await catalogue.delete("TvSeries", series)
        for gone in (
            catalogue.delete("TvSeries", series),
            catalogue.with_id("TvSeries", series),
            catalogue.update("TvSeries", series, {"title": "x"}),
            catalogue.update("TvSeries", series, {"image": {"url": "x"}}),
        ):
            assert await refused(gone) is Code.NOT_FOUND
        if stage != "off":
            told = await _settled(layer)
            assert {verdict for _, verdict in told} <= {"agreed", "lagging", "racing"}, told


async def test_halves_of_different_authorities_are_put_together(stores: tuple[str, str], tmp_path: Path) -> None:
    types: dict[str, Stage] = {"Feature": "live", "Book": "complete"}
    async with layer_at("shadow", *stores, tmp_path, types) as layer:
        catalogue = catalogue_of(layer)
        model = await made(catalogue, 3, 40)
        for order in ("MOVED_AT", "TITLE", "RATING"):
            given = {"sortBy": order, "minRating": "0"} if order == "TITLE" else {"sortBy": order}
            wanted = model.page(WATCHING, given)
            assert len({item["type"] for item in wanted}) == 2
            assert await all_pages(catalogue, asked(given, WATCHING), 3) == wanted
            assert await catalogue.total(asked(given, WATCHING)) == len(wanted)
        told = await _settled(layer)
        assert {verdict for _, verdict in told} <= {"agreed", "lagging", "racing"}, told


async def test_a_cursor_is_good_at_another_proxy_and_at_the_other_store(
    stores: tuple[str, str], tmp_path: Path
) -> None:
    question = asked({"sortBy": "RATING", "search": "s"}, ("Book",))
    (tmp_path / "other").mkdir()
    async with layer_at("shadow", *stores, tmp_path) as layer:
        model = await made(catalogue_of(layer), 11, 60)
        wanted = model.page(("Book",), {"sortBy": "RATING", "search": "s"})
        first = await catalogue_of(layer).page(question, 2)
        assert (await _settled(layer))["PutItem", "agreed"] == 60
    async with layer_at("live", *stores, tmp_path / "other") as layer:
        rest = await catalogue_of(layer).page(question, 100, first.cursor)
        assert [shown_item(item) for item in (*first.items, *rest.items)] == wanted
        with pytest.raises(Refusal):
            await catalogue_of(layer, b"another secret here").page(question, 100, first.cursor)


async def test_no_item_comes_twice_while_others_come_and_go(stores: tuple[str, str], tmp_path: Path) -> None:
    """Between pages items are made and deleted, on both sides of the place; what stays is shown, each once."""
    chance = random.Random(5)
    async with layer_at("shadow", *stores, tmp_path) as layer:
        catalogue = catalogue_of(layer)
        for order in ("MOVED_AT", "TITLE", "RATING"):
            model = await made(catalogue, chance.randrange(1000), 30)
            question = asked({"sortBy": order}, WATCHING)
            before = {i["id"]["S"] for i in (await catalogue.page(question, 500)).items}
            gone: set[str] = set()
            shown: list[str] = []
            after: str | None = None
            while True:
                page = await catalogue.page(question, 3, after)
                shown += [item["id"]["S"] for item in page.items]
                after = page.cursor
                if after is None:
                    break
                for draft in drafts(chance.randrange(10**6), 3):
                    await catalogue.create(draft)
                kind, key = chance.choice([at for at in model.items if at[1] not in gone])
                await catalogue.delete(kind, key)
                gone.add(key)
            assert len(shown) == len(set(shown))
            assert before - gone <= set(shown)


async def test_a_row_that_is_not_as_it_should_be_is_a_mismatch(
    stores: tuple[str, str], made_once: tuple[str, str, str], tmp_path: Path
) -> None:
    """What differs in one store alone is found by a listing, and mended: nothing else would have asked for it."""
    async with layer_at("shadow", *stores, tmp_path) as layer:
        catalogue = catalogue_of(layer)
        item = await catalogue.create({"type": "Book", "shelf": "A", "title": "Straße", "rating": 9})
        await _settled(layer)
        question = asked({"search": "STRASSE", "minRating": "8"}, ("Book",))
        connection = await asyncpg.connect(made_once[2])
        try:
            for change, mended in (("rating = 1", "rating"), ("title = 'Weg'", "title")):
                await connection.execute(f"UPDATE items SET {change}")
                assert (await catalogue.page(question, 5)).items == [item]
                told = await _settled(layer)
                row = await connection.fetchrow("SELECT rating, title FROM items")
                assert row is not None
                assert (float(row["rating"]), row["title"]) == (9.0, "Straße"), mended
            assert told["Items.Query", "mismatch"] == 2
            await connection.execute("DELETE FROM items")
            assert await catalogue.total(question) == 1
            assert (await _settled(layer))["Items.Query", "mismatch"] == 3
            # What was only counted is looked at bare, so that it is known what is missing.
            assert await connection.fetchval("SELECT count(*) FROM items") == 1
        finally:
            await connection.close()
