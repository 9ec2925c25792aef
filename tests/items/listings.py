"""Every listing that the items API can ask for: each order with each combination of filters, from the beginning and
from a place on; a search, which is long and adds the same everywhere, with one other filter at most. For those who look
at its SQL."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from proxy.dynamodb.listing import Listing, read_listing
from proxy.dynamodb.values import Item
from proxy.items.queries import SortBy, asked
from proxy.items.queries import listing as request_of
from tests.items.stores import BILLIO
from tests.standins.billio import TABLE

PLACE: Item = {
    "type:id": {"S": "Book:00000000-0000-0000-0000-000000000009"},
    "movedAt": {"N": "1577836800000"},
    "addedAt": {"N": "1577836800000"},
    "title": {"S": "Work 2"},
    "rating": {"N": "7"},
    "seasonNumber": {"N": "3"},
}
_UNRATED: Item = {name: value for name, value in PLACE.items() if name != "rating"}


def listings() -> Iterator[Listing]:
    """Of pages and of counts; of Books, of a series's seasons, and of an external id."""
    for request in _requests():
        yield read_listing(BILLIO, {**request, "Select": "COUNT"})
        starts = [None, PLACE, *([_UNRATED] if request["Sort"] == "rating" else [])]
        for start in starts:
            place = {} if start is None else {"ExclusiveStartKey": _place(start, request["Sort"])}
            yield read_listing(BILLIO, {**request, **place, "Limit": 20})


def _requests() -> Iterator[dict[str, Any]]:
    for order, *filters in product(
        SortBy,
        ({}, {"shelf": "Read"}),
        ({}, {"search": "rk 4"}),
        ({}, {"startDate": "2018-01-01T00:00:00Z"}),
        ({}, {"endDate": "2023-01-01T00:00:00Z"}),
        ({}, {"minRating": "4"}),
        ({}, {"maxRating": "9"}),
    ):
        given = {"sortBy": str(order)}
        for each in filters:
            given |= each
        if "search" in given and len(given) > 3:
            continue
        yield from asked(given, ("Book",)).requests(TABLE).values()
    season = [{"Attribute": "type", "Equals": {"S": "TvSeason"}}]
    yield request_of(TABLE, "seriesId", "00000000-0000-0000-0000-000000000005", "seasonNumber", season, forward=True)
    book = [{"Attribute": "type", "Equals": {"S": "Book"}}]
    yield request_of(TABLE, "externalId", "tmdb:77", "movedAt", book, forward=False)


def _place(item: Item, sort: str) -> Item:
    return {name: item[name] for name in ("type:id", sort) if name in item}
