"""`Query` and `Mutate` of the migration plan, over the shadow layer: every call is an operation like any client's.

So stages, journal, verdicts, leases and holds are the layer's, and there is no second way to a store. Single items and
changes are DynamoDB's operations; pages and counts are listings (`proxy.dynamodb.listing`), one for each type, for each
type may have an authority of its own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

from proxy.dynamodb.errors import THROTTLED, TRANSACTION_CONFLICT, DynamoDBError
from proxy.dynamodb.operations import LISTING, json_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.values import Item, Value, canonical_number
from proxy.items.cursors import Cursors
from proxy.items.errors import Code, ItemsAPIError, RuleViolation, invalid
from proxy.items.item_validation import KEY, Patch, key_of, kind_of, validate_new, validate_patch
from proxy.items.json_values import InvalidJSONValueError, text_in, text_of
from proxy.items.queries import MOST, ItemQuery, listing, place_of
from proxy.items.type_definitions import KINDS
from proxy.items.update_expressions import update_of
from proxy.stores.errors import StoreError, UnknownOutcome

_ATTEMPTS: Final = 5
_ABSENT: Final = "ConditionalCheckFailedException"
_BUSY: Final = THROTTLED | {TRANSACTION_CONFLICT}


class Executes(Protocol):
    """The shadow layer, as far as it is needed here."""

    async def execute(self, action: str, body: bytes, request_id: str) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items in order; `cursor` is where the next page begins, None after the last."""

    items: list[Item]
    cursor: str | None


