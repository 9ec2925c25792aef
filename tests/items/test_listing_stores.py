"""A listing, asked of both stores by themselves, is what a plain Python model says: every filter, order and page."""

import random
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import asyncpg
import pytest_asyncio

from proxy.dynamodb.case_folding import tables
from proxy.dynamodb.values import Item
from proxy.stores.dsql.sql.listing_statements import _folded
from tests.items.stores import Both, answer, both_stores

TITLES = (
    "Straße",
    "STRASSE 2",
    "İstanbul",
    "istanbul",
    "ISPARTA",
    "Ὀδυσσεύς",
    "ΟΔΥΣΣΕΥΣ",
    "Dune",
    "dune 100%",
    "Łódź",
    "50_50",
    "ﬁnal",
)
SEARCHES = ("strasse", "STRAßE", "i̇stan", "istan", "İST", "IS", "ύς", "ΣΕΥΣ", "dune", "100%", "%", "_", "łÓ", "fi")
SORTS = {
    ("type", "movedAt", False),
    ("type-addedAt", "addedAt", False),
    ("title", "title", True),
    ("type", "rating", False),
    ("shelf", "movedAt", False),
    ("shelf-addedAt", "addedAt", False),
    ("shelf", "rating", False),
}


def catalogue(seed: int, count: int) -> list[Item]:
    """Books, many of them equal in what they are sorted by, some without a rating, or with one that fits no column."""
    chance = random.Random(seed)
    items: list[Item] = []
    for n in range(count):
        shelf = chance.choice(("Read", "Reading"))
        key = f"{chance.randrange(1 << 30):08x}-{n}"
        item: Item = {
            "type:id": {"S": f"Book:{key}"},
            "type": {"S": "Book"},
            "id": {"S": key},
            "shelf": {"S": shelf},
            "type:shelf": {"S": f"Book:{shelf}"},
            "title": {"S": chance.choice(TITLES)},
            "movedAt": {"N": str(1_600_000_000_000 + 1000 * chance.randrange(6))},
            "addedAt": {"N": str(1_500_000_000_000 + chance.randrange(3))},
        }
        rating = chance.choice((None, {"N": "8.5"}, {"N": "8"}, {"N": "3"}, {"N": "8.1234"}, {"S": "9"}))
        items.append(item | ({"rating": rating} if rating is not None else {}))
    return items


def modelled(items: list[Item], request: dict[str, Any]) -> list[str]:
    """The keys that a listing shows, in order, told as plainly as can be."""
    sort = request["Sort"]

    def value(item: Item, name: str) -> Any:
        held = item.get(name, {})
        if "N" in held:
            number = Decimal(held["N"])
            return number if name != "rating" or number == round(number, 3) else None
        return held.get("S") if name != "rating" else None

    found = []
    for item in items:
        if request["IndexName"].startswith("shelf") and item["type:shelf"] != request["Hash"]:
            continue
        for term in request.get("Where", ()):
            here = value(item, term["Attribute"])
            if "Contains" in term and term["Contains"].casefold() not in here.casefold():
                break
            if "Equals" in term and here != term["Equals"]["S"]:
                break
            if "From" in term and (here is None or here < Decimal(term["From"]["N"])):
                break
            if "To" in term and (here is None or here > Decimal(term["To"]["N"])):
                break
        else:
            found.append(item)
    there = [item for item in found if value(item, sort) is not None]
    nowhere = [item for item in found if value(item, sort) is None]
    backwards = not request["ScanIndexForward"]
    there.sort(key=lambda item: (value(item, sort), item["type:id"]["S"]), reverse=backwards)
    nowhere.sort(key=lambda item: item["type:id"]["S"], reverse=backwards)
    return [item["type:id"]["S"] for item in (*there, *nowhere)]


def requests() -> Iterator[dict[str, Any]]:
    """Each order with each combination of filters; of the searched texts one after the other."""
    wheres = (
        ({"Attribute": "movedAt", "From": {"N": "1600000001000"}}, None),
        ({"Attribute": "movedAt", "To": {"N": "1600000004000"}}, None),
        ({"Attribute": "rating", "From": {"N": "3.5"}}, None),
        ({"Attribute": "rating", "To": {"N": "8.25"}}, None),
        ("search", None),
    )
    turn = 0
    for (index, sort, forward), chosen in product(sorted(SORTS), product(*wheres)):
        where: list[dict[str, Any]] = [each for each in chosen if isinstance(each, dict)]
        if "search" in chosen:
            where.append({"Attribute": "title", "Contains": SEARCHES[turn % len(SEARCHES)]})
            turn += 1
        if index == "title":
            where.append({"Attribute": "shelf", "Equals": {"S": "Read"}})
        yield {
            "IndexName": index,
            "Hash": {"S": "Book:Read" if index.startswith("shelf") else "Book"},
            "Where": where,
            "Sort": sort,
            "ScanIndexForward": forward,
            "Digits": {"rating": [6, 3]},
        }


@pytest_asyncio.fixture
async def both(stores: tuple[str, str]) -> AsyncIterator[Both]:
    async with both_stores(*stores) as found:
        yield found


async def test_every_filter_in_every_order_is_answered_as_the_model_says(both: Both) -> None:
    items = catalogue(1, 60)
    await both.put(items)
    for number, request in enumerate(requests()):
        wanted = modelled(items, request)
        for store in (both.dynamodb, both.dsql):
            whole = await answer(store, {**request, "Limit": 100})
            assert [item["type:id"]["S"] for item in whole["Items"]] == wanted, (store.name, request)
            assert "LastEvaluatedKey" not in whole
            if number % 3 == 0:
                assert await answer(store, {**request, "Select": "COUNT"}) == {"Count": len(wanted)}
        if len(wanted) < 2 or number % 3 != 1:
            continue
        # Pages, each asked of the other store than the one before.
        paged: list[str] = []
        start: dict[str, Any] = {}
        for turn in range(100):
            page = {**request, **start, "Limit": max(1, len(wanted) // 3)}
            one, two = await answer(both.dynamodb, page), await answer(both.dsql, page)
            assert one == two, request
            paged += [item["type:id"]["S"] for item in (one, two)[turn % 2]["Items"]]
            if "LastEvaluatedKey" not in one:
                break
            start = {"ExclusiveStartKey": one["LastEvaluatedKey"]}
        assert paged == wanted, request


async def test_sql_folds_every_character_as_python_does(database: str) -> None:
    """All of Unicode but the surrogates and NUL, in texts that have ASCII beside each character."""
    characters = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]
    folding = {character for character in characters if character.casefold() != character}
    known = tables()
    changed = {one for one, other in zip(known.single, known.folded, strict=True) if one != other}
    assert folding == changed | {character for character, _ in known.several}
    assert len(set(known.single)) == len(known.single)
    wanted = [*folding, "Aßİ", "ŉǰ mixed ΣΑΣ", "plain"]
    connection = await asyncpg.connect(database)
    try:
        sql = f"SELECT {_folded('title', '$2', '$3')} AS folded, title FROM unnest($1::text[]) AS title"
        rows = await connection.fetch(sql, [f"X{text}Y" for text in wanted], known.single, known.folded)
    finally:
        await connection.close()
    assert [row["folded"] for row in rows if row["folded"] != row["title"].casefold()] == []
    assert len(rows) == len(wanted)
