"""A client of the items port for Python, asynchronous, on aiohttp.

    async with ItemsClient("http://127.0.0.1:8002", token=token) as items:
        book = await items.create({"type": "Book", "shelf": "Read", "title": "Dune"})
        async for item in items.all("Book", search="dune", min_rating=8):
            ...

Items are mappings in the form that the port returns. Every call raises ItemsError with the port's code (docs/items.md)
and the rules that were broken, aiohttp.ClientError if the port cannot be reached, and TimeoutError. Nothing is retried:
after `UNAVAILABLE` nothing was done, and the caller may repeat; after `UNKNOWN`, a cut connection or a time-out, a
write may have been carried out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypedDict, Unpack
from urllib.parse import quote

import aiohttp
import orjson

Item: TypeAlias = dict[str, Any]
ItemType: TypeAlias = Literal["Book", "VideoGame", "Feature", "TvSeries", "TvSeason"]
SortBy: TypeAlias = Literal["MOVED_AT", "ADDED_AT", "TITLE", "RATING"]


class Filters(TypedDict, total=False):
    """What an item has to be, all at once, and the order. Dates are of `movedAt`, with an offset; both ends belong."""

    shelf: str
    search: str
    start_date: datetime
    end_date: datetime
    min_rating: float | Decimal
    max_rating: float | Decimal
    sort_by: SortBy


@dataclass(frozen=True, slots=True)
class ItemsPage:
    """`next_page_cursor` is None after the last page; `total` None where it was not asked for."""

    items: list[Item]
    next_page_cursor: str | None
    total: int | None = None

    @property
    def has_next_page(self) -> bool:
        return self.next_page_cursor is not None


class ItemsError(Exception):
    """An error response of the port.

    `status` is the HTTP status, `code` the port's (`HTTP_502` and so on if something before the port answered),
    `detail` its text. `errors` are pairs of field and rule, for `INVALID` and `CURSOR`.
    """

    def __init__(self, status: int, code: str, detail: str, errors: tuple[tuple[str, str], ...]) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors


class ItemsClient:
    """A client of one items port. Use it as a context manager, or call `close`.

    `url` is the port's, without a path. `token` is its read or write token; None where it asks for none. `timeout` is
    the limit of each call, in seconds.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 30.0) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, item_type: ItemType, item_id: str) -> Item | None:
        """Return the item; None if there is none."""
        try:
            found: Item = await self._call("GET", _path(item_type, item_id))
        except ItemsError as error:
            if error.code == "NOT_FOUND":
                return None
            raise
        return found

    async def create(self, item: Mapping[str, Any], *, overwrite: bool = False) -> Item:
        """Create the item, and return it with the `id`, `addedAt` and `movedAt` that it was given.

        `item` needs `type`. Raises ItemsError (`EXISTS`) if there is one with its id, unless `overwrite`.
        """
        created: Item = await self._call("POST", "/items", {"overwrite": _text(overwrite)}, item)
        return created

    async def update(self, item_type: ItemType, item_id: str, changes: Mapping[str, Any]) -> Item:
        """Change the fields that are given, and return the item as it is then.

        None removes a field; a mapping changes only the members that it names (RFC 7396). Raises ItemsError
        (`NOT_FOUND`) if there is no such item.
        """
        updated: Item = await self._call("PATCH", _path(item_type, item_id), body=changes)
        return updated

    async def delete(self, item_type: ItemType, item_id: str) -> None:
        """Delete the item. Raises ItemsError (`NOT_FOUND`) if there is none."""
        await self._call("DELETE", _path(item_type, item_id))

    async def page(
        self,
        item_type: ItemType | Literal["watching"],
        *,
        first: int = 20,
        after: str | None = None,
        total: bool = False,
        **filters: Unpack[Filters],
    ) -> ItemsPage:
        """Return a page of a type's items, or of what can be watched.

        `first` is the most items of the page (at most 500), `after` the `next_page_cursor` of the page before. `total`
        asks for the number of all items that the filters leave.
        """
        given = {
            "type": None if item_type == "watching" else item_type,
            "shelf": filters.get("shelf"),
            "search": filters.get("search"),
            "startDate": filters.get("start_date"),
            "endDate": filters.get("end_date"),
            "minRating": filters.get("min_rating"),
            "maxRating": filters.get("max_rating"),
            "sortBy": filters.get("sort_by"),
            "first": first,
            "after": after,
            "total": total or None,
        }
        path = "/watching" if item_type == "watching" else "/items"
        return _page(await self._call("GET", path, _given(given)))

    async def all(
        self, item_type: ItemType | Literal["watching"], *, first: int = 100, **filters: Unpack[Filters]
    ) -> AsyncIterator[Item]:
        """Yield every item of a query, read in pages of at most `first` items."""
        after: str | None = None
        while True:
            page = await self.page(item_type, first=first, after=after, **filters)
            for item in page.items:
                yield item
            after = page.next_page_cursor
            if after is None:
                return

    async def seasons(self, series_id: str, *, first: int = 100, after: str | None = None) -> ItemsPage:
        """Return a page of a series's seasons, ordered by their numbers. `first` and `after` as in `page`."""
        path = f"/series/{quote(series_id, safe='')}/seasons"
        return _page(await self._call("GET", path, _given({"first": first, "after": after})))

    async def with_external_id(self, external_id: str) -> list[Item]:
        """Return the items of all types with this external id. Raises ItemsError if a type has more than 500."""
        return _page(await self._call("GET", "/items", {"externalId": external_id})).items

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        data = None if body is None else orjson.dumps(body, default=_plain)
        headers = {} if data is None else {"Content-Type": "application/json"}
        async with self._session.request(method, self._url + path, params=query, data=data, headers=headers) as answer:
            text = await answer.read()
            if answer.ok:
                return orjson.loads(text) if text else None
            raise _error(answer.status, text)


def _path(item_type: str, item_id: str) -> str:
    return f"/items/{quote(item_type, safe='')}/{quote(item_id, safe='')}"


def _given(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _plain(value: Decimal) -> orjson.Fragment:
    """What orjson leaves to its user: a Decimal keeps its digits."""
    return orjson.Fragment(format(value, "f").encode())


def _page(document: Mapping[str, Any]) -> ItemsPage:
    return ItemsPage(document["items"], document["nextPageCursor"], document.get("total"))


def _error(status: int, text: bytes) -> ItemsError:
    """Return the error of a response. One that is not a problem document (a load balancer's) gives the status alone."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = {}
    problem = document if isinstance(document, dict) else {}
    errors = tuple((each["field"], each["rule"]) for each in problem.get("errors", ()))
    return ItemsError(status, problem.get("code", f"HTTP_{status}"), problem.get("detail", f"HTTP {status}"), errors)
