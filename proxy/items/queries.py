"""What can be asked: filters and an order, checked, and as the listing that both stores understand. Pure.

Each order is that of an index of Billio's DynamoDB table; DSQL has an index of its own for each, ratings among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from proxy.dynamodb.listing import comparable
from proxy.dynamodb.values import Item, Value
from proxy.items.errors import ItemsAPIError, RuleViolation, invalid
from proxy.items.item_validation import KEY, kind_of
from proxy.items.json_values import InvalidJSONValueError, number_of, text_of, time_of

FIRST: Final = 20
MOST: Final = 500
LONGEST_SEARCH: Final = 250
# What the rating's column holds (config/billio.toml): what does not fit it counts as no rating, in both stores.
DIGITS: Final = {"rating": [6, 3]}


class SortBy(StrEnum):
    MOVED_AT = "MOVED_AT"  # the latest first
    ADDED_AT = "ADDED_AT"  # the latest first
    TITLE = "TITLE"  # by Unicode code points
    RATING = "RATING"  # the best first, those without one last


# The order's attribute, and DynamoDB's indexes for it: of a type, of a shelf.
_INDEXES: Final = {
    SortBy.MOVED_AT: ("movedAt", "type", "shelf"),
    SortBy.ADDED_AT: ("addedAt", "type-addedAt", "shelf-addedAt"),
    SortBy.TITLE: ("title", "title", "title"),
    SortBy.RATING: ("rating", "type", "shelf"),
}


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Items of one or more types. Dates are about `movedAt`, whatever the order; both ends belong to the range."""

    kinds: tuple[str, ...]
    shelf: str | None = None
    search: str | None = None
    start_date: Value | None = None
    end_date: Value | None = None
    min_rating: Value | None = None
    max_rating: Value | None = None
    sort_by: SortBy = SortBy.MOVED_AT

    @property
    def sort(self) -> str:
        return _INDEXES[self.sort_by][0]

    @property
    def forward(self) -> bool:
        return self.sort_by is SortBy.TITLE

    def requests(self, table: str) -> dict[str, dict[str, Any]]:
        """The listing of each type."""
        return {kind: self._request(table, kind) for kind in self.kinds}

    def _request(self, table: str, kind: str) -> dict[str, Any]:
        sort, of_type, of_shelf = _INDEXES[self.sort_by]
        where: list[dict[str, Any]] = []
        index, hash_value = of_type, kind
        if self.shelf is not None:
            index = of_shelf
            if of_shelf != of_type:
                hash_value = f"{kind}:{self.shelf}"
            else:
                where.append({"Attribute": "shelf", "Equals": {"S": self.shelf}})
        for attribute, low, high in (
            ("movedAt", self.start_date, self.end_date),
            ("rating", self.min_rating, self.max_rating),
        ):
            bounds = {name: bound for name, bound in (("From", low), ("To", high)) if bound is not None}
            if bounds:
                where.append({"Attribute": attribute, **bounds})
        if self.search:
            where.append({"Attribute": "title", "Contains": self.search})
        return listing(table, index, hash_value, sort, where, forward=self.forward)


def listing(
    table: str, index: str, hash_value: str, sort: str, where: list[dict[str, Any]], *, forward: bool
) -> dict[str, Any]:
    return {
        "TableName": table,
        "IndexName": index,
        "Hash": {"S": hash_value},
        "Where": where,
        "Sort": sort,
        "ScanIndexForward": forward,
        "Digits": DIGITS,
    }


def asked(given: Mapping[str, Any], kinds: tuple[str, ...] | None = None) -> ItemQuery:
    """A question from its parameters, by their names in the API. Raises Refusal with every rule that is broken."""
    broken: list[RuleViolation] = []

    def checked(name: str, check: Any) -> Any:
        plain = given.get(name)
        if plain is None:
            return None
        try:
            return check(plain)
        except InvalidJSONValueError as unfit:
            broken.append(RuleViolation(name, str(unfit)))
            return None

    if kinds is None:
        try:
            kinds = (kind_of(given.get("type")),)
        except ItemsAPIError as refusal:
            kinds = ()
            broken.extend(refusal.broken)
    question = ItemQuery(
        kinds,
        checked("shelf", _short(1, 100)),
        checked("search", _short(0, LONGEST_SEARCH)),
        checked("startDate", time_of),
        checked("endDate", time_of),
        checked("minRating", rating_of),
        checked("maxRating", rating_of),
        checked("sortBy", _order) or SortBy.MOVED_AT,
    )
    if broken:
        raise invalid(*broken)
    return question


def page_size(given: Any) -> int:
    """`first`, from its text or number. Raises Refusal."""
    if given is None:
        return FIRST
    try:
        size = int(given) if isinstance(given, int) or (str(given).isascii() and str(given).isdecimal()) else 0
    except ValueError:
        size = 0
    if isinstance(given, bool) or not 1 <= size <= MOST:
        raise invalid(RuleViolation("first", f"a whole number from 1 to {MOST}"))
    return size


def rating_of(plain: Any) -> Value:
    rule = "a number from 0 to 10, with at most 3 decimals"
    try:
        number = Decimal(str(plain))
    except InvalidOperation:
        raise InvalidJSONValueError(rule) from None
    if not number.is_finite() or not 0 <= number <= 10 or number != round(number, 3):
        raise InvalidJSONValueError(rule)
    return {"N": number_of(number)}


def place_of(question: ItemQuery, item: Item) -> tuple[Any, ...]:
    """Where an item stands among those of several types, as it does in each type's listing."""
    digits = {name: (precision, scale) for name, (precision, scale) in DIGITS.items()}
    value = comparable(item.get(question.sort), digits.get(question.sort))
    has = value is not None
    return (has != question.forward, value if has else "", item[KEY]["S"])


def _short(low: int, high: int) -> Any:
    def check(plain: Any) -> str:
        if not isinstance(plain, str) or not low <= len(plain) <= high:
            raise InvalidJSONValueError(f"a text of {low} to {high} characters")
        return text_of(plain)

    return check


def _order(plain: Any) -> SortBy:
    if plain not in SortBy.__members__:
        raise InvalidJSONValueError(f"one of {', '.join(SortBy)}")
    return SortBy(plain)
