"""Changes at every stage, stages mixed, and a mirror that is not as it should be, against a plain Python model."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.items.catalogue import Catalogue
from proxy.items.errors import Code, ItemsAPIError
from proxy.items.item_validation import shown_item
from proxy.items.queries import MOST, asked
from proxy.items.type_definitions import KINDS, WATCHING
from proxy.settings import Stage
from tests.items.catalogues import all_pages, catalogue_of, layer_at, settled
from tests.items.model import Model
from tests.standins.billio import TABLE, dynamodb_client

TITLES = ("Straße", "STRASSE", "Ὀδυσσεύς", "İzmir", "Dune", "dune 2", "100%", "a_b")
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


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


async def made(catalogue: Catalogue, seed: int, count: int) -> Model:
    model = Model()
    for draft in drafts(seed, count):
        item = shown_item(await catalogue.create(draft))
        model.add(item)
    return model


async def refused(call: Any) -> Code:
    with pytest.raises(ItemsAPIError) as told:
        await call
    return told.value.code


@pytest.mark.parametrize("stage", ["off", "dualwrite", "shadow", "live", "rampdown", "complete"])
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
        if stage in ("shadow", "live"):
            told = await settled(layer)
            assert {verdict for _, verdict in told} <= {"agreed", "lagging", "racing"}, told


async def test_all_that_have_an_external_id_are_told_or_none(stores: tuple[str, str], tmp_path: Path) -> None:
    client = dynamodb_client(stores[0])
    book = {"type": {"S": "Book"}, "movedAt": {"N": "1"}, "externalId": {"S": "ol:1"}}
    puts = [{"PutRequest": {"Item": {**book, "type:id": {"S": f"Book:{n}"}, "id": {"S": str(n)}}}} for n in range(MOST)]
    for at in range(0, MOST, 25):
        client.batch_write_item(RequestItems={TABLE: puts[at : at + 25]})
    async with layer_at("off", *stores, tmp_path) as layer:
        catalogue = catalogue_of(layer)
        assert len(await catalogue.with_external_id("ol:1")) == MOST
        await catalogue.create({"type": "Book", "shelf": "A", "title": "t", "externalId": "ol:1"})
        assert await refused(catalogue.with_external_id("ol:1")) is Code.INVALID


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
        told = await settled(layer)
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
        assert (await settled(layer))["PutItem", "agreed"] == 60
    async with layer_at("live", *stores, tmp_path / "other") as layer:
        rest = await catalogue_of(layer).page(question, 100, first.cursor)
        assert [shown_item(item) for item in (*first.items, *rest.items)] == wanted
        with pytest.raises(ItemsAPIError):
            await catalogue_of(layer, secret=b"another secret here").page(question, 100, first.cursor)


async def test_a_row_that_is_not_as_it_should_be_is_a_mismatch(
    stores: tuple[str, str], made_once: tuple[str, str, str], tmp_path: Path
) -> None:
    """What differs in one store alone is found by a listing, and mended: nothing else would have asked for it."""
    async with layer_at("shadow", *stores, tmp_path) as layer:
        catalogue = catalogue_of(layer)
        item = await catalogue.create({"type": "Book", "shelf": "A", "title": "Straße", "rating": 9})
        await settled(layer)
        question = asked({"search": "STRASSE", "minRating": "8"}, ("Book",))
        connection = await asyncpg.connect(made_once[2])
        try:
            for change, mended in (("rating = 1", "rating"), ("title = 'Weg'", "title")):
                await connection.execute(f"UPDATE items SET {change}")
                assert (await catalogue.page(question, 5)).items == [item]
                told = await settled(layer)
                row = await connection.fetchrow("SELECT rating, title FROM items")
                assert row is not None
                assert (float(row["rating"]), row["title"]) == (9.0, "Straße"), mended
            assert told["Items.Query", "mismatch"] == 2
            await connection.execute("DELETE FROM items")
            assert await catalogue.total(question) == 1
            assert (await settled(layer))["Items.Query", "mismatch"] == 3
            # What was only counted is looked at bare, so that it is known what is missing.
            assert await connection.fetchval("SELECT count(*) FROM items") == 1
        finally:
            await connection.close()
