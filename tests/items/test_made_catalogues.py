"""Catalogues that Hypothesis makes: every query and filter, at every stage, is what a plain Python model says.

`make test` makes a few of them, each stage asking its part of the combinations; with ITEMS_EXAMPLES=20 there are more,
and every stage asks all combinations.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.items.catalogue import Catalogue
from proxy.items.item_validation import shown_item
from proxy.items.queries import asked
from proxy.items.type_definitions import KINDS, WATCHING
from proxy.settings import Stage
from tests.items.catalogues import RunningLayer, all_pages, catalogue_of, layer_at, settled
from tests.items.model import ATTRIBUTES, Model

STAGES: tuple[Stage, ...] = ("off", "dualwrite", "shadow", "live", "rampdown", "complete")
LONG = "ITEMS_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("ITEMS_EXAMPLES", "2"))
MADE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
KINDS_ASKED = [*((kind,) for kind in KINDS), WATCHING]
# Every order with every combination of filters.
COMBINATIONS: list[tuple[str, frozenset[str]]] = [
    (str(order), frozenset(name for name, on in zip(names, chosen, strict=True) if on))
    for names in [("shelf", "search", "startDate", "endDate", "minRating", "maxRating")]
    for order, *chosen in product(ATTRIBUTES, *[(False, True)] * len(names))
]

# Letters whose case is not simple: German, Turkish, Greek, Polish, a ligature; and what is special in LIKE and regexes.
LETTERS = st.sampled_from("aAsSßẞiIıİσςΣΐyλΛłŁéÉﬁﬀ'%_.\\*0 -")
TITLES = st.text(LETTERS | st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
# A few moments, so that many are equal, some finer than a millisecond.
MOMENTS = st.builds(
    lambda hours, microseconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours, microseconds=microseconds),
    st.integers(0, 5),
    st.sampled_from((0, 0, 1, 1000, 999_999)),
)
RATINGS = st.sampled_from(("0", "0.001", "3", "7.5", "7.500", "8.25", "10")).map(Decimal)


@st.composite
def drafts(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(tuple(KINDS)) | st.sampled_from(WATCHING))
    draft: dict[str, Any] = {"type": kind, "shelf": draw(st.sampled_from(("A", "B", "ß")))}
    draft |= {"title": draw(TITLES), "movedAt": draw(MOMENTS).isoformat(), "addedAt": draw(MOMENTS).isoformat()}
    rating = draw(st.none() | RATINGS)
    return draft | ({} if rating is None else {"rating": rating})


@st.composite
def questions(draw: st.DrawFn, items: list[dict[str, Any]], order: str, names: frozenset[str]) -> dict[str, Any]:
    """A question of this form, about what some item of the catalogue has, or nearly."""
    of = draw(st.sampled_from(items))
    title: str = of["title"]
    start = draw(st.integers(0, len(title) - 1))
    cut = title[start : draw(st.integers(start + 1, len(title)))]
    search = draw(st.sampled_from((cut, cut.upper(), cut.lower(), cut.casefold(), cut.swapcase())))
    values = {
        "shelf": of["shelf"],
        "search": search[:250],
        "startDate": draw(MOMENTS).isoformat(),
        "endDate": of["movedAt"],
        "minRating": str(of.get("rating", 0)),
        "maxRating": str(draw(RATINGS)),
    }
    return {"sortBy": order, **{name: values[name] for name in sorted(names)}}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Stage:
    found: Stage = request.param
    return found


@pytest_asyncio.fixture
async def layer(stage: Stage, stores: tuple[str, str], tmp_path: Path) -> AsyncIterator[RunningLayer]:
    async with layer_at(stage, *stores, tmp_path) as made:
        yield made


async def made(catalogue: Catalogue, each: list[dict[str, Any]]) -> Model:
    model = Model()
    for item in await asyncio.gather(*(catalogue.create(draft) for draft in each)):
        model.add(shown_item(item))
    return model


def combinations(stage: Stage, items: list[dict[str, Any]]) -> list[tuple[str, frozenset[str]]]:
    mine = COMBINATIONS if LONG else COMBINATIONS[STAGES.index(stage) :: len(STAGES)]
    # Hypothesis begins with the simplest catalogue, of items that are all alike: it is soon asked.
    return mine if len({item["movedAt"] for item in items}) > 1 else mine[:5]


async def emptied(catalogue: Catalogue, model: Model) -> None:
    await asyncio.gather(*(catalogue.delete(*key) for key in model.items))


@given(st.data())
@MADE
async def test_every_filter_is_answered_as_the_model_says(
    stage: Stage, layer: RunningLayer, data: st.DataObject
) -> None:
    catalogue = catalogue_of(layer)
    model = await made(catalogue, data.draw(st.lists(drafts(), min_size=15, max_size=25)))
    try:
        items = list(model.items.values())
        for order, names in combinations(stage, items):
            given = data.draw(questions(items, order, names))
            kinds = data.draw(st.sampled_from(KINDS_ASKED))
            question, wanted = asked(given, kinds), model.page(kinds, given)
            first = data.draw(st.integers(1, max(1, len(wanted))))
            assert await all_pages(catalogue, question, first) == wanted, given
            assert await catalogue.total(question) == len(wanted), given
        if stage in ("shadow", "live"):
            told = await settled(layer)
            assert {verdict for _, verdict in told} <= {"agreed", "lagging", "racing"}, told
    finally:
        await emptied(catalogue, model)


@given(st.data())
@MADE
async def test_no_item_comes_twice_while_others_come_and_go(layer: RunningLayer, data: st.DataObject) -> None:
    """Between pages items are made and deleted, on both sides of the place; what stays is shown, each once."""
    catalogue = catalogue_of(layer)
    model = await made(catalogue, data.draw(st.lists(drafts(), min_size=12, max_size=20)))
    try:
        order, names = data.draw(st.sampled_from(COMBINATIONS))
        # Of what is filtered away by chance little is left to page through.
        given = data.draw(questions(list(model.items.values()), order, names & {"shelf", "minRating"}))
        question, first = asked(given, WATCHING), data.draw(st.integers(1, 4))
        stays = {(item["type"], item["id"]) for item in model.page(WATCHING, given)}
        shown: list[tuple[str, str]] = []
        after: str | None = None
        while True:
            page = await catalogue.page(question, first, after)
            shown += [(item["type"]["S"], item["id"]["S"]) for item in page.items]
            after = page.cursor
            if after is None or len(shown) > 200:
                break
            if len(model.items) < 40:
                for draft in data.draw(st.lists(drafts(), max_size=2)):
                    model.add(shown_item(await catalogue.create(draft)))
            gone = data.draw(st.sampled_from(sorted(model.items)))
            await catalogue.delete(*gone)
            del model.items[gone]
            stays.discard(gone)
        assert len(shown) == len(set(shown)), given
        assert stays <= set(shown), given
    finally:
        await emptied(catalogue, model)
