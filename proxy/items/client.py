"""A client of the items port for Python, asynchronous, on aiohttp.

    async with ItemsClient("http://127.0.0.1:8002", token=token) as items:
        book = await items.create({"type": "Book", "shelf": "Read", "title": "Dune"})
        async for item in items.all("Book", search="dune", min_rating=8):
            ...

Items are mappings as the port tells them. An error is `ItemsError`, with the port's code and the rules that were
broken. It tries nothing again: what `UNAVAILABLE` says was not done, its user may repeat.
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
    """What the port refused. `errors` are pairs of field and rule."""

    def __init__(self, status: int, code: str, detail: str, errors: tuple[tuple[str, str], ...]) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors


class ItemsClient:
    """See the module. `timeout` bounds each call, in seconds."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 30.0) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def get(self, item_type: ItemType, item_id: str) -> Item | None:
        """The item; None if there is none."""
        try:
            found: Item = await self._call("GET", _path(item_type, item_id))
        except ItemsError as error:
            if error.code == "NOT_FOUND":
                return None
            raise
        return found

    async def create(self, item: Mapping[str, Any], *, overwrite: bool = False) -> Item:
        created: Item = await self._call("POST", "/items", {"overwrite": _text(overwrite)}, item)
        return created

    async def update(self, item_type: ItemType, item_id: str, changes: Mapping[str, Any]) -> Item:
        """Only what is given changes: None takes a field away, a mapping changes what it names."""
        updated: Item = await self._call("PATCH", _path(item_type, item_id), body=changes)
        return updated

    async def delete(self, item_type: ItemType, item_id: str) -> None:
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
        """A page of a type's items, or of what can be watched."""
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
        """Every item of a query, page after page of `first` items."""
        after: str | None = None
        while True:
            page = await self.page(item_type, first=first, after=after, **filters)
            for item in page.items:
                yield item
            after = page.next_page_cursor
            if after is None:
                return

    async def seasons(self, series_id: str, *, first: int = 100, after: str | None = None) -> ItemsPage:
        """A series's seasons by their numbers."""
        path = f"/series/{quote(series_id, safe='')}/seasons"
        return _page(await self._call("GET", path, _given({"first": first, "after": after})))

    async def with_external_id(self, external_id: str) -> list[Item]:
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
    """Of an answer that is no problem document, as a balancer's, the status alone is told."""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        told = {}
    problem = told if isinstance(told, dict) else {}
    errors = tuple((each["field"], each["rule"]) for each in problem.get("errors", ()))
    return ItemsError(status, problem.get("code", f"HTTP_{status}"), problem.get("detail", f"HTTP {status}"), errors)