class Catalogue:
    """See the module. Everything raises Refusal."""

    def __init__(self, layer: Executes, table: str, cursors: Cursors, request_ids: Iterator[str]) -> None:
        self._layer = layer
        self._table = table
        self._cursors = cursors
        self._ids = request_ids

    # -- Query ---------------------------------------------------------------------------------------------------------

    async def with_id(self, kind: str, item_id: str) -> Item:
        return await self._held(kind_of(kind), item_id)

    async def page(self, question: ItemQuery, first: int, after: str | None = None) -> ItemPage:
        """`ofType`, `onShelf`, `searchType`, and (of several types) `forWatching`."""
        return await self._page(question.requests(self._table), question, first, after)

    async def total(self, question: ItemQuery) -> int:
        """How many items the question has, on all its pages."""
        counts = await asyncio.gather(
            *(self._ask(LISTING, {**each, "Select": "COUNT"}) for each in question.requests(self._table).values())
        )
        return sum(int(each["Count"]) for each in counts)

    async def with_series_id(self, series_id: str, first: int, after: str | None = None) -> ItemPage:
        """A series's seasons by their numbers. A season without one is in no order, and is not shown."""
        return await self._page({"TvSeason": self._of_series(series_id)}, None, first, after)

    async def total_of_series(self, series_id: str) -> int:
        answered = await self._ask(LISTING, {**self._of_series(series_id), "Select": "COUNT"})
        return int(answered["Count"])

    async def with_external_id(self, external_id: str) -> list[Item]:
        """All that have it, the latest moved first: nothing keeps two items from having one.

        Each type is asked for by itself: a request that names none is answered by one store, and types may have two.
        """
        try:
            hash_value = text_of(external_id)
        except InvalidJSONValueError as unfit:
            raise invalid(RuleViolation("externalId", str(unfit))) from None
        asked = [self._ask(LISTING, self._of_type(kind, hash_value)) for kind in KINDS] if hash_value else []
        answered = await asyncio.gather(*asked)
        if any("LastEvaluatedKey" in each for each in answered):
            raise invalid(RuleViolation("externalId", f"one that at most {MOST} items of a type have"))
        found = [item for each in answered for item in each["Items"]]
        return sorted(found, key=lambda item: (Decimal(item["movedAt"]["N"]), text_in(item, KEY)), reverse=True)

    # -- Mutate --------------------------------------------------------------------------------------------------------

    async def create(self, given: Any, *, overwrite: bool = False) -> Item:
        item = validate_new(given, lambda: str(uuid.uuid4()), now)
        request: dict[str, Any] = {"TableName": self._table, "Item": item}
        if not overwrite:
            request |= {"ConditionExpression": "attribute_not_exists(#k)", "ExpressionAttributeNames": {"#k": KEY}}
        outcome = await self._execute("PutItem", request)
        if outcome.error_code == _ABSENT:
            raise ItemsAPIError(
                Code.EXISTS, f"there is a {item['type']['S']} of this id: overwrite it, or give another id"
            )
        self._answered(outcome)
        return item

    async def update(self, kind: str, item_id: str, given: Any) -> Item:
        kind = kind_of(kind)
        patch = validate_patch(kind, item_id, given, now)
        if not (patch.set or patch.removed or patch.merged):
            return await self._held(kind, item_id)
        for _ in range(_ATTEMPTS):
            held = await self._held(kind, item_id) if patch.merged else {}
            outcome = await self._execute("UpdateItem", self._update(kind, item_id, patch, held))
            if outcome.error_code != _ABSENT:
                changed_item: Item = self._answered(outcome)["Attributes"]
                return changed_item
            if not patch.merged:
                raise _not_found(kind)
        raise ItemsAPIError(Code.CONFLICT, "others go on changing the same item: read it, and try again")

    async def delete(self, kind: str, item_id: str) -> None:
        request = {
            "TableName": self._table,
            "Key": key_of(kind_of(kind), item_id),
            "ConditionExpression": "attribute_exists(#k)",
            "ExpressionAttributeNames": {"#k": KEY},
        }
        outcome = await self._execute("DeleteItem", request)
        if outcome.error_code == _ABSENT:
            raise _not_found(kind)
        self._answered(outcome)

    # -- the layer -----------------------------------------------------------------------------------------------------

    async def _page(
        self, requests: Mapping[str, dict[str, Any]], question: ItemQuery | None, first: int, after: str | None
    ) -> ItemPage:
        mark = {"asked": requests}
        places = dict(self._cursors.places(mark, after)) if after is not None else {}
        begun = {kind: {"ExclusiveStartKey": place} for kind, place in places.items()}
        pages = await asyncio.gather(
            *(self._ask(LISTING, {**each, **begun.get(kind, {}), "Limit": first}) for kind, each in requests.items())
        )
        items: list[Item] = [item for page in pages for item in page["Items"]]
        if question is not None and len(pages) > 1:
            items.sort(key=lambda item: place_of(question, item), reverse=not question.forward)
        more = len(items) > first or any("LastEvaluatedKey" in page for page in pages)
        items = items[:first]
        if not more or not items:
            return ItemPage(items, None)
        for kind, request in requests.items():
            last = next((each for each in reversed(items) if text_in(each, KEY).startswith(f"{kind}:")), None)
            if last is not None:
                places[kind] = {name: last[name] for name in (KEY, request["Sort"]) if name in last}
        return ItemPage(items, self._cursors.cursor(mark, places))

    async def _held(self, kind: str, item_id: str) -> Item:
        request = {"TableName": self._table, "Key": key_of(kind, item_id), "ConsistentRead": True}
        item: Item | None = (await self._ask("GetItem", request)).get("Item")
        if item is None:
            raise _not_found(kind)
        return item

    def _of_series(self, series_id: str) -> dict[str, Any]:
        try:
            hash_value = text_of(series_id)
        except InvalidJSONValueError as unfit:
            raise invalid(RuleViolation("id", str(unfit))) from None
        where = [{"Attribute": "type", "Equals": {"S": "TvSeason"}}]
        return listing(self._table, "seriesId", hash_value, "seasonNumber", where, forward=True)

    def _of_type(self, kind: str, external_id: str) -> dict[str, Any]:
        where = [{"Attribute": "type", "Equals": {"S": kind}}]
        request = listing(self._table, "externalId", external_id, "movedAt", where, forward=False)
        return request | {"Limit": MOST}

    def _update(self, kind: str, item_id: str, patch: Patch, held: Item) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": key_of(kind, item_id),
            **update_of(kind, patch, held),
            "ReturnValues": "ALL_NEW",
        }

    async def _ask(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        return self._answered(await self._execute(action, request))

    async def _execute(self, action: str, request: dict[str, Any]) -> Outcome:
        try:
            return await self._layer.execute(action, json_of(request), next(self._ids))
        except DynamoDBError as error:
            return Outcome.failed(error)
        except UnknownOutcome as error:
            raise ItemsAPIError(Code.UNKNOWN, f"it is not known whether it was done: {error.reason}") from error
        except StoreError as error:
            raise ItemsAPIError(Code.UNAVAILABLE, f"nothing was done: {error.reason}") from error

    def _answered(self, outcome: Outcome) -> dict[str, Any]:
        """The document of an answer. Raises Refusal for one that is an error."""
        if outcome.ok:
            return outcome.document
        code = outcome.error_code or ""
        message = str(outcome.document.get("message") or outcome.document.get("Message") or code)
        if code in _BUSY or outcome.status == 503:
            raise ItemsAPIError(Code.UNAVAILABLE, f"nothing was done: {message}")
        if code == "ValidationException":
            raise ItemsAPIError(Code.INVALID, message, (RuleViolation("", message),))
        if outcome.status >= 500:
            raise ItemsAPIError(Code.UNKNOWN, message)
        if code == "ResourceNotFoundException":
            message = f"there is no table {self._table}, or it lacks an index: see table in [items]"
        raise ItemsAPIError(Code.UNAVAILABLE, f"the store refuses: {code}: {message}")


def now() -> Value:
    """In milliseconds, as Billio's items have it."""
    return {"N": canonical_number(str(int(time.time() * 1000)))}


def _not_found(kind: str) -> ItemsAPIError:
    return ItemsAPIError(Code.NOT_FOUND, f"there is no {kind} of this id")
